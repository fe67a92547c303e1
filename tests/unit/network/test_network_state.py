"""What the agent says of its plans: the Node's condition, the gRPC service's state."""

from collections.abc import Callable
from ipaddress import ip_network

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import network_pb2
from navarch.services.api.errors import NotFound
from navarch.services.network import condition
from navarch.services.network.condition import Condition
from navarch.services.network.facts import NodeFacts, node_facts
from navarch.services.network.planner import REFUSED, ROUTE, VXLAN, Peer, Plan, Way
from navarch.services.network.servicer import Change, NetworkServicer, State

CIDRS = (ip_network("10.244.1.0/24"),)
NOW = "2026-01-02T03:04:05Z"
FINE = Condition("False", "RouteCreated", "the Pod network is in place")


def a_plan(*peers: Peer, conflict: str = "") -> Plan:
    return Plan(CIDRS, conflict, peers, mtu=1450)


def a_peer(name: str, how: str, reason: str = "so it is") -> Peer:
    return Peer(name, (Way("10.244.2.0/24", how, "192.168.1.2", "eth0", reason),))


def a_node(*conditions: corev1.NodeCondition) -> corev1.Node:
    node = corev1.Node()
    node.status.conditions.extend(conditions)
    return node


def unavailable(status: str, reason: str, message: str = "") -> corev1.NodeCondition:
    return corev1.NodeCondition(type="NetworkUnavailable", status=status, reason=reason, message=message)


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        pytest.param(a_plan(), FINE, id="alone"),
        pytest.param(a_plan(a_peer("b", ROUTE)), FINE, id="all reached"),
        pytest.param(
            a_plan(a_peer("b", REFUSED, "it overlaps")),
            Condition(
                "False",
                "RouteCreated",
                "the Pod network is in place, but refused are: b (10.244.2.0/24: it overlaps)",
            ),
            id="a bad peer stops nobody else",
        ),
        pytest.param(a_plan(conflict="bad"), Condition("True", "PodCIDROverlaps", "bad"), id="own range"),
    ],
)
def test_conditions(plan: Plan, expected: Condition) -> None:
    assert condition.of_plan(plan) == expected


def test_many_refused_peers_make_no_endless_message() -> None:
    found = condition.of_plan(a_plan(*(a_peer(f"n{number}", REFUSED) for number in range(1000))))
    assert found.message.endswith("and 995 more")


@pytest.mark.parametrize(
    ("before", "is_told", "has_turned"),
    [
        pytest.param([], False, True, id="none yet"),
        pytest.param([unavailable("True", "NoRouteCreated")], False, True, id="it was unavailable"),
        pytest.param([unavailable("False", "RouteCreated", "else")], False, False, id="other words"),
        pytest.param([unavailable("False", "RouteCreated", FINE.message)], True, False, id="told already"),
    ],
)
def test_what_is_written(before: list[corev1.NodeCondition], is_told: bool, has_turned: bool) -> None:
    node = a_node(corev1.NodeCondition(type="Ready", status="True"), *before)
    assert condition.is_told(node, FINE) is is_told
    patch: dict[str, dict[str, list[dict[str, str]]]] = condition.patch_of(node, FINE, NOW)  # type: ignore[assignment]
    (written,) = patch["status"]["conditions"]
    assert (written["type"], written["status"], written["lastHeartbeatTime"]) == ("NetworkUnavailable", "False", NOW)
    assert ("lastTransitionTime" in written) is has_turned


@pytest.mark.parametrize(
    ("before", "takes_back"),
    [
        pytest.param([], False, id="nothing said"),
        pytest.param([unavailable("True", "PodCIDROverlaps")], True, id="we have said it"),
        pytest.param([unavailable("True", "CalicoIsDown")], False, id="the other one has"),
        pytest.param([unavailable("False", "RouteCreated")], False, id="nothing against it"),
    ],
)
def test_giving_way_takes_back_what_we_said(before: list[corev1.NodeCondition], takes_back: bool) -> None:
    assert (condition.of_other(a_node(*before), "05-calico.conflist") is not None) is takes_back


def test_facts_of_a_node() -> None:
    node = corev1.Node()
    node.metadata.name = "n1"
    node.metadata.creation_timestamp.seconds = 7
    node.spec.pod_cidrs.extend(["10.244.1.0/24", "nonsense", "fd01::/64"])
    for kind, address in (("Hostname", "n1"), ("InternalIP", "192.168.1.1"), ("InternalIP", "n1.example")):
        node.status.addresses.add(type=kind, address=address)
    facts = node_facts(node)
    assert [str(one) for one in facts.addresses] == ["192.168.1.1"]
    assert [str(one) for one in facts.cidrs] == ["10.244.1.0/24", "fd01::/64"]
    assert (facts.malformed, facts.seniority) == (("nonsense",), (7, "n1"))
    del node.spec.pod_cidrs[:]
    node.spec.pod_cidr = "10.244.3.0/24"
    assert node_facts(node).cidrs == (ip_network("10.244.3.0/24"),)


def test_changes_are_told_once() -> None:
    state = State("a")
    assert [change.how for change in state.planned(a_plan(a_peer("b", VXLAN)))] == [VXLAN]
    assert state.planned(a_plan(a_peer("b", VXLAN))) == []
    assert [change.how for change in state.planned(a_plan(a_peer("b", ROUTE)))] == [ROUTE]
    assert state.counts() == {"route": 1, "vxlan": 0, "wireguard": 0, "unreachable": 0, "refused": 0}
    assert state.planned(a_plan()) == [Change("b", "10.244.2.0/24", "gone")]


@pytest.mark.parametrize(
    ("happen", "name", "word"),
    [
        pytest.param(lambda state: state.waits("no Pod CIDR yet"), "waiting", "no Pod CIDR", id="waiting"),
        pytest.param(lambda state: state.planned(a_plan()), "ready", "", id="ready"),
        pytest.param(lambda state: state.planned(a_plan(conflict="it overlaps")), "conflict", "it", id="conflict"),
        pytest.param(lambda state: state.gives_way(NodeFacts("a"), "05-x.conf"), "other", "05-x.conf", id="other"),
    ],
)
async def test_the_service_tells_its_state(happen: Callable[[State], object], name: str, word: str) -> None:
    state = State("a", encryption="none")
    happen(state)
    answer = await NetworkServicer(lambda: state).Describe(network_pb2.DescribeNetworkRequest(), None)  # type: ignore[arg-type]
    assert (answer.node, answer.state, answer.encryption) == ("a", name, "none")
    assert word in answer.message


async def test_one_peer_is_asked_for() -> None:
    state = State("a")
    state.planned(a_plan(a_peer("b", VXLAN), a_peer("c", ROUTE)))
    servicer = NetworkServicer(lambda: state)
    answer = await servicer.Describe(network_pb2.DescribeNetworkRequest(node="c"), None)  # type: ignore[arg-type]
    (peer,) = answer.peers
    assert (peer.node, peer.ways[0].how, peer.ways[0].via, peer.ways[0].reason) == (
        "c",
        "route",
        "192.168.1.2",
        "so it is",
    )
    with pytest.raises(NotFound):
        await servicer.Describe(network_pb2.DescribeNetworkRequest(node="d"), None)  # type: ignore[arg-type]
