"""Waiting for something to change, for a while."""

import asyncio

from navarch.services.base.clock import Clock


class Pulse:
    """Wakes whoever waits at the moment. Nothing is remembered: look first, then wait, with no await in between."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def wake(self) -> None:
        """Wake all."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def wait(self, clock: Clock, at_most_s: float) -> None:
        """Wait for the next `wake`, at most this long (perhaps infinitely)."""
        woken = asyncio.get_running_loop().create_future()
        self._waiting.add(woken)
        timer = None
        try:
            if at_most_s == float("inf"):
                await woken
            else:
                timer = asyncio.ensure_future(clock.sleep(at_most_s))
                await asyncio.wait((woken, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting.discard(woken)
            if timer is not None:
                timer.cancel()
