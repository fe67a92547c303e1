"""Which nodes may run a Pod, one table a filter."""

from random import Random

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.scheduler.cluster import Cluster, PodInfo
from navarch.services.scheduler.cycle import Cycle


def a_node(name: str = "n1", *, cpu: str = "2", memory: str = "4Gi", pods: int = 110, **labels: str) -> corev1.Node:
    node = corev1.Node()
    node.metadata.name = name
    node.metadata.labels["kubernetes.io/hostname"] = name
    for key, value in labels.items():
        node.metadata.labels[key] = value
    for resource, amount in (("cpu", cpu), ("memory", memory), ("pods", str(pods))):
        node.status.allocatable[resource].string = amount
    return node


def a_pod(
    name: str = "web", *, cpu: str = "", memory: str = "", namespace: str = "default", **labels: str
) -> corev1.Pod:
    pod = corev1.Pod()
    pod.metadata.name, pod.metadata.namespace = name, namespace
    for key, value in labels.items():
        pod.metadata.labels[key] = value
    container = pod.spec.containers.add(name="main", image="busybox:1")
    for resource, amount in (("cpu", cpu), ("memory", memory)):
        if amount:
            container.resources.requests[resource].string = amount
    return pod


def place(
    pod: corev1.Pod, nodes: list[corev1.Node], placed: dict[str, list[corev1.Pod]] | None = None
) -> tuple[str, str]:
    """(node, message) of one pass over a fresh cluster."""
    cluster = Cluster()
    cluster.namespaces["default"] = {"team": "a"}
    cluster.namespaces["other"] = {"team": "b"}
    for node in nodes:
        cluster.set_node(node)
    for node_name, pods in (placed or {}).items():
        for one in pods:
            one.spec.node_name = node_name
            cluster.set_pod(one)
    placement = Cycle(Random(1)).place(PodInfo.of(pod), cluster)
    return placement.node, placement.message


def with_taint(node: corev1.Node, key: str, effect: str, value: str = "") -> corev1.Node:
    node.spec.taints.add(key=key, effect=effect, value=value)
    return node


def with_toleration(pod: corev1.Pod, **fields: str) -> corev1.Pod:
    pod.spec.tolerations.add(**fields)
    return pod


def test_no_nodes() -> None:
    assert place(a_pod(), []) == ("", "no nodes available to schedule pods")


@pytest.mark.parametrize(
    ("pod", "fits"),
    [
        pytest.param(a_pod(cpu="2"), True, id="exactly all cpu"),
        pytest.param(a_pod(cpu="2001m"), False, id="a millicore too many"),
        pytest.param(a_pod(memory="4Gi"), True, id="exactly all memory"),
        pytest.param(a_pod(memory="4294967297"), False, id="a byte too many"),
        pytest.param(a_pod(), True, id="no requests"),
    ],
)
def test_resources(pod: corev1.Pod, fits: bool) -> None:
    node, message = place(pod, [a_node()])
    assert (node == "n1") is fits, message


def test_resources_count_what_is_there() -> None:
    there = a_pod("there", cpu="1500m")
    assert place(a_pod(cpu="500m"), [a_node()], {"n1": [there]})[0] == "n1"
    assert place(a_pod(cpu="501m"), [a_node()], {"n1": [there]})[1] == "0/1 nodes are available: 1 Insufficient cpu."


def test_pod_count() -> None:
    full = a_node(pods=1)
    assert place(a_pod(), [full], {"n1": [a_pod("there")]})[1] == "0/1 nodes are available: 1 Too many pods."


def test_init_containers_count_by_their_peak_and_sidecars_add() -> None:
    pod = a_pod(cpu="500m")
    init = pod.spec.init_containers.add(name="init")
    init.resources.requests["cpu"].string = "1500m"
    assert place(pod, [a_node(cpu="1500m")])[0] == "n1"
    sidecar = pod.spec.init_containers.add(name="sidecar", restart_policy="Always")
    sidecar.resources.requests["cpu"].string = "1100m"
    assert place(pod, [a_node(cpu="1500m")])[0] == ""
    assert place(pod, [a_node(cpu="1600m")])[0] == "n1"


@pytest.mark.parametrize(
    ("toleration", "fits"),
    [
        pytest.param({}, False, id="none"),
        pytest.param({"key": "k", "operator": "Exists", "effect": "NoSchedule"}, True, id="exists"),
        pytest.param({"key": "k", "value": "v", "effect": "NoSchedule"}, True, id="equal by default"),
        pytest.param({"key": "k", "value": "w", "effect": "NoSchedule"}, False, id="other value"),
        pytest.param({"key": "k", "value": "v", "effect": "NoExecute"}, False, id="other effect"),
        pytest.param({"operator": "Exists"}, True, id="tolerates everything"),
    ],
)
def test_taints(toleration: dict[str, str], fits: bool) -> None:
    pod = with_toleration(a_pod(), **toleration) if toleration else a_pod()
    node, message = place(pod, [with_taint(a_node(), "k", "NoSchedule", "v")])
    assert (node == "n1") is fits
    if not fits:
        assert message == "0/1 nodes are available: 1 node(s) had untolerated taint {k: v}."


def test_prefer_no_schedule_only_ranks() -> None:
    nodes = [with_taint(a_node("n1"), "k", "PreferNoSchedule"), a_node("n2")]
    assert place(a_pod(), nodes)[0] == "n2"
    assert place(a_pod(), nodes[:1])[0] == "n1"


def test_cordon_and_its_toleration() -> None:
    node = a_node()
    node.spec.unschedulable = True
    assert place(a_pod(), [node])[1] == "0/1 nodes are available: 1 node(s) were unschedulable."
    tolerant = with_toleration(a_pod(), key="node.kubernetes.io/unschedulable", operator="Exists")
    assert place(tolerant, [node])[0] == "n1"


@pytest.mark.parametrize(
    ("operator", "values", "fits"),
    [
        ("In", ["ssd", "nvme"], True),
        ("In", ["hdd"], False),
        ("NotIn", ["hdd"], True),
        ("NotIn", ["ssd"], False),
        ("Exists", [], True),
        ("DoesNotExist", [], False),
    ],
)
def test_node_affinity_operators(operator: str, values: list[str], fits: bool) -> None:
    pod = a_pod()
    required = pod.spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution
    required.node_selector_terms.add().match_expressions.add(key="disk", operator=operator, values=values)
    assert (place(pod, [a_node(disk="ssd")])[0] == "n1") is fits


@pytest.mark.parametrize(
    ("operator", "bound", "fits"), [("Gt", "3", True), ("Gt", "4", False), ("Lt", "5", True), ("Lt", "x", False)]
)
def test_node_affinity_compares_integers(operator: str, bound: str, fits: bool) -> None:
    pod = a_pod()
    required = pod.spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution
    required.node_selector_terms.add().match_expressions.add(key="cores", operator=operator, values=[bound])
    assert (place(pod, [a_node(cores="4")])[0] == "n1") is fits


def test_node_selector_terms_are_alternatives_and_an_empty_term_matches_nothing() -> None:
    pod = a_pod()
    required = pod.spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution
    required.node_selector_terms.add()
    assert place(pod, [a_node()])[0] == ""
    required.node_selector_terms.add().match_fields.add(key="metadata.name", operator="In", values=["n1"])
    assert place(pod, [a_node()])[0] == "n1"


def test_node_selector() -> None:
    pod = a_pod()
    pod.spec.node_selector["zone"] = "a"
    assert place(pod, [a_node("n1", zone="b"), a_node("n2", zone="a")])[0] == "n2"


@pytest.mark.parametrize(
    ("wanted", "taken", "fits"),
    [
        pytest.param(("", "TCP", 80), ("", "TCP", 80), False, id="same"),
        pytest.param(("", "UDP", 80), ("", "TCP", 80), True, id="other protocol"),
        pytest.param(("10.0.0.1", "TCP", 80), ("10.0.0.2", "TCP", 80), True, id="other address"),
        pytest.param(("10.0.0.1", "TCP", 80), ("0.0.0.0", "TCP", 80), False, id="any address overlaps"),
    ],
)
def test_host_ports(wanted: tuple[str, str, int], taken: tuple[str, str, int], fits: bool) -> None:
    def with_port(pod: corev1.Pod, port: tuple[str, str, int]) -> corev1.Pod:
        pod.spec.containers[0].ports.add(host_ip=port[0], protocol=port[1], host_port=port[2], container_port=port[2])
        return pod

    there = with_port(a_pod("there"), taken)
    assert (place(with_port(a_pod(), wanted), [a_node()], {"n1": [there]})[0] == "n1") is fits


def affinity_term(pod: corev1.Pod, anti: bool = False, **labels: str) -> corev1.PodAffinityTerm:
    affinity = pod.spec.affinity.pod_anti_affinity if anti else pod.spec.affinity.pod_affinity
    term = affinity.required_during_scheduling_ignored_during_execution.add(topology_key="zone")
    term.label_selector.CopyFrom(metav1.LabelSelector(match_labels=labels))
    return term


ZONES = [a_node("n1", zone="a"), a_node("n2", zone="a"), a_node("n3", zone="b")]


def test_pod_affinity_wants_the_same_domain() -> None:
    pod = a_pod()
    affinity_term(pod, app="db")
    assert place(pod, ZONES, {"n3": [a_pod("db", app="db")]})[0] == "n3"
    assert place(pod, ZONES)[1] == "0/3 nodes are available: 3 node(s) didn't match pod affinity rules."


def test_the_first_of_a_group_may_go_anywhere() -> None:
    pod = a_pod(app="group")
    affinity_term(pod, app="group")
    assert place(pod, ZONES)[0] != ""


def test_pod_anti_affinity_holds_both_ways() -> None:
    mine = a_pod()
    affinity_term(mine, anti=True, app="db")
    assert place(mine, ZONES, {"n1": [a_pod("db", app="db")]})[0] == "n3"
    theirs = a_pod("db", app="db")
    affinity_term(theirs, anti=True, app="web")
    assert place(a_pod(app="web"), ZONES, {"n1": [theirs]})[0] == "n3"


def test_affinity_namespaces() -> None:
    pod = a_pod()
    term = affinity_term(pod, anti=True, app="db")
    elsewhere = {"n1": [a_pod("db", namespace="other", app="db")]}
    assert place(pod, ZONES[:1], elsewhere)[0] == "n1"
    term.namespace_selector.match_labels["team"] = "b"
    assert place(pod, ZONES[:1], elsewhere)[0] == ""


def test_topology_spread() -> None:
    pod = a_pod(app="web")
    constraint = pod.spec.topology_spread_constraints.add(
        max_skew=1, topology_key="zone", when_unsatisfiable="DoNotSchedule"
    )
    constraint.label_selector.match_labels["app"] = "web"
    there = {"n1": [a_pod("w1", app="web")]}
    assert place(pod, ZONES, there)[0] == "n3"
    unlabeled = [a_node("n4")]
    assert "missing required label" in place(pod, unlabeled)[1]


def test_reasons_are_counted() -> None:
    nodes = [with_taint(a_node("n1"), "k", "NoExecute"), a_node("n2", cpu="1"), a_node("n3", cpu="1")]
    message = "0/3 nodes are available: 1 node(s) had untolerated taint {k: }, 2 Insufficient cpu."
    assert place(a_pod(cpu="2"), nodes)[1] == message


def test_least_allocated_and_spreading() -> None:
    nodes = [a_node("n1"), a_node("n2")]
    assert place(a_pod(cpu="100m"), nodes, {"n1": [a_pod("big", cpu="1")]})[0] == "n2"

    def replica(name: str) -> corev1.Pod:
        pod = a_pod(name)
        pod.metadata.owner_references.add(kind="ReplicaSet", name="web", uid="u1", controller=True)
        return pod

    # The node with a sibling loses although the other carries somewhat more.
    placed = {"n1": [replica("one")], "n2": [a_pod("small", cpu="150m")]}
    assert place(replica("two"), nodes, placed)[0] == "n2"


def test_image_locality() -> None:
    nodes = [a_node("n1"), a_node("n2")]
    nodes[1].status.images.add(names=["busybox:1"], size_bytes=2 << 30)
    assert place(a_pod(), nodes)[0] == "n2"
