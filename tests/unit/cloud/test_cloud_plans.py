"""What follows from a cloud's word: for Nodes, load balancers, routes and addresses of a pool."""

from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch.cloud_pb2 import CloudRoute, Instance
from navarch.services.base.address_range import AddressRange
from navarch.services.cloud_controller.load_balancer import plan as balancing
from navarch.services.cloud_controller.local.pool import WANTED, allocate
from navarch.services.cloud_controller.local.provider import LocalProvider
from navarch.services.cloud_controller.node import plan as nodes
from navarch.services.cloud_controller.provider import ProviderFailure
from navarch.services.cloud_controller.route.plan import plan, with_network


def a_node(name: str = "n1", *taints: str, ready: str = "True", cidr: str = "", **addresses: str) -> corev1.Node:
    node = corev1.Node(metadata={"name": name, "uid": f"uid-{name}"})
    for taint in taints:
        node.spec.taints.add(key=taint, effect="NoSchedule")
    node.spec.pod_cidrs.extend([cidr] if cidr else [])
    node.status.conditions.add(type="Ready", status=ready)
    for kind, address in addresses.items():
        node.status.addresses.add(type=kind, address=address)
    return node


def a_service(name: str = "web", ip: str = "", families: Sequence[str] = ("IPv4",), wanted: str = "") -> corev1.Service:
    service = corev1.Service(metadata={"name": name, "namespace": "default", "uid": f"uid-{name}"})
    service.spec.type = "LoadBalancer"
    service.spec.ip_families.extend(families)
    if wanted:
        service.metadata.annotations[WANTED] = wanted
    for each in filter(None, ip.split(",")):
        service.status.load_balancer.ingress.add(ip=each)
    return service


INSTANCE = Instance(
    provider_id="test://1",
    instance_type="large",
    zone="z1",
    region="r1",
    addresses=[corev1.NodeAddress(type="InternalIP", address="192.0.2.1")],
    additional_labels={"example.com/rack": "7", "mine": "theirs"},
)


def test_a_node_that_waits_for_its_cloud_is_told_what_it_is() -> None:
    node = a_node("n1", nodes.UNINITIALIZED, "other")
    node.metadata.labels["mine"] = "stays"
    assert nodes.awaits_cloud(node)
    result = nodes.initialized(node, INSTANCE)
    assert result.spec.provider_id == "test://1"
    assert [taint.key for taint in result.spec.taints] == ["other"]
    assert result.metadata.labels == {
        "node.kubernetes.io/instance-type": "large",
        "beta.kubernetes.io/instance-type": "large",
        "topology.kubernetes.io/zone": "z1",
        "failure-domain.beta.kubernetes.io/zone": "z1",
        "topology.kubernetes.io/region": "r1",
        "failure-domain.beta.kubernetes.io/region": "r1",
        "example.com/rack": "7",
        "mine": "stays",
    }
    assert nodes.awaits_cloud(node), "what was lent is not changed"


def test_addresses_are_the_clouds_and_the_host_name_the_nodes() -> None:
    node = a_node(Hostname="n1", InternalIP="192.0.2.9")
    changed = nodes.readdressed(node, INSTANCE)
    assert changed is not None
    found = [(one.type, one.address) for one in changed.status.addresses]
    assert found == [("InternalIP", "192.0.2.1"), ("Hostname", "n1")]
    assert nodes.readdressed(changed, INSTANCE) is None
    assert nodes.readdressed(node, Instance()) is None


def test_an_address_that_a_user_gave_comes_first_and_must_be_true() -> None:
    both = Instance(addresses=[corev1.NodeAddress(type="InternalIP", address=f"192.0.2.{n}") for n in (1, 2)])
    node = a_node()
    node.metadata.annotations[nodes.PROVIDED_ADDRESS] = "192.0.2.2"
    changed = nodes.readdressed(node, both)
    assert changed is not None
    assert [one.address for one in changed.status.addresses] == ["192.0.2.2", "192.0.2.1"]
    with pytest.raises(nodes.WrongInstance, match=r"192\.0\.2\.2 of n1"):
        nodes.readdressed(node, INSTANCE)


@pytest.mark.parametrize(
    ("tainted", "shutdown", "expected"),
    [(False, False, None), (True, True, None), (False, True, [nodes.SHUTDOWN]), (True, False, [])],
)
def test_a_node_whose_instance_is_switched_off(tainted: bool, shutdown: bool, expected: list[str] | None) -> None:
    result = nodes.with_shutdown(a_node("n1", *([nodes.SHUTDOWN] if tainted else [])), shutdown=shutdown)
    assert (None if result is None else [taint.key for taint in result.spec.taints]) == expected


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (a_node(), True),
        (a_node(ready="False"), False),
        (a_node(ready="Unknown"), False),
        (a_node("n1", balancing.TO_BE_DELETED), False),
        (a_node("n1", "some.example.com/taint"), True),
    ],
)
def test_nodes_that_take_traffic(node: corev1.Node, expected: bool) -> None:
    assert balancing.takes_traffic(node) is expected
    node.metadata.labels[balancing.EXCLUDED] = ""
    assert not balancing.takes_traffic(node)


def test_services_that_want_a_load_balancer() -> None:
    service = a_service()
    assert balancing.wants(service)
    assert not balancing.may_have(service)
    held = balancing.with_finalizer(service, present=True)
    assert balancing.may_have(held)
    assert not balancing.may_have(balancing.with_finalizer(held, present=False))
    service.spec.load_balancer_class = "example.com/other"
    assert not balancing.wants(service)
    held.metadata.deletion_timestamp.seconds = 1
    assert not balancing.wants(held)


def test_routes() -> None:
    pods = [a_node("n1", cidr="10.244.0.0/24"), a_node("n2", cidr="10.244.1.0/24"), a_node("n3")]
    present = [
        CloudRoute(name="right", node_name="n1", destination_cidr="10.244.0.0/24"),
        CloudRoute(name="wrong node", node_name="n1", destination_cidr="10.244.1.0/24"),
        CloudRoute(name="gone", node_name="n9", destination_cidr="10.244.9.0/24"),
        CloudRoute(name="not ours", node_name="n9", destination_cidr="192.168.0.0/24"),
    ]
    step = plan(pods, present, ["10.244.0.0/16"])
    assert [route.name for route in step.delete] == ["wrong node", "gone"]
    assert [(route.node_name, route.destination_cidr) for route in step.create] == [("n2", "10.244.1.0/24")]
    present[0].blackhole = True
    assert "right" in [route.name for route in plan(pods, present, ["10.244.0.0/16"]).delete]


def test_a_node_says_whether_its_pods_are_reached() -> None:
    changed = with_network(a_node(), available=True, now=5.0)
    assert changed is not None
    (found,) = (one for one in changed.status.conditions if one.type == "NetworkUnavailable")
    assert (found.status, found.reason) == ("False", "RouteCreated")
    assert with_network(changed, available=True, now=6.0) is None
    assert with_network(changed, available=False, now=6.0) is not None


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("192.0.2.0/29", "192.0.2.1", "192.0.2.6"),
        ("192.0.2.7/32", "192.0.2.7", "192.0.2.7"),
        ("192.0.2.7-192.0.2.9", "192.0.2.7", "192.0.2.9"),
        ("2001:db8::/126", "2001:db8::", "2001:db8::3"),
    ],
)
def test_ranges(text: str, first: str, last: str) -> None:
    assert AddressRange.parse(text) == AddressRange(ip_address(first), ip_address(last))


@pytest.mark.parametrize("text", ["", "web", "192.0.2.1/24", "192.0.2.9-192.0.2.1", "192.0.2.1-2001:db8::"])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(ValueError, match="is no range of addresses"):
        AddressRange.parse(text)


RANGES = [AddressRange.parse("192.0.2.1-192.0.2.3"), AddressRange.parse("2001:db8::1-2001:db8::2")]


@pytest.mark.parametrize(
    ("service", "others", "expected"),
    [
        (a_service(), [], ["192.0.2.1"]),
        (a_service(), ["192.0.2.1"], ["192.0.2.2"]),
        (a_service(ip="192.0.2.3"), ["192.0.2.1"], ["192.0.2.3"]),
        (a_service(ip="192.0.2.3"), ["192.0.2.3"], ["192.0.2.1"]),
        (a_service(ip="198.51.100.1"), [], ["192.0.2.1"]),
        (a_service(wanted="192.0.2.2"), [], ["192.0.2.2"]),
        (a_service(ip="192.0.2.1", wanted="192.0.2.2"), [], ["192.0.2.2"]),
        (a_service(families=("IPv6", "IPv4")), ["2001:db8::1"], ["2001:db8::2", "192.0.2.1"]),
    ],
)
def test_addresses_of_a_pool(service: corev1.Service, others: list[str], expected: list[str]) -> None:
    held = [a_service(f"other-{number}", ip) for number, ip in enumerate(others)]
    assert [str(address) for address in allocate(service, held, RANGES)] == expected


@pytest.mark.parametrize(
    ("wanted", "taken", "message"),
    [
        ("web", [], "is no address"),
        ("198.51.100.1", [], r"accepted are 192\.0\.2\.1-192\.0\.2\.3"),
        ("192.0.2.2", ["192.0.2.2"], "default/other-0 has it"),
        ("", ["192.0.2.1", "192.0.2.2", "192.0.2.3"], "no IPv4 address is left"),
    ],
)
def test_addresses_that_cannot_be_given(wanted: str, taken: list[str], message: str) -> None:
    held = [a_service(f"other-{number}", ip) for number, ip in enumerate(taken)]
    with pytest.raises(ProviderFailure, match=message):
        allocate(a_service(wanted=wanted), held, RANGES)


@given(st.lists(st.integers(0, 5), max_size=30))
async def test_no_address_is_given_twice(steps: list[int]) -> None:
    """A number: that Service asks, or, where it has an address, is deleted. The cache shows nothing before it must."""
    services: dict[int, corev1.Service] = {}
    provider = LocalProvider(RANGES[:1], services.values)
    given_: dict[int, str] = {}
    for number in steps:
        service = a_service(f"s{number}")
        if number in given_:
            del given_[number]
            services.pop(number, None)
            await provider.delete_load_balancer(service)
            continue
        try:
            (ingress,) = await provider.ensure_load_balancer(service, [])
        except ProviderFailure:
            assert len(given_) == 3
            continue
        assert ingress.ip not in given_.values()
        given_[number] = ingress.ip
        if number % 2:
            services[number] = a_service(f"s{number}", ingress.ip)


async def test_an_address_given_anew_is_taken_though_its_service_still_shows_the_old_one() -> None:
    shown = [a_service("a", "192.0.2.2")]
    provider = LocalProvider([AddressRange.parse("192.0.2.1-192.0.2.3")], lambda: shown)
    (moved,) = await provider.ensure_load_balancer(a_service("a", "192.0.2.2", wanted="192.0.2.1"), [])
    (other,) = await provider.ensure_load_balancer(a_service("b"), [])
    assert (moved.ip, other.ip) == ("192.0.2.1", "192.0.2.3")
    shown = [a_service("a", "192.0.2.1")]
    (third,) = await provider.ensure_load_balancer(a_service("c"), [])
    assert third.ip == "192.0.2.2", "free once nobody shows it"


async def test_without_a_pool_the_nodes_own_addresses_serve() -> None:
    provider = LocalProvider([], list)
    many = [a_node("b", InternalIP="192.0.2.2"), a_node("a", InternalIP="192.0.2.1", ExternalIP="198.51.100.1")]
    ingress = await provider.ensure_load_balancer(a_service(), many)
    assert [(one.ip, one.ip_mode) for one in ingress] == [("198.51.100.1", "VIP"), ("192.0.2.2", "VIP")]
