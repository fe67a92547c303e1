"""Lives one Pod's life: feeds its machine, has its orders carried out, wakes it in time.

A worker costs no task while nothing happens: events are calls, orders and the timer are tasks.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.base.tasks import TaskOwner
from navarch.services.kubelet.core.backoff import LONGEST_S
from navarch.services.kubelet.core.deeds import Deeds
from navarch.services.kubelet.core.machine import PodMachine
from navarch.services.kubelet.core.observed import CREATED, RUNNING, Container
from navarch.services.kubelet.core.orders import (
    Done,
    Emit,
    Event,
    Failed,
    Order,
    Probed,
    ResizeContainer,
    ResizeJudged,
    Seen,
    StartContainer,
    Tick,
)
from navarch.services.kubelet.core.references import ConfigError
from navarch.services.kubelet.core.stages import Stage
from navarch.services.kubelet.core.view import View
from navarch.services.kubelet.happenings import Happenings
from navarch.services.kubelet.probes import OnProbe, Prober
from navarch.services.kubelet.runtime import Runtime


class CarriesOut(Protocol):
    """The executor, as a worker sees it."""

    async def carry_out(self, worker: "PodWorker", order: Order) -> Done | Failed:
        """Carry one order out; never raises."""
        ...


class PodWorker:
    """One Pod on this node."""

    def __init__(
        self,
        pod: corev1.Pod,
        *,
        executor: CarriesOut,
        runtime: Runtime,
        happenings: Happenings,
        clock: Clock,
        host_ip: str,
        on_change: Callable[["PodWorker", bool], None],
        on_probe: OnProbe,
        longest_crash_wait_s: float = LONGEST_S,
    ) -> None:
        self.machine = PodMachine(pod, longest_crash_wait_s)
        self.deeds = Deeds()
        # When this kubelet first saw it; Unix seconds.
        self.seen_at = clock.now()
        self._executor = executor
        self._happenings = happenings
        self._clock = clock
        self._on_change = on_change
        self._prober = Prober(runtime, clock, happenings, host_ip, self.tell, on_probe)
        self._tasks = TaskOwner()
        self._timer: asyncio.Task[None] | None = None
        self._timer_at: float | None = None
        self._log = get_logger("kubelet.pod").bind(pod=self.view.name)

    @property
    def uid(self) -> str:
        """Of the Pod."""
        return self.view.pod.metadata.uid

    @property
    def view(self) -> View:
        """What is known of the Pod."""
        return self.machine.view

    @property
    def is_busy(self) -> bool:
        """Whether orders are under way."""
        return bool(self.machine.in_flight)

    @property
    def is_gone(self) -> bool:
        """Whether nothing is left to do."""
        return self.machine.stage == Stage.GONE and not self.machine.in_flight

    def tell(self, event: Event) -> None:
        """Take in an event."""
        before = self.machine.stage
        orders = self.machine.handle(event, self._clock.now())
        if self.machine.stage != before:
            self._log.info("pod.stage", stage=self.machine.stage.value)
        for order in orders:
            if isinstance(order, Emit):
                self._happenings.tell(self.view.pod, order.type, order.reason, order.message, order.container)
            else:
                self.deeds.given(order, self._clock.now())
                self._tasks.spawn(self._carry_out(order), f"order-{order.key[0]}")
        self._set_timer()
        self._prober.sync(self.view)
        self._on_change(self, self._is_urgent(event) or self.machine.runs_nothing)

    async def _carry_out(self, order: Order) -> None:
        answer = await self._executor.carry_out(self, order)
        self.deeds.answered(answer, self._clock.now())
        if isinstance(answer, Failed):
            self._log.warning("order.failed", order=order.key[0], reason=answer.reason, message=answer.message)
        self.tell(answer)

    def _set_timer(self) -> None:
        at = self.machine.wake_at
        if at == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, at
        if at is not None:
            self._timer = self._tasks.spawn(self._wake(at), "timer")

    async def _wake(self, at: float) -> None:
        await self._clock.sleep(at - self._clock.now())
        self._timer, self._timer_at = None, None
        self.tell(Tick())

    def container(self, name: str) -> corev1.Container:
        """A container of the Pod's spec. Raises ConfigError when it has none of this name."""
        if (found := self.view.container(name)) is None:
            raise ConfigError(f"the Pod has no container {name}")
        return found

    async def stop(self) -> None:
        """Abandon the Pod as it is: its containers keep running."""
        await self._prober.stop()
        await self._tasks.close()

    def _is_urgent(self, event: Event) -> bool:
        """Whether somebody waits to hear of this: a container has started or ended, an order failed, a probe spoke.

        That a container runs is seen a moment before the order to start it is done: one report tells both. Of a Pod
        that is being deleted only the end is of interest, which its removal reports.
        """
        if isinstance(event, Failed | Probed | ResizeJudged):
            return True
        if self.view.deleted:
            return False
        if isinstance(event, Seen):
            containers = (fact for fact in event.facts if isinstance(fact, Container))
            return any(
                one.state != CREATED and not (one.state == RUNNING and one.name in self.view.starting)
                for one in containers
            )
        return isinstance(event, Done) and isinstance(event.order, StartContainer | ResizeContainer)
