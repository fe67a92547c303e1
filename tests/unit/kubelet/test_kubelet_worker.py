"""A Pod's worker: its timer, and clocks that are set back."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from navarch.services.kubelet.core.orders import Admitted, Done, EnsureImage, Failed, Order, PodChanged
from navarch.services.kubelet.happenings import Happenings
from navarch.services.kubelet.pod_worker import PodWorker
from navarch.services.kubelet.runtime import Runtime

START = 1_700_000_000.0


class SettableClock:
    """Sleeps end when monotonic time says so; the wall clock may be set to anything meanwhile."""

    def __init__(self) -> None:
        self.wall = START
        self.slept: list[float] = []
        self._wakes: list[asyncio.Event] = []

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        event = asyncio.Event()
        self._wakes.append(event)
        await event.wait()

    def wake(self) -> None:
        for event in self._wakes:
            event.set()


class Refuses:
    """Nothing can be pulled; all else succeeds."""

    def __init__(self) -> None:
        self.pulls = 0

    async def carry_out(self, worker: PodWorker, order: Order) -> Done | Failed:
        if isinstance(order, EnsureImage):
            self.pulls += 1
            return Failed(order, "ErrImagePull", "no")
        return Done(order)


async def test_a_retry_comes_in_time_though_the_clock_was_set_back(pod: Any) -> None:
    clock, executor = SettableClock(), Refuses()
    happenings = cast(Happenings, SimpleNamespace(tell=lambda *_: None))
    worker = PodWorker(
        pod(),
        executor=executor,
        runtime=cast(Runtime, None),
        happenings=happenings,
        clock=clock,
        host_ip="",
        on_change=lambda *_: None,
    )
    worker.tell(PodChanged(worker.view.pod))
    worker.tell(Admitted())
    async with asyncio.timeout(10):
        while executor.pulls < 1 or worker.is_busy or not clock.slept:  # noqa: ASYNC110
            await asyncio.sleep(0)
        clock.wall = START - 3600
        clock.wake()
        while executor.pulls < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
    await worker.stop()
