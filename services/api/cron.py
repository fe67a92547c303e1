"""Cron schedules: five fields or a named schedule, as CronJobs write them, and the moments that they name.

A field is a list of values, ranges and steps; months and weekdays have names. When both the day of the month
and the day of the week are restricted, a day has to satisfy one of the two. Time is that of a zone: an hour
that a clock change skips has no moments, one that it repeats has them twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EVERY = "@every "
_ZONE = re.compile(r"(?:CRON_)?TZ=")
_DURATION = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
# A schedule that names no day within five years ("30 February") names none at all.
_HORIZON_YEARS = 5


class CronError(ValueError):
    """What is wrong with a schedule."""


@dataclass(frozen=True, slots=True)
class _Bounds:
    low: int
    high: int
    names: Mapping[str, int]


_FIELDS = (
    _Bounds(0, 59, {}),
    _Bounds(0, 23, {}),
    _Bounds(1, 31, {}),
    _Bounds(1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    _Bounds(0, 6, {name: number for number, name in enumerate(_DAYS)}),
)


@dataclass(frozen=True, slots=True)
class _Values:
    """What one field allows; `any` where it leaves the choice to the other field of days."""

    allowed: frozenset[int]
    any: bool = False


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something recurs."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: _Values
    months: frozenset[int]
    weekdays: _Values
    zone: tzinfo | None = None
    """The zone that the text itself named."""

    def next_after(self, moment: datetime, zone: tzinfo = UTC) -> datetime | None:
        """The first moment of the schedule after `moment`, in UTC; None if there is none."""
        zone = self.zone or zone
        local = moment.astimezone(zone)
        last_year = local.year + _HORIZON_YEARS
        day = local.date()
        while day.year <= last_year:
            if day.month not in self.months:
                day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
                continue
            if self._is_day(day.day, day.isoweekday() % 7):
                found = self._first_on(datetime(day.year, day.month, day.day), moment, zone)
                if found is not None:
                    return found
            day += timedelta(days=1)
        return None

    def _is_day(self, day: int, weekday: int) -> bool:
        of_month, of_week = day in self.days.allowed, weekday in self.weekdays.allowed
        return of_month and of_week if self.days.any or self.weekdays.any else of_month or of_week

    def _first_on(self, midnight: datetime, after: datetime, zone: tzinfo) -> datetime | None:
        """The first moment on a day. Where clocks go back, what they show later may come earlier, by an hour."""
        found: datetime | None = None
        found_hour = 0
        for hour in sorted(self.hours):
            if found is not None and hour > found_hour + 1:
                break
            for minute in self.minutes:
                for moment in _moments(midnight.replace(hour=hour, minute=minute), zone):
                    if moment > after and (found is None or moment < found):
                        found, found_hour = moment, hour
        return found


def _moments(wall: datetime, zone: tzinfo) -> list[datetime]:
    """The moments at which clocks of the zone show a time: one, none where it is skipped, two where repeated."""
    moments: list[datetime] = []
    for fold in (0, 1):
        moment = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        if moment.astimezone(zone).replace(tzinfo=None) == wall and moment not in moments:
            moments.append(moment)
    return moments


@dataclass(frozen=True, slots=True)
class Interval:
    """The same distance between any two moments: "@every 1h30m"."""

    length: timedelta

    def next_after(self, moment: datetime, zone: tzinfo = UTC) -> datetime | None:
        """The moment one interval later, on a whole second."""
        del zone
        return moment.replace(microsecond=0).astimezone(UTC) + self.length


def parse(text: str) -> Schedule | Interval:
    """Read a schedule. Raises CronError."""
    if not text:
        raise CronError("empty spec string")
    zone: tzinfo | None = None
    if named := _ZONE.match(text):
        name, space, rest = text[named.end() :].partition(" ")
        if not space:
            raise CronError(f"provided bad location {name}: missing schedule")
        zone, text = _zone(name), rest.strip()
    if text.startswith(_EVERY):
        return Interval(_duration(text))
    if text.startswith("@"):
        if text not in _NAMED:
            raise CronError(f"unrecognized descriptor: {text}")
        text = _NAMED[text]
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise CronError(f"expected exactly {len(_FIELDS)} fields, found {len(fields)}: [{' '.join(fields)}]")
    minutes, hours, days, months, weekdays = (_field(*pair) for pair in zip(fields, _FIELDS, strict=True))
    return Schedule(minutes.allowed, hours.allowed, days, months.allowed, weekdays, zone)


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise CronError(f"provided bad location {name}: unknown time zone {name}") from None


def _duration(text: str) -> timedelta:
    """Like time.ParseDuration; an interval has at least one second, and whole ones."""
    said = text.removeprefix(_EVERY)
    unsigned = said[1:] if said[:1] in ("+", "-") else said
    parts = _DURATION.findall(unsigned)
    if unsigned != "0" and (not parts or "".join(map("".join, parts)) != unsigned):
        raise CronError(f'failed to parse duration {text}: time: invalid duration "{said}"')
    seconds = sum(float(number) * _UNIT_S[unit] for number, unit in parts)
    if seconds > 2**63 / 1e9:
        raise CronError(f'failed to parse duration {text}: time: invalid duration "{said}"')
    return timedelta(seconds=max(1, int(-seconds if said.startswith("-") else seconds)))


def _field(text: str, bounds: _Bounds) -> _Values:
    parts = [_range(part, bounds) for part in text.split(",") if part]
    allowed = frozenset[int]().union(*(part.allowed for part in parts))
    return _Values(allowed, any(part.any for part in parts))


def _range(text: str, bounds: _Bounds) -> _Values:
    """One of: number, number-number, *; each with an optional step."""
    span, *steps = text.split("/")
    ends = span.split("-")
    is_any = ends[0] in ("*", "?")
    if is_any:
        low, high = bounds.low, bounds.high
    else:
        low = _number(ends[0], bounds.names)
        if len(ends) > 2:
            raise CronError(f"too many hyphens: {text}")
        high = _number(ends[1], bounds.names) if len(ends) == 2 else low
    if len(steps) > 1:
        raise CronError(f"too many slashes: {text}")
    step = _number(steps[0], {}) if steps else 1
    if steps and len(ends) == 1:
        high = bounds.high
    if low < bounds.low:
        raise CronError(f"beginning of range ({low}) below minimum ({bounds.low}): {text}")
    if high > bounds.high:
        raise CronError(f"end of range ({high}) above maximum ({bounds.high}): {text}")
    if low > high:
        raise CronError(f"beginning of range ({low}) beyond end of range ({high}): {text}")
    if step == 0:
        raise CronError(f"step of range should be a positive number: {text}")
    return _Values(frozenset(range(low, high + 1, step)), is_any and step == 1)


def _number(text: str, names: Mapping[str, int]) -> int:
    if (named := names.get(text.lower())) is not None:
        return named
    if not re.fullmatch(r"[+-]?[0-9]+", text, re.ASCII):
        raise CronError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    if len(text) > 18:
        raise CronError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": value out of range')
    if int(text) < 0:
        raise CronError(f"negative number ({int(text)}) not allowed: {text}")
    return int(text)
