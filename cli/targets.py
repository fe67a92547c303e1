"""What a command line means by ``pods``, ``pod web-1``, ``deploy/web`` or ``pods,services``."""

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from navarch.cli.cluster.layout import UsageError
from navarch.services.api.errors import ApiError
from navarch.services.api.kinds import KINDS, Kind


@dataclass(frozen=True, slots=True)
class Target:
    """One object, or with an empty name all objects of a kind."""

    kind: Kind
    name: str = ""

    @property
    def cls(self) -> type[Message]:
        """The message class of the kind."""
        return self.kind.message

    def __str__(self) -> str:
        return f"{self.kind.singular}{'.' + self.kind.group if self.kind.group else ''}/{self.name}"


def parse(words: Sequence[str]) -> list[Target]:
    """Read TYPE[,TYPE...], TYPE NAME..., or TYPE/NAME.... Raises UsageError."""
    if not words:
        raise UsageError("name what you mean: TYPE, TYPE NAME or TYPE/NAME, for example: pods")
    if any("/" in word for word in words):
        return [_slashed(word) for word in words]
    kinds = _kinds(words[0])
    if len(words) == 1:
        return [Target(kind) for kind in kinds]
    return [Target(kind, name) for kind in kinds for name in words[1:]]


def parse_one(words: Sequence[str], default: str = "pod") -> Target:
    """Read exactly one object; a lone NAME is one of the default kind."""
    if len(words) == 1 and "/" not in words[0]:
        return Target(find_kind(default), words[0])
    targets = parse(words)
    if len(targets) != 1 or not targets[0].name:
        raise UsageError(f"name one object, found: {' '.join(words)}")
    return targets[0]


def find_kind(word: str) -> Kind:
    """A kind by plural, singular, short name or kind. Raises UsageError."""
    try:
        return KINDS.find(word)
    except ApiError as error:
        raise UsageError(
            f"the cluster has no resource type {word!r}; common ones: pods, deployments, services"
        ) from error


def _kinds(word: str) -> list[Kind]:
    if word == "all":
        return KINDS.of_category("all")
    return [find_kind(one) for one in word.split(",") if one]


def _slashed(word: str) -> Target:
    kind, separator, name = word.partition("/")
    if not separator or not name:
        raise UsageError(f"{word!r}: where one word is TYPE/NAME, all are")
    return Target(find_kind(kind), name)
