"""Nodes: silence, taints, eviction times, address ranges, and the Pods that vanished Nodes leave."""

import math
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.controller_manager.node_ipam.plan import Exhausted, Range, allocate, parts_of, ranges_of
from navarch.services.controller_manager.node_lifecycle.plan import (
    Grace,
    marked_not_ready,
    silenced,
    taints,
    to_mark_not_ready,
)
from navarch.services.controller_manager.pod_gc.plan import is_stranded, lost, surplus
from navarch.services.controller_manager.taint_eviction.plan import condemned, evict_at, tolerates

NOW = 1_700_000_000.0
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"


def a_node(name: str = "n1", *, taints: tuple[tuple[str, str], ...] = (), **conditions: str) -> corev1.Node:
    node = corev1.Node()
    node.metadata.name = name
    for kind, status in conditions.items():
        node.status.conditions.add(type=kind, status=status).last_transition_time.seconds = int(NOW) - 100
    for key, effect in taints:
        node.spec.taints.add(key=key, effect=effect).time_added.seconds = 7
    return node


def a_pod(
    name: str = "p", *, ready_at: float | None = None, created: float = 0.0, phase: str = "Running"
) -> corev1.Pod:
    pod = corev1.Pod()
    pod.metadata.name = name
    pod.metadata.creation_timestamp.seconds = int(created)
    pod.spec.node_name = "n1"
    pod.status.phase = phase
    if ready_at is not None:
        pod.status.conditions.add(type="Ready", status="True").last_transition_time.seconds = int(ready_at)
    return pod


class TestSilence:
    """What a Node's silence makes of its conditions."""

    def test_conditions_become_unknown(self) -> None:
        status = silenced(a_node(Ready="True", MemoryPressure="False", NetworkUnavailable="False"), NOW)
        assert status is not None
        found = {each.type: (each.status, each.reason) for each in status.conditions}
        assert found["Ready"] == ("Unknown", "NodeStatusUnknown")
        assert found["MemoryPressure"] == ("Unknown", "NodeStatusUnknown")
        assert found["PIDPressure"] == ("Unknown", "NodeStatusNeverUpdated")
        assert found["NetworkUnavailable"] == ("False", "")

    def test_it_is_said_once(self) -> None:
        node = a_node(Ready="True")
        node.status.CopyFrom(silenced(node, NOW))
        assert silenced(node, NOW + 60) is None

    def test_a_node_that_never_spoke_gets_more_time(self) -> None:
        grace = Grace(40, 60)
        assert (grace.of(a_node()), grace.of(a_node(Ready="True"))) == (60, 40)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        pytest.param(a_node(Ready="True"), None, id="healthy"),
        pytest.param(
            a_node(Ready="Unknown"), {(UNREACHABLE, "NoExecute"), (UNREACHABLE, "NoSchedule")}, id="unreachable"
        ),
        pytest.param(a_node(Ready="False"), {(NOT_READY, "NoExecute"), (NOT_READY, "NoSchedule")}, id="not ready"),
        pytest.param(
            a_node(Ready="True", taints=((NOT_READY, "NoSchedule"), ("mine", "NoExecute"))),
            {("mine", "NoExecute")},
            id="back: only foreign taints stay",
        ),
        pytest.param(
            a_node(Ready="True", DiskPressure="True"),
            {("node.kubernetes.io/disk-pressure", "NoSchedule")},
            id="pressure",
        ),
        pytest.param(a_node(taints=((NOT_READY, "NoSchedule"),)), None, id="not a word yet: as registered"),
        pytest.param(
            a_node(Ready="Unknown", taints=((NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute"))),
            {(UNREACHABLE, "NoExecute"), (UNREACHABLE, "NoSchedule")},
            id="from not ready to unreachable",
        ),
    ],
)
def test_taints(node: corev1.Node, expected: set[tuple[str, str]] | None) -> None:
    found = taints(node, NOW)
    assert (None if found is None else {(each.key, each.effect) for each in found}) == expected


def test_a_cordoned_node_is_tainted() -> None:
    node = a_node(Ready="True")
    node.spec.unschedulable = True
    (taint,) = taints(node, NOW)
    assert (taint.key, taint.effect) == ("node.kubernetes.io/unschedulable", "NoSchedule")


def test_a_taint_that_stays_keeps_its_time() -> None:
    found = taints(a_node(Ready="Unknown", taints=((UNREACHABLE, "NoExecute"),)), NOW)
    assert {each.effect: each.time_added.seconds for each in found} == {"NoExecute": 7, "NoSchedule": int(NOW)}


@pytest.mark.parametrize(
    ("status", "ready_at", "marked"),
    [
        pytest.param("Unknown", NOW - 500, True, id="ready since before"),
        pytest.param("Unknown", NOW - 10, False, id="its kubelet said so since"),
        pytest.param("False", NOW - 500, True, id="node not ready"),
        pytest.param("True", NOW - 500, False, id="node ready"),
        pytest.param("Unknown", None, False, id="not ready anyway"),
    ],
)
def test_pods_of_lost_nodes(status: str, ready_at: float | None, marked: bool) -> None:
    pod = a_pod(ready_at=ready_at)
    assert to_mark_not_ready(a_node(Ready=status), [pod]) == ([pod] if marked else [])
    if marked:
        assert marked_not_ready(pod, NOW).status.conditions[0].status == "False"
        assert pod.status.conditions[0].status == "True", "the original is only lent"


def a_taint(key: str = UNREACHABLE, effect: str = "NoExecute", value: str = "") -> corev1.Taint:
    return corev1.Taint(key=key, effect=effect, value=value)


@pytest.mark.parametrize(
    ("toleration", "taint", "expected"),
    [
        pytest.param({"operator": "Exists"}, a_taint(), True, id="all"),
        pytest.param({"key": UNREACHABLE, "operator": "Exists"}, a_taint(value="x"), True, id="key"),
        pytest.param({"key": "other", "operator": "Exists"}, a_taint(), False, id="other key"),
        pytest.param({"key": UNREACHABLE, "effect": "NoSchedule"}, a_taint(), False, id="other effect"),
        pytest.param({"key": "k", "value": "v"}, a_taint("k", value="v"), True, id="equal is the default"),
        pytest.param({"key": "k", "operator": "Equal", "value": "w"}, a_taint("k", value="v"), False, id="other value"),
    ],
)
def test_tolerations(toleration: dict[str, str], taint: corev1.Taint, expected: bool) -> None:
    assert tolerates(corev1.Toleration(**toleration), taint) is expected


@pytest.mark.parametrize(
    ("tolerations", "created", "expected"),
    [
        pytest.param([], 0, -math.inf, id="none: at once"),
        pytest.param([{"operator": "Exists"}], 0, math.inf, id="for ever"),
        pytest.param([{"operator": "Exists", "toleration_seconds": 300}], 0, NOW + 300, id="for a while"),
        pytest.param([{"operator": "Exists", "toleration_seconds": 300}], NOW + 50, NOW + 350, id="came later"),
        pytest.param([{"operator": "Exists", "toleration_seconds": -5}], 0, NOW, id="negative: at once"),
        pytest.param(
            [
                {"operator": "Exists", "toleration_seconds": 300},
                {"key": UNREACHABLE, "operator": "Exists", "toleration_seconds": 9},
            ],
            0,
            NOW + 9,
            id="the shortest",
        ),
        pytest.param(
            [{"operator": "Exists"}, {"operator": "Exists", "toleration_seconds": 9}], 0, NOW + 9, id="limited"
        ),
    ],
)
def test_eviction_time(tolerations: list[dict[str, object]], created: float, expected: float) -> None:
    pod = a_pod(created=created)
    pod.spec.tolerations.extend(corev1.Toleration(**each) for each in tolerations)
    taints = [a_taint(), a_taint("x", effect="NoSchedule")]
    assert evict_at(pod, taints, lambda taint: NOW) == expected


def test_no_forcing_taint_no_eviction() -> None:
    assert evict_at(a_pod(), [a_taint(effect="NoSchedule")], lambda taint: NOW) == math.inf


def test_an_evicted_pod_says_why() -> None:
    twice = condemned(condemned(a_pod(), NOW), NOW)
    assert [(each.type, each.reason) for each in twice.status.conditions] == [
        ("DisruptionTarget", "DeletionByTaintManager")
    ]


class TestAddresses:
    """Parts of the cluster's range."""

    @pytest.mark.parametrize(
        ("taken", "expected"),
        [
            ([], "10.244.0.0/24"),
            (["10.244.0.0/24", "10.244.1.0/24"], "10.244.2.0/24"),
            (["10.244.1.0/24"], "10.244.0.0/24"),
            (["10.244.0.0/24", "10.244.2.0/24"], "10.244.1.0/24"),
            (["10.244.0.128/25"], "10.244.1.0/24"),
            (["10.244.0.0/22"], "10.244.4.0/24"),
            (["10.0.0.0/24", "fd00::/64"], "10.244.0.0/24"),
        ],
    )
    def test_the_lowest_free_part(self, taken: list[str], expected: str) -> None:
        assert allocate([Range.parse("10.244.0.0/16")], map(ip_network, taken)) == [expected]

    @settings(deadline=None)
    @given(numbers=st.sets(st.integers(0, 15)))
    def test_it_is_the_lowest_whatever_is_taken(self, numbers: set[int]) -> None:
        cluster = Range.parse("10.0.0.0/20")
        taken = [ip_network(f"10.0.{number}.0/24") for number in numbers]
        free = [number for number in range(16) if number not in numbers]
        if free:
            assert str(cluster.first_free(taken)) == f"10.0.{free[0]}.0/24"
        else:
            with pytest.raises(Exhausted, match=r"no free /24 left in 10\.0\.0\.0/20"):
                cluster.first_free(taken)

    def test_one_of_each_version(self) -> None:
        ranges = [Range.parse("10.244.0.0/16"), Range.parse("fd00::/48")]
        assert allocate(ranges, [ip_network("fd00::/64")]) == ["10.244.0.0/24", "fd00:0:0:1::/64"]

    @pytest.mark.parametrize("text", ["10.0.0.0/25", "nonsense", "10.0.0.1/16"])
    def test_ranges_that_cannot_be(self, text: str) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 several texts
            Range.parse(text)

    def test_a_part_of_another_size(self) -> None:
        assert allocate([Range.parse("10.244.0.0/16", {4: 26, 6: 64})], []) == ["10.244.0.0/26"]
        with pytest.raises(ValueError, match="smaller than the /15 of one node"):
            Range.parse("10.244.0.0/16", {4: 15})

    @pytest.mark.parametrize(
        ("texts", "versions"),
        [
            (["10.0.0.0/16"], [4]),
            (["fd00::/48", "10.0.0.0/16"], [6, 4]),
            ([], None),
            (["10.0.0.0/16", "10.1.0.0/16"], None),
            (["10.0.0.0/16", "fd00::/48", "fd01::/48"], None),
        ],
    )
    def test_one_range_or_one_of_each_version(self, texts: list[str], versions: list[int] | None) -> None:
        if versions is None:
            with pytest.raises(ValueError, match="expected one, or one IPv4 and one IPv6"):
                ranges_of(texts)
        else:
            assert [each.network.version for each in ranges_of(texts)] == versions

    def test_what_a_node_holds(self) -> None:
        node = a_node()
        assert parts_of(node) == []
        node.spec.pod_cidr = "10.244.3.0/24"
        assert parts_of(node) == [ip_network("10.244.3.0/24")]


class TestLeftPods:
    """Pods that no kubelet will remove."""

    def test_the_oldest_ended_pods_beyond_the_limit(self) -> None:
        pods = [a_pod(f"p{number}", created=number, phase="Succeeded") for number in (3, 1, 2)]
        evicted = a_pod("evicted", created=9, phase="Failed")
        evicted.status.reason = "Evicted"
        found = surplus([*pods, evicted, a_pod("running")], 2)
        assert [pod.metadata.name for pod in found] == ["evicted", "p1"]
        assert surplus(pods, 3) == []

    def test_stranded(self) -> None:
        pod = a_pod()
        assert not is_stranded(pod)
        pod.metadata.deletion_timestamp.seconds = 1
        assert not is_stranded(pod)
        pod.spec.node_name = ""
        assert is_stranded(pod)

    def test_a_lost_pod_failed(self) -> None:
        found = lost(a_pod(), NOW)
        assert found.status.phase == "Failed"
        assert found.status.conditions[0].reason == "DeletionByPodGC"
        assert lost(a_pod(phase="Succeeded"), NOW) is None
