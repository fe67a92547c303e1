"""All that a control group counts, under one set of names for versions 1 and 2 of control groups.

Read when metrics are asked for, and by nothing else: what statistics need is in `Cgroups.usage`.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from navarch.runtime_shim.containerd.cgroups import Cgroups, fields_of, number_in, text_of

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
# The kernel's name of a figure in memory.stat, by ours: of version 1 and of version 2.
_MEMORY = {
    "cache": ("total_cache", "file"),
    "rss": ("total_rss", "anon"),
    "mapped_file": ("total_mapped_file", "file_mapped"),
    "active_file": ("total_active_file", "active_file"),
    "inactive_file": ("total_inactive_file", "inactive_file"),
    "pgfault": ("total_pgfault", "pgfault"),
    "pgmajfault": ("total_pgmajfault", "pgmajfault"),
}


@dataclass(slots=True)
class DeviceIo:
    """What a group has read from and written to a block device."""

    read_bytes: int = 0
    reads: int = 0
    written_bytes: int = 0
    writes: int = 0


@dataclass(frozen=True, slots=True)
class Counters:
    """Figures of a group. Times in nanoseconds. memory: by the keys of `_MEMORY`. io: by "major:minor"."""

    cpu_ns: int = 0
    cpu_user_ns: int = 0
    cpu_system_ns: int = 0
    periods: int = 0
    throttled_periods: int = 0
    throttled_ns: int = 0
    memory_bytes: int = 0
    memory_peak_bytes: int = 0
    memory_limit_hits: int = 0
    oom_kills: int = 0
    kernel_bytes: int = 0
    swap_bytes: int = 0
    memory: Mapping[str, int] = field(default_factory=dict)
    processes: int = 0
    # 0: no limit.
    processes_limit: int = 0
    io: Mapping[str, DeviceIo] = field(default_factory=dict)

    @property
    def working_set_bytes(self) -> int:
        """Memory that cannot be had back by writing out files."""
        return max(0, self.memory_bytes - self.memory.get("inactive_file", 0))


def read(cgroups: Cgroups, group: str) -> Counters:
    """The counters of a group; one that is gone counts nothing."""
    return _unified(cgroups.folder("", group)) if cgroups.unified else _divided(cgroups, group)


def _divided(cgroups: Cgroups, group: str) -> Counters:
    cpu, memory = fields_of(cgroups.folder("cpu", group) / "cpu.stat"), cgroups.folder("memory", group)
    account, pids = cgroups.folder("cpuacct", group), cgroups.folder("pids", group)
    statistics, ticks = fields_of(memory / "memory.stat"), fields_of(account / "cpuacct.stat")
    return Counters(
        cpu_ns=number_in(account / "cpuacct.usage"),
        cpu_user_ns=ticks.get("user", 0) * _TICK_NS,
        cpu_system_ns=ticks.get("system", 0) * _TICK_NS,
        periods=cpu.get("nr_periods", 0),
        throttled_periods=cpu.get("nr_throttled", 0),
        throttled_ns=cpu.get("throttled_time", 0),
        memory_bytes=number_in(memory / "memory.usage_in_bytes"),
        memory_peak_bytes=number_in(memory / "memory.max_usage_in_bytes"),
        memory_limit_hits=number_in(memory / "memory.failcnt"),
        oom_kills=fields_of(memory / "memory.oom_control").get("oom_kill", 0),
        kernel_bytes=number_in(memory / "memory.kmem.usage_in_bytes"),
        swap_bytes=statistics.get("total_swap", 0),
        memory={name: statistics.get(theirs, 0) for name, (theirs, _) in _MEMORY.items()},
        processes=number_in(pids / "pids.current"),
        processes_limit=number_in(pids / "pids.max"),
        io=_divided_io(cgroups.folder("blkio", group)),
    )


def _unified(folder: Path) -> Counters:
    cpu, statistics = fields_of(folder / "cpu.stat"), fields_of(folder / "memory.stat")
    events = fields_of(folder / "memory.events")
    return Counters(
        cpu_ns=cpu.get("usage_usec", 0) * 1000,
        cpu_user_ns=cpu.get("user_usec", 0) * 1000,
        cpu_system_ns=cpu.get("system_usec", 0) * 1000,
        periods=cpu.get("nr_periods", 0),
        throttled_periods=cpu.get("nr_throttled", 0),
        throttled_ns=cpu.get("throttled_usec", 0) * 1000,
        memory_bytes=number_in(folder / "memory.current"),
        memory_peak_bytes=number_in(folder / "memory.peak"),
        memory_limit_hits=events.get("max", 0),
        oom_kills=events.get("oom_kill", 0),
        kernel_bytes=statistics.get("kernel", 0),
        swap_bytes=number_in(folder / "memory.swap.current"),
        memory={name: statistics.get(theirs, 0) for name, (_, theirs) in _MEMORY.items()},
        processes=number_in(folder / "pids.current"),
        processes_limit=number_in(folder / "pids.max"),
        io=_unified_io(folder),
    )


def _divided_io(folder: Path) -> dict[str, DeviceIo]:
    found: dict[str, DeviceIo] = {}
    for name, direction, count in _throttle_lines(folder / "blkio.throttle.io_service_bytes_recursive"):
        one = found.setdefault(name, DeviceIo())
        if direction == "Read":
            one.read_bytes = count
        elif direction == "Write":
            one.written_bytes = count
    for name, direction, count in _throttle_lines(folder / "blkio.throttle.io_serviced_recursive"):
        one = found.setdefault(name, DeviceIo())
        if direction == "Read":
            one.reads = count
        elif direction == "Write":
            one.writes = count
    return found


def _throttle_lines(path: Path) -> Iterator[tuple[str, str, int]]:
    """Lines such as "8:0 Read 4096"; the total at the end has two words."""
    for line in text_of(path).splitlines():
        words = line.split()
        if len(words) == 3 and words[2].isdecimal():
            yield words[0], words[1], int(words[2])


def _unified_io(folder: Path) -> dict[str, DeviceIo]:
    found = {}
    for line in text_of(folder / "io.stat").splitlines():
        name, *pairs = line.split()
        known = {key: int(value) for key, _, value in (pair.partition("=") for pair in pairs) if value.isdecimal()}
        found[name] = DeviceIo(*(known.get(key, 0) for key in ("rbytes", "rios", "wbytes", "wios")))
    return found
