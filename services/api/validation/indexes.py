"""Sets of indexes as Jobs write them: "1,3-5,7"."""

import re
from collections.abc import Iterator

from navarch.services.api.field_errors import quoted

_NUMBER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)


class IndexesError(ValueError):
    """What is wrong with a set of indexes."""


def count_indexes(text: str, completions: int) -> int:
    """How many indexes there are in an ascending list of them, all below completions. Raises IndexesError."""
    total, last = 0, None
    for fragment in text.split(",") if text else ():
        low, high = _interval(fragment, completions)
        if last is not None and last >= low:
            raise IndexesError(f"non-increasing order, previous: {last}, current: {low}")
        total, last = total + high - low + 1, high
    return total


def overlap(text: str, other: str, completions: int) -> int | None:
    """The first index in both of two sets; what cannot be read counts as not there."""
    theirs = list(_readable(other, completions))
    place = 0
    for low, high in _readable(text, completions):
        while place < len(theirs) and theirs[place][1] < low:
            place += 1
        if place < len(theirs) and theirs[place][0] <= high:
            return max(low, theirs[place][0])
    return None


def _readable(text: str, completions: int) -> Iterator[tuple[int, int]]:
    for fragment in text.split(","):
        try:
            yield _interval(fragment, completions)
        except IndexesError:
            continue


def _interval(fragment: str, completions: int) -> tuple[int, int]:
    ends = fragment.split("-")
    if len(ends) > 2:
        text = "violates the requirement that an index interval can have at most two parts separated by '-'"
        raise IndexesError(f"the fragment {quoted(fragment)} {text}")
    low, *rest = (_index(end, completions) for end in ends)
    if rest and low >= rest[0]:
        raise IndexesError(f"non-increasing order, previous: {low}, current: {rest[0]}")
    return low, rest[0] if rest else low


def _index(text: str, completions: int) -> int:
    if not _NUMBER.fullmatch(text):
        raise IndexesError(f"cannot convert string to integer for index: {quoted(text)}")
    if int(text) >= completions:
        raise IndexesError(f"too large index: {quoted(text)}")
    return int(text)
