"""Cluster IPs and node ports: given once, given back, never twice."""

import asyncio
from typing import Any

import pytest

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
    [("10.96.0.1", "provided IP is already allocated"), ("192.0.2.1", "not in the valid range")],
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


async def test_a_start_repairs_what_was_lost(cluster: Any) -> None:
    client: Client = cluster.client
    made = await client.create(service("web", type="NodePort"))
    await client.delete(networkingv1.IPAddress, made.spec.cluster_ip)
    await cluster.another_server()
    assert made.spec.cluster_ip in await addresses(client)
