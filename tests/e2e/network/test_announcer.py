"""Addresses of load balancers on a real link: three hosts, each with an announcer, and a fourth that asks."""

import asyncio
import json
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.apiserver.service import ApiServer
from navarch.services.apiserver.service import Config as ApiConfig
from navarch.services.base.tls import CertificateAuthority, Credentials
from navarch.services.client.client import Client
from navarch.services.store.config import Config as StoreConfig
from navarch.services.store.service import StoreService
from navarch.testing.netns import Network

PATIENCE_S = 60.0
# What users are promised.
FAILOVER_S = 3.0
VIPS = ("192.0.2.1", "192.0.2.2", "192.0.2.3")


async def output(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    return said.decode()


@dataclass
class Link:
    """The hosts and their announcers."""

    network: Network
    client: Client
    device: str
    files: dict[str, Path]
    api: str
    macs: dict[str, str] = field(default_factory=dict)
    running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    async def start(self, host: str) -> None:
        """Returns once it takes part."""
        log = self.files["ca"].with_name(f"{host}-{secrets.token_hex(4)}.log")
        options = [f"--{name}={path}" for name, path in self.files.items()]
        command = ["-m", "navarch.services.cloud_controller.announcer.main", f"--api-server={self.api}", *options]
        command += [f"--node-name={node_of(host)}", f"--node-ip={host}"]
        with log.open("wb") as out:
            self.running[host] = await asyncio.create_subprocess_exec(
                *self.network.enter(host), sys.executable, *command, stdout=out, stderr=out
            )
        async with asyncio.timeout(PATIENCE_S):
            while b"members.changed" not in log.read_bytes():
                await asyncio.sleep(0.05)

    async def answerers(self, address: str) -> set[str]:
        """The hosts that say they have an address."""
        said = await output("arping", "-b", "-c", "1", "-w", "1", "-I", self.device, address)
        found = {mac.lower() for mac in re.findall(r"\[([0-9A-Fa-f:]{17})\]", said)}
        return {host for host, mac in self.macs.items() if mac in found}

    async def holder(self, address: str) -> str:
        """The one host that has an address; waits for it."""
        async with asyncio.timeout(PATIENCE_S):
            while len(found := await self.answerers(address)) != 1:
                await asyncio.sleep(0.05)
        return found.pop()


def node_of(host: str) -> str:
    return f"node-{host.replace('.', '-')}"


@pytest.fixture
async def link(tmp_path: Path) -> AsyncIterator[Link]:
    async with AsyncExitStack() as stack:
        network = await stack.enter_async_context(Network(3))
        own = f"{network.hosts[0].rpartition('.')[0]}.1"
        authority = CertificateAuthority.create("test", time.time())

        def issue(name: str, *organizations: str, server: bool = False) -> Credentials:
            return authority.issue(name, organizations=organizations, ips=(own,), now=time.time(), server=server)

        store = StoreService(StoreConfig(tmp_path / "store", listen="127.0.0.1:0", credentials=None))
        await store.start()
        stack.push_async_callback(store.stop)
        door = issue("kube-apiserver", "system:masters", server=True)
        api = ApiServer(ApiConfig((store.address,), door, None, listen=f"{own}:0"))
        await api.start()
        stack.push_async_callback(api.stop)
        client = Client.connect(f"{own}:{api.port}", issue("admin", "system:masters"))
        stack.push_async_callback(client.close)
        agent = issue("system:navarch-announcer")
        contents = {"ca": agent.ca, "cert": agent.cert, "key": agent.key, "heartbeat-key-file": b"of all nodes"}
        files = {}
        for name, content in contents.items():
            files[name] = tmp_path / name
            files[name].write_bytes(content)
        links = json.loads(await output("ip", "-j", "address"))
        device = next(one["ifname"] for one in links if any(a["local"] == own for a in one["addr_info"]))
        made = Link(network, client, device, files, f"{own}:{api.port}")
        for host in network.hosts:
            shown = json.loads(await output(*network.enter(host), "ip", "-j", "link", "show", "eth0"))
            made.macs[host] = shown[0]["address"]
            node = await client.create(corev1.Node(metadata={"name": node_of(host)}))
            node.status.addresses.add(type="InternalIP", address=host)
            node.status.conditions.add(type="Ready", status="True", reason="Test")
            await client.update_status(node)
        for number, address in enumerate(VIPS):
            service = corev1.Service(metadata={"name": f"web-{number}", "namespace": "default"})
            service.spec.type = "LoadBalancer"
            service.spec.ports.add(port=80)
            stored = await client.create(service)
            stored.status.load_balancer.ingress.add(ip=address, ip_mode="VIP")
            await client.update_status(stored)
        try:
            await asyncio.gather(*map(made.start, network.hosts))
            yield made
        finally:
            for process in made.running.values():
                if process.returncode is None:
                    process.kill()
                    await process.wait()


async def test_an_address_moves_when_its_node_dies_and_only_then(link: Link) -> None:
    holders = {address: await link.holder(address) for address in VIPS}
    dead = holders[VIPS[0]]
    asked = asyncio.ensure_future(_until_another(link, VIPS[0], dead))
    link.running[dead].kill()
    # A dead node answers no more; the namespace that stands for it would.
    await output(*link.network.enter(dead), "ip", "link", "set", "eth0", "down")
    died_at = time.monotonic()
    moved_at = await asked
    print(f"the address moved {moved_at - died_at:.2f} s after its node's death")
    # Twice that: other tests share the processors.
    assert moved_at - died_at < 2 * FAILOVER_S
    for address, before in holders.items():
        assert (await link.holder(address) == before) == (before != dead)


async def _until_another(link: Link, address: str, first: str) -> float:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await link.answerers(address)
            if found and first not in found:
                return time.monotonic()


async def test_an_announcer_that_was_killed_finds_its_addresses_and_one_that_stops_lets_go(link: Link) -> None:
    address = VIPS[1]
    holder = await link.holder(address)
    link.running[holder].kill()
    await link.running[holder].wait()
    await link.start(holder)
    assert await link.holder(address) == holder
    link.running[holder].terminate()
    await link.running[holder].wait()
    assert await link.holder(address) != holder
    shown = await output(*link.network.enter(holder), "ip", "-o", "address")
    assert "navarch-lb" not in shown
    found = await link.client.get(corev1.Service, "web-1", "default")
    await link.client.delete(corev1.Service, found.metadata.name, "default")
    async with asyncio.timeout(PATIENCE_S):
        while await link.answerers(address):
            await asyncio.sleep(0.05)
