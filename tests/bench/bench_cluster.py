"""What a cluster costs: how long things take, how much memory and CPU it needs; beside the aim and Kubernetes.

    python tests/bench/bench_cluster.py [--quick]

Real clusters, each in a directory and on ports of its own, real containers where this user may start them. All
is measured from outside, as a user sees it: commands by the clock, Pods by a watch, processes by /proc.
Kubernetes' figures were taken on a machine of two cores, with etcd and containerd counted in. Everything else
that runs on the machine shows in the figures; the load average before the start is printed with them.
"""

import argparse
import asyncio
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import ApiError
from navarch.services.base import supervisor
from navarch.services.base.kubeconfig import load_kubeconfig
from navarch.services.client.client import Client

REPOSITORY = Path(__file__).parents[2]
NAVARCH = Path(sys.executable).with_name("navarch")
IMAGE = "navarch.dev/busybox:bench"
NAMESPACE = "default"
PORTS = (2379, 7443, 10250, 10257, 10259, 10350)
LISTED = 500
# A write that shows in the server's watch long after this has been lost.
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Effort:
    """How much to measure."""

    starts: int
    pods: int
    idle_s: float
    load_s: float
    writes: int


FULL = Effort(starts=5, pods=20, idle_s=60.0, load_s=3.0, writes=300)
QUICK = Effort(starts=2, pods=5, idle_s=15.0, load_s=1.0, writes=100)


@dataclass(frozen=True)
class Figure:
    """One line of the table. aim, kubernetes: None where nobody has said or measured."""

    label: str
    value: float
    unit: str
    aim: float | None = None
    kubernetes: float | None = None


class Cluster:
    """One real cluster in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.data_dir = directory / "d"
        self.offset = free_offset()

    def navarch(self, *arguments: str) -> None:
        """Run a command. Raises CalledProcessError after showing what it said."""
        command = [str(NAVARCH), *arguments, f"--data-dir={self.data_dir}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            sys.stderr.buffer.write(done.stdout)
            done.check_returncode()

    def up(self) -> None:
        self.navarch("up", f"--port-offset={self.offset}")

    def down(self) -> None:
        self.navarch("down", "--delete-data")

    def load_image(self) -> None:
        archive = self.data_dir / "image.tar"
        builder = REPOSITORY / "k8s-lab" / "images" / "busybox_image.py"
        subprocess.run([sys.executable, builder, archive, "--name", IMAGE], check=True)
        self.navarch("image", "load", str(archive))

    def processes(self) -> dict[str, list[psutil.Process]]:
        """All processes of the cluster but the containers', by what they are."""
        state = supervisor.status(self.data_dir)
        found = {"supervisor": [psutil.Process(state.pid)]}
        found |= {child.name: [psutil.Process(child.pid)] for child in state.children}
        socket_path = str(self.data_dir / "containerd" / "containerd.sock")
        shims = [one for one in psutil.process_iter(["name", "cmdline"]) if socket_path in (one.info["cmdline"] or ())]
        found["containerd's shims"] = [one for one in shims if one.info["name"].startswith("containerd-shim")]
        return found

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """The administrator, as soon as the cluster has made his certificate."""
        async with asyncio.timeout(PATIENCE_S):
            while not (kubeconfig := self.data_dir / "admin.kubeconfig").exists():
                await asyncio.sleep(0.005)
        found = load_kubeconfig(kubeconfig)
        client = Client.connect(found.address, found.credentials, "bench")
        try:
            yield client
        finally:
            await client.close()


def free_offset() -> int:
    """A port offset that no other cluster uses."""
    for offset in random.sample(range(12_000, 22_000, 10), 1000):
        with suppress(OSError):
            for port in PORTS:
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port + offset))
            return offset
    raise RuntimeError("no ports are free")


@contextmanager
def fresh_cluster() -> Iterator[Cluster]:
    """A cluster that is down, and is gone at the end. The path is short, for it holds sockets."""
    with TemporaryDirectory(prefix="nvb-", dir="/tmp") as directory:
        cluster = Cluster(Path(directory))
        try:
            yield cluster
        finally:
            if cluster.data_dir.exists():
                cluster.down()


def pod(name: str) -> corev1.Pod:
    """A Pod whose only process ignores SIGTERM, as every first process does that sets no handler."""
    made = corev1.Pod()
    made.metadata.name, made.metadata.namespace = name, NAMESPACE
    fill(made.spec)
    return made


def fill(spec: corev1.PodSpec) -> None:
    spec.termination_grace_period_seconds = 1
    spec.containers.add(name="main", image=IMAGE, image_pull_policy="IfNotPresent", command=["sleep", "1000000"])


class Pods:
    """When Pods came to run and when they were gone, as a watch tells. Use inside ``following``."""

    def __init__(self) -> None:
        self.running: dict[str, float] = {}
        self.gone: dict[str, float] = {}
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def following(self, client: Client) -> AsyncIterator["Pods"]:
        ready = asyncio.Event()
        task = asyncio.create_task(self._follow(client, ready))
        await ready.wait()
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(holds)

    async def _follow(self, client: Client, ready: asyncio.Event) -> None:
        async with aclosing(client.watch(corev1.Pod, NAMESPACE, send_initial_events=True)) as events:
            async for event in events:
                now, name = time.perf_counter(), event.object.metadata.name
                if event.type == "BOOKMARK":
                    ready.set()
                elif event.type == "DELETED":
                    self.gone[name] = now
                elif event.object.status.phase == "Running":
                    self.running.setdefault(name, now)
                async with self._changed:
                    self._changed.notify_all()


async def cold_starts(effort: Effort) -> list[Figure]:
    """`navarch up` in an empty directory: until it returns, and until the API takes a Pod."""
    ready, first_pod = [], []
    for _ in range(effort.starts):
        with fresh_cluster() as cluster:
            begin = time.perf_counter()
            up = asyncio.create_task(asyncio.to_thread(cluster.up))
            async with cluster.client() as client:
                first_pod.append(await _first_pod(client) - begin)
            await up
            ready.append(time.perf_counter() - begin)
    return [
        Figure(f"cold start to node Ready, p50 of {effort.starts}", statistics.median(ready), "s", 3.0, 3.3),
        Figure(f"cold start to first Pod created, p50 of {effort.starts}", statistics.median(first_pod), "s", 3.5, 8.5),
    ]


async def _first_pod(client: Client) -> float:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await client.create(pod("first"))
            except ApiError:
                await asyncio.sleep(0.01)
            else:
                return time.perf_counter()


async def pod_lifes(client: Client, pods: Pods, effort: Effort) -> list[Figure]:
    """One Pod after the other: create to Running, delete to gone."""
    starts, ends = [], []
    for number in range(effort.pods):
        name = f"one-{number}"
        begin = time.perf_counter()
        await client.create(pod(name))
        await pods.until(lambda name=name: name in pods.running)  # type: ignore[misc]
        starts.append(pods.running[name] - begin)
        begin = time.perf_counter()
        await client.delete(corev1.Pod, name, NAMESPACE, grace_period_seconds=1)
        await pods.until(lambda name=name: name in pods.gone)  # type: ignore[misc]
        ends.append(pods.gone[name] - begin)
    of = f"of {effort.pods}"
    return [
        Figure(f"create to Running, p50 {of}", 1000 * quantile(starts, 50), "ms", 450, 518),
        Figure(f"create to Running, p99 {of}", 1000 * quantile(starts, 99), "ms"),
        Figure(f"delete (grace 1 s) to gone, p50 {of}", quantile(ends, 50), "s", 1.3, 2.0),
        Figure(f"delete (grace 1 s) to gone, p99 {of}", quantile(ends, 99), "s"),
    ]


async def replicas(client: Client, pods: Pods, count: int = 30) -> list[Figure]:
    """A Deployment from nothing to all Running."""
    made = appsv1.Deployment()
    made.metadata.name, made.metadata.namespace = "many", NAMESPACE
    made.spec.replicas = count
    made.spec.selector.match_labels["app"] = made.spec.template.metadata.labels["app"] = "many"
    fill(made.spec.template.spec)
    before = len(pods.running)
    begin = time.perf_counter()
    await client.create(made)
    await pods.until(lambda: len(pods.running) == before + count)
    return [Figure(f"{count} replicas to all Running", max(pods.running.values()) - begin, "s", 4.0, 4.2)]


@dataclass(frozen=True)
class Usage:
    """What a group of processes has used until now."""

    pss_bytes: int
    cpu_ns: int
    turns: int


def usage(processes: Sequence[psutil.Process]) -> Usage:
    """Memory of processes, and the CPU time of their living threads and how often these got the CPU."""
    pss = cpu = turns = 0
    for process in processes:
        pss += process.memory_full_info().pss
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            # Nanoseconds, where /proc/PID/stat has ticks of 10 ms.
            with suppress(OSError):
                ran_ns, _, slices = map(int, (task / "schedstat").read_text().split())
                cpu += ran_ns
                turns += slices
    return Usage(pss, cpu, turns)


async def idle(cluster: Cluster, effort: Effort) -> list[Figure]:
    """Memory, CPU and wake-ups of each process while nothing is asked of the cluster."""
    await asyncio.sleep(5)
    processes = cluster.processes()
    before = {name: usage(group) for name, group in processes.items()}
    begin = time.perf_counter()
    await asyncio.sleep(effort.idle_s)
    after = {name: usage(group) for name, group in processes.items()}
    elapsed_s = time.perf_counter() - begin
    cpu = {name: (after[name].cpu_ns - before[name].cpu_ns) / elapsed_s / 1e7 for name in processes}
    memory = {name: used.pss_bytes / 1e6 for name, used in after.items()}
    rows = [
        (
            name,
            f"{memory[name]:.1f}",
            f"{cpu[name]:.2f}",
            f"{(after[name].turns - before[name].turns) / elapsed_s:.1f}",
        )
        for name in processes
    ]
    show(f"idle for {elapsed_s:.0f} s", ("process", "PSS MB", "CPU %", "wake-ups/s"), rows)
    return [
        Figure("idle memory of all, PSS", sum(memory.values()), "MB", 400, 680),
        Figure("idle CPU of all, of one core", sum(cpu.values()), "%", 3.0, 4.9),
    ]


def with_pods(cluster: Cluster) -> list[Figure]:
    """Memory while the replicas run."""
    used = {name: usage(group).pss_bytes / 1e6 for name, group in cluster.processes().items()}
    shims = used.pop("containerd's shims")
    return [
        Figure("memory of all but containerd's shims, 30 Pods", sum(used.values()), "MB"),
        Figure("memory of containerd's shims, 30 Pods", shims, "MB"),
    ]


async def rate(operation: Callable[[int], Awaitable[object]], callers: int, seconds: float) -> float:
    """Operations a second when so many callers wait for their answers one after the other."""
    begin = time.perf_counter()

    async def call(index: int) -> int:
        done = 0
        while time.perf_counter() - begin < seconds:
            await operation(index + done * callers)
            done += 1
        return done

    counts = await asyncio.gather(*map(call, range(callers)))
    return sum(counts) / (time.perf_counter() - begin)


def config_map(name: str) -> corev1.ConfigMap:
    made = corev1.ConfigMap(data={"key": "a value of some length"})
    made.metadata.name, made.metadata.namespace = name, "bench"
    return made


async def api(client: Client, effort: Effort) -> list[Figure]:
    """The gRPC door under load, from one Python client on the same machine."""
    namespace = corev1.Namespace()
    namespace.metadata.name = "bench"
    await client.create(namespace)
    await asyncio.gather(*(client.create(config_map(f"base-{number}")) for number in range(LISTED)))
    run = random.randrange(1 << 30)

    operations: list[tuple[str, Callable[[int], Awaitable[object]]]] = [
        ("Get", lambda index: client.get(corev1.ConfigMap, f"base-{index % LISTED}", "bench")),
        (f"List of {LISTED}", lambda index: client.list(corev1.ConfigMap, "bench", limit=LISTED)),
        ("Create", lambda index: client.create(config_map(f"made-{run}-{index}"))),
    ]
    figures = []
    for label, operation in operations:
        for callers in (1, 16):
            figures.append(
                Figure(f"API {label}, {callers} caller(s)", await rate(operation, callers, effort.load_s), "/s")
            )
            run += 1
    return [*figures, *await watch_latency(client, effort)]


async def watch_latency(client: Client, effort: Effort) -> list[Figure]:
    """From before a write to the arrival of its event."""
    took = []
    watching = client.watch(corev1.ConfigMap, "bench", field_selector="metadata.name=watched", send_initial_events=True)
    async with aclosing(watching) as events:
        await anext(events)
        for number in range(effort.writes):
            begin = time.perf_counter()
            if number:
                write = client.patch(corev1.ConfigMap, "watched", "bench", {"data": {"key": str(number)}}, "merge")
            else:
                write = client.create(config_map("watched"))
            writing = asyncio.ensure_future(write)
            while (await anext(events)).type == "BOOKMARK":
                pass
            took.append(time.perf_counter() - begin)
            await writing
    return [
        Figure("watch: write to event, p50", 1000 * quantile(took, 50), "ms"),
        Figure("watch: write to event, p99", 1000 * quantile(took, 99), "ms"),
    ]


async def command_line(cluster: Cluster) -> list[Figure]:
    took = []
    for _ in range(5):
        begin = time.perf_counter()
        command = (NAVARCH, "get", "pods", "--kubeconfig", cluster.data_dir / "admin.kubeconfig")
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
        assert await process.wait() == 0
        took.append(time.perf_counter() - begin)
    return [Figure("navarch get pods, p50 of 5", 1000 * statistics.median(took), "ms")]


def quantile(values: Sequence[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


async def one_cluster(effort: Effort) -> list[Figure]:
    """Everything but the cold starts, on a cluster that has only started."""
    with fresh_cluster() as cluster:
        cluster.up()
        cluster.load_image()
        figures = await idle(cluster, effort)
        async with cluster.client() as client, Pods().following(client) as pods:
            figures = await pod_lifes(client, pods, effort) + await replicas(client, pods) + figures
            figures += with_pods(cluster) + await command_line(cluster)
            await client.delete(appsv1.Deployment, "many", NAMESPACE)
            await pods.until(lambda: len(pods.gone) == len(pods.running))
            figures += await api(client, effort)
    return figures


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column(columns[0])
    for column in columns[1:]:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    Console(width=max(100, shutil.get_terminal_size().columns)).print(table)


def row(figure: Figure) -> tuple[str, ...]:
    number = f"{figure.value:,.2f}" if figure.unit in ("s", "%") else f"{figure.value:,.0f}"
    met = "" if figure.aim is None else " ✓" if figure.value <= figure.aim else " ✗"
    aim = "" if figure.aim is None else f"{figure.aim:g} {figure.unit}"
    kubernetes = "" if figure.kubernetes is None else f"{figure.kubernetes:g} {figure.unit}"
    ratio = "" if figure.kubernetes is None else f"{figure.value / figure.kubernetes:.2f}"
    return figure.label, f"{number} {figure.unit}", aim + met, kubernetes, ratio


async def main() -> None:
    parser = argparse.ArgumentParser(description="speed and memory of real clusters, beside the aims and Kubernetes")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and a short idle time")
    effort = QUICK if parser.parse_args().quick else FULL
    load = os.getloadavg()[0]
    figures = await cold_starts(effort) + await one_cluster(effort)
    title = f"{os.cpu_count()} cores, load average before the start {load:.2f}"
    show(title, ("", "Navarch", "aim", "Kubernetes", "ratio"), list(map(row, figures)))


if __name__ == "__main__":
    uvloop.run(main())
