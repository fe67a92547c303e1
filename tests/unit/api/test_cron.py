"""Cron schedules: what is one, and when it is due."""

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.services.api.cron import CronError, parse


def due(schedule: str, after: str, times: int = 1, zone: str = "UTC") -> list[str]:
    tz, found = ZoneInfo(zone), []
    moment = datetime.fromisoformat(after).replace(tzinfo=tz)
    for _ in range(times):
        moment = parse(schedule).next_after(moment, tz)
        if moment is None:
            break
        found.append(moment.astimezone(tz).strftime("%Y-%m-%d %H:%M %z"))
    return found


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("* * * * *", "2024-01-01 10:00:30", "2024-01-01 10:01 +0000"),
        ("* * * * *", "2024-01-01 10:00", "2024-01-01 10:01 +0000"),
        ("*/15 * * * *", "2024-01-01 10:46", "2024-01-01 11:00 +0000"),
        ("5/20 * * * *", "2024-01-01 10:06", "2024-01-01 10:25 +0000"),
        ("0 3 * * *", "2024-01-01 03:00", "2024-01-02 03:00 +0000"),
        ("0 0 1 * *", "2024-01-31 10:00", "2024-02-01 00:00 +0000"),
        ("0 0 29 2 *", "2024-03-01 00:00", "2028-02-29 00:00 +0000"),
        ("30 9 * * MON-fri", "2024-01-05 10:00", "2024-01-08 09:30 +0000"),
        ("0 0 * jan,Jul ?", "2024-02-01 00:00", "2024-07-01 00:00 +0000"),
        # Both days are restricted: one of them suffices.
        ("0 0 13 * 5", "2024-01-01 00:00", "2024-01-05 00:00 +0000"),
        ("0 0 13 * 5", "2024-01-12 00:00", "2024-01-13 00:00 +0000"),
        # One is free: the other decides.
        ("0 0 13 * *", "2024-01-01 00:00", "2024-01-13 00:00 +0000"),
        ("0 0 * * 5", "2024-01-06 00:00", "2024-01-12 00:00 +0000"),
        ("@yearly", "2024-01-01 00:00", "2025-01-01 00:00 +0000"),
        ("@monthly", "2024-01-02 00:00", "2024-02-01 00:00 +0000"),
        ("@weekly", "2024-01-01 00:00", "2024-01-07 00:00 +0000"),
        ("@midnight", "2024-01-01 00:00", "2024-01-02 00:00 +0000"),
        ("@hourly", "2024-01-01 00:59", "2024-01-01 01:00 +0000"),
        ("@every 1h30m", "2024-01-01 00:10", "2024-01-01 01:40 +0000"),
        ("CRON_TZ=Asia/Tokyo 0 9 * * *", "2024-01-01 00:00", "2024-01-02 00:00 +0000"),
    ],
)
def test_next(schedule, after, expected):
    assert due(schedule, after) == [expected]


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        # 02:30 does not exist on the day when clocks go forward.
        ("30 2 * * *", "2024-03-09 12:00", ["2024-03-11 02:30 -0400"]),
        # 01:30 comes twice on the day when they go back.
        ("30 1 * * *", "2024-11-02 12:00", ["2024-11-03 01:30 -0400", "2024-11-03 01:30 -0500"]),
        (
            "15,45 * * * *",
            "2024-11-03 01:20",
            ["2024-11-03 01:45 -0400", "2024-11-03 01:15 -0500", "2024-11-03 01:45 -0500", "2024-11-03 02:15 -0500"],
        ),
        ("0 12 * * *", "2024-11-02 13:00", ["2024-11-03 12:00 -0500"]),
    ],
)
def test_clock_changes(schedule, after, expected):
    assert due(schedule, after, len(expected), "America/New_York") == expected


def test_a_day_that_never_comes():
    assert due("0 0 30 2 *", "2024-01-01 00:00") == []


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("", "empty spec string"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("* * * * * *", "expected exactly 5 fields, found 6: [* * * * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("a * * * *", 'failed to parse int from a: strconv.Atoi: parsing "a": invalid syntax'),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("@often", "unrecognized descriptor: @often"),
        ("@every x", 'failed to parse duration @every x: time: invalid duration "x"'),
        ("TZ=Nowhere/City * * * * *", "provided bad location Nowhere/City: unknown time zone Nowhere/City"),
        ("TZ=UTC", "provided bad location UTC: missing schedule"),
    ],
)
def test_refused(schedule, message):
    with pytest.raises(CronError) as refusal:
        parse(schedule)
    assert str(refusal.value) == message


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        parse(text)
    except CronError:
        pass


@given(
    st.sampled_from(["*/7 * * * *", "0 */5 * * *", "13 13 13 * 5", "59 23 * 2 *", "30 1,2 * 3,11 0"]),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),
    st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_moments_ascend_and_match(schedule, start, zone):
    tz, parsed = ZoneInfo(zone), parse(schedule)
    moments = [start.replace(tzinfo=UTC)]
    for _ in range(5):
        moments.append(parsed.next_after(moments[-1], tz))
    assert all(earlier < later for earlier, later in pairwise(moments))
    for moment in moments[1:]:
        local = moment.astimezone(tz)
        assert local.minute in parsed.minutes
        assert local.hour in parsed.hours
        assert local.month in parsed.months
        assert local.second == local.microsecond == 0
