"""Runs that the kubelet ends itself, and images that change: another run follows whatever the exit code."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.observed import EXITED, Container
from navarch.services.kubelet.core.orders import (
    Done,
    EnsureImage,
    Failed,
    Order,
    PodChanged,
    Probed,
    ProbeKind,
    StartContainer,
    StopContainer,
    Tick,
)
from navarch.services.kubelet.core.stages import Stage

MakeNode = Callable[..., Any]
PROBED = [{"name": "main", "image": "app:1", "livenessProbe": {"exec": {"command": ["x"]}}}]


def ends_cleanly(up: Any) -> None:
    """Have containers that are asked to end do so with exit code 0."""
    usual = up.carry_out

    def carry_out(order: Order) -> Done | Failed:
        answer: Done | Failed = usual(order)
        if isinstance(order, StopContainer):
            return replace(
                answer, facts=tuple(replace(fact, exit_code=0) for fact in answer.facts if isinstance(fact, Container))
            )
        return answer

    up.carry_out = carry_out


def with_image(up: Any, image: str) -> corev1.Pod:
    """The Pod of a node, with another image."""
    pod = corev1.Pod()
    pod.CopyFrom(up.machine.view.pod)
    pod.metadata.generation += 1
    pod.spec.containers[0].image = image
    return pod


@pytest.mark.parametrize(
    ("policy", "runs", "said"),
    [
        ("Always", 2, "Container main failed liveness probe, will be restarted"),
        ("OnFailure", 2, "Container main failed liveness probe, will be restarted"),
        ("Never", 1, "Container main failed liveness probe"),
    ],
)
def test_what_a_probe_ends_is_restarted_unless_never(node: MakeNode, policy: str, runs: int, said: str) -> None:
    up = node(restartPolicy=policy, containers=PROBED)
    ends_cleanly(up)
    up.tell(Probed(up.machine.view.runtime.latest("main").id, ProbeKind.LIVENESS, False))
    assert len(up.started()) == runs
    assert up.stage is (Stage.RUNNING if runs > 1 else Stage.FINISHED)
    assert said in [event.message for event in up.events]


def test_what_probes_end_over_and_over_is_held_back(node: MakeNode) -> None:
    up = node(restartPolicy="OnFailure", containers=PROBED)
    ends_cleanly(up)
    for _ in range(2):
        up.tell(Probed(up.machine.view.runtime.latest("main").id, ProbeKind.LIVENESS, False))
    assert up.waiting("main") == "CrashLoopBackOff"
    assert up.sleep_until_woken() == 10
    assert up.started()[-1] == ("main", 2)


@pytest.mark.parametrize("policy", ["Always", "OnFailure", "Never"])
def test_another_image_is_run_whatever_the_policy(node: MakeNode, policy: str) -> None:
    up = node(restartPolicy=policy)
    ends_cleanly(up)
    run = up.machine.view.runtime.latest("main")
    up.machine.view.runtime.containers[run.id] = replace(run, hash="other")
    up.tell(Tick())
    assert up.started() == [("main", 0), ("main", 1)]


def test_another_image_does_not_wait_for_the_crashes_of_the_one_before(node: MakeNode) -> None:
    up = node()
    for _ in range(7):
        up.exit("main", 1)
        if up.machine.view.runtime.latest("main").state == EXITED:
            up.sleep_until_woken()
    up.exit("main", 1)
    before = len(up.started())
    assert up.waiting("main") == "CrashLoopBackOff"
    up.tell(PodChanged(with_image(up, "app:2")))
    assert len(up.started()) == before + 1


def test_another_image_does_not_wait_for_the_failed_pulls_of_the_one_before(fresh_node: MakeNode, pod: Any) -> None:
    up = fresh_node(pod())
    up.refuse["image"] = ("ErrImagePull", "no such image")
    up.begin()
    for _ in range(14):
        up.sleep_until_woken()
    up.refuse.clear()
    up.tell(PodChanged(with_image(up, "app:2")))
    assert up.started() == [("main", 0)]


@pytest.mark.parametrize("fails", [False, True])
def test_an_image_that_is_no_longer_wanted_when_it_comes_is_not_run(
    fresh_node: MakeNode, pod: Any, fails: bool
) -> None:
    up = fresh_node(pod())
    up.held = lambda order: isinstance(order, EnsureImage) and not up.orders(EnsureImage)[1:]
    up.begin()
    (pull,) = up.orders(EnsureImage)
    up.tell(PodChanged(with_image(up, "app:2")))
    up.tell(Failed(pull, "ErrImagePull", "no such image") if fails else Done(pull, image_ref="sha256:old"))
    assert len(up.orders(EnsureImage)) == 2
    assert [order.image_ref for order in up.orders(StartContainer)] == ["sha256:1"]
