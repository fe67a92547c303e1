"""The text forms of moments and durations: RFC 3339 and Go's "1h2m3.5s"."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_MICROSECOND: Final = timedelta(microseconds=1)
# Go's zero time; Kubernetes takes it for "no time".
ZERO_TIME: Final = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // _SECOND
_MOMENT: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,18}))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_SPAN_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNITS: Final = {
    "ns": 1,
    "us": 1000,
    "µs": 1000,
    "μs": 1000,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_INT64_MAX: Final = 2**63 - 1


@lru_cache(maxsize=4096)
def format_seconds(seconds: int) -> str:
    """A moment as "2006-01-02T15:04:05Z". Raises OverflowError outside of the years 1 to 9999."""
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}Z".rjust(20, "0")


def format_micros(seconds: int, nanos: int) -> str:
    """A moment as "2006-01-02T15:04:05.000000Z". Raises OverflowError outside of the years 1 to 9999."""
    return f"{format_seconds(seconds)[:-1]}.{nanos // 1000:06d}Z"


@lru_cache(maxsize=4096)
def parse_moment(text: str) -> tuple[int, int]:
    """(seconds, microseconds) since 1970 of an RFC 3339 text; finer digits are cut. Raises ValueError."""
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise ValueError(text)
    *date, fraction, zone = match.groups()
    offset = UTC
    if zone != "Z":
        hours, minutes = int(zone[1:3]), int(zone[4:6])
        if hours > 24 or minutes > 60:
            raise ValueError(text)
        span = timedelta(hours=hours, minutes=minutes)
        offset = timezone(-span if zone[0] == "-" else span)
    year, month, day, hour, minute, second = map(int, date)
    if year == 0:
        raise ValueError(text)
    moment = datetime(year, month, day, hour, minute, second, tzinfo=offset) - _EPOCH
    return moment // _SECOND, int((fraction or "0")[:6].ljust(6, "0"))


def parse_duration(text: str) -> int:
    """Nanoseconds of a Go duration ("1h2m3.5s", "-300ms", "0"). Raises ValueError."""
    body = text.lstrip("+-") if text[1:2] not in ("+", "-") else ""
    total, position = 0, 0
    while position < len(body) and body != "0":
        match = _SPAN_PART.match(body, position)
        if match is None or len(match[1]) > 64:
            raise ValueError(text)
        whole, _, fraction = match[1].partition(".")
        unit = _UNITS[match[2]]
        total += int(whole or 0) * unit + int(fraction or 0) * unit // 10 ** len(fraction)
        position = match.end()
    if not body or total > _INT64_MAX:
        raise ValueError(text)
    return -total if text[0] == "-" else total


def format_duration(nanos: int) -> str:
    """Nanoseconds as Go prints them: "1h2m3.5s", "1.5ms", "0s"."""
    sign, rest = ("-", -nanos) if nanos < 0 else ("", nanos)
    if rest == 0:
        return "0s"
    for unit, name in ((1, "ns"), (1000, "µs"), (10**6, "ms")):
        if rest < 1000 * unit:
            return f"{sign}{_decimal(rest, unit)}{name}"
    hours, rest = divmod(rest, 3600 * 10**9)
    minutes, rest = divmod(rest, 60 * 10**9)
    out = f"{hours}h" if hours else ""
    out += f"{minutes}m" if hours or minutes else ""
    return f"{sign}{out}{_decimal(rest, 10**9)}s"


def _decimal(amount: int, unit: int) -> str:
    whole, fraction = divmod(amount, unit)
    digits = str(fraction).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}" if fraction else str(whole)
