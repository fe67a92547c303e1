"""Speed of one API server on one store: each in a process of its own, loaded from a third.

    python tests/bench/bench_apiserver.py [etcd]

The load generator is Python too and shares the machine; figures with many clients are a lower bound.
"""

import asyncio
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psutil
import uvloop

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import objects_pb2, objects_pb2_grpc
from navarch.services.base.tls import CertificateAuthority, Credentials
from navarch.services.client.client import Client

PODS = 1000
SECONDS = 4.0
Operation = Callable[[int], Awaitable[object]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def issue(folder: Path) -> tuple[Credentials, list[str]]:
    """Credentials of an administrator, and arguments that give the servers theirs."""
    now = time.time()
    authority = CertificateAuthority.create("bench", now)
    own = authority.issue("kube-apiserver", ["system:masters"], ["localhost"], ["127.0.0.1"], now=now, server=True)
    files = [folder / name for name in ("ca.pem", "cert.pem", "key.pem")]
    own.save(*files)
    arguments = [word for name, path in zip(("ca", "cert", "key"), files, strict=True) for word in (f"--{name}", path)]
    return authority.issue("kubernetes-admin", ["system:masters"], now=now), [str(word) for word in arguments]


async def spawn(stack: AsyncExitStack, *command: str) -> psutil.Process:
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)

    async def end() -> None:
        process.terminate()
        await process.wait()

    stack.push_async_callback(end)
    return psutil.Process(process.pid)


async def start(stack: AsyncExitStack, folder: Path, use_etcd: bool) -> tuple[Client, psutil.Process, psutil.Process]:
    admin, files = issue(folder)
    store, peer, door = (f"127.0.0.1:{free_port()}" for _ in range(3))
    if use_etcd:
        tls = [f"--{name}-file={path}" for name, path in (("cert", folder / "cert.pem"), ("key", folder / "key.pem"))]
        tls += ["--client-cert-auth", f"--trusted-ca-file={folder / 'ca.pem'}"]
        urls = ["--listen-client-urls", f"https://{store}", "--advertise-client-urls", f"https://{store}"]
        urls += ["--listen-peer-urls", f"http://{peer}"]
        backend = await spawn(stack, "etcd", "--data-dir", str(folder / "store"), *urls, *tls)
    else:
        module = "navarch.services.store.main"
        arguments = ["--data-dir", str(folder / "store"), "--listen-client", store, *files]
        backend = await spawn(stack, sys.executable, "-m", module, *arguments)
    await listening(store)
    begin = time.perf_counter()
    module = "navarch.services.apiserver.main"
    server = await spawn(stack, sys.executable, "-m", module, "--store-endpoints", store, "--listen", door, *files)
    await listening(door)
    client = Client.connect(door, admin)
    stack.push_async_callback(client.close)
    await client.get(corev1.Namespace, "default")
    print(f"process start to first answer  {1000 * (time.perf_counter() - begin):8.0f} ms")
    return client, server, backend


async def listening(address: str) -> None:
    host, _, port = address.rpartition(":")
    while True:
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            await asyncio.sleep(0.005)
            continue
        writer.close()
        return


def pod(name: str) -> corev1.Pod:
    made = corev1.Pod()
    made.metadata.name, made.metadata.namespace = name, "default"
    made.metadata.labels["app"] = "bench"
    container = made.spec.containers.add(name="main", image="registry.example.org/team/image:1.2.3")
    for index in range(8):
        container.env.add(name=f"VARIABLE_{index}", value="some value of a usual length")
    return made


async def rate(label: str, operation: Operation, clients: int, server: psutil.Process) -> None:
    """Run an operation from several clients for a while; print how often, how long, and the server's CPU for each."""
    took: list[float] = []
    cpu_before = cpu_s(server)
    end = time.perf_counter() + SECONDS

    async def loop(worker: int) -> None:
        index = worker
        while (begin := time.perf_counter()) < end:
            await operation(index)
            took.append(time.perf_counter() - begin)
            index += clients

    begin = time.perf_counter()
    await asyncio.gather(*(loop(worker) for worker in range(clients)))
    seconds = time.perf_counter() - begin
    marks = statistics.quantiles(took, n=100)
    p50, p99 = (1000 * marks[at] for at in (49, 98))
    cpu_us = 1e6 * (cpu_s(server) - cpu_before) / len(took)
    figures = f"{len(took) / seconds:8.0f} /s   p50 {p50:7.2f} ms   p99 {p99:7.2f} ms   {cpu_us:6.0f} us CPU"
    print(f"{label:28} x{clients:<3} {figures}")


def cpu_s(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[:2]))


async def watch_latency(client: Client, watchers: int, writes: int) -> None:
    """Time from before a write to each watcher's event of it."""
    began: dict[str, float] = {}
    took: list[float] = []
    ready = asyncio.Semaphore(0)

    async def follow() -> None:
        left = writes
        async for event in client.watch(corev1.ConfigMap, "default", send_initial_events=True):
            if event.type == "BOOKMARK":
                ready.release()
            elif event.object.metadata.name in began:
                took.append(time.perf_counter() - began[event.object.metadata.name])
                left -= 1
            if not left:
                return

    tasks = [asyncio.create_task(follow()) for _ in range(watchers)]
    for _ in tasks:
        await ready.acquire()
    for index in range(writes):
        made = corev1.ConfigMap()
        made.metadata.name, made.metadata.namespace = f"watched-{watchers}-{index}", "default"
        began[made.metadata.name] = time.perf_counter()
        await client.create(made)
        await asyncio.sleep(0.01)
    await asyncio.gather(*tasks)
    marks = statistics.quantiles(took, n=100)
    p50, p99 = (1000 * marks[at] for at in (49, 98))
    print(f"{'watch, write to event':28} x{watchers:<3} {'':8}      p50 {p50:7.2f} ms   p99 {p99:7.2f} ms")


async def measure(client: Client, server: psutil.Process) -> None:
    stub: Any = objects_pb2_grpc.ObjectsStub(client.channel)
    resource = objects_pb2.Resource(version="v1", resource="pods")
    template = pod("x")

    def create(prefix: str) -> Operation:
        def run(index: int) -> Awaitable[object]:
            template.metadata.name = f"{prefix}{index}"
            request = objects_pb2.CreateRequest(resource=resource, namespace="default")
            request.object.Pack(template)
            call: Awaitable[object] = stub.Create(request)
            return call

        return run

    def get(index: int) -> Awaitable[object]:
        name = f"base{index % PODS}"
        call: Awaitable[object] = stub.Get(objects_pb2.GetRequest(resource=resource, namespace="default", name=name))
        return call

    def patch(index: int) -> Awaitable[object]:
        body = f'{{"metadata":{{"annotations":{{"n":"{index}"}}}}}}'.encode()
        call: Awaitable[object] = stub.Patch(
            objects_pb2.PatchRequest(
                resource=resource,
                namespace="default",
                name=f"base{index % PODS}",
                type=objects_pb2.PatchRequest.MERGE,
                patch=body,
            )
        )
        return call

    raw_list: Any = client.channel.unary_unary(
        "/navarch.v1.Objects/List", request_serializer=objects_pb2.ListRequest.SerializeToString
    )

    def list_all(index: int) -> Awaitable[object]:
        call: Awaitable[object] = raw_list(objects_pb2.ListRequest(resource=resource, namespace="default"))
        return call

    await asyncio.gather(*(create("base")(index) for index in range(PODS)))
    for clients in (1, 8, 32):
        await rate("get", get, clients, server)
    await rate(f"list {PODS} pods", list_all, 1, server)
    await rate(f"list {PODS} pods", list_all, 8, server)
    for clients in (1, 8, 32):
        await rate("create a pod", create(f"c{clients}-"), clients, server)
    await rate("merge patch", patch, 8, server)
    for watchers in (1, 50):
        await watch_latency(client, watchers, 200)


async def main() -> None:
    use_etcd = "etcd" in sys.argv[1:]
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        client, server, store = await start(stack, folder, use_etcd)
        await measure(client, server)
        for name, process in (("api server", server), ("store", store)):
            memory = process.memory_full_info()
            print(f"{name:28} PSS {memory.pss >> 20:6} MiB   CPU {cpu_s(process):6.1f} s")


if __name__ == "__main__":
    uvloop.run(main())
