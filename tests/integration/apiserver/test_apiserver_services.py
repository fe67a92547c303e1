"""Cluster IPs and node ports: given once, given back, never twice."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.protos.k8s.networking import v1_pb2 as networkingv1
from navarch.services.api import errors
from navarch.services.client.client import Client


def service(name: str, **spec: Any) -> corev1.Service:
    made = corev1.Service()
    made.metadata.name, made.metadata.namespace = name, "default"
    made.spec.selector["app"] = name
    for key, value in spec.items():
        setattr(made.spec, key, value)
    if made.spec.type != "ExternalName":
        made.spec.ports.add(port=80)
    return made


async def addresses(client: Client) -> set[str]:
    return {item.metadata.name for item in (await client.list(networkingv1.IPAddress)).items}


async def test_the_service_kubernetes(client: Client) -> None:
    made = await client.get(corev1.Service, "kubernetes", "default")
    assert (made.spec.cluster_ip, list(made.spec.cluster_ips)) == ("10.96.0.1", ["10.96.0.1"])
    endpoint_slice = await client.get(discoveryv1.EndpointSlice, "kubernetes", "default")
    assert endpoint_slice.endpoints[0].addresses == ["192.0.2.7"]
    endpoints = await client.get(corev1.Endpoints, "kubernetes", "default")
    assert endpoints.subsets[0].addresses[0].ip == "192.0.2.7"


async def advertised(client: Client) -> tuple[list[str], list[str]]:
    """The addresses of the API servers, as Endpoints and as EndpointSlice."""
    endpoint_slice = await client.get(discoveryv1.EndpointSlice, "kubernetes", "default")
    endpoints = await client.get(corev1.Endpoints, "kubernetes", "default")
    return (
        [address.ip for address in endpoints.subsets[0].addresses],
        [address for endpoint in endpoint_slice.endpoints for address in endpoint.addresses],
    )


async def test_the_service_kubernetes_leads_to_all_servers_that_live(cluster: Any) -> None:
    client: Client = cluster.client
    other = await cluster.another_server(advertise_address="192.0.2.5", advertise_ttl_s=2)
    assert await advertised(client) == (["192.0.2.5", "192.0.2.7"],) * 2

    # One that nobody will take out but the others.
    async with grpc.aio.insecure_channel(cluster.store.partition(",")[0]) as channel:
        lease = await rpc_pb2_grpc.LeaseStub(channel).LeaseGrant(rpc_pb2.LeaseGrantRequest(TTL=6))
        put = rpc_pb2.PutRequest(key=b"/registry/masterleases/192.0.2.6", value=b"", lease=lease.ID)
        await rpc_pb2_grpc.KVStub(channel).Put(put)

    async def until(*alive: str) -> None:
        async with asyncio.timeout(60):
            while await advertised(client) != (list(alive),) * 2:
                await asyncio.sleep(0.05)

    await until("192.0.2.5", "192.0.2.6", "192.0.2.7")
    await until("192.0.2.5", "192.0.2.7")
    await other.stop()
    assert await advertised(client) == (["192.0.2.7"],) * 2


async def test_addresses_are_given_and_returned(client: Client) -> None:
    made = await client.create(service("web"))
    assert made.spec.cluster_ip.startswith("10.96.")
    assert made.spec.ip_families == ["IPv4"]
    assert made.spec.cluster_ip in await addresses(client)
    made.spec.ClearField("cluster_ip")
    made.spec.ClearField("cluster_ips")
    made.metadata.labels["changed"] = "yes"
    kept = await client.update(made)
    assert kept.spec.cluster_ip in await addresses(client)
    await client.delete(corev1.Service, "web", "default")
    assert await addresses(client) == {"10.96.0.1"}


@pytest.mark.parametrize(
    "spec", [{"cluster_ip": "None"}, {"type": "ExternalName", "external_name": "example.org"}], ids=str
)
async def test_without_an_address(client: Client, spec: dict[str, Any]) -> None:
    made = await client.create(service("web", **spec))
    assert made.spec.cluster_ip == spec.get("cluster_ip", "")
    assert await addresses(client) == {"10.96.0.1"}


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("10.96.0.1", "provided IP is already allocated"),
        ("192.0.2.1", "the provided network does not match the current range"),
        ("10.96.255.255", "provided IP is not in the valid range. The range of valid IPs is 10.96.0.0/16"),
    ],
)
async def test_refused_addresses(client: Client, address: str, problem: str) -> None:
    with pytest.raises(errors.Invalid, match=problem):
        await client.create(service("web", cluster_ip=address))


async def test_becoming_an_external_name_returns_the_address(client: Client) -> None:
    made = await client.create(service("web"))
    made.spec.type, made.spec.external_name = "ExternalName", "example.org"
    changed = await client.update(made)
    assert changed.spec.cluster_ip == ""
    assert await addresses(client) == {"10.96.0.1"}
    changed.spec.type = "ClusterIP"
    changed.spec.ClearField("external_name")
    assert (await client.update(changed)).spec.cluster_ip in await addresses(client)


async def test_node_ports(client: Client) -> None:
    first = await client.create(service("a", type="NodePort"))
    port = first.spec.ports[0].node_port
    assert 30000 <= port <= 32767
    taken = service("b", type="NodePort")
    taken.spec.ports[0].node_port = port
    with pytest.raises(errors.Invalid, match=r"spec.ports\[0\].nodePort: .*provided port is already allocated"):
        await client.create(taken)
    await client.delete(corev1.Service, "a", "default")
    assert (await client.create(taken)).spec.ports[0].node_port == port
    outside = service("c", type="NodePort")
    outside.spec.ports[0].node_port = 80
    with pytest.raises(errors.Invalid, match="valid range"):
        await client.create(outside)


async def test_two_servers_never_give_the_same(cluster: Any) -> None:
    other = await cluster.another_server()
    admin = cluster.credentials("kubernetes-admin", "system:masters")
    clients = [cluster.client, Client.connect(f"127.0.0.1:{other.port}", admin)]
    made = await asyncio.gather(
        *(clients[index % 2].create(service(f"s{index}", type="NodePort")) for index in range(24))
    )
    assert len({one.spec.cluster_ip for one in made}) == len({one.spec.ports[0].node_port for one in made}) == 24
    assert await addresses(clients[0]) == {"10.96.0.1", *(one.spec.cluster_ip for one in made)}
    await clients[1].close()


DUAL = ("10.96.0.0/16", "fd00:96::/108")


@pytest.fixture
async def dual(cluster: Any) -> AsyncIterator[Client]:
    """A client of a server that has addresses of both families."""
    server = await cluster.another_server(service_cidrs=DUAL)
    client = Client.connect(f"127.0.0.1:{server.port}", cluster.credentials("kubernetes-admin", "system:masters"))
    yield client
    await client.close()


def families(found: corev1.Service) -> list[str]:
    return [f"IPv{ipaddress.ip_address(address).version}" for address in found.spec.cluster_ips]


async def test_a_second_family_comes_and_goes(dual: Client) -> None:
    made = await dual.create(service("web"))
    assert (families(made), made.spec.ip_family_policy) == (["IPv4"], "SingleStack")
    made.spec.ip_family_policy = "PreferDualStack"
    both = await dual.update(made)
    assert families(both) == list(both.spec.ip_families) == ["IPv4", "IPv6"]
    assert both.spec.cluster_ip == made.spec.cluster_ip
    assert await addresses(dual) == {"10.96.0.1", *both.spec.cluster_ips}
    both.spec.ip_family_policy = "SingleStack"
    one = await dual.update(both)
    assert list(one.spec.cluster_ips) == [made.spec.cluster_ip]
    assert await addresses(dual) == {"10.96.0.1", made.spec.cluster_ip}
    await dual.delete(corev1.Service, "web", "default")
    assert await addresses(dual) == {"10.96.0.1"}


async def test_addresses_that_are_asked_for_in_another_spelling(dual: Client) -> None:
    made = service("web", cluster_ip="fd00:96::00ab")
    found = await dual.create(made)
    assert (list(found.spec.ip_families), found.spec.cluster_ip) == (["IPv6"], "fd00:96::00ab")
    assert "fd00:96::ab" in await addresses(dual)
    made.metadata.name, made.spec.cluster_ip = "other", "fd00:96:0::ab"
    with pytest.raises(errors.Invalid, match="provided IP is already allocated"):
        await dual.create(made)
    await dual.delete(corev1.Service, "web", "default")
    assert await addresses(dual) == {"10.96.0.1"}


async def test_a_cluster_of_one_family_refuses_the_other(client: Client) -> None:
    with pytest.raises(errors.Invalid, match="this cluster is not configured for dual-stack services"):
        await client.create(service("a", ip_family_policy="RequireDualStack"))
    with pytest.raises(errors.Invalid, match="IPv6 is not configured on this cluster"):
        await client.create(service("b", cluster_ip="fd00:96::1"))


async def test_further_ranges_are_used_while_they_are_open(cluster: Any) -> None:
    client: Client = cluster.client
    default = await client.get(networkingv1.ServiceCIDR, "kubernetes")
    assert (list(default.spec.cidrs), default.status.conditions[0].status) == (["10.96.0.0/16"], "True")
    more = networkingv1.ServiceCIDR()
    more.metadata.name, more.spec.cidrs[:] = "more", ["10.97.0.0/24"]
    more = await client.create(more)

    async def created(name: str, address: str) -> bool:
        try:
            await client.create(service(name, cluster_ip=address))
        except errors.Invalid as refusal:
            assert "the provided network does not match the current range" in refusal.message
            return False
        return True

    # A range counts once the cache has it.
    async with asyncio.timeout(60):
        while not await created("first", "10.97.0.9"):
            await asyncio.sleep(0.02)
    more.status.conditions.add(type="Ready", status="False", reason="Terminating")
    await client.update(more, subresource="status")
    number = 10
    async with asyncio.timeout(60):
        while await created(f"s{number}", f"10.97.0.{number}"):
            number += 1
    assert "10.97.0.9" in await addresses(client)


async def test_one_node_port_for_all_protocols_of_a_port(client: Client) -> None:
    wanted = service("dns", type="NodePort")
    wanted.spec.ports[0].name, wanted.spec.ports[0].port = "tcp", 53
    wanted.spec.ports.add(name="udp", port=53, protocol="UDP")
    wanted.spec.ports.add(name="metrics", port=9153)
    made = await client.create(wanted)
    tcp, udp, metrics = (port.node_port for port in made.spec.ports)
    assert tcp == udp != metrics


async def test_the_port_of_health_checks(client: Client) -> None:
    wanted = service("web", type="LoadBalancer", external_traffic_policy="Local", health_check_node_port=30500)
    made = await client.create(wanted)
    assert made.spec.health_check_node_port == 30500
    wanted.metadata.name = "other"
    with pytest.raises(errors.ApiError, match="HealthCheck NodePort 30500: provided port is already allocated"):
        await client.create(wanted)
    made.spec.external_traffic_policy = "Cluster"
    assert (await client.update(made)).spec.health_check_node_port == 0
    assert (await client.create(wanted)).spec.health_check_node_port == 30500


async def test_a_balancer_without_node_ports(client: Client) -> None:
    made = await client.create(service("web", type="LoadBalancer", allocate_load_balancer_node_ports=False))
    assert made.spec.ports[0].node_port == 0
    made.spec.type = "NodePort"
    assert (await client.update(made)).spec.ports[0].node_port


async def test_a_range_of_node_ports_of_its_own(cluster: Any) -> None:
    server = await cluster.another_server(node_ports=range(20000, 20004))
    client = Client.connect(f"127.0.0.1:{server.port}", cluster.credentials("kubernetes-admin", "system:masters"))
    made = await client.create(service("a", type="NodePort"))
    assert made.spec.ports[0].node_port in range(20000, 20004)
    made.metadata.labels["a"] = "b"
    assert (await client.update(made)).spec.ports[0].node_port == made.spec.ports[0].node_port
    for name in "bcd":
        await client.create(service(name, type="NodePort"))
    with pytest.raises(errors.ApiError, match="range is full"):
        await client.create(service("e", type="NodePort"))
    await client.close()


async def test_a_trial_is_given_what_it_would_get(client: Client) -> None:
    tried = await client.create(service("web", type="NodePort"), dry_run=True)
    assert tried.spec.cluster_ip
    assert tried.spec.ports[0].node_port
    assert await addresses(client) == {"10.96.0.1"}


async def test_a_thousand_ports(client: Client) -> None:
    wanted = service("wide", type="NodePort")
    del wanted.spec.ports[:]
    for port in range(1, 1001):
        wanted.spec.ports.add(name=f"p{port}", port=port)
    made = await client.create(wanted)
    assert len({port.node_port for port in made.spec.ports}) == 1000


async def test_an_address_of_another_is_handed_over_at_a_start(cluster: Any) -> None:
    client: Client = cluster.client
    made = await client.create(service("web"))
    await client.delete(networkingv1.IPAddress, made.spec.cluster_ip)
    wrong = networkingv1.IPAddress()
    wrong.metadata.name = made.spec.cluster_ip
    parent = wrong.spec.parent_ref
    parent.resource, parent.namespace, parent.name = "services", "default", "somebody"
    await client.create(wrong)
    await cluster.another_server()
    found = await client.get(networkingv1.IPAddress, made.spec.cluster_ip)
    assert found.spec.parent_ref.name == "web"


async def test_a_start_repairs_what_was_lost(cluster: Any) -> None:
    client: Client = cluster.client
    made = await client.create(service("web", type="NodePort"))
    await client.delete(networkingv1.IPAddress, made.spec.cluster_ip)
    await cluster.another_server()
    assert made.spec.cluster_ip in await addresses(client)
