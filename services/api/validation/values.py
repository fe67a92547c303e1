"""Checks that many fields share."""

from collections.abc import Callable, Iterable, Iterator

from navarch.services.api.errors import FieldError

Errors = Iterator[FieldError]

INT32_MAX = 2**31 - 1


def check(path: str, value: object, wrong: Iterable[str]) -> Errors:
    """One error for each thing that is wrong with a value."""
    for reason in wrong:
        yield FieldError.invalid(path, value, reason)


def required(path: str, value: str, rule: Callable[[str], list[str]] | None = None) -> Errors:
    """A string that must be there, and keep to a rule if one is given."""
    if not value:
        yield FieldError.required(path)
    elif rule:
        yield from check(path, value, rule(value))


def non_negative(path: str, value: int) -> Errors:
    """A number that cannot be below zero."""
    if value < 0:
        yield FieldError.invalid(path, value, "must be greater than or equal to 0")


def in_range(path: str, value: int, low: int, high: int) -> Errors:
    """A number between two others."""
    if not low <= value <= high:
        yield FieldError.invalid(path, value, f"must be between {low} and {high}, inclusive")


def supported(path: str, value: str, accepted: Iterable[str]) -> Errors:
    """A word from a closed list."""
    if value not in (accepted := tuple(accepted)):
        yield FieldError.not_supported(path, value, accepted)
