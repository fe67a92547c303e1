"""The network interfaces of a namespace, and what has passed through them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from navarch.runtime_shim.containerd import linux
from navarch.runtime_shim.containerd.cgroups import text_of
from navarch.runtime_shim.containerd.sandbox_files import on_host_network
from navarch.runtime_shim.containerd.world import Sandbox
from navarch.runtime_shim.records import ContainerPhase, StateDir


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


async def interfaces(sandbox: Sandbox, state: StateDir) -> list[Interface]:
    """A sandbox's: seen from a process in it, which costs least; else from the namespace, but not the host's."""
    for container in sandbox.containers.values():
        if container.record.phase == ContainerPhase.RUNNING:
            return list(interfaces_of(container.record.pid))
    if on_host_network(sandbox.record.config):
        return []
    netns = state.sandbox(sandbox.record.id) / "net"
    try:
        return await linux.in_doomed_thread(lambda: interfaces_in(netns))
    except OSError:
        # It has been stopped meanwhile.
        return []


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
