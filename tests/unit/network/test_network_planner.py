"""How each peer is reached, by what the host's links and routes are."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from navarch.services.network.facts import NodeFacts, read_cidrs
from navarch.services.network.kernel import (
    PROTOCOL_KERNEL,
    ROUTE_PROTOCOL,
    DeviceAddress,
    Forwarding,
    Kernel,
    Link,
    Neighbour,
    Route,
)
from navarch.services.network.planner import Plan, Settings, Way, plan

STATIC = 4
SETTINGS = Settings(
    "nv0",
    cluster_cidrs=(ip_network("10.244.0.0/16"), ip_network("fd01::/48")),
    service_cidrs=(ip_network("10.96.0.0/16"),),
)


def a_node(name: str, addresses: str, cidrs: str, created_s: int = 1) -> NodeFacts:
    found, malformed = read_cidrs(cidrs.split())
    return NodeFacts(name, tuple(map(ip_address, addresses.split())), found, malformed, created_s)


def a_route(destination: str, device: str, gateway: str = "", **others: object) -> Route:
    defaults = {"protocol": STATIC if gateway else PROTOCOL_KERNEL, "metric": 0}
    via = ip_address(gateway) if gateway else None
    return Route(ip_network(destination), device, via, **{**defaults, **others})  # type: ignore[arg-type]


def a_kernel(*routes: Route, mtu: int = 1500, **links: Link) -> Kernel:
    """A host with eth0 on 192.168.1.0/24 and fd00:a::/64, a way out, and what else is given."""
    base = (
        a_route("192.168.1.0/24", "eth0"),
        a_route("fd00:a::/64", "eth0"),
        a_route("0.0.0.0/0", "eth0", "192.168.1.254"),
        a_route("::/0", "eth0", "fd00:a::fe"),
    )
    addresses = (("192.168.1.1", 24), ("fd00:a::1", 64))
    return Kernel(
        {"eth0": Link("eth0", mtu), **links},
        frozenset(DeviceAddress("eth0", ip_address(address), length) for address, length in addresses),
        frozenset((*base, *routes)),
    )


OWN = a_node("a", "192.168.1.1 fd00:a::1", "10.244.1.0/24 fd01:0:0:1::/64")


def ways_to(peer: NodeFacts, kernel: Kernel | None = None, own: NodeFacts = OWN) -> list[Way]:
    (found,) = plan(own, [peer], kernel or a_kernel(), SETTINGS).peers
    return list(found.ways)


@pytest.mark.parametrize(
    ("addresses", "cidrs", "kernel", "expected"),
    [
        pytest.param("192.168.1.2", "10.244.2.0/24", a_kernel(), ["route 192.168.1.2 eth0"], id="on the link"),
        pytest.param(
            "192.168.1.2 fd00:a::2",
            "10.244.2.0/24 fd01:0:0:2::/64",
            a_kernel(),
            ["route 192.168.1.2 eth0", "route fd00:a::2 eth0"],
            id="dual stack on the link",
        ),
        pytest.param("192.168.9.2", "10.244.2.0/24", a_kernel(), ["vxlan 192.168.9.2 nv0-x4"], id="behind a router"),
        pytest.param(
            "fd00:b::2 192.168.9.2",
            "10.244.2.0/24 fd01:0:0:2::/64",
            a_kernel(),
            ["vxlan 192.168.9.2 nv0-x4"] * 2,
            id="behind a router, IPv4 carries both",
        ),
        pytest.param("fd00:b::2", "fd01:0:0:2::/64", a_kernel(), ["vxlan fd00:b::2 nv0-x6"], id="over IPv6"),
        pytest.param(
            "192.168.1.2",
            "10.244.2.0/24 fd01:0:0:2::/64",
            a_kernel(),
            ["route 192.168.1.2 eth0", "vxlan 192.168.1.2 nv0-x4"],
            id="IPv6 Pods of an IPv4 host on the link",
        ),
        pytest.param(
            "192.168.1.2",
            "10.244.2.0/24",
            a_kernel(a_route("192.168.1.2/32", "eth0", "192.168.1.9")),
            ["vxlan 192.168.1.2 nv0-x4"],
            id="the longer prefix goes over a router",
        ),
        pytest.param(
            "172.16.0.2",
            "10.244.2.0/24",
            a_kernel(a_route("172.16.0.0/24", "eth1"), eth1=Link("eth1", 9000)),
            ["route 172.16.0.2 eth1"],
            id="on another link",
        ),
        pytest.param(
            "100.64.0.2",
            "10.244.2.0/24",
            a_kernel(a_route("100.64.0.0/10", "vpn"), vpn=Link("vpn", 1280, shared=False)),
            ["vxlan 100.64.0.2 nv0-x4"],
            id="a tunnel is no shared link",
        ),
        pytest.param(
            "192.168.9.2",
            "10.244.2.0/24",
            a_kernel(a_route("192.168.9.0/24", "", unicast=False)),
            ["unreachable  "],
            id="a route that forbids",
        ),
        pytest.param("", "10.244.2.0/24", a_kernel(), ["unreachable  "], id="no address yet"),
        pytest.param("192.168.1.2", "", a_kernel(), [], id="no CIDR yet"),
    ],
)
def test_ways(addresses: str, cidrs: str, kernel: Kernel, expected: list[str]) -> None:
    found = ways_to(a_node("b", addresses, cidrs), kernel)
    assert [f"{way.how} {way.via} {way.device}" for way in found] == expected, found
    assert all(way.reason for way in found)


@pytest.mark.parametrize(
    ("peer", "kernel", "expected"),
    [
        pytest.param(
            a_node("b", "192.168.1.2", "10.244.1.128/25", 2), a_kernel(), "10.244.1.0/24 of node a", id="ours, younger"
        ),
        pytest.param(
            a_node("b", "192.168.1.2", "10.244.0.0/16", 2), a_kernel(), "10.244.1.0/24 of node a", id="around ours"
        ),
        pytest.param(
            a_node("b", "192.168.1.2", "10.96.0.0/24"), a_kernel(), "service CIDR 10.96.0.0/16", id="service CIDR"
        ),
        pytest.param(
            a_node("b", "192.168.1.2", "10.244.2.0/24"),
            a_kernel(a_route("10.244.2.64/26", "docker0")),
            "route to 10.244.2.64/26 through docker0",
            id="a host's network within",
        ),
        pytest.param(
            a_node("b", "192.168.1.2", "10.244.2.0/24"),
            a_kernel(a_route("10.244.2.0/24", "eth0", "192.168.1.7")),
            "route to 10.244.2.0/24 through eth0",
            id="somebody's route to the same",
        ),
        pytest.param(
            a_node("b", "192.168.1.2", "192.168.0.0/17"), a_kernel(), "192.168.1.1 of node a", id="an older's address"
        ),
        pytest.param(a_node("b", "192.168.1.1", "10.244.2.0/24"), a_kernel(), "192.168.1.1 is this", id="our address"),
        pytest.param(a_node("b", "127.0.0.1", "10.244.2.0/24"), a_kernel(), "127.0.0.1 is this", id="loopback"),
        pytest.param(
            a_node("b", "10.244.1.7", "10.244.2.0/24"), a_kernel(), "or in a Pod CIDR", id="address of a Pod of ours"
        ),
        pytest.param(
            a_node("b", "192.168.1.2", "10.245.2.0/24"), a_kernel(), "outside of", id="outside of the cluster"
        ),
        pytest.param(a_node("b", "192.168.1.2", "10.244.2.0/99"), a_kernel(), "it is no CIDR", id="nonsense"),
    ],
)
def test_refusals(peer: NodeFacts, kernel: Kernel, expected: str) -> None:
    planned = plan(OWN, [peer], kernel, SETTINGS)
    (way,) = planned.peers[0].ways
    assert way.how == "refused"
    assert expected in way.reason
    assert not planned.conflict
    assert not planned.desired.routes


def test_a_covering_route_through_a_gateway_takes_nothing() -> None:
    kernel = a_kernel(a_route("10.0.0.0/8", "eth0", "192.168.1.7"))
    assert [way.how for way in ways_to(a_node("b", "192.168.1.2", "10.244.2.0/24"), kernel)] == ["route"]


@pytest.mark.parametrize(
    ("own_created", "peer_created", "who_yields"),
    [(1, 2, "b"), (2, 1, "a"), (1, 1, "b")],
    ids=["the peer is younger", "this node is younger", "of one age, by name"],
)
def test_of_two_nodes_with_one_range_the_younger_yields(own_created: int, peer_created: int, who_yields: str) -> None:
    a = a_node("a", "192.168.1.1", "10.244.1.0/24", own_created)
    b = a_node("b", "192.168.1.2", "10.244.1.0/24", peer_created)
    of_a, of_b = plan(a, [b], a_kernel(), SETTINGS), plan(b, [a], a_kernel(), SETTINGS)
    assert (bool(of_a.conflict), bool(of_b.conflict)) == (who_yields == "a", who_yields == "b")
    stays = of_b if who_yields == "a" else of_a
    assert stays.peers[0].ways[0].how == "refused"


def test_own_range_in_the_hosts_own_network() -> None:
    planned = plan(OWN, [], a_kernel(a_route("10.244.0.0/16", "eth1")), SETTINGS)
    assert "10.244.1.0/24" in planned.conflict
    assert "eth1" in planned.conflict
    assert planned.desired == Plan(()).desired


def test_own_bridge_and_own_routes_are_no_conflict() -> None:
    own_routes = (
        a_route("10.244.1.0/24", "nv0"),
        a_route("10.244.2.0/24", "eth0", "192.168.1.2", protocol=ROUTE_PROTOCOL, metric=118),
    )
    planned = plan(OWN, [a_node("b", "192.168.1.2", "10.244.2.0/24")], a_kernel(*own_routes), SETTINGS)
    assert not planned.conflict
    assert planned.peers[0].ways[0].how == "route"


def test_what_vxlan_needs() -> None:
    peer = a_node("b", "192.168.9.2", "10.244.2.0/24 fd01:0:0:2::/64")
    desired = plan(OWN, [peer], a_kernel(mtu=1400), SETTINGS).desired
    (device,) = desired.devices
    assert (device.vni, device.port, str(device.local), device.mac, device.mtu) == (
        118,
        8472,
        "192.168.1.1",
        OWN.mac,
        1350,
    )
    assert {str(one.address) for one in desired.addresses} == {"10.244.1.0", "fd01:0:0:1::"}
    assert desired.forwardings == {Forwarding("nv0-x4", peer.mac, ip_address("192.168.9.2"))}
    assert desired.neighbours == {
        Neighbour("nv0-x4", ip_address("10.244.2.0"), peer.mac),
        Neighbour("nv0-x4", ip_address("fd01:0:0:2::"), peer.mac),
    }
    assert {(str(one.destination), str(one.gateway), str(one.source), one.onlink) for one in desired.routes} == {
        ("10.244.2.0/24", "10.244.2.0", "10.244.1.0", True),
        ("fd01:0:0:2::/128", "None", "None", False),
        ("fd01:0:0:2::/64", "fd01:0:0:2::", "fd01:0:0:1::", True),
    }
    assert desired.sysctls == {
        "ipv4/ip_forward": "1",
        "ipv6/conf/all/forwarding": "1",
        "ipv4/conf/nv0-x4/rp_filter": "2",
    }


@pytest.mark.parametrize(
    ("own", "kernel", "given", "expected"),
    [
        pytest.param(OWN, a_kernel(), 0, 1450, id="IPv4 underlay"),
        pytest.param(replace(OWN, addresses=OWN.addresses[1:]), a_kernel(), 0, 1430, id="IPv6 underlay"),
        pytest.param(OWN, a_kernel(mtu=9000), 0, 8950, id="jumbo frames"),
        pytest.param(OWN, a_kernel(), 1400, 1400, id="given"),
        pytest.param(a_node("a", "127.0.0.1", "10.244.1.0/24"), a_kernel(), 0, 1450, id="loopback: by the way out"),
        pytest.param(OWN, a_kernel(mtu=1300), 0, 1280, id="never less than IPv6 needs"),
    ],
)
def test_mtu_of_pods(own: NodeFacts, kernel: Kernel, given: int, expected: int) -> None:
    assert plan(own, [], kernel, replace(SETTINGS, mtu=given)).mtu == expected


def test_the_only_address_of_a_node_may_be_its_bridge_s_and_no_other_of_its_range() -> None:
    for address, conflict in (("10.244.1.1", ""), ("10.244.1.7", "it contains the address 10.244.1.7 of node")):
        planned = plan(a_node("n1", address, "10.244.1.0/24"), [], a_kernel(), SETTINGS)
        assert conflict in planned.conflict
        assert bool(planned.conflict) == bool(conflict)


def test_pods_keep_their_address_towards_pods_and_hosts_on_the_link() -> None:
    near, far = a_node("b", "192.168.1.2", "10.245.2.0/24"), a_node("c", "192.168.9.3", "10.245.3.0/24")
    keep = set(map(str, plan(OWN, [near, far], a_kernel(), Settings("nv0")).keep))
    assert {"10.244.1.0/24", "10.245.2.0/24", "10.245.3.0/24", "192.168.1.2/32"} <= keep
    assert "192.168.9.3/32" not in keep


def test_macs_differ_and_are_the_nodes_own() -> None:
    macs = {a_node(f"node-{number}", "", "").mac for number in range(1000)}
    assert len(macs) == 1000
    assert all(mac.startswith("02:") for mac in macs)


def test_of_three_in_a_row_only_who_overlaps_a_granted_range_yields() -> None:
    """The second is refused for the first; the third overlaps only the second, and has its own."""
    peers = [
        a_node("b", "192.168.1.2", "10.244.4.0/23", 2),
        a_node("c", "192.168.1.3", "10.244.4.0/22", 3),
        a_node("d", "192.168.1.4", "10.244.6.0/24", 4),
    ]
    found = {peer.node: peer.ways[0].how for peer in plan(OWN, peers, a_kernel(), SETTINGS).peers}
    assert found == {"b": "route", "c": "refused", "d": "route"}


def test_two_thousand_nodes() -> None:
    settings = Settings("nv0", cluster_cidrs=(ip_network("10.128.0.0/9"),))
    own = a_node("n0", "192.168.1.1", "10.128.0.0/24")
    peers = [
        a_node(
            f"n{number}", f"192.168.{number % 200}.{2 + number // 200}", f"10.{128 + number // 256}.{number % 256}.0/24"
        )
        for number in range(1, 2000)
    ]
    planned = plan(own, peers, a_kernel(), settings)
    assert len(planned.desired.routes) == 1999
    assert {way.how for peer in planned.peers for way in peer.ways} == {"route", "vxlan"}
