"""The network interfaces of a namespace, and what has passed through them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from navarch.runtime_shim.containerd import linux
from navarch.runtime_shim.containerd.cgroups import text_of


@dataclass(frozen=True, slots=True)
class Traffic:
    """In one direction."""

    bytes: int
    packets: int
    errors: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Interface:
    """See the module."""

    name: str
    received: Traffic
    sent: Traffic


def interfaces_of(pid: int) -> Iterator[Interface]:
    """Those of a process's network namespace; none when it has just ended."""
    return _parsed(text_of(Path(f"/proc/{pid}/net/dev")))


def interfaces_in(netns: Path) -> list[Interface]:
    """Those of a pinned network namespace. The calling thread stays in there. Raises OSError."""
    linux.enter_network(netns)
    return list(_parsed(text_of(Path("/proc/thread-self/net/dev"))))


def _parsed(text: str) -> Iterator[Interface]:
    for line in text.splitlines()[2:]:
        name, _, counters = line.partition(":")
        columns = [int(column) for column in counters.split()]
        yield Interface(name.strip(), Traffic(*columns[0:4]), Traffic(*columns[8:12]))
