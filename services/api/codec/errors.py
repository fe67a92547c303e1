"""What can go wrong between JSON and messages."""

from __future__ import annotations

from collections.abc import Sequence

from navarch.services.api.errors import BadRequest, InternalError

_SHOWN = 60
_BITS_SHOWN = 128


class DecodeError(BadRequest):
    """A value of the wrong type or form at ``path``: what was found, and what would have been accepted."""

    def __init__(self, path: str, found: object, accepted: str) -> None:
        self.path = path
        self.found = found if isinstance(found, str) and " " in found else describe(found)
        self.accepted = accepted
        where = f"{path}: " if path else ""
        super().__init__(f"{where}found {self.found}, expected {accepted}")


class StrictError(BadRequest):
    """Members that no contract knows, or that occur twice."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("strict decoding error: " + ", ".join(problems))


class EncodeError(InternalError):
    """A message that JSON cannot express, such as raw bytes that are no JSON."""


def describe(value: object) -> str:
    """A JSON value in a few words: its type, and the value where it is short."""
    match value:
        case None:
            return "null"
        case bool():
            return f"boolean {str(value).lower()}"
        case int():
            return f"number {value}" if value.bit_length() <= _BITS_SHOWN else "number of many digits"
        case float():
            return f"number {value}"
        case str():
            return f'string "{_short(value)}"'
        case list():
            return f"array of {len(value)}"
        case dict():
            return "object"
    return type(value).__name__


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
