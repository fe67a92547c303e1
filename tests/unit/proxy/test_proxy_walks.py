"""Where packets go: walks through what the proxy would install, one case a feature."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from navarch.services.proxy.endpoints import Target
from navarch.services.proxy.families import Family
from navarch.services.proxy.frontends import FrontendId
from navarch.services.proxy.state import Conflict, ProxyState
from navarch.services.proxy.structure import Settings
from navarch.services.proxy.walk import Fate, Packet, ruleset, walk
from navarch.testing.proxy_objects import NODE, ServiceBuilder, SliceBuilder, a_node

SETTINGS = Settings(cluster_cidrs=("10.244.0.0/16", "fd00:244::/48"), service_cidrs=("10.96.0.0/16", "fd00:96::/112"))
HOST = "192.0.2.1"
HOST6 = "2001:db8::1"
POD = "10.244.1.9"
OUTSIDE = "203.0.113.5"
VIP = "10.96.0.10"


def a_state(*objects: ServiceBuilder | SliceBuilder, settings: Settings = SETTINGS, zone: str = "") -> ProxyState:
    state = ProxyState(settings, NODE)
    state.set_node(a_node(HOST, HOST6, zone=zone))
    for built in objects:
        if isinstance(built, ServiceBuilder):
            state.set_service(built.object)
        else:
            state.set_slice(built.object)
    state.changes()
    return state


def fates(state: ProxyState, packet: Packet, remembered: tuple[tuple[str, str], ...] = ()) -> list[Fate]:
    host = frozenset({HOST, HOST6, "127.0.0.1"})
    rules = ruleset(state.settings, state.chains, dict(state.elements()), host)
    return walk(rules, packet, remembered)


def summary(found: list[Fate]) -> tuple[set[str], bool | None, set[str]]:
    """Targets, whether masqueraded (None: it varies), verdicts."""
    targets = {f"{fate.target.address}:{fate.target.port}" for fate in found if fate.target is not None}
    masqueraded = {fate.masqueraded for fate in found if fate.verdict == "accept"}
    return targets, masqueraded.pop() if len(masqueraded) == 1 else None, {fate.verdict for fate in found}


def web(ip: str = VIP) -> ServiceBuilder:
    return ServiceBuilder("web", ip)


def two(name: str = "web") -> SliceBuilder:
    """One endpoint here, one elsewhere."""
    return SliceBuilder(name).port(8080).endpoint("10.244.1.2", node=NODE).endpoint("10.244.2.2")


def tcp(source: str, destination: str, port: int, *, from_host: bool = False) -> Packet:
    return Packet(source, destination, "tcp", port, from_host)


HERE, THERE = "10.244.1.2:8080", "10.244.2.2:8080"
BOTH = {HERE, THERE}


@dataclass(frozen=True)
class Case:
    objects: Callable[[], list[ServiceBuilder | SliceBuilder]]
    packet: Packet
    targets: frozenset[str] | set[str]
    masqueraded: bool | None = False
    verdict: str = "accept"


CASES = {
    "cluster IP from a Pod": Case(lambda: [web().port(80), two()], tcp(POD, VIP, 80), BOTH),
    "cluster IP from outside": Case(lambda: [web().port(80), two()], tcp(OUTSIDE, VIP, 80), BOTH, True),
    "cluster IP from the host": Case(lambda: [web().port(80), two()], tcp(HOST, VIP, 80, from_host=True), BOTH, True),
    "hairpin and others": Case(lambda: [web().port(80), two()], tcp("10.244.1.2", VIP, 80), BOTH, None),
    "another port of a cluster IP": Case(lambda: [web().port(80), two()], tcp(POD, VIP, 81), set(), None, "reject"),
    "another protocol": Case(lambda: [web().port(80), two()], Packet(POD, VIP, "udp", 80), set(), None, "reject"),
    "a free address of the Service network": Case(list, tcp(POD, "10.96.7.7", 80), set(), None, "reject"),
    "an address of nobody's": Case(list, tcp(POD, OUTSIDE, 80), set(), False),
    "UDP": Case(
        lambda: [
            web().port(53, protocol="UDP"),
            SliceBuilder("web").port(5353, protocol="UDP").endpoint("10.244.2.2"),
        ],
        Packet(POD, VIP, "udp", 53),
        {"10.244.2.2:5353"},
    ),
    "SCTP": Case(
        lambda: [
            web().port(36412, protocol="SCTP"),
            SliceBuilder("web").port(36412, protocol="SCTP").endpoint("10.244.2.2"),
        ],
        Packet(POD, VIP, "sctp", 36412),
        {"10.244.2.2:36412"},
    ),
    "a named port among several": Case(
        lambda: [
            web().port(80, name="http").port(443, name="https"),
            SliceBuilder("web").port(8080, name="http").port(8443, name="https").endpoint("10.244.2.2"),
        ],
        tcp(POD, VIP, 443),
        {"10.244.2.2:8443"},
    ),
    "a named port that differs by Pod": Case(
        lambda: [
            web().port(80, name="http"),
            SliceBuilder("web").port(8080, name="http").endpoint("10.244.2.2"),
            SliceBuilder("web", suffix="b").port(9090, name="http").endpoint("10.244.2.3"),
        ],
        tcp(POD, VIP, 80),
        {"10.244.2.2:8080", "10.244.2.3:9090"},
    ),
    "no endpoints": Case(lambda: [web().port(80)], tcp(POD, VIP, 80), set(), None, "reject"),
    "no endpoints, node port": Case(
        lambda: [web().port(80, node_port=30080)], tcp(OUTSIDE, HOST, 30080), set(), None, "reject"
    ),
    "headless": Case(
        lambda: [ServiceBuilder("web", "None").port(80), two()], tcp(POD, "10.244.1.2", 8080), set(), False
    ),
    "node port from outside": Case(
        lambda: [web().port(80, node_port=30080), two()], tcp(OUTSIDE, HOST, 30080), BOTH, True
    ),
    "node port from a Pod": Case(lambda: [web().port(80, node_port=30080), two()], tcp(POD, HOST, 30080), BOTH, True),
    "node port from the host": Case(
        lambda: [web().port(80, node_port=30080), two()], tcp(HOST, HOST, 30080, from_host=True), BOTH, True
    ),
    "node port at loopback": Case(
        lambda: [web().port(80, node_port=30080), two()],
        tcp("127.0.0.1", "127.0.0.1", 30080, from_host=True),
        set(),
    ),
    "node port at another host": Case(
        lambda: [web().port(80, node_port=30080), two()], tcp(POD, OUTSIDE, 30080), set()
    ),
    "node port, Local, from outside": Case(
        lambda: [web().port(80, node_port=30080).external_local(), two()],
        tcp(OUTSIDE, HOST, 30080),
        {HERE},
        False,
    ),
    "node port, Local, from a Pod": Case(
        lambda: [web().port(80, node_port=30080).external_local(), two()], tcp(POD, HOST, 30080), BOTH, False
    ),
    "node port, Local, from the host": Case(
        lambda: [web().port(80, node_port=30080).external_local(), two()],
        tcp(HOST, HOST, 30080, from_host=True),
        BOTH,
        True,
    ),
    "node port, Local, none here": Case(
        lambda: [
            web().port(80, node_port=30080).external_local(),
            SliceBuilder("web").port(8080).endpoint("10.244.2.2"),
        ],
        tcp(OUTSIDE, HOST, 30080),
        set(),
        None,
        "drop",
    ),
    "Local for outsiders leaves the cluster IP alone": Case(
        lambda: [web().port(80, node_port=30080).external_local(), two()], tcp(POD, VIP, 80), BOTH
    ),
    "internal policy Local": Case(lambda: [web().port(80).internal_local(), two()], tcp(POD, VIP, 80), {HERE}),
    "internal policy Local, none here": Case(
        lambda: [web().port(80).internal_local(), SliceBuilder("web").port(8080).endpoint("10.244.2.2")],
        tcp(POD, VIP, 80),
        set(),
        None,
        "drop",
    ),
    "internal policy Local, none anywhere": Case(
        lambda: [web().port(80).internal_local()], tcp(POD, VIP, 80), set(), None, "reject"
    ),
    "external IP": Case(
        lambda: [web().port(80).external("198.51.100.7"), two()], tcp(OUTSIDE, "198.51.100.7", 80), BOTH, True
    ),
    "load balancer": Case(
        lambda: [web().port(80).load_balancer("198.51.100.7"), two()],
        tcp(OUTSIDE, "198.51.100.7", 80),
        BOTH,
        True,
    ),
    "load balancer in mode Proxy": Case(
        lambda: [web().port(80).load_balancer("198.51.100.7", mode="Proxy"), two()],
        tcp(OUTSIDE, "198.51.100.7", 80),
        set(),
    ),
    "load balancer, Local": Case(
        lambda: [web().port(80).load_balancer("198.51.100.7").external_local(), two()],
        tcp(OUTSIDE, "198.51.100.7", 80),
        {HERE},
    ),
    "load balancer, source let in": Case(
        lambda: [web().port(80).load_balancer("198.51.100.7", ranges=["203.0.113.0/24"]), two()],
        tcp(OUTSIDE, "198.51.100.7", 80),
        BOTH,
        True,
    ),
    "load balancer, source kept out": Case(
        lambda: [web().port(80).load_balancer("198.51.100.7", ranges=["10.0.0.0/8", "10.1.0.0/16"]), two()],
        tcp(OUTSIDE, "198.51.100.7", 80),
        set(),
        None,
        "drop",
    ),
    "load balancer, a range that is none counts for nothing": Case(
        lambda: [web().port(80).load_balancer("198.51.100.7", ranges=["here", "10.0.0.0/8"]), two()],
        tcp(OUTSIDE, "198.51.100.7", 80),
        set(),
        None,
        "drop",
    ),
    "load balancer, ranges for everybody": Case(
        lambda: [web().port(80).load_balancer("198.51.100.7", ranges=["0.0.0.0/0"]), two()],
        tcp(OUTSIDE, "198.51.100.7", 80),
        BOTH,
        True,
    ),
    "load balancer, a node that is let in has the address itself": Case(
        lambda: [web().port(80).load_balancer("198.51.100.7", ranges=["192.0.2.0/24"]), two()],
        tcp("198.51.100.7", "198.51.100.7", 80, from_host=True),
        BOTH,
        True,
    ),
    "not ready": Case(
        lambda: [
            web().port(80),
            SliceBuilder("web").port(8080).endpoint("10.244.1.2", ready=False).endpoint("10.244.2.2"),
        ],
        tcp(POD, VIP, 80),
        {THERE},
    ),
    "ending, others ready": Case(
        lambda: [
            web().port(80),
            SliceBuilder("web")
            .port(8080)
            .endpoint("10.244.1.2", ready=False, serving=True, terminating=True)
            .endpoint("10.244.2.2"),
        ],
        tcp(POD, VIP, 80),
        {THERE},
    ),
    "ending, none ready": Case(
        lambda: [
            web().port(80),
            SliceBuilder("web")
            .port(8080)
            .endpoint("10.244.1.2", ready=False, serving=True, terminating=True)
            .endpoint("10.244.2.2", ready=False, serving=False, terminating=True),
        ],
        tcp(POD, VIP, 80),
        {HERE},
    ),
    "ending here, ready elsewhere, Local": Case(
        lambda: [
            web().port(80, node_port=30080).external_local(),
            SliceBuilder("web")
            .port(8080)
            .endpoint("10.244.1.2", node=NODE, ready=False, serving=True, terminating=True)
            .endpoint("10.244.2.2"),
        ],
        tcp(OUTSIDE, HOST, 30080),
        {HERE},
    ),
    "a Pod in two slices, ready in one": Case(
        lambda: [
            web().port(80),
            SliceBuilder("web").port(8080).endpoint("10.244.2.2", ready=False),
            SliceBuilder("web", suffix="b").port(8080).endpoint("10.244.2.2"),
        ],
        tcp(POD, VIP, 80),
        {THERE},
    ),
    "IPv6": Case(
        lambda: [
            web("fd00:96::a").port(80),
            SliceBuilder("web", family=6).port(8080).endpoint("fd00:244:0:2::2"),
        ],
        tcp("fd00:244:0:1::9", "fd00:96::a", 80),
        {"fd00:244:0:2::2:8080"},
    ),
    "IPv6 node port": Case(
        lambda: [
            web("fd00:96::a").port(80, node_port=30080),
            SliceBuilder("web", family=6).port(8080).endpoint("fd00:244:0:2::2"),
        ],
        tcp("2001:db8::99", HOST6, 30080),
        {"fd00:244:0:2::2:8080"},
        True,
    ),
    "dual stack: each family its own endpoints": Case(
        lambda: [
            ServiceBuilder("web", VIP, "fd00:96::a").port(80),
            two(),
            SliceBuilder("web", family=6, suffix="six").port(8080).endpoint("fd00:244:0:2::2"),
        ],
        tcp(POD, VIP, 80),
        BOTH,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_packet_leaves_where_its_service_leads(case: Case) -> None:
    targets, masqueraded, verdicts = summary(fates(a_state(*case.objects()), case.packet))
    assert targets == case.targets
    assert verdicts == {case.verdict}
    assert masqueraded is case.masqueraded


def test_only_the_way_back_to_oneself_is_masqueraded() -> None:
    found = fates(a_state(web().port(80), two()), tcp("10.244.1.2", VIP, 80))
    assert {(fate.target, fate.masqueraded) for fate in found} == {
        (Target("10.244.1.2", 8080), True),
        (Target("10.244.2.2", 8080), False),
    }


def test_without_cluster_cidrs_nobody_is_an_outsider() -> None:
    state = a_state(web().port(80), two(), settings=Settings())
    assert summary(fates(state, tcp(OUTSIDE, VIP, 80))) == (BOTH, False, {"accept"})


def test_node_ports_are_open_at_the_given_addresses_only() -> None:
    state = a_state(web().port(80, node_port=30080), two(), settings=Settings(node_addresses=("198.51.100.0/24",)))
    assert summary(fates(state, tcp(OUTSIDE, HOST, 30080)))[0] == set()


@pytest.mark.parametrize("slot", [0, 1])
def test_a_known_client_gets_its_endpoint_again(slot: int) -> None:
    state = a_state(web().port(80, node_port=30080).affinity(100), two())
    known = (("affinity4-tcp", f"{POD} . {VIP} . 80 . {slot}"),)
    assert summary(fates(state, tcp(POD, VIP, 80), known))[0] == {[HERE, THERE][slot]}
    known = (("port-affinity4-tcp", f"{OUTSIDE} . 30080 . {slot}"),)
    assert summary(fates(state, tcp(OUTSIDE, HOST, 30080), known))[0] == {[HERE, THERE][slot]}


def test_an_unknown_client_gets_any_endpoint() -> None:
    state = a_state(web().port(80).affinity(100), two())
    assert summary(fates(state, tcp(POD, VIP, 80)))[0] == BOTH


HINTS = {
    "this zone": ("a", [("10.244.1.2", ["a"], []), ("10.244.2.2", ["b"], [])], {HERE}),
    "the other zone": ("b", [("10.244.1.2", ["a"], []), ("10.244.2.2", ["b"], [])], {THERE}),
    "a zone of nobody's": ("c", [("10.244.1.2", ["a"], []), ("10.244.2.2", ["b"], [])], BOTH),
    "the zone is not known": ("", [("10.244.1.2", ["a"], []), ("10.244.2.2", ["b"], [])], BOTH),
    "one has no hint": ("a", [("10.244.1.2", ["a"], []), ("10.244.2.2", [], [])], BOTH),
    "this node": ("a", [("10.244.1.2", ["a"], [NODE]), ("10.244.2.2", ["a"], ["node-2"])], {HERE}),
    "no endpoint for this node: the zone": (
        "a",
        [("10.244.1.2", ["b"], ["node-3"]), ("10.244.2.2", ["a"], ["node-2"])],
        {THERE},
    ),
}


@pytest.mark.parametrize(("zone", "endpoints", "targets"), HINTS.values(), ids=HINTS.keys())
def test_hints_keep_traffic_near(
    zone: str, endpoints: list[tuple[str, list[str], list[str]]], targets: set[str]
) -> None:
    slice = SliceBuilder("web").port(8080)
    for address, zones, nodes in endpoints:
        slice.endpoint(address, zones=zones, nodes=nodes)
    state = a_state(web().port(80), slice, zone=zone)
    assert summary(fates(state, tcp(POD, VIP, 80)))[0] == targets


def test_a_node_that_moves_to_another_zone_sends_elsewhere() -> None:
    slice = SliceBuilder("web").port(8080)
    slice.endpoint("10.244.1.2", zones=["a"]).endpoint("10.244.2.2", zones=["b"])
    state = a_state(web().port(80), slice, zone="a")
    state.set_node(a_node(HOST, HOST6, zone="b"))
    state.changes()
    assert summary(fates(state, tcp(POD, VIP, 80)))[0] == {THERE}


def test_of_two_claims_of_one_address_the_first_counts_until_it_goes() -> None:
    first = ServiceBuilder("first", "10.96.0.1").port(80).external("198.51.100.7")
    second = ServiceBuilder("second", "10.96.0.2").port(80).external("198.51.100.7")
    slices = [
        SliceBuilder("first").port(8080).endpoint("10.244.2.1"),
        SliceBuilder("second").port(8080).endpoint("10.244.2.2"),
    ]
    state = a_state(first, second, *slices)
    packet = tcp(OUTSIDE, "198.51.100.7", 80)
    assert summary(fates(state, packet))[0] == {"10.244.2.1:8080"}
    assert summary(fates(state, tcp(POD, "10.96.0.2", 80)))[0] == {"10.244.2.2:8080"}
    id = FrontendId(Family.V4, "tcp", "198.51.100.7", 80)
    assert state.take_conflicts() == [Conflict(id, "default/first", "default/second")]
    state.set_service(second.object)
    state.changes()
    assert state.take_conflicts() == []
    state.remove_service("default/first")
    state.changes()
    assert summary(fates(state, packet))[0] == {"10.244.2.2:8080"}
