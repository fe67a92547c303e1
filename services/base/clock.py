"""Time as an argument.

Everything that reads the time or waits takes a `Clock`. Processes hand in `SystemClock`; tests hand in
`VirtualClock`, whose time moves only when the test moves it, so that no test waits or depends on load.
"""

import asyncio
import heapq
import itertools
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time, monotonic time and waiting."""

    def now(self) -> float:
        """Unix time in seconds. May jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back. For measuring and deadlines."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; a negative or zero wait only yields to other tasks."""
        ...


class SystemClock:
    """The clock of the host."""

    def now(self) -> float:
        """Unix time in seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since boot."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait on the running event loop."""
        await asyncio.sleep(max(0.0, seconds))


class VirtualClock:
    """A clock that stands still until told to move. Sleepers wake in the order of their deadlines."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._start = start
        self._elapsed = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Unix time in seconds: start plus what was advanced."""
        return self._start + self._elapsed

    def monotonic(self) -> float:
        """Seconds advanced since the clock was made."""
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been advanced by this much."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), future))
        await future

    def advance(self, seconds: float) -> None:
        """Move time and wake the sleepers that are due; they run when the caller next awaits."""
        self._elapsed += seconds
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)

    async def elapse(self, seconds: float) -> None:
        """Move time from deadline to deadline, letting the woken tasks run (and sleep again) in between."""
        end = self._elapsed + seconds
        await settle()
        while (due := self._next_deadline()) is not None and due <= end:
            self.advance(due - self._elapsed)
            await settle()
        self.advance(end - self._elapsed)
        await settle()

    def _next_deadline(self) -> float | None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None


async def settle(rounds: int = 20) -> None:
    """Let tasks that are ready run; enough rounds for a few hand-overs between them."""
    for _ in range(rounds):
        await asyncio.sleep(0)
