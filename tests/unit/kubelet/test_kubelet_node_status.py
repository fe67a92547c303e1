"""NodeStatus from what was read of host and runtime."""

from dataclasses import replace
from typing import Any

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.main import pairs, reservations, taints
from navarch.services.kubelet.node.host import Host, Load, read_host, read_load
from navarch.services.kubelet.node.status import NodeFacts, Reservations, is_ready, node_status, same

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
    status = node_status(replace(FACTS, reserved=Reservations(100, GIB)), corev1.NodeStatus(), NOW)
    assert {name: status.capacity[name].string for name in ("cpu", "memory", "pods")} == {
        "cpu": "2",
        "memory": f"{8 * GIB // 1024}Ki",
        "pods": "110",
    }
    assert status.allocatable["cpu"].string == "1900m"
    assert status.allocatable["memory"].string == f"{(7 * GIB - (100 << 20)) // 1024}Ki"
    assert status.allocatable["ephemeral-storage"].string == str(90 * GIB)


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


@pytest.mark.parametrize(
    ("change", "type_"),
    [
        ({"memory_available_bytes": 50 << 20}, "MemoryPressure"),
        ({"disk_available_bytes": GIB}, "DiskPressure"),
        ({"inodes_free": 10}, "DiskPressure"),
        ({"processes": 32700}, "PIDPressure"),
    ],
)
def test_pressure(change: dict[str, int], type_: str) -> None:
    calm = node_status(FACTS, corev1.NodeStatus(), NOW)
    pressed = node_status(replace(FACTS, load=replace(FACTS.load, **change)), corev1.NodeStatus(), NOW)
    for status, expected in ((calm, set()), (pressed, {type_})):
        assert {entry.type for entry in status.conditions if entry.status == "True"} == {*expected, "Ready"}


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
    assert reservations("cpu=100m,memory=1Gi") == Reservations(100, GIB)
