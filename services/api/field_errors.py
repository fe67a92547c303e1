"""What can be wrong with one field of an object, worded as Kubernetes words it.

Field errors are values, not exceptions: validation gathers all of them, and errors.Invalid carries them out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

# A value that a message leaves out.
OMITTED: Final = object()


def quoted(text: str) -> str:
    """A text as messages show it."""
    return json.dumps(text, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field; becomes a cause in the Status."""

    type: str
    field: str
    value: object = None
    detail: str = ""

    @classmethod
    def required(cls, path: str, detail: str = "") -> Self:
        """Report a field that is missing or empty."""
        return cls("FieldValueRequired", path, "", detail)

    @classmethod
    def invalid(cls, path: str, value: object, detail: str) -> Self:
        """Report a value that breaks a rule."""
        return cls("FieldValueInvalid", path, value, detail)

    @classmethod
    def not_supported(cls, path: str, value: object, accepted: Iterable[str]) -> Self:
        """Report a value outside a closed set."""
        choices = ", ".join(quoted(choice) for choice in sorted(accepted))
        return cls("FieldValueNotSupported", path, value, f"supported values: {choices}" if choices else "")

    @classmethod
    def duplicate(cls, path: str, value: object) -> Self:
        """Report a value that has to be unique and is not."""
        return cls("FieldValueDuplicate", path, value)

    @classmethod
    def not_found(cls, path: str, value: object) -> Self:
        """Report a reference to something that is not there."""
        return cls("FieldValueNotFound", path, value)

    @classmethod
    def forbidden(cls, path: str, detail: str) -> Self:
        """Report a field that must not be set or changed here."""
        return cls("FieldValueForbidden", path, "", detail)

    @classmethod
    def too_long(cls, path: str, value: object, limit_bytes: int) -> Self:
        """Report a string over its limit. The value is not repeated."""
        detail = f"may not be more than {limit_bytes} bytes" if limit_bytes >= 0 else "value is too long"
        return cls("FieldValueTooLong", path, value, detail)

    @classmethod
    def too_many(cls, path: str, count: int, limit: int) -> Self:
        """Report a list or map over its limit."""
        detail = f"must have at most {limit} item{'' if limit == 1 else 's'}" if limit >= 0 else "has too many items"
        return cls("FieldValueTooMany", path, count, detail)

    @property
    def body(self) -> str:
        """The message without the field's path."""
        title = _TITLES.get(self.type, self.type)
        if self.type not in _WITHOUT_VALUE and self.value is not OMITTED:
            title = f"{title}: {_show(self.value)}"
        return f"{title}: {self.detail}" if self.detail else title

    def __str__(self) -> str:
        return f"{self.field}: {self.body}"


_TITLES = {
    "FieldValueRequired": "Required value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueTypeInvalid": "Invalid value",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueNotFound": "Not found",
    "FieldValueForbidden": "Forbidden",
    "FieldValueTooLong": "Too long",
    "FieldValueTooMany": "Too many",
    "InternalError": "Internal error",
}
_WITHOUT_VALUE = frozenset({"FieldValueRequired", "FieldValueForbidden", "FieldValueTooLong", "InternalError"})


def _show(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case str():
            return quoted(value)
        case list() | tuple() | dict():
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return str(value)
