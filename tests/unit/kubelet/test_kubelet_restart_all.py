"""RestartAllContainers (KEP-5532): one container's exit code starts the whole Pod anew, in place."""

from typing import Any

import pytest

from navarch.services.kubelet.core.observed import RUNNING
from navarch.services.kubelet.core.orders import PodChanged, PrepareVolumes, RunSandbox, Seen, StartContainer
from navarch.services.kubelet.core.stages import Stage
from navarch.services.kubelet.core.status import NodeFacts, pod_status

from .conftest import Node, a_pod

RULE = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}


def container(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "app:1", **more}


def watched(name: str = "main", policy: str = "Never", rule: dict[str, Any] | None = None) -> dict[str, Any]:
    return container(name, restartPolicy=policy, restartPolicyRules=[rule or RULE])


def begun(**spec: Any) -> Node:
    node = Node(a_pod(**spec))
    node.begin()
    node.pass_time(1)
    return node


def restarting(node: Node) -> list[str]:
    status = pod_status(node.machine.view, NodeFacts(("10.0.0.1",)), node.now)
    return [one.reason for one in status.conditions if one.type == "AllContainersRestarting"]


def test_the_whole_pod_starts_anew_in_its_sandbox_with_its_volumes() -> None:
    inits = [container("init"), container("side", restartPolicy="Always")]
    node = begun(restartPolicy="Never", initContainers=inits, containers=[watched(), container("other")])
    node.exit("init", 0)
    assert node.stage == Stage.RUNNING
    node.log.clear()
    node.pass_time(1)
    node.exit("main", 42)
    assert node.stage == Stage.INITIALIZING
    assert node.started() == [("init", 1)]
    node.pass_time(1)
    node.exit("init", 0)
    assert node.stage == Stage.RUNNING
    assert node.started() == [("init", 1), ("side", 1), ("main", 1), ("other", 1)]
    assert node.orders(RunSandbox, PrepareVolumes) == []
    assert "RestartAllContainers" in [event.reason for event in node.events]
    assert list(node.machine.history)[-3:] == ["Resetting", "Initializing", "Running"]


def test_nothing_starts_before_all_have_ended() -> None:
    node = begun(restartPolicy="Always", containers=[watched(), container("slow")])
    node.log.clear()
    node.held = lambda order: order.key[0] == "stop"  # type: ignore[method-assign]
    node.exit("main", 42)
    assert node.stage == Stage.RESETTING
    assert restarting(node) == ["RestartAllContainersStarted"]
    assert node.started() == []
    node.exit("slow", 143)
    assert node.stage == Stage.RUNNING
    assert restarting(node) == []
    assert node.started() == [("main", 1), ("slow", 1)]


def test_only_the_container_that_asked_for_it_is_held_back_when_it_does_so_again() -> None:
    node = begun(containers=[watched(policy="Always"), container("other")])
    node.exit("main", 42)
    node.pass_time(1)
    node.log.clear()
    node.exit("main", 42)
    assert node.started() == [("other", 2)]
    assert node.waiting("main") == "CrashLoopBackOff"
    node.sleep_until_woken()
    assert node.started() == [("other", 2), ("main", 2)]


@pytest.mark.parametrize(
    ("rule", "code", "all_anew"),
    [
        (RULE, 42, True),
        (RULE, 41, False),
        ({"action": "RestartAllContainers", "exitCodes": {"operator": "NotIn", "values": [0]}}, 1, True),
        ({"action": "RestartAllContainers", "exitCodes": {"operator": "NotIn", "values": [0]}}, 0, False),
        ({"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}, 42, False),
    ],
)
def test_the_rule_decides(rule: dict[str, Any], code: int, all_anew: bool) -> None:
    node = begun(restartPolicy="Never", containers=[watched(rule=rule), container("other")])
    node.exit("main", code)
    assert (("other", 1) in node.started()) is all_anew


def test_a_pod_that_is_deleted_meanwhile_ends() -> None:
    node = begun(containers=[watched(), container("slow")])
    node.held = lambda order: order.key[0] == "stop"  # type: ignore[method-assign]
    node.exit("main", 42)
    node.log.clear()
    node.delete()
    node.exit("slow", 143)
    assert node.started() == []
    assert node.stage == Stage.GONE


def test_a_kubelet_that_dies_in_the_middle_goes_on() -> None:
    node = begun(containers=[watched(), container("slow")])
    node.held = lambda order: order.key[0] == "stop"  # type: ignore[method-assign]
    node.exit("main", 42)
    runtime = node.machine.view.runtime
    again = Node(node.machine.view.pod)
    again.now = node.now + 1
    again.tell(Seen((*runtime.sandboxes.values(), *runtime.containers.values())))
    again.tell(PodChanged(again.machine.view.pod))
    assert again.started() == [("main", 1), ("slow", 1)]
    assert [run.attempt for run in again.machine.view.runtime.containers.values() if run.state == RUNNING] == [1, 1]


def test_a_clock_that_is_set_back_does_not_end_them_again_and_again() -> None:
    node = begun(containers=[watched(), container("other")])
    node.exit("main", 42)
    node.now -= 3600
    node.pass_time(1)
    assert node.stage == Stage.RUNNING
    assert [order.attempt for order in node.orders(StartContainer) if isinstance(order, StartContainer)] == [0, 0, 1, 1]
