"""Where a decoder is in its document, and what it has come across."""

from __future__ import annotations

from collections.abc import Iterable

from navarch.services.api.codec.errors import DecodeError

# The protobuf libraries refuse to parse messages nested deeper than 100; some leaves have a message in them.
DEPTH_LIMIT = 95
PROBLEM_LIMIT = 50


class Object(dict[str, object]):
    """A JSON object whose text had members more than once; the last one counts, as in Go."""

    duplicates: tuple[str, ...] = ()


class Reading:
    """The state of one decode: the path to the present value and the problems that are no errors."""

    __slots__ = ("depth", "path", "problems")

    def __init__(self) -> None:
        self.path: list[str | int] = []
        self.problems: list[str] = []
        # How many protobuf messages are open around the present one.
        self.depth = 0

    def where(self, *more: str | int) -> str:
        """The path as Kubernetes writes it: spec.containers[0].name."""
        out = ""
        for part in (*self.path, *more):
            out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else part
        return out

    def error(self, found: object, accepted: str, *more: str | int) -> DecodeError:
        """The error for a value here, or at ``more`` below."""
        return DecodeError(self.where(*more), found, accepted)

    def descend(self) -> None:
        """Go one message deeper. Raises DecodeError where no parser would follow."""
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            raise self.error("deeper nesting", f"at most {DEPTH_LIMIT} messages within one another")

    def unknown(self, key: str) -> None:
        """Note a member that the contract does not have."""
        self._note(f'unknown field "{self.where(key)}"')

    def duplicates(self, keys: Iterable[str]) -> None:
        """Note members that occur more than once."""
        for key in keys:
            self._note(f'duplicate field "{self.where(key)}"')

    def _note(self, problem: str) -> None:
        # Bounded: a hostile document could hold a million.
        if len(self.problems) < PROBLEM_LIMIT:
            self.problems.append(problem)
