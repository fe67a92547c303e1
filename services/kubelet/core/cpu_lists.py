"""Lists of CPUs as cpuset(7) writes them: "0-3,5"."""

import re
from collections.abc import Iterable

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def read_cpus(text: str) -> frozenset[int]:
    """Read a list. Raises ValueError: what is wrong with it."""
    found: set[int] = set()
    for entry in filter(None, text.strip().split(",")):
        match = _RANGE.fullmatch(entry)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(f'"{entry}" is no list of CPUs, expected such as 0-3,5')
        found.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return frozenset(found)


def write_cpus(cpus: Iterable[int]) -> str:
    """Write a list, in ascending order, with ranges where there are any."""
    ranges: list[list[int]] = []
    for cpu in sorted(cpus):
        if ranges and ranges[-1][-1] == cpu - 1:
            ranges[-1][1:] = [cpu]
        else:
            ranges.append([cpu])
    return ",".join("-".join(map(str, one)) for one in ranges)
