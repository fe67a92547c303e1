"""Who lives, who holds which address, and what the link is told."""

from collections import Counter
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.cloud_controller.announcer.greetings import checksum, greeting
from navarch.services.cloud_controller.announcer.holders import addresses, held, holder
from navarch.services.cloud_controller.announcer.members import LIFE_S, Members, heartbeat, read
from navarch.services.cloud_controller.announcer.serving import SERVICE_NAME, ServingNodes
from navarch.services.cloud_controller.load_balancer.plan import EXCLUDED

MAC = bytes.fromhex("020000000001")


def a_service(name: str, *ips: str, policy: str = "Cluster", mode: str = "VIP") -> corev1.Service:
    service = corev1.Service(metadata={"name": name, "namespace": "default"})
    service.spec.type, service.spec.external_traffic_policy = "LoadBalancer", policy
    for ip in ips:
        service.status.load_balancer.ingress.add(ip=ip, ip_mode=mode)
    return service


def a_node(name: str, address: str = "") -> corev1.Node:
    node = corev1.Node(metadata={"name": name})
    if address:
        node.status.addresses.add(type="InternalIP", address=address)
    return node


NODES = [a_node(f"n{number}", f"198.51.100.{number}") for number in range(1, 4)]
NAMES = {node.metadata.name for node in NODES}


def nowhere(_service: str) -> list[str]:
    return []


@pytest.mark.parametrize("key", [b"", b"secret"])
def test_heartbeats_are_read_back(key: bytes) -> None:
    assert read(heartbeat("n1", 7, key), key) == ("n1", 7)


@pytest.mark.parametrize(
    "bad",
    [b"", b"NVHB", b"x" * 400, heartbeat("n1", 7, b"other"), heartbeat("n1", 7, b""), heartbeat("n1", 7, b"k")[:-1]],
)
def test_what_is_no_heartbeat_or_not_signed(bad: bytes) -> None:
    assert read(bad, b"k") is None


@given(st.binary(max_size=400))
def test_nothing_that_comes_does_harm(data: bytes) -> None:
    assert read(data, b"k") is None
    read(data, b"")


def test_the_living_are_those_heard_of_lately() -> None:
    members = Members("n1", since=100.0)
    members.heard("n2", 5, 100.1)
    assert members.alive(100.2) == frozenset(), "others had no time to be heard of"
    members.heard("n2", 6, 101.5)
    assert members.alive(100.0 + LIFE_S) == {"n1", "n2"}
    members.heard("n2", 6, 102.9)
    assert members.alive(101.5 + LIFE_S) == {"n1"}, "a copy of an old heartbeat does not count"


def test_one_node_holds_an_address_and_its_death_moves_no_other() -> None:
    every = [f"192.0.2.{number}" for number in range(1, 200)]
    before = {one: holder(one, NAMES) for one in every}
    assert set(Counter(before.values())) == NAMES
    after = {one: holder(one, NAMES - {"n2"}) for one in every}
    assert {one for one in every if before[one] != after[one]} == {one for one in every if before[one] == "n2"}
    assert holder("192.0.2.1", []) == ""


def test_what_is_announced_of_a_service() -> None:
    assert addresses(a_service("web", "192.0.2.1", "2001:db8::1")) == ["192.0.2.1", "2001:db8::1"]
    assert addresses(a_service("web", "192.0.2.1", mode="Proxy")) == []
    other = a_service("web", "192.0.2.1")
    other.spec.load_balancer_class = "example.com/other"
    assert addresses(other) == []


def test_every_address_is_held_once_by_a_node_that_may() -> None:
    services = [a_service("a", "192.0.2.1", "192.0.2.2"), a_service("b", "192.0.2.3", policy="Local")]
    serving = {"default/b": {"n2"}, "default/a": {"n1"}}
    found = {name: held(name, services, NODES, NAMES, serving.__getitem__) for name in NAMES}
    assert sorted(one for each in found.values() for one in each) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    assert "192.0.2.3" in found["n2"]
    assert held("n2", services, NODES, NAMES, nowhere) <= {"192.0.2.1", "192.0.2.2"}


def a_slice(name: str, service: str, **nodes: str) -> discoveryv1.EndpointSlice:
    """nodes: by name "ready", "ending" (it serves on) or "gone"."""
    made = discoveryv1.EndpointSlice(metadata={"name": name, "namespace": "default", "labels": {SERVICE_NAME: service}})
    for node, state in nodes.items():
        conditions = made.endpoints.add(node_name=node, addresses=["10.0.0.1"]).conditions
        conditions.ready = state == "ready"
        conditions.serving = state != "gone"
        conditions.terminating = state != "ready"
    return made


def test_nodes_that_serve_are_those_the_proxy_would_choose() -> None:
    serving = ServingNodes()
    assert serving.change(None, first := a_slice("a", "web", n1="ready", n2="ending", n3="gone"))
    assert serving.get("default/web") == {"n1"}
    assert not serving.change(first, first), "nothing of it matters here"
    assert serving.change(None, other := a_slice("b", "web", n3="ending"))
    assert serving.get("default/web") == {"n1"}
    assert serving.change(first, ending := a_slice("a", "web", n1="ending"))
    assert serving.get("default/web") == {"n1", "n3"}
    assert serving.change(ending, elsewhere := a_slice("a", "db", n1="ready"))
    assert (serving.get("default/web"), serving.get("default/db")) == ({"n3"}, {"n1"})
    assert serving.change(other, None)
    assert serving.change(elsewhere, None)
    assert not serving.get("default/web") | serving.get("default/db") | serving.get("default/none")


def test_an_endpoint_that_says_nothing_is_ready() -> None:
    serving = ServingNodes()
    silent = a_slice("a", "web")
    silent.endpoints.add(node_name="n1")
    silent.endpoints.add()
    serving.change(None, silent)
    assert serving.get("default/web") == {"n1"}


def test_nodes_that_are_excluded_or_have_the_address_anyway() -> None:
    services = [a_service("a", "198.51.100.1", "192.0.2.2")]
    excluded = a_node("n1")
    excluded.metadata.labels[EXCLUDED] = ""
    assert held("n1", services, [excluded], {"n1"}, nowhere) == set()
    assert held("n1", services, NODES[:1], {"n1"}, nowhere) == {"192.0.2.2"}


def test_gratuitous_arp() -> None:
    frame = greeting("192.0.2.1", MAC)
    address = IPv4Address("192.0.2.1").packed
    head = b"\xff" * 6 + MAC + bytes.fromhex("0806000108000604") + b"\0\x01"
    assert frame == head + MAC + address + b"\0" * 6 + address


def test_unsolicited_neighbour_advertisement() -> None:
    frame = greeting("2001:db8::1", MAC)
    assert frame[:14] == bytes.fromhex("333300000001") + MAC + b"\x86\xdd"
    header, message = frame[14:54], frame[54:]
    assert header[6:8] == bytes([58, 255])
    assert header[8:24] == IPv6Address("2001:db8::1").packed
    assert (message[0], message[4]) == (136, 0x20)
    assert message[8:24] == IPv6Address("2001:db8::1").packed
    assert message[24:] == b"\x02\x01" + MAC
    pseudo = header[8:40] + len(message).to_bytes(4, "big") + b"\0\0\0\x3a"
    assert checksum(pseudo + message) == 0
