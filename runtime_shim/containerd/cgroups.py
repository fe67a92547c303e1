"""Control groups, version 1 and 2: where a group is, what it counts, whether something in it was killed for memory.

The shim makes none: runc does. It reads, and removes what nobody else will.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from navarch.runtime_shim.containerd.cgroup_driver import CgroupDriver

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Usage:
    """Counters of a group. memory figures in bytes; limits 0: none."""

    cpu_ns: int = 0
    memory_bytes: int = 0
    working_set_bytes: int = 0
    rss_bytes: int = 0
    memory_limit_bytes: int = 0
    page_faults: int = 0
    major_page_faults: int = 0
    processes: int = 0
    swap_bytes: int = 0
    swap_limit_bytes: int = 0


class Cgroups:
    """The control groups of this host. root: where they are mounted, another one for tests."""

    def __init__(self, root: Path = ROOT, driver: CgroupDriver = CgroupDriver.CGROUPFS) -> None:
        self.root = root
        self.driver = driver
        self.unified = (root / "cgroup.controllers").exists()

    def hierarchies(self) -> list[Path]:
        """One tree, or on version 1 one for each controller, named ones and the empty v2 tree included."""
        if self.unified:
            return [self.root]
        return sorted(path for path in self.root.iterdir() if path.is_dir() and not path.is_symlink())

    def folders(self, group: str) -> Iterator[Path]:
        """The group's folder in each tree that has it."""
        for tree in self.hierarchies():
            folder = tree / group.lstrip("/")
            if folder.is_dir():
                yield folder

    def exists(self, group: str) -> bool:
        """Whether any tree has the group."""
        return any(True for _ in self.folders(group))

    def has_controller(self, name: str) -> bool:
        """Whether limits of this kind can be set: "hugetlb", "memory.swap" ..."""
        controller, _, feature = name.partition(".")
        if self.unified:
            return controller in (self.root / "cgroup.controllers").read_text().split()
        folder = self.root / controller
        return (folder / "memory.memsw.limit_in_bytes").exists() if feature == "swap" else folder.is_dir()

    def usage(self, group: str) -> Usage:
        """What the group has used. A group that is gone has used nothing."""
        return self._usage_v2(group) if self.unified else self._usage_v1(group)

    def oom_kills(self, group: str) -> int:
        """How many processes of the group were killed for memory."""
        folder = self.folder("memory", group)
        return fields_of(folder / ("memory.events" if self.unified else "memory.oom_control")).get("oom_kill", 0)

    def pressure(self, group: str, resource: str) -> dict[str, dict[str, float]]:
        """How long tasks of the group waited for "cpu", "memory" or "io": avg10, avg60, avg300 and total of "some" and
        "full". Version 1 has no such figures; nor have kernels that don't count them.

        Source: the kernel's documentation of pressure stall information.
        """
        lines = text_of(self.folder("", group) / f"{resource}.pressure").splitlines() if self.unified else ()
        found = {}
        for line in lines:
            kind, *pairs = line.split()
            found[kind] = {key: float(value) for key, _, value in (pair.partition("=") for pair in pairs)}
        return found

    def pids(self, group: str) -> set[int]:
        """All processes in the group and below it."""
        found: set[int] = set()
        for folder in self.folders(group):
            for path, _, _ in os.walk(folder):
                found.update(int(pid) for pid in text_of(Path(path) / "cgroup.procs").split())
        return found

    def kill(self, group: str) -> None:
        """SIGKILL to all in the group and below it."""
        for pid in self.pids(group) - {os.getpid()}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def remove(self, group: str) -> bool:
        """Remove the group and the empty ones below it from every tree; False where processes hold it."""
        if not group.strip("/"):
            return False
        gone = True
        for folder in list(self.folders(group)):
            for path, _, _ in os.walk(folder, topdown=False):
                try:
                    os.rmdir(path)
                except FileNotFoundError:
                    continue
                except OSError:
                    gone = False
        return gone

    def folder(self, controller: str, group: str) -> Path:
        """Where the figures of a controller are; on version 2 of all of them."""
        return (self.root if self.unified else self.root / controller) / group.lstrip("/")

    def _usage_v1(self, group: str) -> Usage:
        memory = self.folder("memory", group)
        statistics = fields_of(memory / "memory.stat")
        used, limit = number_in(memory / "memory.usage_in_bytes"), number_in(memory / "memory.limit_in_bytes")
        together = statistics.get("hierarchical_memsw_limit", 0)
        return Usage(
            cpu_ns=number_in(self.folder("cpuacct", group) / "cpuacct.usage"),
            memory_bytes=used,
            working_set_bytes=max(0, used - statistics.get("total_inactive_file", 0)),
            rss_bytes=statistics.get("total_rss", 0),
            # "No limit" is the largest multiple of the page size.
            memory_limit_bytes=limit if limit < 1 << 62 else 0,
            page_faults=statistics.get("total_pgfault", 0),
            major_page_faults=statistics.get("total_pgmajfault", 0),
            processes=number_in(self.folder("pids", group) / "pids.current"),
            swap_bytes=statistics.get("total_swap", 0),
            # Version 1 limits memory and swap together.
            swap_limit_bytes=max(0, together - limit) if together < 1 << 62 else 0,
        )

    def _usage_v2(self, group: str) -> Usage:
        folder = self.folder("", group)
        statistics = fields_of(folder / "memory.stat")
        used = number_in(folder / "memory.current")
        return Usage(
            cpu_ns=fields_of(folder / "cpu.stat").get("usage_usec", 0) * 1000,
            memory_bytes=used,
            working_set_bytes=max(0, used - statistics.get("inactive_file", 0)),
            rss_bytes=statistics.get("anon", 0),
            memory_limit_bytes=number_in(folder / "memory.max"),
            page_faults=statistics.get("pgfault", 0),
            major_page_faults=statistics.get("pgmajfault", 0),
            processes=number_in(folder / "pids.current"),
            swap_bytes=number_in(folder / "memory.swap.current"),
            swap_limit_bytes=number_in(folder / "memory.swap.max"),
        )


def text_of(path: Path) -> str:
    """The content of a file; none where it is not there, or its group is just going."""
    try:
        return path.read_text()
    except OSError:
        return ""


def number_in(path: Path) -> int:
    """The one number in a file; 0 for "max" and for a file that is not there."""
    text = text_of(path).strip()
    return int(text) if text.isdecimal() else 0


def fields_of(path: Path) -> dict[str, int]:
    """The lines of a file that are a name and a number."""
    pairs = (line.split() for line in text_of(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}
