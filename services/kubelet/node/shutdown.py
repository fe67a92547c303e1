"""Ends the Pods in order when the host goes down, so that they can say goodbye.

Told by `begin` (logind's announcement, or SIGPWR where there is none): the node says that it is not Ready and takes
no more Pods; those that there are end group by group, the ones of low priority first, each group within its period.
Told by `cancel` that the host stays, it takes Pods again.
"""

import asyncio
from collections.abc import Callable, Iterable

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.kubelet.core.orders import Evict, Rejected
from navarch.services.kubelet.core.pressure import disruption
from navarch.services.kubelet.core.shutdown_plan import (
    MESSAGE,
    NODE_MESSAGE,
    REASON,
    REFUSED_MESSAGE,
    REFUSED_REASON,
    Group,
    ShutdownPolicy,
)
from navarch.services.kubelet.pod_worker import PodWorker


class Shutdown:
    """The graceful shutdown of one node."""

    def __init__(
        self,
        policy: ShutdownPolicy,
        clock: Clock,
        workers: Callable[[], Iterable[PodWorker]],
        on_change: Callable[[], None],
    ) -> None:
        self.policy = policy
        self._clock = clock
        self._workers = workers
        self._on_change = on_change
        self._pod_changed = asyncio.Event()
        self._log = get_logger("kubelet.shutdown")
        self.under_way = False

    @property
    def problem(self) -> str:
        """Why the node is not Ready; "" while no shutdown is under way."""
        return NODE_MESSAGE if self.under_way else ""

    def refuse(self, _: corev1.Pod) -> Rejected | None:
        """The refusal of a new Pod while the node goes down."""
        return Rejected(REFUSED_REASON, f"Pod was rejected: {REFUSED_MESSAGE}") if self.under_way else None

    def pod_changed(self) -> None:
        """Something happened to a Pod: it may be gone."""
        self._pod_changed.set()

    def cancel(self) -> None:
        """The host stays up after all."""
        self.under_way = False
        self._on_change()

    async def begin(self) -> None:
        """End all Pods in order. Returns when they are gone or their time is over."""
        if self.under_way or not self.policy.periods:
            return
        self._log.info("shutdown.begin", seconds=self.policy.total_s)
        self.under_way = True
        self._on_change()
        by_uid = {worker.uid: worker for worker in self._workers() if not worker.machine.runs_nothing}
        for group in self.policy.groups(worker.view.pod for worker in by_uid.values()):
            await self._end(group, [by_uid[pod.metadata.uid] for pod in group.pods])
        self._log.info("shutdown.done")

    async def _end(self, group: Group, workers: list[PodWorker]) -> None:
        self._log.info("shutdown.group", priority=group.priority, pods=[worker.view.name for worker in workers])
        for worker in workers:
            grace_s = min(float(worker.view.pod.spec.termination_grace_period_seconds), group.period_s)
            worker.tell(Evict(REASON, MESSAGE, grace_s, disruption(MESSAGE)))
        deadline = self._clock.monotonic() + group.period_s
        while self.under_way and not all(worker.machine.runs_nothing for worker in workers):
            left_s = deadline - self._clock.monotonic()
            if left_s <= 0:
                self._log.warning("shutdown.group_lingers", priority=group.priority)
                return
            self._pod_changed.clear()
            waits = [
                asyncio.ensure_future(self._clock.sleep(left_s)),
                asyncio.ensure_future(self._pod_changed.wait()),
            ]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
