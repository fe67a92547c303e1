"""NodeStatus from what was read of host and runtime."""

import argparse
import re
from dataclasses import replace
from typing import Any

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.command_line import pairs
from navarch.services.kubelet.core.devices import Offer
from navarch.services.kubelet.node.host import Host, Load, read_host, read_load
from navarch.services.kubelet.node.identity_options import taints
from navarch.services.kubelet.node.options import node_labels, reservations
from navarch.services.kubelet.node.status import NodeFacts, Reservations, happenings, is_ready, node_status, same

NOW = 1_700_000_000.0
GIB = 1 << 30


def a_runtime(*conditions: tuple[str, bool]) -> criv1.RuntimeStatus:
    status = criv1.RuntimeStatus()
    for type_, holds in conditions:
        status.conditions.add(type=type_, status=holds, reason="" if holds else "Bad", message="" if holds else "m")
    return status


GOOD = a_runtime(("RuntimeReady", True), ("NetworkReady", True))
FACTS = NodeFacts(
    name="n1",
    addresses=("192.0.2.1",),
    host=Host(2, 8 * GIB, {"hugepages-2Mi": 0}, "m", "s", "b", "6.1", "Debian", "amd64"),
    load=Load(4 * GIB, 100 * GIB, 50 * GIB, 1000, 900, 100, 32768),
    max_pods=110,
    port=10250,
    runtime_version="containerd://1.6.20",
    runtime=GOOD,
)


def ready_of(facts: NodeFacts) -> corev1.NodeCondition:
    status = node_status(facts, corev1.NodeStatus(), NOW)
    return next(condition for condition in status.conditions if condition.type == "Ready")


def test_capacity_and_allocatable() -> None:
    facts = replace(FACTS, reserved=Reservations(100, GIB, 10 * GIB))
    status = node_status(facts, corev1.NodeStatus(), NOW)
    assert {name: status.capacity[name].string for name in ("cpu", "memory", "pods")} == {
        "cpu": "2",
        "memory": "8Gi",
        "pods": "110",
    }
    assert status.allocatable["cpu"].string == "1900m"
    assert status.allocatable["memory"].string == f"{(7 * GIB - (100 << 20)) >> 20}Mi"
    assert status.allocatable["ephemeral-storage"].string == "80Gi"


def test_extended_resources_of_plugins_and_those_given_by_hand() -> None:
    old = corev1.NodeStatus()
    for name, amount in {"x.io/by-hand": "3", "x.io/gpu": "9", "x.io/gone": "0", "hugepages-1Gi": "5"}.items():
        old.capacity[name].string = amount
    status = node_status(replace(FACTS, devices=Offer({"x.io/gpu": 2}, {"x.io/gpu": 1})), old, NOW)
    for found, gpus in ((status.capacity, "2"), (status.allocatable, "1")):
        assert {name: amount.string for name, amount in found.items() if name.startswith("x.io/")} == {
            "x.io/by-hand": "3",
            "x.io/gpu": gpus,
            "x.io/gone": "0",
        }
        assert "hugepages-1Gi" not in found


@pytest.mark.parametrize(
    ("runtime", "error", "status", "part"),
    [
        (GOOD, "", "True", "kubelet is posting ready status"),
        (None, "no socket", "False", "container runtime is down: no socket"),
        (
            a_runtime(("RuntimeReady", True), ("NetworkReady", False)),
            "",
            "False",
            "container runtime network not ready",
        ),
        (a_runtime(("RuntimeReady", False)), "", "False", "RuntimeReady=false reason:Bad message:m"),
    ],
)
def test_ready(runtime: Any, error: str, status: str, part: str) -> None:
    condition = ready_of(replace(FACTS, runtime=runtime, runtime_error=error))
    assert condition.status == status
    assert part in condition.message


@pytest.mark.parametrize("type_", ["MemoryPressure", "DiskPressure", "PIDPressure"])
def test_pressure(type_: str) -> None:
    calm = node_status(FACTS, corev1.NodeStatus(), NOW)
    pressed = node_status(replace(FACTS, pressures=(type_,)), corev1.NodeStatus(), NOW)
    for status, expected in ((calm, set()), (pressed, {type_})):
        assert {entry.type for entry in status.conditions if entry.status == "True"} == {*expected, "Ready"}


def test_events_tell_how_conditions_change() -> None:
    calm = node_status(FACTS, corev1.NodeStatus(), NOW)
    pressed = node_status(replace(FACTS, pressures=("DiskPressure",), problem="going down"), calm, NOW)
    sufficient = ["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"]
    assert happenings(corev1.NodeStatus(), calm) == [*sufficient, "NodeReady"]
    assert happenings(calm, pressed) == ["NodeHasDiskPressure", "NodeNotReady"]
    assert happenings(pressed, pressed) == []
    down = node_status(replace(FACTS, runtime=None), corev1.NodeStatus(), NOW)
    assert happenings(corev1.NodeStatus(), down) == sufficient


def test_one_problem_is_told_plainly_and_several_as_a_list() -> None:
    assert ready_of(replace(FACTS, problem="node is shutting down")).message == "node is shutting down"
    both = ready_of(replace(FACTS, problem="node is shutting down", runtime=None, runtime_error="x"))
    assert both.message == "[container runtime is down: x, node is shutting down]"


def test_abilities_of_the_runtime() -> None:
    handler = criv1.RuntimeHandler(name="runc", features={"user_namespaces": True})
    features = criv1.RuntimeFeatures(supplemental_groups_policy=True)
    status = node_status(replace(FACTS, handlers=[handler], features=features), corev1.NodeStatus(), NOW)
    entry = status.runtime_handlers[0]
    assert (entry.name, entry.features.user_namespaces, entry.features.recursive_read_only_mounts) == (
        "runc",
        True,
        False,
    )
    assert status.features.supplemental_groups_policy


def test_the_largest_images_are_told() -> None:
    images = [criv1.Image(id=str(size), repo_tags=[f"a:{n}" for n in range(7)], size=size) for size in range(60)]
    status = node_status(replace(FACTS, images=images), corev1.NodeStatus(), NOW)
    assert [image.size_bytes for image in status.images] == list(range(59, 9, -1))
    assert len(status.images[0].names) == 5


def test_only_heartbeats_change_while_nothing_happens() -> None:
    first = node_status(FACTS, corev1.NodeStatus(), NOW)
    later = node_status(FACTS, first, NOW + 60)
    assert first != later
    assert same(first, later)
    down = node_status(replace(FACTS, runtime=None), first, NOW + 60)
    assert not same(first, down)
    assert (is_ready(first), is_ready(down)) == (True, False)
    changed = {entry.type: entry.last_transition_time.seconds for entry in down.conditions}
    assert changed["Ready"] == int(NOW) + 60
    assert changed["DiskPressure"] == int(NOW)


def test_conditions_of_others_stay() -> None:
    old = corev1.NodeStatus()
    old.conditions.add(type="NetworkUnavailable", status="False")
    status = node_status(FACTS, old, NOW)
    assert status.conditions[0].type == "NetworkUnavailable"


def test_this_host_can_be_read(tmp_path: Any) -> None:
    host, load = read_host(), read_load(tmp_path)
    assert host.cpus > 0
    assert 0 < load.memory_available_bytes <= host.memory_bytes
    assert 0 < load.processes < load.processes_max


def test_options() -> None:
    assert pairs("a=1,b=,c") == {"a": "1", "b": "", "c": ""}
    assert [(taint.key, taint.value, taint.effect) for taint in taints("k=v:NoSchedule,x:NoExecute")] == [
        ("k", "v", "NoSchedule"),
        ("x", "", "NoExecute"),
    ]
    assert reservations("cpu=100m,memory=1Gi,pid=10") == Reservations(100, GIB, 0, 10)
    assert Reservations(1, 2, 3, 4) + Reservations(1, 1, 1, 1) == Reservations(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("disk=1", 'cannot reserve "disk" resource'),
        ("cpu=many", 'failed to parse quantity "many" for "cpu"'),
        ("memory=-1Gi", 'resource quantity for "memory" cannot be negative: -1Gi'),
    ],
)
def test_bad_reservations(text: str, part: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=re.escape(part)):
        reservations(text)


def test_a_node_may_not_give_itself_every_label() -> None:
    allowed = (
        "a=b,kubernetes.io/os=linux,node.kubernetes.io/x=1,sub.kubelet.kubernetes.io/y=2,example.com/kubernetes.io=3"
    )
    assert len(node_labels(allowed)) == 5
    with pytest.raises(argparse.ArgumentTypeError, match=r"\[node-role.kubernetes.io/control-plane x.k8s.io/y\]"):
        node_labels("x.k8s.io/y=1,node-role.kubernetes.io/control-plane=,a=b")
