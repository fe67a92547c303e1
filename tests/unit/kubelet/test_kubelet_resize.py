"""Resources that change while a Pod runs: what the node grants, in which order it is done, and what is told of it."""

from typing import Any

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.pod_resources import held_requests
from navarch.services.kubelet.core.granted import Pending, judge
from navarch.services.kubelet.core.machine import PodMachine
from navarch.services.kubelet.core.observed import RUNNING, Container, Sandbox
from navarch.services.kubelet.core.orders import (
    Done,
    Failed,
    Order,
    PodChanged,
    ResizeContainer,
    ResizeJudged,
    ResizeSandbox,
    Seen,
    StartContainer,
    StopContainer,
)
from navarch.services.kubelet.core.sizes import Sizes, sizes_of
from navarch.services.kubelet.core.status import NodeFacts, pod_status

from .conftest import START, Node, a_pod

MIB = 1 << 20


def resources(cpu: str, memory: str) -> dict[str, Any]:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}}


def sized(cpu: str = "100m", memory: str = "64Mi", *, generation: int = 1, **more: Any) -> corev1.Pod:
    container = {"name": "main", "image": "app:1", "resources": resources(cpu, memory), **more}
    pod = a_pod(containers=[container])
    pod.metadata.generation = generation
    return pod


def a_node(cpu: str = "2", memory: str = "1Gi") -> corev1.Node:
    node = corev1.Node()
    for name, amount in (("cpu", cpu), ("memory", memory), ("pods", "110")):
        node.status.allocatable[name].string = amount
    return node


def begun(pod: corev1.Pod) -> Node:
    node = Node(pod)
    node.begin()
    node.log.clear()
    return node


def status(node: Node) -> corev1.PodStatus:
    return pod_status(node.machine.view, NodeFacts(("10.0.0.1",)), START)


def conditions(node: Node) -> dict[str, tuple[str, str]]:
    found = {condition.type: (condition.reason, condition.message) for condition in status(node).conditions}
    return {name: told for name, told in found.items() if name.startswith("PodResize")}


def shown(node: Node) -> tuple[str, str, str]:
    """Limit of CPU and of memory, and the allocated CPU."""
    (container,) = status(node).container_statuses
    limits = container.resources.limits
    return limits["cpu"].string, limits["memory"].string, container.allocated_resources["cpu"].string


@pytest.mark.parametrize(
    ("cpu", "memory", "others", "expected"),
    [
        ("1", "512Mi", [], None),
        ("2", "1Gi", [], None),
        ("3", "64Mi", [], ("Infeasible", "capacity: cpu, requested: 3000, capacity: 2000")),
        ("1", "2Gi", [], ("Infeasible", "capacity: memory, requested: 2147483648, capacity: 1073741824")),
        ("1500m", "64Mi", ["600m"], ("Deferred", "resource: cpu, requested: 1500, used: 600, capacity: 2000")),
        ("1400m", "64Mi", ["600m"], None),
    ],
)
def test_what_the_node_grants(cpu: str, memory: str, others: list[str], expected: tuple[str, str] | None) -> None:
    verdict = judge(sized(cpu, memory), a_node(), [sized(amount, "1Mi") for amount in others])
    if expected is None:
        assert verdict is None
    else:
        assert verdict == Pending(expected[0], f"Node didn't have enough {expected[1]}")


def test_a_resize_waits_for_the_nodes_word_and_is_done_from_the_outside_in() -> None:
    node = begun(sized())
    asked = sized("200m", "128Mi", generation=2)
    node.tell(PodChanged(asked))
    assert node.log == []
    assert shown(node) == ("100m", "64Mi", "100m")
    node.tell(ResizeJudged(None))
    box = node.machine.view.runtime.ready_sandbox()
    (run,) = node.machine.view.runtime.alive()
    assert box is not None
    wanted = Sizes(204, 20_000, 128 * MIB)
    assert node.log == [ResizeSandbox(box.id, wanted), ResizeContainer(run.id, "main", wanted)]
    assert shown(node) == ("200m", "128Mi", "200m")
    assert conditions(node) == {}
    assert [event.reason for event in node.events][-2:] == ["ResizeStarted", "ResizeCompleted"]
    assert node.events[-1].message == (
        'Pod resize completed: {"containers":[{"name":"main","resources":{"limits":{"cpu":"200m","memory":"128Mi"},'
        '"requests":{"cpu":"200m","memory":"128Mi"}}}],"generation":2}'
    )


def test_a_pod_is_settled_when_all_that_runs_has_what_was_granted() -> None:
    node = begun(sized())
    assert node.machine.is_settled
    node.machine.handle(PodChanged(sized("50m", generation=2)), node.now)
    assert node.machine.is_settled
    node.machine.handle(ResizeJudged(None), node.now)
    assert not node.machine.is_settled


def test_shrinking_goes_from_the_inside_out() -> None:
    node = begun(sized("400m", "256Mi"))
    node.tell(PodChanged(sized("100m", "64Mi", generation=2)))
    node.tell(ResizeJudged(None))
    assert [order.key[0] for order in node.log] == ["resize", "resize-sandbox"]


def test_one_resource_up_and_one_down_passes_through_room_for_both() -> None:
    node = begun(sized("400m", "64Mi"))
    node.tell(PodChanged(sized("100m", "256Mi", generation=2)))
    node.tell(ResizeJudged(None))
    first, second, third = node.log
    assert isinstance(first, ResizeSandbox)
    assert (first.sizes.cpu_quota_us, first.sizes.memory_limit_bytes) == (40_000, 256 * MIB)
    assert isinstance(second, ResizeContainer)
    assert isinstance(third, ResizeSandbox)
    assert third.sizes == second.sizes


def test_what_is_not_granted_is_told_and_nothing_changes() -> None:
    node = begun(sized())
    node.tell(PodChanged(sized("1", generation=2)))
    pending = Pending("Deferred", "Node didn't have enough resource: cpu")
    node.tell(ResizeJudged(pending))
    node.tell(ResizeJudged(pending))
    assert conditions(node) == {"PodResizePending": ("Deferred", "Node didn't have enough resource: cpu")}
    assert [event.reason for event in node.events].count("ResizeDeferred") == 1
    assert shown(node) == ("100m", "64Mi", "100m")
    node.tell(ResizeJudged(Pending("Infeasible", "too much")))
    assert conditions(node) == {"PodResizePending": ("Infeasible", "too much")}
    node.tell(PodChanged(sized(generation=3)))
    assert conditions(node) == {}
    assert node.log == []


def test_what_the_runtime_refuses_is_in_progress_with_its_error_and_tried_again() -> None:
    node = begun(sized("100m", "256Mi"))
    node.refuse["resize"] = ("ResizeError", "attempting to set container memory limit")
    node.tell(PodChanged(sized("100m", "64Mi", generation=2)))
    node.tell(ResizeJudged(None))
    assert conditions(node) == {"PodResizeInProgress": ("Error", "attempting to set container memory limit")}
    assert shown(node) == ("100m", "268435456", "100m")
    assert node.events[-1].reason == "ResizeError"
    del node.refuse["resize"]
    node.sleep_until_woken()
    assert conditions(node) == {}
    assert shown(node) == ("100m", "64Mi", "100m")


@pytest.mark.parametrize(
    ("policies", "memory", "restarts"),
    [
        ({"cpu": "RestartContainer"}, "64Mi", True),
        ({"memory": "RestartContainer"}, "64Mi", False),
        ({"memory": "RestartContainer"}, "128Mi", True),
        ({"cpu": "NotRequired", "memory": "NotRequired"}, "128Mi", False),
    ],
)
@pytest.mark.parametrize("policy", ["Always", "OnFailure"])
def test_containers_that_want_it_are_restarted(
    policies: dict[str, str], memory: str, restarts: bool, policy: str
) -> None:
    listed = [{"resourceName": name, "restartPolicy": value} for name, value in policies.items()]
    pod, asked = (sized(*sizes, generation=2, resizePolicy=listed) for sizes in (("100m", "64Mi"), ("200m", memory)))
    for one in (pod, asked):
        one.spec.restart_policy = policy
    node = begun(pod)
    told = []

    def look(_: Order) -> bool:
        told.append(status(node).container_statuses[0])
        return False

    node.held = look  # type: ignore[method-assign]
    node.tell(PodChanged(asked))
    node.tell(ResizeJudged(None))
    if not restarts:
        assert node.orders(StopContainer) == []
        return
    (stop,) = node.orders(StopContainer)
    assert isinstance(stop, StopContainer)
    assert stop.message == "Container main resize requires restart"
    assert len(told) > 1
    assert not any(one.state.HasField("terminated") for one in told)
    (start,) = node.orders(StartContainer)
    assert isinstance(start, StartContainer)
    assert start.attempt == 1
    assert node.orders(ResizeContainer) == []
    assert conditions(node) == {}
    assert node.stage == "Running"


def test_after_a_restart_of_the_kubelet_the_status_tells_what_was_granted() -> None:
    node = begun(sized())
    node.tell(PodChanged(sized("200m", "64Mi", generation=2)))
    reported = sized("200m", "64Mi", generation=2)
    reported.status.CopyFrom(status(node))
    assert shown(node) == ("100m", "64Mi", "100m")
    facts = (*node.machine.view.runtime.sandboxes.values(), *node.machine.view.runtime.containers.values())
    again = Node(reported)
    again.tell(Seen(facts))
    again.tell(PodChanged(reported))
    assert shown(again) == ("100m", "64Mi", "100m")
    assert again.machine.view.asked is reported
    again.tell(ResizeJudged(None))
    assert [type(order) for order in again.log if order.key[0].startswith("resize")] == [ResizeSandbox, ResizeContainer]
    assert shown(again) == ("200m", "64Mi", "200m")


def test_what_the_runtime_tells_is_believed() -> None:
    machine = PodMachine(sized("200m", generation=2))
    told = sizes_of(criv1.LinuxContainerResources(cpu_shares=102, cpu_quota=10_000, memory_limit_in_bytes=64 * MIB))
    run = Container("c1", "main", 0, "box", RUNNING, START, START, sizes=told)
    machine.handle(Seen((Sandbox("box", 0, True, START, ("10.0.0.9",)), run)), START)
    machine.handle(PodChanged(machine.view.pod), START)
    machine.handle(Done(machine.in_flight["volumes",]), START)
    orders = [order for order in machine.in_flight.values() if isinstance(order, ResizeContainer)]
    assert orders == [ResizeContainer("c1", "main", Sizes(204, 20_000, 64 * MIB))]
    machine.handle(Failed(orders[0], "ResizeError", "no"), START)
    shown = pod_status(machine.view, NodeFacts(("10.0.0.1",)), START).container_statuses[0].resources
    assert (shown.limits["cpu"].string, shown.requests["cpu"].string) == ("100m", "100m")


@pytest.mark.parametrize(
    ("asked", "allocated", "reason", "expected"),
    [("200m", "100m", "", 200), ("100m", "200m", "", 200), ("9", "100m", "Infeasible", 100)],
)
def test_the_scheduler_counts_what_is_held(asked: str, allocated: str, reason: str, expected: int) -> None:
    pod = sized(asked, generation=2)
    pod.status.container_statuses.add(name="main").allocated_resources["cpu"].string = allocated
    if reason:
        pod.status.conditions.add(type="PodResizePending", status="True", reason=reason)
    assert held_requests(pod)["cpu"] == expected
