"""Checks that many fields share."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from google.protobuf.message import Message

from navarch.services.api.codec import to_json
from navarch.services.api.equality import same
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names

Errors = Iterator[FieldError]

INT32_MAX = 2**31 - 1
_HTTP_PATH = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+")


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


def immutable(path: str, new: Any, old: Any) -> Errors:
    """A part of an object, None where it is not there, that stays as it was."""
    unchanged = same(new, old) if isinstance(new, Message) and isinstance(old, Message) else new == old
    if not unchanged:
        yield FieldError.invalid(path, shown(new), names.IMMUTABLE)


def shown(value: Any) -> Any:
    """A value as messages about it show it."""
    return to_json(value) if isinstance(value, Message) else value


def optional(message: Any, name: str) -> Any:
    """A member of a message, None where it is not there."""
    return getattr(message, name) if message.HasField(name) else None


def domain_prefixed_path(path: str, value: str) -> Errors:
    """Who is responsible for something: "example.com/controller"."""
    host, _, rest = value.partition("/")
    if not value:
        yield FieldError.required(path)
    elif not host or not rest:
        yield FieldError.invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')
    else:
        yield from check(path, host, names.dns_subdomain(host))
        if not _HTTP_PATH.fullmatch(rest):
            text = f"Invalid path (regex used for validation is '{_HTTP_PATH.pattern}')"
            yield FieldError.invalid(path, rest, text)


def required_segment(path: str, value: str) -> Errors:
    """A word that must be there, and can stand between two slashes of a URL."""
    yield from required(path, value, names.path_segment)
