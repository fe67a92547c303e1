"""Which Pods make room for a critical one, and when it is let in."""

from typing import Any, cast

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.admissions import Admissions
from navarch.services.kubelet.core.orders import Event, Evict, PodChanged, Rejected
from navarch.services.kubelet.core.preemption import MESSAGE, preempt, victims
from navarch.services.kubelet.core.stages import Stage
from navarch.services.kubelet.pod_worker import PodWorker

from .conftest import Node, a_pod

CRITICAL = 2_000_001_000


def asking(name: str, cpu: str = "", memory: str = "", *, limits: bool = False, **spec: Any) -> corev1.Pod:
    amounts = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    resources = {"requests": amounts, **({"limits": amounts} if limits else {})}
    return a_pod(name, containers=[{"name": "main", "image": "app:1", "resources": resources}], **spec)


FREE = [asking("free"), asking("free2")]
SMALL, MIDDLE, LARGE = (asking(name, f"{cores}") for name, cores in (("small", 1), ("middle", 2), ("large", 4)))
SURE = asking("sure", "4", "4Gi", limits=True)
LEAN = asking("lean", "2", "1Gi")
VITAL = asking("vital", "4", priority=CRITICAL)
MORE_VITAL = asking("more-vital", "4", priority=CRITICAL + 1)


@pytest.mark.parametrize(
    ("pods", "missing", "chosen"),
    [
        ([*FREE, SMALL], {"pods": 1}, ["free"]),
        ([*FREE, SMALL], {"pods": 3}, ["free", "free2", "small"]),
        ([*FREE, SMALL, LARGE], {"cpu": 500}, ["small"]),
        ([*FREE, SMALL, MIDDLE, LARGE], {"cpu": 2000}, ["middle"]),
        ([SMALL, MIDDLE], {"cpu": 3000}, ["small", "middle"]),
        # One Pod rather than two that fit more closely.
        ([SMALL, MIDDLE, LARGE], {"cpu": 3000}, ["large"]),
        ([SURE, SMALL, MIDDLE, LARGE], {"cpu": 7000}, ["small", "middle", "large"]),
        ([SURE, SMALL], {"cpu": 3000}, ["sure"]),
        # Of a Guaranteed Pod that has to go in any case the others need not give the rest.
        ([SURE, SMALL], {"cpu": 3000, "memory": 1 << 30}, ["sure"]),
        ([MIDDLE, LEAN], {"cpu": 2000}, ["middle"]),
        ([MIDDLE, LEAN], {"cpu": 2000, "memory": 1 << 30}, ["lean"]),
        ([LARGE, VITAL], {"cpu": 1000}, ["large"]),
        ([], {}, []),
    ],
)
def test_the_fewest_pods_of_the_lowest_class_go(pods: list[corev1.Pod], missing: dict[str, int], chosen: Any) -> None:
    for order in (pods, pods[::-1]):
        found = victims(VITAL, order, missing)
        assert not isinstance(found, Rejected)
        if len({pod.metadata.name for pod in found} & {"free", "free2"}) == 1:
            found = [FREE[0], *(pod for pod in found if pod not in FREE)]
        assert sorted(pod.metadata.name for pod in found) == sorted(chosen)


@pytest.mark.parametrize(
    ("critical", "other", "goes"),
    [
        (VITAL, LARGE, True),
        (VITAL, VITAL, False),
        (MORE_VITAL, VITAL, True),
        (VITAL, MORE_VITAL, False),
    ],
)
def test_a_critical_pod_makes_room_only_for_one_of_higher_priority(critical: Any, other: Any, goes: bool) -> None:
    found = victims(critical, [other], {"cpu": 1000})
    assert isinstance(found, Rejected) != goes


def test_where_all_pods_together_are_not_enough_none_goes() -> None:
    found = victims(VITAL, [*FREE, SMALL], {"cpu": 1500, "memory": 1})
    assert isinstance(found, Rejected)
    assert found.reason == "UnexpectedAdmissionError"
    assert found.message.endswith("to reclaim resources: [(res: cpu, q: 500), (res: memory, q: 1)]")


def test_what_a_displaced_pod_is_told() -> None:
    order = preempt(a_pod(terminationGracePeriodSeconds=7))
    assert (order.reason, order.message, order.grace_s) == ("Preempting", MESSAGE, 7.0)
    assert order.condition is not None
    assert (order.condition.type, order.condition.reason) == ("DisruptionTarget", "TerminationByKubelet")


class Host:
    """The Pods of one node with four CPUs, and who was told what."""

    def __init__(self) -> None:
        node = corev1.Node()
        for resource, amount in (("cpu", "4"), ("memory", "8Gi"), ("pods", "10")):
            node.status.allocatable[resource].string = amount
        self.told: list[str] = []
        self.admissions = Admissions(
            lambda: cast(list[PodWorker], list(self.workers.values())),
            lambda: node,
        )
        self.admissions.tell = lambda pod, type_, reason, _: self.told.append(f"{pod.metadata.name} {type_} {reason}")
        self.workers: dict[str, Worker] = {}

    def judge(self, pod: corev1.Pod) -> "Worker":
        worker = self.workers[pod.metadata.name] = Worker(self, pod)
        worker.tell(PodChanged(pod))
        self.admissions.judge(cast(PodWorker, worker))
        return worker


class Worker:
    """A Pod whose orders are carried out at once, but for its end where that is held back."""

    def __init__(self, host: Host, pod: corev1.Pod) -> None:
        self.node = Node(pod)
        self.machine = self.node.machine
        self.uid = pod.metadata.uid
        self.lingers = False
        self.kept: list[Event] = []
        self.host = host

    @property
    def view(self) -> Any:
        return self.machine.view

    def tell(self, event: Event) -> None:
        if isinstance(event, Evict) and self.lingers:
            self.kept.append(event)
            return
        self.node.tell(event)
        self.host.admissions.pod_changed()

    def end(self) -> None:
        self.lingers = False
        for event in self.kept:
            self.tell(event)


def test_a_critical_pod_is_let_in_when_those_before_it_are_gone_and_nobody_slips_in() -> None:
    host = Host()
    first, second = host.judge(asking("first", "2")), host.judge(asking("second", "2"))
    first.lingers = second.lingers = True
    vital = host.judge(VITAL)
    assert vital.machine.awaits_admission
    assert sorted(host.told) == ["first Warning Preempting", "second Warning Preempting"]
    first.end()
    assert vital.machine.awaits_admission
    late = host.judge(asking("late", "1"))
    assert late.machine.stage == Stage.REJECTED
    assert late.view.verdict.reason == "OutOfcpu"
    second.end()
    assert vital.machine.stage == Stage.RUNNING
    assert second.view.verdict.reason == "Preempting"


def test_a_pod_that_ends_anyway_is_waited_for_and_no_other_displaced() -> None:
    host = Host()
    host.judge(asking("stays", "2"))
    ending = host.judge(asking("ending", "2"))
    ending.view.ending = True
    vital = host.judge(asking("vital", "2", priority=CRITICAL))
    assert vital.machine.awaits_admission
    assert host.told == []
    ending.tell(Evict("Evicted", "low", 1.0))
    assert vital.machine.stage == Stage.RUNNING


def test_a_pod_that_takes_its_time_to_end_is_not_waited_for_where_there_is_room_without_it() -> None:
    host = Host()
    ending = host.judge(asking("ending", "1"))
    ending.view.ending = True
    victim = host.judge(asking("victim", "2"))
    victim.lingers = True
    vital = host.judge(asking("vital", "3", priority=CRITICAL))
    assert vital.machine.awaits_admission
    assert host.told == ["victim Warning Preempting"]
    victim.end()
    assert vital.machine.stage == Stage.RUNNING
    assert not ending.machine.runs_nothing


def test_a_critical_pod_that_cannot_get_room_is_refused() -> None:
    host = Host()
    host.judge(asking("other", "2"))
    vital = host.judge(asking("vital", "5", priority=CRITICAL))
    assert vital.machine.stage == Stage.REJECTED
    assert vital.view.verdict.reason == "UnexpectedAdmissionError"
    assert host.told == []


def test_one_that_is_not_critical_displaces_nobody() -> None:
    host = Host()
    host.judge(asking("other", "3"))
    assert host.judge(asking("usual", "2", priority=CRITICAL // 3)).view.verdict.reason == "OutOfcpu"
    assert host.judge(asking("fits", "1")).machine.stage != Stage.REJECTED


def test_a_pod_that_cannot_have_cpus_of_its_own_is_refused_though_there_is_room() -> None:
    host = Host()
    refusal = Rejected("SMTAlignmentError", "Pod was rejected: SMT Alignment Error: odd")
    host.admissions.give_cpus = lambda pod: refusal if pod.metadata.name == "odd" else None
    odd = host.judge(asking("odd", "1"))
    assert odd.machine.stage == Stage.REJECTED
    assert odd.view.verdict.reason == "SMTAlignmentError"
    assert host.told == ["odd Warning SMTAlignmentError"]
    assert host.judge(asking("even", "1")).machine.stage != Stage.REJECTED


def test_a_pod_for_which_there_is_no_room_gets_no_cpus() -> None:
    host = Host()
    asked: list[str] = []
    host.admissions.give_cpus = lambda pod: asked.append(pod.metadata.name)
    assert host.judge(asking("large", "5")).machine.stage == Stage.REJECTED
    assert asked == []
