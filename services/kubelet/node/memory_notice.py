"""Has the kernel say when memory runs short, so that nobody has to look often.

With control groups of version 1 it tells when the use of all memory crosses an amount; else, where it measures
pressure stalls (PSI), when tasks wait for memory. Where it does neither, the usual looks have to do.
"""

import asyncio
import os
import select
from collections.abc import Callable
from pathlib import Path

from navarch.services.base.log import get_logger

GROUP = Path("/sys/fs/cgroup/memory")
STALLS = Path("/proc/pressure/memory")
# In microseconds: stalled for 70 ms within a second.
STALL_TRIGGER = b"some 70000 1000000"


class MemoryNotice:
    """Calls `on_notice` on the loop; possibly for nothing."""

    def __init__(self, on_notice: Callable[[], None]) -> None:
        self._on_notice = on_notice
        self._close: Callable[[], None] | None = None
        self._armed_at = -1
        self._log = get_logger("kubelet.eviction")

    def arm(self, usage_bytes: int) -> None:
        """Tell when more than this is in use: the working set that is too much, and the files that can be dropped."""
        by_amount = GROUP.is_dir()
        if self._close is not None and (not by_amount or usage_bytes == self._armed_at):
            return
        self.close()
        try:
            self._close = self._arm_amount(usage_bytes) if by_amount else self._arm_stalls()
            self._armed_at = usage_bytes
        except OSError as failure:
            self._close = lambda: None
            self._log.info("eviction.no_notice", error=failure)

    def close(self) -> None:
        """Tell nothing any more."""
        close, self._close = self._close, None
        if close is not None:
            close()

    def _arm_amount(self, usage_bytes: int) -> Callable[[], None]:
        loop = asyncio.get_running_loop()
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        usage = -1
        try:
            usage = os.open(GROUP / "memory.usage_in_bytes", os.O_RDONLY | os.O_CLOEXEC)
            (GROUP / "cgroup.event_control").write_text(f"{event} {usage} {usage_bytes}")
        except OSError:
            os.close(event)
            raise
        finally:
            # The kernel holds on to the file by itself.
            if usage >= 0:
                os.close(usage)
        loop.add_reader(event, lambda: (os.eventfd_read(event), self._on_notice()))

        def close() -> None:
            loop.remove_reader(event)
            os.close(event)

        return close

    def _arm_stalls(self) -> Callable[[], None]:
        loop = asyncio.get_running_loop()
        trigger = os.open(STALLS, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(trigger, STALL_TRIGGER)
        except OSError:
            os.close(trigger)
            raise
        # The loop waits for what can be read only; an epoll can be read when a trigger fires.
        poller = select.epoll()
        poller.register(trigger, select.EPOLLPRI)
        loop.add_reader(poller.fileno(), lambda: (poller.poll(0), self._on_notice()))

        def close() -> None:
            loop.remove_reader(poller.fileno())
            poller.close()
            os.close(trigger)

        return close
