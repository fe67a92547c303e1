"""What a command line means by ``pods``, ``pod web-1``, ``deploy/web`` or ``pods,services``."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from google.protobuf.message import Message

from navarch.cli.errors import UsageError
from navarch.services.api.errors import UnknownKind
from navarch.services.api.kinds import KINDS, Kind


@dataclass(frozen=True, slots=True)
class Target:
    """One object, or with an empty name all objects of a kind."""

    kind: Kind
    name: str = ""
    namespace: str = ""

    @property
    def cls(self) -> type[Message]:
        """The message class of the kind."""
        return self.kind.message

    @property
    def type(self) -> str:
        """The kind as messages name it: pod, deployment.apps."""
        return singular(self.kind)

    def within(self, namespace: str) -> "Target":
        """The same in a namespace, where the kind has any."""
        return replace(self, namespace=namespace if self.kind.namespaced else "")

    def __str__(self) -> str:
        return f"{self.type}/{self.name}"


def singular(kind: Kind) -> str:
    """The name for one object, with its group: pod, deployment.apps."""
    return f"{kind.singular}.{kind.group}" if kind.group else kind.singular


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
        raise UsageError(f"name one object as TYPE/NAME, found: {' '.join(words)}")
    return targets[0]


def find_kind(word: str) -> Kind:
    """A kind by plural, singular, short name or kind. Raises UsageError."""
    try:
        return KINDS.find(word)
    except UnknownKind:
        near = get_close_matches(word.lower(), [name for kind in KINDS for name in (kind.resource, kind.singular)], 1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise UsageError(f'the server doesn\'t have a resource type "{word}"{hint}') from None


def _kinds(word: str) -> list[Kind]:
    found = []
    for one in filter(None, word.split(",")):
        found += KINDS.of_category("all") if one == "all" else [find_kind(one)]
    if not found:
        raise UsageError(f"{word!r} names no type")
    return found


def _slashed(word: str) -> Target:
    kind, separator, name = word.partition("/")
    if not separator or not name or "/" in name:
        raise UsageError(f"{word!r}: where one word is TYPE/NAME, all are")
    return Target(find_kind(kind), name)
