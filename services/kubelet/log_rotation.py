"""Keeps the logs of running containers small: a log that has grown is set aside, and the oldest are removed.

    0.log                          what the runtime writes to, and what people read
    0.log.20260131-130000          set aside last: whoever reads it goes on
    0.log.20260131-120000.gz       set aside before; the newest few are kept
    0.log.20260131-120000.tmp      being compressed

Level-triggered: sizes are looked at now and then. A kubelet that died between the renaming and the reopening
leaves a log without its file; the next look has the runtime open a new one.
"""

import asyncio
import gzip
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.kubelet.core.eviction_thresholds import ThresholdError
from navarch.services.kubelet.runtime import Runtime, RuntimeFailure

COMPRESSED, TEMPORARY = ".gz", ".tmp"

# A running container's id and its log.
Log = tuple[str, Path]


@dataclass(frozen=True, slots=True)
class LogPolicy:
    """How large a log may become (negative: without bounds), how many files it may be; how often that is seen to."""

    max_bytes: int = 10 << 20
    # With the one that is written to.
    max_files: int = 5
    workers: int = 1
    check_s: float = 10.0

    def __post_init__(self) -> None:
        if self.max_files < 2:
            raise ThresholdError(
                f"invalid configuration: containerLogMaxFiles (--container-log-max-files) "
                f"{self.max_files} must be greater than 1"
            )
        if self.workers < 1:
            raise ThresholdError(
                f"invalid configuration: containerLogMaxWorkers {self.workers} must be greater than or equal to 1"
            )


def all_files(log: Path) -> list[Path]:
    """A log and all that was set aside of it, oldest first, the log itself last."""
    return [*sorted(log.parent.glob(f"{log.name}.*")), log]


class LogRotation:
    """Rotates the logs that `logs` names."""

    def __init__(
        self, runtime: Runtime, clock: Clock, logs: Callable[[], Iterable[Log]], policy: LogPolicy | None = None
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._logs = logs
        self._policy = policy or LogPolicy()
        self._gate = asyncio.Semaphore(self._policy.workers)
        self._log = get_logger("kubelet.logs")

    async def run(self) -> None:
        """Look at all logs now and then, for ever."""
        while self._policy.max_bytes >= 0:
            await self._clock.sleep(self._policy.check_s)
            await self.rotate()

    async def rotate(self) -> None:
        """Look at all logs once."""
        await asyncio.gather(*(self._rotate(id_, log) for id_, log in list(self._logs())))

    async def _rotate(self, id_: str, log: Path) -> None:
        async with self._gate:
            try:
                if not _is_due(log, self._policy.max_bytes):
                    return
                await asyncio.to_thread(self._set_aside, log)
                await self._runtime.reopen_log(id_)
            except (RuntimeFailure, OSError) as failure:
                # A container that has just ended, or a runtime that is away: the next look finds what is left to do.
                self._log.warning("log.not_rotated", path=log, error=failure)

    def _set_aside(self, log: Path) -> None:
        """Make room for a new log; one that is not there was set aside already."""
        if not log.exists():
            return
        for half in log.parent.glob(f"{log.name}.*{TEMPORARY}"):
            half.unlink()
        # Beside these there will be the one that is set aside now, and the new log.
        kept = self._policy.max_files - 2
        old = all_files(log)[:-1]
        for path in old[: len(old) - kept]:
            path.unlink()
        for path in old[len(old) - kept :]:
            if path.suffix != COMPRESSED:
                _compress(path)
        stamp = f"{datetime.fromtimestamp(self._clock.now(), UTC):%Y%m%d-%H%M%S}"
        log.rename(log.with_name(f"{log.name}.{stamp}"))


def _is_due(log: Path, max_bytes: int) -> bool:
    """Whether the runtime is to open the log anew: it is too large, or it is not there."""
    if not log.parent.is_dir():
        return False
    try:
        return log.stat().st_size >= max_bytes
    except FileNotFoundError:
        return True


def _compress(path: Path) -> None:
    half = path.with_name(path.name + TEMPORARY)
    with path.open("rb") as source, gzip.open(half, "wb") as target:
        shutil.copyfileobj(source, target)
    half.rename(path.with_name(path.name + COMPRESSED))
    path.unlink()
