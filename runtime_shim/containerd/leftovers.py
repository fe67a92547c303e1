"""What an interrupted start leaves outside containerd's knowledge, and how it is cleared.

When the shim is killed while containerd makes a task, the containerd-shim waits for someone to read the pipes.
containerd gives up on it after some seconds and forgets it, but the process, and the mount of its root file
system, may stay for good. Nothing tells us so; it is seen only in /proc.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from navarch.runtime_shim.containerd import log_keeper
from navarch.services.base.clock import Clock
from navarch.services.base.mounting import mount_points, unmount

# Those of other runtimes are named alike.
SHIM_PROGRAMS = "containerd-shim-"
# How long containerd may take to clean up after a containerd-shim that we killed, before we do it.
CLEAN_UP_S = 5.0
POLL_S = 0.02


def shim_processes(containerd_socket: Path, container_id: str = "") -> Iterator[int]:
    """The containerd-shims that serve this containerd, or only this container of it, by how they were started."""
    wanted = {os.fsencode(containerd_socket), *([container_id.encode()] if container_id else [])}
    for pid, words in _commands():
        if Path(os.fsdecode(words[0])).name.startswith(SHIM_PROGRAMS) and wanted <= set(words):
            yield pid


def is_shim(pid: int) -> bool:
    """Whether this process is a containerd-shim."""
    try:
        program = Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0]
    except OSError:
        return False
    return Path(os.fsdecode(program)).name.startswith(SHIM_PROGRAMS)


def keeper_processes(state_dir: Path) -> Iterator[int]:
    """The log keeper of this folder; while one is starting there may be more."""
    for pid, words in _commands():
        if os.fsencode(log_keeper.__file__) in words and os.fsencode(state_dir) in words:
            yield pid


def _commands() -> Iterator[tuple[int, list[bytes]]]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            yield int(entry.name), (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # Ended just now.


async def clear(containerd_socket: Path, container_id: str, clock: Clock) -> None:
    """End a task that containerd no longer, or not yet, knows of. Not for one that it lists."""
    for pid in shim_processes(containerd_socket, container_id):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = clock.monotonic() + CLEAN_UP_S
    while mount_points(f"/{container_id}/rootfs/"):
        if clock.monotonic() > deadline:
            for point in mount_points(f"/{container_id}/rootfs/"):
                unmount(point)
        await clock.sleep(POLL_S)
