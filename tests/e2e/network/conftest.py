"""Three hosts and a control plane, and Pods on them that answer over TCP and UDP with the address of who asks.

Python and its libraries are the host's, mounted into the Pods: busybox's nc has no UDP.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import network_pb2, network_pb2_grpc
from navarch.services.api import codec
from navarch.services.client.client import Client
from navarch.services.kubelet.runtime import Runtime
from navarch.testing import network_probe
from navarch.testing.kubelet_lab import is_ready
from navarch.testing.network_lab import NetworkLab
from navarch.testing.network_lab_host import LabHost
from navarch.testing.private_containerd import IMAGE

PROBE = Path(network_probe.__file__)
PYTHON = f"{sys.base_prefix}/bin/python3"
PORT, HOST_PORT = 7000, 17000
PATIENCE_S = 60.0
POLL_S = 0.05
T = TypeVar("T")


@dataclass
class Pod:
    """A Pod that answers. addresses: IPv4 first."""

    name: str
    host: LabHost
    addresses: list[str]
    container: str


@dataclass
class Probing:
    """A lab with Pods in it, for one test: connections belong to its loop."""

    lab: NetworkLab
    client: Client
    pods: list[Pod] = field(default_factory=list)
    runtimes: dict[str, Runtime] = field(default_factory=dict)

    def of(self, host: LabHost) -> list[Pod]:
        """The Pods on a host."""
        return [pod for pod in self.pods if pod.host is host]

    async def make_pods(self, each: int) -> None:
        """So many on each host, or those that an earlier test has made; returns when all are Ready."""
        names = [(f"{host.name}-{number}", host) for host in self.lab.hosts.values() for number in range(each)]
        there = {pod.metadata.name for pod in (await self.client.list(corev1.Pod, "default")).items}
        for name, host in names:
            if name not in there:
                await self.make(name, host, HOST_PORT + int(name.rpartition("-")[2]))
        for name, host in names:
            await self.ready(name, host)

    async def make(
        self, name: str, host: LabHost, host_port: int = 0, annotations: dict[str, str] | None = None
    ) -> None:
        """A Pod that answers."""
        mounted = {"usr": "/usr", "lib": "/usr/lib", "lib64": "/usr/lib64"}
        ports = [{"containerPort": PORT, **({"hostPort": host_port} if host_port else {})}]
        container = {
            "name": "main",
            "image": IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "command": [PYTHON, "-I", "-c", PROBE.read_text(), "serve", str(PORT)],
            "ports": ports,
            "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
            "volumeMounts": [{"name": at, "mountPath": f"/{at}", "readOnly": True} for at in mounted],
        }
        spec = {
            "nodeName": host.name,
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            "volumes": [{"name": at, "hostPath": {"path": path}} for at, path in mounted.items()],
        }
        metadata = {"name": name, "annotations": annotations or {}}
        pod: Any = codec.from_json({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        await self.client.create(pod, namespace="default")

    async def ready(self, name: str, host: LabHost) -> Pod:
        """Wait until a Pod is Ready."""

        async def look() -> corev1.Pod | None:
            found = await self.client.get(corev1.Pod, name, "default")
            return found if is_ready(found) else None

        found = await self.eventually(look, f"Pod {name} is Ready")
        assert found is not None
        container = found.status.container_statuses[0].container_id.rpartition("/")[2]
        pod = Pod(name, host, [one.ip for one in found.status.pod_ips], container)
        self.pods.append(pod)
        return pod

    async def exec(self, pod: Pod, *command: str) -> str:
        """What a command in a Pod says."""
        runtime = self.runtimes.setdefault(pod.host.name, Runtime(f"unix://{pod.host.cri_socket}"))
        result = await runtime.exec_sync(pod.container, list(command), 120)
        assert result.exit_code == 0, (command, result.stderr.decode())
        return result.stdout.decode()

    async def ask(self, source: Pod | LabHost, questions: Iterable[str], seconds: float = PATIENCE_S) -> dict[str, str]:
        """The answers that a Pod or a host gets, by question (see `network_probe`)."""
        command = [PYTHON, "-I", "-c", PROBE.read_text(), "ask", str(seconds), *questions]
        if isinstance(source, Pod):
            said = await self.exec(source, *command)
        else:
            said = await asyncio.to_thread(source.namespaces.run, *command)
        return dict(line.split(" ", 1) for line in said.splitlines())

    async def everybody_reaches(self, sources: Iterable[Pod], targets: Iterable[Pod], size: int = 1) -> None:
        """Each Pod each other over TCP and UDP, and is known there by its own address."""
        reached = list(targets)

        async def from_one(source: Pod) -> None:
            expected = {
                f"{protocol}/{address}/{PORT}/{size}": source.addresses[number]
                for target in reached
                for number, address in enumerate(target.addresses)
                for protocol in ("tcp", "udp")
            }
            found = await self.ask(source, expected)
            wrong = {question: (found[question], own) for question, own in expected.items() if found[question] != own}
            assert not wrong, f"from {source.name}: {wrong}\n{self.lab.logs()}"

        await asyncio.gather(*map(from_one, sources))

    async def network(self, host: LabHost) -> network_pb2.NodeNetwork:
        """What a host's agent says."""
        async with host.channel("network") as opened:
            stub: network_pb2_grpc.NetworkAsyncStub = network_pb2_grpc.NetworkStub(opened)
            request = network_pb2.DescribeNetworkRequest()
            answer: network_pb2.NodeNetwork = await stub.Describe(request, timeout=PATIENCE_S, wait_for_ready=True)
            return answer

    async def ways(self, host: LabHost) -> dict[str, set[str]]:
        """How a host reaches the others: by name."""
        described = await self.network(host)
        return {peer.node: {way.how for way in peer.ways} for peer in described.peers}

    async def eventually(self, probe: Callable[[], Awaitable[T]], what: str) -> T:
        """The first true answer."""
        deadline = time.monotonic() + PATIENCE_S
        while not (answer := await probe()):
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: not within {PATIENCE_S:.0f} s; last: {answer!r}\n{self.lab.logs()}")
            await asyncio.sleep(POLL_S)
        return answer


@asynccontextmanager
async def probing(lab: NetworkLab, pods_each: int = 2) -> AsyncIterator[Probing]:
    """For one test."""
    made = Probing(lab, lab.client())
    try:
        await made.make_pods(pods_each)
        yield made
    finally:
        for runtime in made.runtimes.values():
            await runtime.close()
        await made.client.close()


def kernel_network(host: LabHost) -> dict[str, Any]:
    """Links, addresses, routes, neighbours and rules of the agent on a host."""
    run = host.namespaces.run
    entries = {
        "links": json.loads(run("ip", "-json", "-details", "link", "show")),
        "routes": json.loads(run("ip", "-json", "route", "show", "proto", "118")),
        "routes of IPv6": json.loads(run("ip", "-json", "-6", "route", "show", "proto", "118")),
        "rules": run("nft", "list", "tables") + run("nft", "-a", "list", "table", "inet", "navarch"),
    }
    entries["links"] = [(one["ifindex"], one["ifname"], one["mtu"], one["address"]) for one in entries["links"]]
    for link in [name for _, name, _, _ in entries["links"] if "-x" in name]:
        entries[link] = [run("bridge", "fdb", "show", "dev", link), run("ip", "neigh", "show", "dev", link)]
    return entries


def is_address(text: str) -> bool:
    """Whether a question was answered."""
    try:
        return bool(ip_address(text))
    except ValueError:
        return False
