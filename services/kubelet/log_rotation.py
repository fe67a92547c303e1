"""Keeps the logs of running containers small: a log that has grown is set aside, and the oldest are removed.

    0.log                       what the runtime writes to, and what people read
    0.log.20260131-120000       set aside; the newest few are kept

Level-triggered: sizes are looked at now and then. A kubelet that died between the renaming and the reopening
leaves a log without its file; the next look has the runtime open a new one.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.kubelet.runtime import Runtime, RuntimeFailure

CHECK_S = 10.0
MAX_BYTES = 10 << 20
# With the one that is written to.
MAX_FILES = 5

# A running container's id and its log.
Log = tuple[str, Path]


def all_files(log: Path) -> list[Path]:
    """A log and all that was set aside of it, oldest first, the log itself last."""
    return [*sorted(log.parent.glob(f"{log.name}.*")), log]


class LogRotation:
    """Rotates the logs that `logs` names."""

    def __init__(
        self,
        runtime: Runtime,
        clock: Clock,
        logs: Callable[[], Iterable[Log]],
        max_bytes: int = MAX_BYTES,
        max_files: int = MAX_FILES,
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._logs = logs
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._log = get_logger("kubelet.logs")

    async def run(self) -> None:
        """Look at all logs now and then, for ever."""
        while True:
            await self._clock.sleep(CHECK_S)
            await self.rotate()

    async def rotate(self) -> None:
        """Look at all logs once."""
        for id_, log in list(self._logs()):
            try:
                if self._set_aside(log):
                    await self._runtime.reopen_log(id_)
            except (RuntimeFailure, OSError) as failure:
                # A container that has just ended, or a runtime that is away: the next look finds what is left to do.
                self._log.warning("log.not_rotated", path=log, error=failure)

    def _set_aside(self, log: Path) -> bool:
        """Whether the runtime is to open the log anew."""
        if not log.parent.is_dir():
            return False
        if not log.exists():
            return True
        if log.stat().st_size < self._max_bytes:
            return False
        stamp = f"{datetime.fromtimestamp(self._clock.now(), UTC):%Y%m%d-%H%M%S}"
        log.rename(log.with_name(f"{log.name}.{stamp}"))
        for old in all_files(log)[: -self._max_files]:
            old.unlink()
        return True
