"""Speed and memory of the kubelet on real containers, over our shim and over containerd's own CRI plugin.

    python tests/bench/bench_kubelet.py [--rounds 20] [--markdown]

One host, one control plane (store, API server, scheduler and controllers in a process of their own), a kubelet for
each runtime; both are asked in turns. What a Pod's start costs is told by stage.
"""

import argparse
import asyncio
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import codec
from navarch.services.client.client import Client
from navarch.services.kubelet.runtime import Runtime
from navarch.testing.kubelet_host import KubeletHost, kubelet_host
from navarch.testing.private_containerd import IMAGE, SIDES

NAMESPACE = "default"
CROWD = 30
IDLE_PODS = 50
IDLE_S = 20.0
REPORT = Path(__file__).parents[2] / "docs" / "benchmarks" / "kubelet.md"
# What the genuine kubelet needs over containerd's plugin on such a machine, and what ours is to need.
KNOWN_MS = {"one Pod: created to Running": (510, 300), "30 Pods of a Deployment: created to all Running": (4200, 2500)}
KNOWN_MS["one Pod: deleted to gone, grace 1 s"] = (2000, 1200)


@dataclass
class Timings:
    """Milliseconds by operation."""

    of: dict[str, list[float]] = field(default_factory=dict)

    def add(self, operation: str, seconds: float) -> None:
        """One more."""
        self.of.setdefault(operation, []).append(seconds * 1000)

    def p50(self, operation: str) -> float:
        """The median."""
        return statistics.median(self.of[operation])


@dataclass(frozen=True)
class Node:
    """One side of the host."""

    name: str
    client: Client
    cri: Runtime
    host: KubeletHost

    def spec(self, script: str = "sleep 3600", grace_s: int = 1) -> dict[str, Any]:
        """Of a Pod with one container, for the scheduler."""
        container = {
            "name": "main",
            "image": IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", script],
        }
        return {
            "nodeSelector": {"kubernetes.io/hostname": self.name},
            "terminationGracePeriodSeconds": grace_s,
            "containers": [container],
        }


async def until(client: Client, name: str, holds: Callable[[Any], object]) -> Any:
    """The Pod as soon as it is as wanted; None as soon as it is gone."""
    watching = client.watch(corev1.Pod, NAMESPACE, field_selector=f"metadata.name={name}")
    async with aclosing(watching) as events:
        async for event in events:
            if event.type == "DELETED" or (event.type != "BOOKMARK" and holds(event.object)):
                return event.object if event.type != "DELETED" else None
    raise AssertionError("the watch has ended")


def has_ended(container: corev1.ContainerStatus) -> bool:
    """Whether it is reported so."""
    return container.state.HasField("terminated")


def runs(pod: corev1.Pod) -> bool:
    """Whether its container runs."""
    return pod.status.phase == "Running" and all(one.state.HasField("running") for one in pod.status.container_statuses)


async def one_pod(node: Node, name: str, timings: Timings) -> None:
    """The life of one Pod, by stage."""
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": node.spec()}
    bound = asyncio.ensure_future(_moment(node.client, name, lambda pod: pod.spec.node_name))
    running = asyncio.ensure_future(_moment(node.client, name, runs))
    begin = time.time()
    await node.client.create(codec.from_json(document), namespace=NAMESPACE)
    (pod, created), (_, bound_at) = (None, time.time()), await bound
    pod, running_at = await running
    box = next(one for one in await node.cri.list_sandboxes() if one.metadata.uid == pod.metadata.uid)
    container = await node.cri.container_status(pod.status.container_statuses[0].container_id.rpartition("/")[2])
    sandbox_at, container_at = box.created_at / 1e9, container.created_at / 1e9
    timings.add("one Pod: created to Running", running_at - begin)
    timings.add("- the API server stores it", created - begin)
    timings.add("- scheduled", bound_at - created)
    timings.add("- the kubelet takes it: volumes, image, sandbox asked for", sandbox_at - bound_at)
    timings.add("- sandbox made, container created", container_at - sandbox_at)
    timings.add("- container started", container.started_at / 1e9 - container_at)
    timings.add("- Running is reported", running_at - container.started_at / 1e9)
    stopped = asyncio.ensure_future(
        _moment(
            node.client,
            name,
            lambda pod: any(one.state.HasField("terminated") for one in pod.status.container_statuses),
        )
    )
    gone = asyncio.ensure_future(_moment(node.client, name, lambda _: False))
    begin = time.time()
    await node.client.delete(corev1.Pod, name, NAMESPACE)
    _, gone_at = await gone
    _, stopped_at = await stopped
    timings.add("one Pod: deleted to gone, grace 1 s", gone_at - begin)
    timings.add("- its container has ended", stopped_at - begin)
    timings.add("- sandbox, volumes and Pod are removed", gone_at - stopped_at)


async def _moment(client: Client, name: str, holds: Callable[[Any], object]) -> tuple[Any, float]:
    return await until(client, name, holds), time.time()


async def raw(node: Node, timings: Timings, number: int) -> None:
    """The same containers by CRI calls alone, which no kubelet can be faster than."""
    name = f"raw-{number}"
    config = criv1.PodSandboxConfig(
        metadata=criv1.PodSandboxMetadata(name=name, uid=name, namespace=NAMESPACE),
        log_directory=str(node.host.directory / "raw-logs"),
        linux=criv1.LinuxPodSandboxConfig(cgroup_parent=f"{node.host.containerd.cgroup_root}/raw"),
    )
    container = criv1.ContainerConfig(
        metadata=criv1.ContainerMetadata(name="main"),
        image=criv1.ImageSpec(image=IMAGE),
        command=["sleep", "3600"],
        log_path="main.log",
        linux=criv1.LinuxContainerConfig(),
    )
    begin = time.perf_counter()
    box = await node.cri.run_sandbox(config)
    id_ = await node.cri.create_container(box, container, config)
    await node.cri.start_container(id_)
    timings.add("CRI calls alone: sandbox, container, start", time.perf_counter() - begin)
    await node.cri.stop_sandbox(box)
    await node.cri.remove_sandbox(box)


async def deployment(node: Node, name: str, replicas: int, timings: Timings | None) -> None:
    """A Deployment until all its Pods run."""
    document = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": node.spec()},
        },
    }
    ready: set[str] = set()
    watching = node.client.watch(corev1.Pod, NAMESPACE, label_selector=f"app={name}")
    begin = time.time()
    await node.client.create(codec.from_json(document), namespace=NAMESPACE)
    async with aclosing(watching) as events:
        async for event in events:
            if event.type != "BOOKMARK" and runs(event.object):
                ready.add(event.object.metadata.name)
            if len(ready) == replicas:
                break
    if timings is not None:
        timings.add(f"{replicas} Pods of a Deployment: created to all Running", time.time() - begin)


async def remove(node: Node, name: str) -> float:
    """Remove a Deployment; seconds until its last Pod is gone."""
    begin = time.time()
    await node.client.delete(appsv1.Deployment, name, NAMESPACE)
    while (await node.client.list(corev1.Pod, NAMESPACE, label_selector=f"app={name}")).items:
        await asyncio.sleep(0.05)
    return time.time() - begin


async def footprint(node: Node) -> tuple[float, float]:
    """MB (PSS) of the kubelet, and its part of a processor, while Pods run and nobody asks."""
    process = psutil.Process(node.host.kubelets[node.name].pid)
    used, begin = sum(process.cpu_times()[:2]), time.monotonic()
    await asyncio.sleep(IDLE_S)
    cpu = (sum(process.cpu_times()[:2]) - used) / (time.monotonic() - begin)
    return process.memory_full_info().pss / 1e6, cpu


async def measure(host: KubeletHost, rounds: int) -> tuple[dict[str, Timings], dict[str, tuple[float, float]]]:
    """All timings by side, and what each kubelet costs while 50 Pods run."""
    client = Client.connect(host.api_server, host.credentials("admin", "system:masters"), "bench")
    nodes = [Node(side, client, Runtime(f"unix://{host.socket(side)}"), host) for side in SIDES]
    timings = {side: Timings() for side in SIDES}
    footprints = {}
    # Before there are kubelets, to which these would be orphans.
    for number in range(rounds):
        for node in nodes:
            await raw(node, timings[node.name], number)
    for node in nodes:
        host.start_kubelet(node.name)
    for node in nodes:
        await one_pod(node, f"warm-{node.name}", Timings())
    for number in range(rounds):
        for node in nodes:
            await one_pod(node, f"one-{number}-{node.name}", timings[node.name])
    show(timings)
    for number in range(max(2, rounds // 6)):
        for node in nodes:
            name = f"crowd-{number}-{node.name}"
            await deployment(node, name, CROWD, timings[node.name])
            timings[node.name].add(f"{CROWD} Pods of a Deployment: deleted to all gone", await remove(node, name))
    show(timings)
    for node in nodes:
        await deployment(node, f"idle-{node.name}", IDLE_PODS, None)
        footprints[node.name] = await footprint(node)
        await remove(node, f"idle-{node.name}")
    for node in nodes:
        await node.cri.close()
    await client.close()
    return timings, footprints


def show(timings: dict[str, Timings]) -> None:
    """Print what is known so far."""
    print("\n".join(lines(timings)), flush=True)


def lines(timings: dict[str, Timings]) -> Iterator[str]:
    """The table."""
    yield "| operation | genuine kubelet, p50 ms | aim | over the plugin | over the shim | shim / genuine |"
    yield "|---|--:|--:|--:|--:|--:|"
    for operation in timings["shim"].of:
        plugin, shim = (timings[side].p50(operation) for side in ("plugin", "shim"))
        known, aim = KNOWN_MS.get(operation, (None, None))
        ratio = f"{shim / known:.2f}" if known else ""
        yield f"| {operation} | {known or ''} | {aim or ''} | {plugin:.0f} | {shim:.0f} | {ratio} |"


def report(timings: dict[str, Timings], footprints: dict[str, tuple[float, float]]) -> str:
    """The report."""
    words = subprocess.run(["containerd", "--version"], check=True, capture_output=True, text=True).stdout.split()
    costs = "\n".join(
        f"| over the {side} | {footprints[side][0]:.0f} | {footprints[side][1] * 100:.1f} |" for side in SIDES
    )
    return f"""# The kubelet, over our shim and over containerd's plugin

Made by `make bench-kubelet` on {platform.machine()}, {len(psutil.Process().cpu_affinity())} processors,
Python {platform.python_version()}, containerd {words[2]}. Medians. Client, control plane, kubelets and containers share
the processors. The genuine kubelet's figures are of another run on such a machine, over containerd's plugin.

{chr(10).join(lines(timings))}

With {IDLE_PODS} Pods running and nobody asking (aims: 70 MB, 3 %):

| kubelet | memory, MB (PSS) | % of one processor |
|---|--:|--:|
{costs}
"""


def main() -> None:
    """Print the tables, and write them where the documentation has them."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--markdown", action="store_true", help=f"write {REPORT.name}")
    chosen = options.parse_args()
    with kubelet_host() as host:
        text = report(*asyncio.run(measure(host, chosen.rounds)))
        print(text)
        if chosen.markdown:
            REPORT.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
