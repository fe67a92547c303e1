"""WireGuard between nodes: what Pods say to each other is nothing but noise on the wire.

By wireguard-go, in user space: what is tested is what the agent makes of it, not the kernel's cipher.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.network.wireguard_key import ANNOTATION
from navarch.testing.network_lab import NetworkLab, network_lab
from navarch.testing.network_lab_host import POD_CIDRS, LabHost, Topology

from .conftest import PORT, PYTHON, Probing, is_address, probing

WIREGUARD_PORT = 51820
BOTH = ("tcp", "udp")
# Tells, until it is told to stop, of each frame on the link whether it is encrypted, a Pod's in the clear, or another.
LISTENER = f"""
import ipaddress, json, select, socket, sys
pods = [ipaddress.ip_network(cidr) for cidr in {POD_CIDRS!r}]
counts = dict.fromkeys(("encrypted", "clear"), 0)
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
link.bind(("eth0", 0))
print("listening", flush=True)
while True:
    ready, _, _ = select.select([link, sys.stdin], [], [])
    if sys.stdin in ready and link not in ready: break
    if link not in ready: continue
    frame = link.recv(65536)
    kind = int.from_bytes(frame[12:14], "big")
    at, size, end = (26, 4, 34) if kind == 0x800 else (22, 16, 54)
    if kind not in (0x800, 0x86dd): continue
    ends = [ipaddress.ip_address(frame[at:at + size]), ipaddress.ip_address(frame[at + size:at + 2 * size])]
    if bytes(range(64)) in frame or any(one in pod for one in ends for pod in pods): counts["clear"] += 1
    elif int.from_bytes(frame[end + 2:end + 4], "big") == {WIREGUARD_PORT}: counts["encrypted"] += 1
print(json.dumps(counts))
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[NetworkLab]:
    """Two of the hosts are on one link."""
    with network_lab(Topology((1, 2, 1), dual_stack=True)) as made:
        yield made


@pytest.fixture
async def network(lab: NetworkLab) -> AsyncIterator[Probing]:
    async with probing(lab, 1) as made:
        yield made


def key_file(host: LabHost) -> str:
    return str(host.directory / "wireguard.key")


def restart(host: LabHost, *, encrypted: bool) -> None:
    if "network" in host.processes:
        host.kill("network")
    options = ["--encryption=wireguard", "--wireguard-program=wireguard-go", f"--wireguard-key-file={key_file(host)}"]
    host.start("network", *(options if encrypted else []))


async def reaches(network: Probing, host: LabHost, **expected: str) -> None:
    """Wait until a host reaches the others so."""
    wanted = {name.replace("_", "-"): {how} for name, how in expected.items()}

    async def agrees() -> bool:
        return await network.ways(host) == wanted

    await network.eventually(agrees, f"{host.name} reaches {wanted}")


@asynccontextmanager
async def listening(host: LabHost) -> AsyncIterator[dict[str, int]]:
    """Afterwards: frames on the host's link meanwhile, "encrypted", and of Pods in the "clear"."""
    listener = await asyncio.create_subprocess_exec(
        *host.namespaces.entrance,
        *(PYTHON, "-I", "-c", LISTENER),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert listener.stdout is not None
    assert await listener.stdout.readline() == b"listening\n"
    heard: dict[str, int] = {}
    try:
        yield heard
    finally:
        said, _ = await listener.communicate(b"enough\n")
        heard |= json.loads(said)


async def test_pods_of_different_nodes_are_heard_by_nobody_else(network: Probing) -> None:
    first, second, third = network.lab.hosts.values()
    async with listening(first) as heard:
        await network.everybody_reaches(network.pods, network.pods, size=5000)
    assert heard["clear"] > 0
    # Where what has no way of its own would go.
    assert first.namespaces.run("ip", "route", "show", "default")
    assert first.namespaces.run("ip", "-6", "route", "show", "default")
    for host in (first, second):
        # Where programs in user space are spoken to; hosts have it in common here.
        host.namespaces.run("mkdir", "-p", "/var/run/wireguard")
        host.namespaces.run("mount", "-t", "tmpfs", "tmpfs", "/var/run/wireguard")
        restart(host, encrypted=True)
    await reaches(network, first, host_2="wireguard", host_3="refused")
    await reaches(network, second, host_1="wireguard", host_3="refused")
    inside = [*network.of(first), *network.of(second)]
    async with listening(first) as heard:
        await network.everybody_reaches(inside, inside, size=5000)
        # Nor does anything leave for who tells no key, or while the device is gone and until it is back.
        questions = [f"{protocol}/{one}/{PORT}/64" for one in network.of(third)[0].addresses for protocol in BOTH]
        for source in (first, network.of(first)[0]):
            said = await network.ask(source, questions, 1.0)
            assert not any(map(is_address, said.values())), said
        first.kill("network")
        first.namespaces.run("ip", "link", "delete", "navarch0-wg")
        questions = [f"{protocol}/{one}/{PORT}/64" for one in network.of(second)[0].addresses for protocol in BOTH]
        for source in (first, network.of(first)[0]):
            said = await network.ask(source, questions, 1.0)
            assert not any(map(is_address, said.values())), said
        restart(first, encrypted=True)
        await network.everybody_reaches(inside, inside)
    assert heard["encrypted"] > 0
    assert heard["clear"] == 0
    events = (await network.client.list(corev1.Event)).items
    assert any(one.reason == "PeerRefused" and "tells no WireGuard key" in one.message for one in events)

    # Killed, it is not missed; started again it finds nothing to do.
    def state(host: LabHost) -> tuple[str, str]:
        shown = host.namespaces.run("wg", "show", "navarch0-wg", "allowed-ips")
        return shown, host.namespaces.run("ip", "-o", "link", "show", "navarch0-wg").partition(":")[0]

    before = state(second)
    second.kill("network")
    await network.everybody_reaches(network.of(first), network.of(second))
    restart(second, encrypted=True)
    await reaches(network, second, host_1="wireguard", host_3="refused")
    assert state(second) == before

    # A new key is told, and followed.
    old = (await network.client.get(corev1.Node, second.name)).metadata.annotations[ANNOTATION]
    second.kill("network")
    second.namespaces.run("rm", key_file(second))
    restart(second, encrypted=True)

    async def is_followed() -> bool:
        now = (await network.client.get(corev1.Node, second.name)).metadata.annotations[ANNOTATION]
        return now != old and now in first.namespaces.run("wg", "show", "navarch0-wg", "peers")

    await network.eventually(is_followed, "the new key is known")
    await network.everybody_reaches(network.of(first), network.of(second))

    for host in (first, second):
        restart(host, encrypted=False)
    await reaches(network, first, host_2="vxlan", host_3="route")
    await reaches(network, second, host_1="vxlan", host_3="vxlan")
    await network.everybody_reaches(network.pods, network.pods)
    assert "navarch0-wg" not in first.namespaces.run("ip", "link")
    assert "unreachable" not in first.namespaces.run("ip", "route") + first.namespaces.run("ip", "-6", "route")
    node = await network.client.get(corev1.Node, first.name)
    assert ANNOTATION not in node.metadata.annotations
