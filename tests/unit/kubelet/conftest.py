"""Pods to speak of, and a node that carries a machine's orders out at once, in virtual time."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import codec
from navarch.services.kubelet.core.machine import PodMachine
from navarch.services.kubelet.core.observed import EXITED, RUNNING, Container, Sandbox
from navarch.services.kubelet.core.orders import (
    Admitted,
    DeletePod,
    Done,
    Emit,
    EnsureImage,
    Event,
    Failed,
    Order,
    PodChanged,
    RemoveContainer,
    RemoveSandbox,
    RunSandbox,
    Seen,
    StartContainer,
    StopContainer,
    StopSandbox,
    Tick,
)
from navarch.services.kubelet.core.stages import Stage

START = 1_700_000_000.0


def a_pod(name: str = "web", **spec: Any) -> corev1.Pod:
    spec.setdefault("containers", [{"name": "main", "image": "app:1"}])
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("restartPolicy", "Always")
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "generation": 1},
        "spec": {"nodeName": "n1", **spec},
    }
    pod = codec.from_json(manifest)
    assert isinstance(pod, corev1.Pod)
    return pod


class Node:
    """Carries out orders at once. Containers do what `exits` says: name -> exit codes of its runs, None to go on."""

    def __init__(self, pod: corev1.Pod) -> None:
        self.machine = PodMachine(pod)
        self.now = START
        self.exits: dict[str, list[int | None]] = {}
        self.refuse: dict[str, tuple[str, str]] = {}
        self.events: list[Emit] = []
        self.log: list[Order] = []
        self._ids = itertools.count()
        self._waiting: list[Order] = []

    def begin(self) -> None:
        self.tell(PodChanged(self.machine.view.pod))
        self.tell(Admitted())

    def tell(self, event: Event) -> None:
        self._take(self.machine.handle(event, self.now))
        while self._waiting:
            order = self._waiting.pop(0)
            self.log.append(order)
            if not self.held(order):
                self._take(self.machine.handle(self.carry_out(order), self.now))
        self.machine.check_invariants()

    def _take(self, orders: list[Order]) -> None:
        self.events += [order for order in orders if isinstance(order, Emit)]
        self._waiting += [order for order in orders if not isinstance(order, Emit)]

    def held(self, order: Order) -> bool:
        """Whether the order is to stay under way."""
        return False

    def carry_out(self, order: Order) -> Done | Failed:
        kind = order.key[0]
        if kind in self.refuse:
            return Failed(order, *self.refuse[kind])
        runtime = self.machine.view.runtime
        match order:
            case RunSandbox(attempt):
                return Done(order, (Sandbox(f"box{next(self._ids)}", attempt, True, self.now, ("10.0.0.9",)),))
            case EnsureImage():
                return Done(order, image_ref="sha256:1")
            case StartContainer(name, attempt, box):
                id_ = order.created or f"{name}-{attempt}-{next(self._ids)}"
                return Done(order, (Container(id_, name, attempt, box.id, RUNNING, self.now, self.now),))
            case StopContainer(id_):
                run = runtime.containers[id_]
                return Done(order, (replace(run, state=EXITED, exit_code=143, finished_at=self.now),))
        return Done(order)

    def exit(self, name: str, code: int) -> None:
        run = self.machine.view.runtime.latest(name)
        assert run is not None
        assert run.alive
        self.tell(Seen((replace(run, state=EXITED, exit_code=code, finished_at=self.now),)))

    def sleep_until_woken(self) -> float:
        """Move time to the machine's next wake-up. Returns the seconds slept."""
        assert self.machine.wake_at is not None
        slept = self.machine.wake_at - self.now
        self.now = self.machine.wake_at
        self.tell(Tick())
        return slept

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.tell(Tick())

    def delete(self, grace_s: int = 30) -> None:
        pod = corev1.Pod()
        pod.CopyFrom(self.machine.view.pod)
        pod.metadata.deletion_timestamp.seconds = int(self.now) + grace_s
        pod.metadata.deletion_grace_period_seconds = grace_s
        self.tell(PodChanged(pod))

    def started(self) -> list[tuple[str, int]]:
        return [(order.container, order.attempt) for order in self.log if isinstance(order, StartContainer)]

    def orders(self, *kinds: type[Order]) -> list[Order]:
        return [order for order in self.log if isinstance(order, kinds)]

    @property
    def stage(self) -> Stage:
        return self.machine.stage

    def waiting(self, name: str) -> str:
        waiting = self.machine.view.waiting.get(name)
        return waiting.reason if waiting else ""


REMOVALS = (RemoveContainer, RemoveSandbox, StopSandbox, DeletePod)


@pytest.fixture
def pod() -> Callable[..., corev1.Pod]:
    return a_pod


@pytest.fixture
def node() -> Callable[..., Node]:
    """A node that begins with a Pod of this spec."""

    def make(**spec: Any) -> Node:
        made = Node(a_pod(**spec))
        made.begin()
        return made

    return make


@pytest.fixture
def fresh_node() -> Callable[[corev1.Pod], Node]:
    """A node that has heard nothing yet."""
    return Node
