"""Services while things die, links fail and others meddle, on three hosts with real packets."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.api import codec
from navarch.services.api.errors import ApiError
from navarch.testing.network_lab import NetworkLab, network_lab
from navarch.testing.network_lab_host import PROXY, LabHost, Topology

from .conftest import PORT, PROBE, PYTHON, Pod, Probing, is_address, probing

SERVED = 80
# How long a node may be silent, less than usual; its lease is renewed every 10 s.
GRACE_S = 25
FLAPS = 10


@pytest.fixture(scope="module")
def lab() -> Iterator[NetworkLab]:
    with network_lab(Topology((1, 1, 1)), (PROXY,)) as made:
        made.kill_control("controller-manager")
        made.start_control("controller-manager", f"--node-monitor-grace={GRACE_S}")
        yield made


@pytest.fixture
async def network(lab: NetworkLab) -> AsyncIterator[Probing]:
    async with probing(lab, 1) as made:
        yield made


async def service(network: Probing, name: str, pods: Sequence[Pod], **spec: Any) -> corev1.Service:
    """To these Pods; they have a label of the Service's name."""
    ports = [{"name": each.lower(), "protocol": each, "port": SERVED, "targetPort": PORT} for each in ("TCP", "UDP")]
    whole = {"selector": {name: "yes"}, "ports": ports, **spec}
    document = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": whole}
    made: Any = codec.from_json(document, strict=True)
    created: corev1.Service = await network.client.create(made, namespace="default")
    for pod in pods:
        await network.client.patch(corev1.Pod, pod.name, "default", {"metadata": {"labels": {name: "yes"}}}, "merge")
    return created


async def answered(network: Probing, address: str, sources: Sequence[Pod | LabHost], port: int = SERVED) -> None:
    question = f"tcp/{address}/{port}/1"
    for source in sources:
        said = await network.ask(source, [question])
        assert is_address(said[question]), f"from {source.name}: {said}\n{network.lab.logs()}"


@asynccontextmanager
async def traffic(network: Probing, source: Pod, address: str) -> AsyncIterator[dict[str, Any]]:
    """Traffic from a Pod meanwhile; afterwards what became of it, in the dictionary."""
    stop = f"/tmp/{time.monotonic_ns()}"
    command = (PYTHON, "-I", "-c", PROBE.read_text(), "traffic", stop, address, str(SERVED))
    running = asyncio.ensure_future(network.exec(source, *command))
    told: dict[str, Any] = {}

    async def has_begun() -> bool:
        return "begun" in await network.exec(source, "/bin/ls", "/tmp")

    try:
        await network.eventually(has_begun, "traffic flows")
        yield told
    finally:
        await network.exec(source, "/bin/touch", stop)
        told |= json.loads(await running)
        await network.exec(source, "/bin/rm", f"{stop}.begun")
    assert all(kind["asked"] > 1 for kind in told.values()), told


async def ready_addresses(network: Probing, name: str) -> set[str]:
    slices = (
        await network.client.list(
            discoveryv1.EndpointSlice, "default", label_selector=f"kubernetes.io/service-name={name}"
        )
    ).items
    return {one.addresses[0] for each in slices for one in each.endpoints if one.conditions.ready}


async def test_traffic_flows_on_while_services_are_killed(network: Probing) -> None:
    """Nothing of Navarch is on the way of a packet: not one is lost, whoever dies."""
    lab, (first, *others) = network.lab, network.pods
    made = await service(network, "lasting", others)
    await answered(network, made.spec.cluster_ip, [first])
    async with traffic(network, first, made.spec.cluster_ip) as told:
        for name in ("proxy", "network", "kubelet"):
            for host in lab.hosts.values():
                host.kill(name)
            await asyncio.sleep(0.5)
            for host in lab.hosts.values():
                host.start(name)
        for name in ("apiserver", "store", "controller-manager"):
            lab.kill_control(name)
            await asyncio.sleep(0.5)
            lab.start_control(name)

        async def is_back() -> bool:
            try:
                return len((await network.client.list(corev1.Node)).items) == len(lab.hosts)
            except ApiError:
                return False

        await network.eventually(is_back, "the API server is back")
        # All of them work again, one after the other: this needs each.
        later = await service(network, "later", others[:1])
        await answered(network, later.spec.cluster_ip, network.pods)
    assert not {kind: each["failures"] for kind, each in told.items() if each["failures"]}


OTHERS = "table inet other { chain in { type filter hook input priority 0; ip saddr 192.0.2.77 drop; }; }"


async def test_what_others_do_to_the_table_is_undone(network: Probing) -> None:
    """Connections that exist go on; other people's tables are left alone."""
    first, *others = network.pods
    host = first.host
    made = await service(network, "meddled", others)
    address = made.spec.cluster_ip
    await answered(network, address, [first, host])
    run = host.namespaces.run
    run("nft", "-f", "-", given=OTHERS)
    theirs = run("nft", "list", "table", "inet", "other")
    table = "inet navarch-proxy"
    async with traffic(network, first, address) as told:
        for change in (
            f"delete table {table}",
            f"flush table {table}",
            f"insert rule {table} services4 drop",
            f"delete element {table} frontends4 {{ {address} . tcp . {SERVED} }}",
            f"flush map {table} endpoints4-tcp",
        ):
            run("nft", change)
            await answered(network, address, [first, host])
    assert told["steady"]["failures"] == []
    assert run("nft", "list", "table", "inet", "other") == theirs
    run("nft", "delete", "table", "inet", "other")


async def test_a_link_that_flaps(network: Probing) -> None:
    """What is lost is sent again; afterwards all is as before."""
    lab, (first, second, _) = network.lab, network.pods
    made = await service(network, "flapping", [second])
    await answered(network, made.spec.cluster_ip, [first])
    async with traffic(network, first, made.spec.cluster_ip) as told:
        for _ in range(FLAPS):
            lab.cut(second.host, off=True)
            await asyncio.sleep(0.1)
            lab.cut(second.host, off=False)
            await asyncio.sleep(0.1)
        await answered(network, made.spec.cluster_ip, [*network.pods, *lab.hosts.values()])
    assert told["steady"]["failures"] == []


async def test_pods_of_a_node_that_is_cut_off_leave_their_services(network: Probing) -> None:
    """After the grace period, and come back with it; what leads elsewhere is not touched."""
    lab, (first, second, third) = network.lab, network.pods
    made = await service(network, "split", [second, third])
    kept = await service(network, "kept", [third])
    address, both = made.spec.cluster_ip, {second.addresses[0], third.addresses[0]}

    async def serve(wanted: set[str]) -> bool:
        return await ready_addresses(network, "split") == wanted

    await network.eventually(lambda: serve(both), "both serve")
    await answered(network, kept.spec.cluster_ip, [first])
    async with traffic(network, first, kept.spec.cluster_ip) as told:
        lab.cut(second.host, off=True)
        began = time.monotonic()
        await network.eventually(lambda: serve({third.addresses[0]}), "the cut off Pod left")
        print(f"its endpoints left {time.monotonic() - began:.1f} s after a node was cut off; {GRACE_S} s of grace")
        await answered(network, address, [first, first.host, third])
        question = f"tcp/{address}/{SERVED}/1"

        async def are_all_answered() -> bool:
            said = [await network.ask(first, [question], 1.0) for _ in range(12)]
            return all(is_address(one[question]) for one in said)

        await network.eventually(are_all_answered, "nobody is led there any more")
        lab.cut(second.host, off=False)
        await network.eventually(lambda: serve(both), "it is back")
    assert not {kind: each["failures"] for kind, each in told.items() if each["failures"]}
    await answered(network, address, [*network.pods, *lab.hosts.values()])


async def test_what_is_out_of_the_ordinary_harms_no_other(network: Probing) -> None:
    """A thousand ports, endpoints that nobody has, addresses that are taken."""
    first, second, _ = network.pods
    ports = [{"name": f"p{number}", "port": number, "targetPort": PORT} for number in range(1, 1001)]
    many = await service(network, "many", [second], ports=ports)
    nobody = await service(network, "nobody", [], selector={})
    slice_ = discoveryv1.EndpointSlice(address_type="IPv4")
    slice_.metadata.name, slice_.metadata.labels["kubernetes.io/service-name"] = "nobody-1", "nobody"
    slice_.ports.add(name="tcp", port=PORT, protocol="TCP")
    slice_.endpoints.add(addresses=["198.51.100.77"], node_name="no-such-node").conditions.ready = True
    await network.client.create(slice_, namespace="default")
    for port in (1, 500, 1000):
        await answered(network, many.spec.cluster_ip, [first, first.host], port)
    question = f"tcp/{nobody.spec.cluster_ip}/{SERVED}/1"
    assert not is_address((await network.ask(first, [question], 0.5))[question])
    with pytest.raises(ApiError, match=f"{many.spec.cluster_ip}.*provided IP is already allocated"):
        await service(network, "taken", [], clusterIP=many.spec.cluster_ip)
    given = await service(network, "ported", [second], type="NodePort")
    node_port = given.spec.ports[0].node_port
    taken = {"type": "NodePort", "ports": [{"port": SERVED, "nodePort": node_port}]}
    with pytest.raises(ApiError, match=f"{node_port}.*provided port is already allocated"):
        await service(network, "taken", [], **taken)
    await answered(network, first.host.addresses[0], [first, second], node_port)


async def test_a_host_that_changes_its_address(network: Probing) -> None:
    """Its Pods and its node ports are reached there as soon as its kubelet says so."""
    lab, (first, _, third) = network.lab, network.pods
    host = third.host
    made = await service(network, "moving", [third], type="NodePort")
    node_port = made.spec.ports[0].node_port
    await answered(network, host.addresses[0], [first, first.host], node_port)
    (before,), (router,) = lab.topology.addresses(host.link, host.number), lab.topology.addresses(host.link, 254)
    host.kill("kubelet")
    host.number += 20
    (after,) = lab.topology.addresses(host.link, host.number)
    host.namespaces.ip(
        f"addr del {before} dev eth0",
        f"addr add {after} dev eth0",
        f"route replace default via {router.partition('/')[0]}",
    )
    host.start("kubelet")
    await answered(network, made.spec.cluster_ip, [*network.pods, *lab.hosts.values()])
    await answered(network, host.addresses[0], [first, first.host, host], node_port)
