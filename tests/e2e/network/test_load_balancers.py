"""Addresses of load balancers among real nodes, Pods and proxies, and for a client that is no node."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import codec
from navarch.testing.namespaced_host import NamespacedHost
from navarch.testing.network_lab import NetworkLab, network_lab
from navarch.testing.network_lab_host import PROXY, HostService, LabHost, Topology

from .conftest import PATIENCE_S, PORT, PROBE, PYTHON, Probing, is_address, probing

POOL = "172.30.1.210-172.30.1.219"
CLIENT, CLIENT_NUMBER = "172.30.1.200", 200
SERVED = 80
# What users are promised.
FAILOVER_S = 3.0


def announcer(host: LabHost) -> list[str]:
    return [f"--node-name={host.name}", f"--node-ip={host.addresses[0]}"]


EXTRA = (
    PROXY,
    HostService(
        "announcer",
        "navarch.services.cloud_controller.announcer.main",
        lambda _: ("system:navarch-announcer",),
        announcer,
    ),
)
# Asks again and again; tells when it was answered.
ASKER = f"""
import socket, sys, time
while True:
    try:
        with socket.create_connection((sys.argv[1], {SERVED}), 0.2) as one:
            one.sendall(b"1\\nx")
            if one.recv(100): print(time.time(), flush=True)
    except OSError: pass
    time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[NetworkLab]:
    with network_lab(Topology((1, 1, 1)), EXTRA) as made:
        made.start_control("cloud-controller", f"--load-balancer-pool={POOL}")
        yield made


@pytest.fixture(scope="module")
def client(lab: NetworkLab) -> NamespacedHost:
    return lab.stranger("client", CLIENT_NUMBER)


@pytest.fixture
async def network(lab: NetworkLab) -> AsyncIterator[Probing]:
    async with probing(lab, 1) as made:
        yield made


async def service(network: Probing, name: str, hosts: list[LabHost], **spec: Any) -> tuple[corev1.Service, str]:
    """A load balancer with the Pods of these hosts behind it, and its address."""
    ports = [{"name": each.lower(), "protocol": each, "port": SERVED, "targetPort": PORT} for each in ("TCP", "UDP")]
    whole = {"type": "LoadBalancer", "selector": {name: "yes"}, "ports": ports, **spec}
    document = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": whole}
    made: Any = codec.from_json(document, strict=True)
    await network.client.create(made, namespace="default")
    await label(network, name, hosts)

    async def given() -> corev1.Service | None:
        found = await network.client.get(corev1.Service, name, "default")
        return found if found.status.load_balancer.ingress else None

    found = await network.eventually(given, f"{name} has an address")
    assert found is not None
    return found, found.status.load_balancer.ingress[0].ip


async def label(network: Probing, name: str, hosts: list[LabHost]) -> None:
    for pod in network.pods:
        change = {"metadata": {"labels": {name: "yes" if pod.host in hosts else None}}}
        await network.client.patch(corev1.Pod, pod.name, "default", change, "merge")


async def asked(client: NamespacedHost, *questions: str) -> list[str]:
    """The answers, until there are some."""
    said = await asyncio.to_thread(
        client.run, PYTHON, "-I", "-c", PROBE.read_text(), "ask", str(PATIENCE_S), *questions
    )
    return [line.split(" ", 1)[1] for line in said.splitlines()]


async def holders(network: Probing, client: NamespacedHost, address: str) -> list[LabHost]:
    """Who answers for it on the link: by the ends of their cards' addresses."""
    # 1: nobody answers.
    command = f"arping -b -c 1 -w 1 -I eth0 {address}; [ $? -le 1 ]"
    said = (await asyncio.to_thread(client.run, "sh", "-c", command)).lower()
    return [host for host in network.lab.hosts.values() if f"02:00:00:00:{host.link:02x}:{host.number:02x}" in said]


async def held_by(network: Probing, client: NamespacedHost, address: str, *hosts: LabHost) -> None:
    """Wait until just these answer for it."""

    async def agreed() -> bool:
        return await holders(network, client, address) == [*hosts]

    await network.eventually(agreed, f"{address} is held by {[host.name for host in hosts]}")


async def test_a_client_outside_is_answered_and_known_where_the_policy_is_local(
    network: Probing, client: NamespacedHost
) -> None:
    hosts = list(network.lab.hosts.values())
    _, address = await service(network, "everywhere", hosts)
    questions = [f"{protocol}/{address}/{SERVED}/1" for protocol in ("tcp", "udp")]
    assert all(map(is_address, await asked(client, *questions)))
    local, at = await service(network, "local", hosts[1:2], externalTrafficPolicy="Local")
    assert local.spec.health_check_node_port
    await held_by(network, client, at, hosts[1])
    assert await asked(client, *(one.replace(address, at) for one in questions)) == [CLIENT, CLIENT]
    # Its endpoint moves, and it follows.
    await label(network, "local", hosts[2:])
    await held_by(network, client, at, hosts[2])
    assert await asked(client, *(one.replace(address, at) for one in questions)) == [CLIENT, CLIENT]
    await network.client.delete(corev1.Service, "local", "default")
    await held_by(network, client, at)
    _, again = await service(network, "next", hosts)
    assert again == at, "the address was not given back"


async def test_an_address_moves_with_its_clients_when_its_node_dies(network: Probing, client: NamespacedHost) -> None:
    hosts = list(network.lab.hosts.values())
    _, address = await service(network, "moving", [])
    (dead,) = await network.eventually(lambda: holders(network, client, address), f"a node holds {address}")
    await label(network, "moving", [host for host in hosts if host is not dead])
    assert all(map(is_address, await asked(client, f"tcp/{address}/{SERVED}/1")))
    asker = await asyncio.create_subprocess_exec(
        *client.entrance, PYTHON, "-I", "-c", ASKER, address, stdout=asyncio.subprocess.PIPE
    )
    assert asker.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            await asker.stdout.readline()
            # As when its power fails: it says nothing any more, to anybody.
            network.lab.cut(dead, off=True)
            dead.namespaces.end()
            died_at = time.time()
            while (answered_at := float(await asker.stdout.readline())) < died_at + 0.2:
                continue
    finally:
        asker.kill()
        await asker.wait()
    print(f"a client was answered again {answered_at - died_at:.2f} s after the death of the node")
    # Twice that: other tests share the processors.
    assert answered_at - died_at < 2 * FAILOVER_S
    await asyncio.to_thread(network.lab.reboot, dead)
    # Who has it follows from who lives.
    await held_by(network, client, address, dead)
    assert all(map(is_address, await asked(client, f"tcp/{address}/{SERVED}/1")))
