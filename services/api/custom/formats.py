"""The formats of strings that a schema of a custom resource can ask for; unknown ones allow everything."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from navarch.services.api.validation import names

Check = Callable[[str], bool]


def is_of_format(format: str, value: str) -> bool:
    """Whether a string is of a format."""
    check = FORMATS.get(format.replace("-", "") if format not in FORMATS else format)
    return check is None or check(value)


def _matching(pattern: str) -> Check:
    compiled = re.compile(pattern, re.ASCII)
    return lambda value: compiled.fullmatch(value) is not None


def _parsing(parse: Callable[[str], object]) -> Check:
    def check(value: str) -> bool:
        try:
            parse(value)
        except (ValueError, binascii.Error):
            return False
        return True

    return check


def _uuid(version: int = 0) -> Check:
    shaped = _matching(r"[0-9A-Fa-f]{8}-?[0-9A-Fa-f]{4}-?[0-9A-Fa-f]{4}-?[0-9A-Fa-f]{4}-?[0-9A-Fa-f]{12}")
    return lambda value: shaped(value) and version in (0, UUID(value).version or -1)


def _date(value: str) -> bool:
    return len(value) == 10 and _parsing(date.fromisoformat)(value)


_DATE_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII)


def _date_time(value: str) -> bool:
    match = _DATE_TIME.fullmatch(value)
    return match is not None and _parsing(datetime.fromisoformat)(f"{match[1]}T{match[2]}")


_GO_DURATION: Final = r"[-+]?(0|((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)"
_WORD_DURATION: Final = r"\d+\s*(ns|nano|us|µs|micro|ms|milli|s|sec|second|m|min|minute|h|hr|hour|d|day|w|wk|week)s?"


def _email(value: str) -> bool:
    name, at, host = value.rpartition("@")
    return bool(name and at and host) and not re.search(r"[\s<>]", value)


def _uri(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return bool(parts.scheme) or value.startswith("/")


def _credit_card(value: str) -> bool:
    digits = re.sub(r"\D", "", value)
    if not 13 <= len(digits) <= 19:
        return False
    doubled = [int(digit) * (2 if index % 2 else 1) for index, digit in enumerate(reversed(digits))]
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0


def _isbn(length: int) -> Check:
    def check(value: str) -> bool:
        digits = value.replace("-", "").replace(" ", "")
        if len(digits) != length or not re.fullmatch(r"\d+[\dXx]", digits):
            return False
        numbers = [10 if digit in "Xx" else int(digit) for digit in digits]
        if length == 10:
            return sum((10 - index) * number for index, number in enumerate(numbers)) % 11 == 0
        return sum((3 if index % 2 else 1) * number for index, number in enumerate(numbers)) % 10 == 0

    return check


FORMATS: Final[dict[str, Check]] = {
    "bsonobjectid": _matching(r"[0-9a-fA-F]{24}"),
    "byte": _parsing(lambda value: base64.b64decode(value, validate=True)),
    "cidr": _parsing(lambda value: ipaddress.ip_network(value, strict=False) if "/" in value else int("no")),
    "creditcard": _credit_card,
    "date": _date,
    "date-time": _date_time,
    "datetime": _date_time,
    "duration": lambda value: bool(re.fullmatch(f"{_GO_DURATION}|{_WORD_DURATION}", value)),
    "email": _email,
    "hexcolor": _matching(r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "hostname": _matching(
        r"([a-zA-Z0-9\u00a1-\uffff](-?[a-zA-Z0-9\u00a1-\uffff])*)(\.[a-zA-Z0-9\u00a1-\uffff](-?[a-zA-Z0-9\u00a1-\uffff])*)*\.?"
    ),
    "ipv4": _parsing(ipaddress.IPv4Address),
    "ipv6": _parsing(ipaddress.IPv6Address),
    "isbn": lambda value: _isbn(10)(value) or _isbn(13)(value),
    "isbn10": _isbn(10),
    "isbn13": _isbn(13),
    "json": _parsing(json.loads),
    "k8s-short-name": lambda value: not names.dns_label(value),
    "k8s-long-name": lambda value: not names.dns_subdomain(value),
    "mac": _matching(r"([0-9A-Fa-f]{2}([:-])){5}[0-9A-Fa-f]{2}|([0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}"),
    "rgbcolor": _matching(r"rgb\(\s*(\d{1,3}\s*,\s*){2}\d{1,3}\s*\)"),
    "ssn": _matching(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "uri": _uri,
    "uuid": _uuid(),
    "uuid3": _uuid(3),
    "uuid4": _uuid(4),
    "uuid5": _uuid(5),
}
