"""The Pod network and Services beside the plain way: a bridge, and DNAT by one static rule.

    python tests/bench/bench_net.py [--rounds 9] [--markdown]

Two hosts on one link, in namespaces, with all that a node has; a Pod on the first asks a server, directly, through a
Service, and through an address that one static rule in the same kernel leads there. All are asked in turns. What a
change of endpoints costs is measured from its write to the first connection that it leads elsewhere; what a rolling
update loses, at 500 connections a second. The rules themselves, with many Services, are `bench_proxy`'s, and names are
`bench_dns`'s, whose tables are put below.
"""

import argparse
import asyncio
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.api import codec
from navarch.services.client.client import Client
from navarch.services.kubelet.runtime import Runtime
from navarch.testing import network_probe
from navarch.testing.network_lab import NetworkLab, network_lab
from navarch.testing.network_lab_host import PROXY, Topology
from navarch.testing.private_containerd import IMAGE

REPORT = Path(__file__).parents[2] / "docs" / "benchmarks" / "network.md"
PYTHON = f"{sys.base_prefix}/bin/python3"
MOUNTED = {"usr": "/usr", "lib": "/usr/lib", "lib64": "/usr/lib64"}
THROUGHPUT_PORT, ECHO_PORT, CONNECT_PORT = 5201, 7000, 7001
STATIC = "203.0.113.1"
SECONDS = 2
SWITCHES = 50
REPLICAS, UPDATES, REQUESTS_A_SECOND = 4, 3, 500

SERVER = f"""
import asyncio, socket, subprocess, sys, threading
subprocess.Popen(["/usr/bin/iperf3", "-s", "-p", "{THROUGHPUT_PORT}"], stdout=subprocess.DEVNULL)
async def echo(reader, writer):
    writer.write(sys.argv[1].encode() + b"\\n")
    while data := await reader.read(4096):
        writer.write(data)
    writer.close()
async def main():
    await asyncio.start_server(echo, "0.0.0.0", {ECHO_PORT})
    await asyncio.Event().wait()
def accept(door=socket.create_server(("0.0.0.0", {CONNECT_PORT}), backlog=1024)):
    while True: door.accept()[0].close()
threading.Thread(target=accept, daemon=True).start()
asyncio.run(main())
"""
# Connections one after the other, then single bytes there and back over one of them.
CLIENT = """
import json, socket, struct, sys, time
host, connect_port, port, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
opened, end = 0, time.perf_counter() + seconds
while time.perf_counter() < end:
    with socket.create_connection((host, connect_port), 5) as one:
        # Ended by a reset: ports that wait to be used again would slow down whoever comes next.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    opened += 1
with socket.create_connection((host, port), 5) as one:
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while not one.recv(100).endswith(b"\\n"): pass
    trips, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter(); one.send(b"x"); one.recv(1); trips.append(time.perf_counter() - began)
trips.sort()
print(json.dumps({"connections": opened / seconds, "p50": trips[len(trips) // 2], "p99": trips[int(len(trips) * .99)]}))
"""


@dataclass
class Way:
    """One way to the server, and what was measured on it."""

    name: str
    address: str
    gigabits: list[float] = field(default_factory=list)
    connections: list[float] = field(default_factory=list)
    p50_us: list[float] = field(default_factory=list)
    p99_us: list[float] = field(default_factory=list)


@dataclass
class Bench:
    """A lab with a client and two servers on it."""

    lab: NetworkLab
    client: Client
    containers: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)

    async def make_pod(self, name: str, host: str) -> None:
        spec = {"nodeName": host, "terminationGracePeriodSeconds": 0, **pod_spec(name)}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}
        pod: Any = codec.from_json(body, strict=True)
        await self.client.create(pod, namespace="default")
        async with asyncio.timeout(60):
            while True:
                found = await self.client.get(corev1.Pod, name, "default")
                if any(one.type == "Ready" and one.status == "True" for one in found.status.conditions):
                    break
                await asyncio.sleep(0.05)
        self.containers[name] = found.status.container_statuses[0].container_id.rpartition("/")[2]
        self.addresses[name] = found.status.pod_ip

    async def service(self, name: str, app: str = "") -> str:
        """Its cluster IP. app: whose Pods; "" for none."""
        made = corev1.Service(metadata={"name": name, "namespace": "default"})
        made.spec.selector.update({"app": app} if app else {})
        for port in (THROUGHPUT_PORT, ECHO_PORT, CONNECT_PORT):
            made.spec.ports.add(name=f"p{port}", port=port)
        return (await self.client.create(made)).spec.cluster_ip

    async def run(self, pod: str, host: str, *command: str) -> str:
        runtime = Runtime(f"unix://{self.lab.hosts[host].cri_socket}")
        try:
            result = await runtime.exec_sync(self.containers[pod], list(command), 120)
        finally:
            await runtime.close()
        assert result.exit_code == 0, (command, result.stdout, result.stderr)
        return result.stdout.decode()

    async def measure(self, way: Way) -> None:
        run = ("/usr/bin/iperf3", "-c", way.address, "-p", str(THROUGHPUT_PORT), "-t", str(SECONDS), "-J")
        said = json.loads(await self.run("client", "host-1", *run))
        way.gigabits.append(said["end"]["sum_received"]["bits_per_second"] / 1e9)
        ask = (PYTHON, "-I", "-c", CLIENT, way.address, str(CONNECT_PORT), str(ECHO_PORT), str(SECONDS))
        found = json.loads(await self.run("client", "host-1", *ask))
        way.connections.append(found["connections"])
        way.p50_us.append(found["p50"] * 1e6)
        way.p99_us.append(found["p99"] * 1e6)


def pod_spec(name: str) -> dict[str, Any]:
    """Of a Pod that serves and says this name."""
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": [PYTHON, "-I", "-c", SERVER, name],
        "readinessProbe": {"tcpSocket": {"port": ECHO_PORT}, "periodSeconds": 1},
        "volumeMounts": [{"name": at, "mountPath": f"/{at}", "readOnly": True} for at in MOUNTED],
    }
    return {
        "containers": [container],
        "volumes": [{"name": at, "hostPath": {"path": path}} for at, path in MOUNTED.items()],
    }


async def roll(bench: Bench) -> dict[str, Any]:
    """Update a Deployment time and again while its Service is asked from a host: what `network_probe` says of it."""
    labels = {"app": "rolled"}

    def template(version: int) -> dict[str, Any]:
        return {"metadata": {"labels": labels}, "spec": pod_spec(f"v{version}")}

    spec = {"replicas": REPLICAS, "selector": {"matchLabels": labels}, "template": template(0)}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "rolled"}, "spec": spec}
    made: Any = codec.from_json(body, strict=True)
    await bench.client.create(made, namespace="default")
    address = await bench.service("rolled", "rolled")
    await rolled_out(bench)
    host = bench.lab.hosts["host-1"]
    probe = Path(network_probe.__file__).read_text()
    command = (PYTHON, "-I", "-c", probe, "load", address, str(ECHO_PORT), str(REQUESTS_A_SECOND))
    asker = await asyncio.create_subprocess_exec(
        *host.namespaces.entrance, *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    for version in range(1, UPDATES + 1):
        await bench.client.patch(
            appsv1.Deployment, "rolled", "default", {"spec": {"template": template(version)}}, "merge"
        )
        await rolled_out(bench)
    said, _ = await asker.communicate(b"enough")
    told: dict[str, Any] = json.loads(said)
    return told


async def rolled_out(bench: Bench) -> None:
    async with asyncio.timeout(120):
        while True:
            found = await bench.client.get(appsv1.Deployment, "rolled", "default")
            status = found.status
            counts = (status.replicas, status.updated_replicas, status.available_replicas)
            if status.observed_generation == found.metadata.generation and counts == (REPLICAS,) * 3:
                return
            await asyncio.sleep(0.05)


async def switches(bench: Bench) -> list[float]:
    """Milliseconds from the write of an endpoint to the first connection that reaches it, from a host."""
    address = await bench.service("switched")
    made = discoveryv1.EndpointSlice(address_type="IPv4")
    made.metadata.name, made.metadata.namespace = "switched", "default"
    made.metadata.labels["kubernetes.io/service-name"] = "switched"
    made.ports.add(name=f"p{ECHO_PORT}", port=ECHO_PORT, protocol="TCP")
    made.endpoints.add(addresses=[bench.addresses["far"]]).conditions.ready = True
    made = await bench.client.create(made)
    host = bench.lab.hosts["host-1"]
    watcher = await asyncio.create_subprocess_exec(
        *host.namespaces.entrance,
        PYTHON,
        "-I",
        "-c",
        WATCHER,
        address,
        str(ECHO_PORT),
        stdout=asyncio.subprocess.PIPE,
    )
    assert watcher.stdout is not None
    times = []
    try:
        current = (await watcher.stdout.readline()).split()[0].decode()
        for _ in range(SWITCHES):
            target = "near" if current == "far" else "far"
            made.endpoints[0].addresses[0] = bench.addresses[target]
            began = time.time()
            made = await bench.client.update(made)
            name, at = (await watcher.stdout.readline()).split()
            current = name.decode()
            times.append((float(at) - began) * 1000)
    finally:
        watcher.kill()
        await watcher.wait()
    return sorted(times)


# Tells whenever another server answers than before, and when.
WATCHER = """
import socket, sys, time
before = b""
while True:
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[2])), 1) as one:
            name = one.recv(100).strip()
    except OSError:
        continue
    if name and name != before:
        print(name.decode(), time.time(), flush=True)
        before = name
"""


async def compare(lab: NetworkLab, rounds: int) -> tuple[list[Way], list[float], dict[str, Any]]:
    client = lab.client()
    try:
        bench = Bench(lab, client)
        for name, host in (("client", "host-1"), ("near", "host-1"), ("far", "host-2")):
            await bench.make_pod(name, host)
        ways = []
        for app, where in (("near", "on the same host"), ("far", "on another host")):
            pod = bench.addresses[app]
            service = await bench.service(f"to-{app}", app)
            static = STATIC if app == "near" else STATIC[:-1] + "2"
            lab.hosts["host-1"].namespaces.run("nft", "-f", "-", given=static_rule(static, pod))
            ways += [
                Way(f"a Pod {where}, directly", pod),
                Way(f"a Pod {where}, by one static DNAT rule", static),
                Way(f"a Pod {where}, through its Service", service),
            ]
        await asyncio.sleep(1)
        for number in range(rounds):
            # Each comes first as often as last.
            for way in ways if number % 2 else reversed(ways):
                await bench.measure(way)
        return ways, await switches(bench), await roll(bench)
    finally:
        await client.close()


def static_rule(address: str, pod: str) -> str:
    return (
        "add table ip plain\n"
        "add chain ip plain out { type nat hook prerouting priority -110; }\n"
        f"add rule ip plain out ip daddr {address} dnat to {pod}\n"
    )


def report(ways: Sequence[Way], times: Sequence[float], rolled: dict[str, Any], rules: str, names: str) -> str:
    lines = [
        "# The Pod network and Services",
        "",
        f"Made by `make bench-net` on {platform.machine()}, Python {platform.python_version()}, medians. Two hosts in",
        "namespaces share the processors with the control plane, clients and servers; the link between them is the",
        "kernel's own memory, so that what is shown is the cost of the way, not of a wire.",
        "",
        "| from a Pod to | Gbit/s | connections/s | round trip p50, us | p99, us | throughput / direct |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    middle = statistics.median
    for number, way in enumerate(ways):
        direct = ways[number // 3 * 3]
        ratio = middle(way.gigabits) / middle(direct.gigabits)
        lines.append(
            f"| {way.name} | {middle(way.gigabits):.1f} | {middle(way.connections):.0f} "
            f"| {middle(way.p50_us):.0f} | {middle(way.p99_us):.0f} | {ratio:.2f} |"
        )
    p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
    lines += [
        "",
        "An endpoint is replaced: from the write to the API until a connection of another process reaches the new one: "
        f"p50 {p50:.0f} ms, p99 {p99:.0f} ms ({len(times)} changes).",
        "",
        f"{UPDATES} rolling updates of a Deployment of {REPLICAS}, each request a new connection to its Service: "
        f"{rolled['requests']} requests, {rolled['requests'] / rolled['seconds']:.0f} a second, of which "
        f"{len(rolled['failures'])} were lost; p99 {rolled['p99_s'] * 1000:.1f} ms.",
        "",
        "The proxy alone, five endpoints a Service (`tests/bench/bench_proxy.py`):",
        "",
        "```",
        rules.rstrip(),
        "```",
        "",
        "DNS on one core, beside Debian's dnsmasq with the same records (`tests/bench/bench_dns.py`):",
        "",
        names.rstrip(),
        "",
    ]
    return "\n".join(lines)


def other_bench(name: str) -> str:
    """What another benchmark says."""
    command = [sys.executable, Path(__file__).with_name(name)]
    return subprocess.run(command, check=True, text=True, capture_output=True).stdout


def main() -> None:
    """See the module."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--markdown", action="store_true", help="write the report")
    chosen = options.parse_args()
    with network_lab(Topology((1, 1)), (PROXY,)) as lab:
        ways, times, rolled = asyncio.run(compare(lab, chosen.rounds))
    rules, names = map(other_bench, ("bench_proxy.py", "bench_dns.py"))
    text = report(ways, times, rolled, rules, names)
    print(text)
    if chosen.markdown:
        REPORT.write_text(text)


if __name__ == "__main__":
    main()
