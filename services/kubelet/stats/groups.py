"""Reads what a control group has used, of either version of them.

Source: the kernel's cgroup-v1 and cgroup-v2 documentation.
"""

from dataclasses import dataclass, field
from pathlib import Path

from navarch.protos.navarch import stats_pb2

ROOT = Path("/sys/fs/cgroup")
PRESSURES = ("cpu", "memory", "io")
# What version 1 says for no limit is the largest multiple of the page size.
NO_LIMIT = 1 << 62


@dataclass(frozen=True, slots=True)
class GroupUse:
    """What a group has used. Limits: None for none.

    pressures: by "cpu", "memory" and "io", where the kernel counts them.
    """

    cpu_ns: int
    memory_bytes: int
    working_set_bytes: int
    rss_bytes: int
    page_faults: int
    major_page_faults: int
    memory_limit_bytes: int | None
    swap_bytes: int
    swap_limit_bytes: int | None
    processes: int
    pressures: dict[str, stats_pb2.Pressure] = field(default_factory=dict)


def read_group(path: str, root: Path = ROOT) -> GroupUse | None:
    """A group below the root of the hierarchies; None for one that is not there (any more), or without a name."""
    if not path:
        return None
    try:
        return _v1(path, root) if (root / "memory").is_dir() else _v2(path, root)
    except (OSError, ValueError, KeyError):
        return None


def read_cpu_ns(path: str, root: Path = ROOT) -> int | None:
    """Only the CPU time of a group."""
    name = path.lstrip("/")
    try:
        if (root / "cpuacct").is_dir():
            return int((root / "cpuacct" / name / "cpuacct.usage").read_text())
        return _fields(root / name / "cpu.stat")["usage_usec"] * 1000
    except (OSError, ValueError, KeyError):
        return None


def first_process(path: str, root: Path = ROOT) -> int | None:
    """Some process of a group; None for an empty one."""
    below = root / "memory" if (root / "memory").is_dir() else root
    try:
        return next((int(pid) for pid in (below / path.lstrip("/") / "cgroup.procs").read_text().split()), None)
    except (OSError, ValueError):
        return None


def read_pressure(file: Path) -> stats_pb2.Pressure | None:
    """One file of pressure stall information; None where the kernel does not count it."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    found = stats_pb2.Pressure()
    for line in lines:
        kind, *pairs = line.split()
        values = dict(pair.split("=", 1) for pair in pairs)
        data = found.full if kind == "full" else found.some
        # The kernel counts microseconds.
        data.total = int(values["total"]) * 1000
        data.avg10, data.avg60, data.avg300 = (float(values[f"avg{seconds}"]) for seconds in (10, 60, 300))
    return found


def _v1(path: str, root: Path) -> GroupUse:
    name = path.lstrip("/")
    memory = root / "memory" / name
    counts = _fields(memory / "memory.stat")
    used, limit = int((memory / "memory.usage_in_bytes").read_text()), counts["hierarchical_memory_limit"]
    # Version 1 limits memory and swap together, and counts swap only where the kernel was told to.
    together = counts.get("hierarchical_memsw_limit", NO_LIMIT)
    return GroupUse(
        cpu_ns=int((root / "cpuacct" / name / "cpuacct.usage").read_text()),
        memory_bytes=used,
        working_set_bytes=max(0, used - counts["total_inactive_file"]),
        rss_bytes=counts["total_rss"],
        page_faults=counts["total_pgfault"],
        major_page_faults=counts["total_pgmajfault"],
        memory_limit_bytes=limit if limit < NO_LIMIT else None,
        swap_bytes=counts.get("total_swap", 0),
        swap_limit_bytes=max(0, together - limit) if together < NO_LIMIT else None,
        processes=_number(root / "pids" / name / "pids.current") or 0,
    )


def _v2(path: str, root: Path) -> GroupUse:
    group = root / path.lstrip("/")
    counts = _fields(group / "memory.stat")
    used = int((group / "memory.current").read_text())
    pressures = {name: read_pressure(group / f"{name}.pressure") for name in PRESSURES}
    return GroupUse(
        cpu_ns=_fields(group / "cpu.stat")["usage_usec"] * 1000,
        memory_bytes=used,
        working_set_bytes=max(0, used - counts["inactive_file"]),
        rss_bytes=counts["anon"],
        page_faults=counts["pgfault"],
        major_page_faults=counts["pgmajfault"],
        memory_limit_bytes=_number(group / "memory.max"),
        swap_bytes=_number(group / "memory.swap.current") or 0,
        swap_limit_bytes=_number(group / "memory.swap.max"),
        processes=_number(group / "pids.current") or 0,
        pressures={name: found for name, found in pressures.items() if found is not None},
    )


def _number(file: Path) -> int | None:
    """None for "max", and for a file that is not there."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _fields(file: Path) -> dict[str, int]:
    rows = (line.split() for line in file.read_text().splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2}
