"""Keeps the node from running short: looks at what is left, frees what is nobody's, then evicts Pods one by one.

A look comes every ten seconds, every second while a threshold is crossed, and at once when the kernel says that
memory gets short. Of the disk the dead containers and unused images go first. At most one Pod goes in a look, and the
next look waits until it is gone: what it held counts until then. Pods that exceed limits of their own on files go in
any case.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.kubelet.core.eviction_ranking import (
    PodUsage,
    has_limits,
    limit_signal,
    low_message,
    over_limit_message,
    ranked,
)
from navarch.services.kubelet.core.eviction_signals import (
    DISK_PRESSURE,
    MEMORY_SIGNALS,
    Observation,
    Signal,
    condition_of,
    resource_of,
)
from navarch.services.kubelet.core.eviction_thresholds import Threshold, hard_amount
from navarch.services.kubelet.core.orders import Evict, Rejected
from navarch.services.kubelet.core.pressure import Pressure, disruption, is_critical, refused_under
from navarch.services.kubelet.core.stages import Stage
from navarch.services.kubelet.node.container_gc import ContainerGc
from navarch.services.kubelet.node.image_gc import ImageGc
from navarch.services.kubelet.node.memory import inactive_file
from navarch.services.kubelet.node.memory_notice import MemoryNotice
from navarch.services.kubelet.node.usage import Disks, UsageReader
from navarch.services.kubelet.pod_worker import PodWorker
from navarch.services.kubelet.runtime import RuntimeFailure

REASON = "Evicted"
LOOK_S = 10.0
LOOK_UNDER_PRESSURE_S = 1.0
# A hard threshold leaves no time for goodbyes.
HARD_GRACE_S = 1.0
GONE_WITHIN_S = 30.0

TellNode = Callable[[Literal["Normal", "Warning"], str, str], None]


class Evictions:
    """The eviction manager of one node."""

    def __init__(
        self,
        *,
        pressure: Pressure,
        usage: UsageReader,
        workers: Callable[[], Iterable[PodWorker]],
        containers: ContainerGc,
        images: ImageGc,
        tell_node: TellNode,
        tell_pod: Callable[[corev1.Pod, Literal["Normal", "Warning"], str, str], None],
        on_conditions: Callable[[], None],
        clock: Clock,
        max_grace_s: float = 0.0,
        look_s: float = LOOK_S,
    ) -> None:
        self._pressure = pressure
        self._usage = usage
        self._workers = workers
        self._containers = containers
        self._images = images
        self._tell_node = tell_node
        self._tell_pod = tell_pod
        self._on_conditions = on_conditions
        self._clock = clock
        self._max_grace_s = max_grace_s
        self._look_s = look_s
        self._look_now = asyncio.Event()
        self._pod_changed = asyncio.Event()
        self._notice = MemoryNotice(self._look_now.set)
        self._disks: Disks | None = None
        self._log = get_logger("kubelet.eviction")
        # Told of each eviction: what was short, or which limit was exceeded.
        self.on_evicted: Callable[[str], None] = lambda _: None

    @property
    def conditions(self) -> Sequence[str]:
        """The pressures that the node is under."""
        return self._pressure.conditions

    def refuse(self, pod: corev1.Pod) -> Rejected | None:
        """The refusal of a new Pod under the pressure that there is; None to let it in."""
        return refused_under(self._pressure.conditions, pod)

    def pod_changed(self) -> None:
        """Something happened to a Pod: it may be gone."""
        self._pod_changed.set()

    async def run(self) -> None:
        """Look, for ever."""
        try:
            while True:
                evicted: list[PodWorker] = []
                try:
                    evicted = await self._look()
                except (RuntimeFailure, OSError) as failure:
                    self._log.warning("eviction.no_look", error=failure)
                if evicted:
                    await self._gone(evicted)
                else:
                    await self._pause()
        finally:
            self._notice.close()

    async def _pause(self) -> None:
        seconds = min(self._look_s, LOOK_UNDER_PRESSURE_S) if self._pressure.is_low else self._look_s
        await self._first_of(self._look_now, seconds)
        self._look_now.clear()

    async def _first_of(self, event: asyncio.Event, seconds: float) -> None:
        waits = [asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(event.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _gone(self, evicted: Sequence[PodWorker]) -> None:
        """Wait until nothing of them is left, or as long as that may take."""
        deadline = self._clock.monotonic() + GONE_WITHIN_S
        while not all(worker.machine.runs_nothing for worker in evicted):
            left_s = deadline - self._clock.monotonic()
            if left_s <= 0:
                self._log.warning("eviction.lingers", pods=[worker.view.name for worker in evicted])
                return
            self._pod_changed.clear()
            await self._first_of(self._pod_changed, left_s)

    async def _look(self) -> list[PodWorker]:
        """Look once. Returns the workers of the Pods that were evicted."""
        observations = await self._usage.observations()
        self._disks = self._disks or await self._usage.disks()
        self._arm(observations)
        before = self.conditions
        low = self._pressure.look(observations, self._clock.now())
        if self.conditions != before:
            self._log.info("eviction.conditions", conditions=self.conditions)
            self._on_conditions()
        candidates = {worker.uid: worker for worker in self._workers() if _may_go(worker)}
        if evicted := await self._evict_over_limits(candidates):
            return evicted
        if not low:
            return []
        first = low[0]
        self._tell_node("Warning", "EvictionThresholdMet", f"Attempting to reclaim {resource_of(first.signal)}")
        if await self._reclaim(first.signal):
            return []
        return await self._evict_one(candidates, low, observations)

    def _arm(self, observations: dict[Signal, Observation]) -> None:
        memory = observations[Signal.MEMORY]
        kept = hard_amount(self._pressure.thresholds, Signal.MEMORY, memory.capacity)
        # Rounded, so that it is not armed anew for every page.
        self._notice.arm((memory.capacity - kept + inactive_file()) >> 24 << 24)

    async def _reclaim(self, signal: Signal) -> bool:
        """Free what is nobody's on the disk that is short. Returns whether that was enough."""
        assert self._disks is not None
        disk = self._disks.of(signal)
        frees = [disk == self._disks.containers, disk == self._disks.images]
        if condition_of(signal) != DISK_PRESSURE or not any(frees):
            return False
        if frees[0]:
            await self._containers.remove_unused()
        if frees[1]:
            await self._images.remove_unused()
        return not self._pressure.remaining(await self._usage.observations())

    async def _evict_over_limits(self, candidates: dict[str, PodWorker]) -> list[PodWorker]:
        limited = [worker.view.pod for worker in candidates.values() if has_limits(worker.view.pod)]
        if not limited:
            return []
        usages = await self._usage.pods(limited, files=True)
        evicted = []
        for pod in limited:
            message = over_limit_message(pod, usages[pod.metadata.uid], image_disk=self._has_image_disk)
            worker = candidates[pod.metadata.uid]
            if message and _may_go(worker) and not is_critical(pod):
                self._evict(worker, limit_signal(message), message, HARD_GRACE_S)
                evicted.append(worker)
        return evicted

    @property
    def _has_image_disk(self) -> bool:
        return self._disks is not None and self._disks.containers != self._disks.node

    async def _evict_one(
        self, candidates: dict[str, PodWorker], low: Sequence[Threshold], observations: dict[Signal, Observation]
    ) -> list[PodWorker]:
        first, image_disk = low[0], self._has_image_disk
        of_files = first.signal not in (*MEMORY_SIGNALS, Signal.PID)
        pods = [worker.view.pod for worker in candidates.values()]
        usages: dict[str, PodUsage] = await self._usage.pods(pods, files=of_files)
        for pod in ranked(pods, usages, first.signal, image_disk=image_disk):
            worker = candidates[pod.metadata.uid]
            if is_critical(pod) or not _may_go(worker):
                continue
            message = low_message(pod, usages.get(worker.uid), first.signal, low, observations)
            grace_s = HARD_GRACE_S if first.hard else self._max_grace_s
            self._evict(worker, first.signal.value, message, grace_s, disruption(message))
            return [worker]
        self._log.warning("eviction.nobody", resource=resource_of(first.signal))
        return []

    def _evict(
        self, worker: PodWorker, signal: str, message: str, grace_s: float, condition: corev1.PodCondition | None = None
    ) -> None:
        self._log.info("eviction.evict", pod=worker.view.name, message=message)
        self._tell_pod(worker.view.pod, "Warning", REASON, message)
        self.on_evicted(signal)
        worker.tell(Evict(REASON, message, grace_s, condition))


def _may_go(worker: PodWorker) -> bool:
    """Whether it runs, and was not told to end already."""
    return not worker.machine.runs_nothing and worker.machine.stage != Stage.NEW and worker.view.verdict is None
