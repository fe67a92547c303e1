"""What disks hold: whole file systems at once, and directories, which are walked seldom and beside everything else."""

import asyncio
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from navarch.protos.navarch import stats_pb2
from navarch.services.base.clock import Clock
from navarch.services.kubelet.node.usage import disk_use

PERIOD_S = 60.0
# For what was never measured an answer waits so long.
PATIENCE_S = 2.0
THREADS = 2
# The uid of a Pod and the name of its volume.
Key = tuple[str, str]


def file_system(path: Path) -> stats_pb2.FsUsage:
    """The file system that holds a path. Raises OSError."""
    disk = os.statvfs(path)
    return stats_pb2.FsUsage(
        available_bytes=disk.f_bavail * disk.f_frsize,
        capacity_bytes=disk.f_blocks * disk.f_frsize,
        used_bytes=(disk.f_blocks - disk.f_bfree) * disk.f_frsize,
        inodes_free=disk.f_ffree,
        inodes=disk.f_files,
        inodes_used=disk.f_files - disk.f_ffree,
    )


def mounted(path: Path) -> stats_pb2.FsUsage:
    """The file system of a volume. Raises OSError, also for a volume that is a device."""
    if not path.is_dir():
        raise NotADirectoryError(path)
    return file_system(path)


def directory(path: Path) -> stats_pb2.FsUsage:
    """What a directory takes of its file system. Raises OSError."""
    usage = file_system(path)
    used = disk_use(path)
    usage.used_bytes, usage.inodes_used = used.bytes, used.inodes
    return usage


class SlowReadings:
    """Readings that take their time, each done in a thread at most once a minute; the last one serves meanwhile."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._threads = ThreadPoolExecutor(THREADS, "kubelet-disks")
        self._known: dict[Key, tuple[float, stats_pb2.FsUsage]] = {}
        self._under_way: dict[Key, asyncio.Future[stats_pb2.FsUsage]] = {}

    async def of(self, wanted: Mapping[Key, Callable[[], stats_pb2.FsUsage]]) -> dict[Key, stats_pb2.FsUsage]:
        """The readings by key, as far as there are any; all others are forgotten."""
        now = self._clock.monotonic()
        for key in self._known.keys() - wanted.keys():
            del self._known[key]
        for key, read in wanted.items():
            if key not in self._under_way and (key not in self._known or now - self._known[key][0] >= PERIOD_S):
                future = asyncio.get_running_loop().run_in_executor(self._threads, read)
                self._under_way[key] = future
                future.add_done_callback(partial(self._read, key))
        if first := [self._under_way[key] for key in wanted if key not in self._known]:
            await asyncio.wait(first, timeout=PATIENCE_S)
        return {key: self._known[key][1] for key in wanted if key in self._known}

    def _read(self, key: Key, done: "asyncio.Future[stats_pb2.FsUsage]") -> None:
        self._under_way.pop(key, None)
        # What is being removed cannot be read: it will not be asked for again.
        if not done.cancelled() and done.exception() is None:
            self._known[key] = (self._clock.monotonic(), done.result())

    def close(self) -> None:
        """Begin no more readings."""
        self._threads.shutdown(wait=False, cancel_futures=True)
