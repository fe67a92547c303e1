"""Speed of one store member on this disk: its own process, loaded from another.

    python tests/bench/bench_store.py [HOST:PORT of another etcd v3 server, for comparison]

The load generator is Python too and shares the machine; figures with many clients are a lower bound.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable

import grpc
import psutil

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.services.base.serving import channel

VALUE = b"v" * 1024
Operation = Callable[[int], Awaitable[object]]


async def main() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        if len(sys.argv) > 1:
            await measure(sys.argv[1], None)
            return
        address = "127.0.0.1:23799"
        command = [sys.executable, "-m", "navarch.services.store.main", "--data-dir", folder]
        begin = time.perf_counter()
        null = asyncio.subprocess.DEVNULL
        server = await asyncio.create_subprocess_exec(*command, "--listen-insecure", address, stderr=null)
        try:
            await ready(address)
            print(f"process start to first answer   {1000 * (time.perf_counter() - begin):8.0f} ms")
            await measure(address, server.pid)
        finally:
            server.terminate()
            await server.wait()


async def ready(address: str) -> None:
    async with channel(address, None) as connection:
        kv = rpc_pb2_grpc.KVStub(connection)
        while True:
            try:
                await kv.Range(rpc_pb2.RangeRequest(key=b"x"), wait_for_ready=True, timeout=10)
                return
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.01)


async def measure(address: str, pid: int | None) -> None:
    async with channel(address, None) as connection:
        kv = rpc_pb2_grpc.KVStub(connection)

        def put(i: int) -> Awaitable[object]:
            return kv.Put(rpc_pb2.PutRequest(key=b"/bench/%d" % (i % 5000), value=VALUE))

        def get(i: int) -> Awaitable[object]:
            return kv.Range(rpc_pb2.RangeRequest(key=b"/bench/%d" % (i % 1000)))

        def page(i: int) -> Awaitable[object]:
            return kv.Range(rpc_pb2.RangeRequest(key=b"/bench/", range_end=b"/bench0", limit=1000))

        await load("put, 1 client", put, 1, 1000, pid)
        await load("put, 16 clients", put, 16, 6000, pid)
        await load("put, 64 clients", put, 64, 15000, pid)
        await load("get, 1 client", get, 1, 2000, pid)
        await load("get, 64 clients", get, 64, 15000, pid)
        await load("range of 1000 keys, 1 client", page, 1, 100, pid)
        await watch_latency(connection, kv)
    if pid is not None:
        print(f"resident memory                 {psutil.Process(pid).memory_info().rss / 1e6:8.1f} MB")


async def load(name: str, operation: Operation, clients: int, total: int, pid: int | None) -> None:
    taken: list[float] = []

    async def client(first: int) -> None:
        for i in range(first, total, clients):
            begin = time.perf_counter()
            await operation(i)
            taken.append(time.perf_counter() - begin)

    cpu = psutil.Process(pid).cpu_times() if pid else None
    begin = time.perf_counter()
    await asyncio.gather(*(client(first) for first in range(clients)))
    elapsed = time.perf_counter() - begin
    taken.sort()
    p50, p99 = 1000 * statistics.median(taken), 1000 * taken[int(len(taken) * 0.99)]
    line = f"{name:30}  {total / elapsed:8.0f} /s   p50 {p50:6.2f} ms   p99 {p99:6.2f} ms"
    if cpu is not None:
        after = psutil.Process(pid).cpu_times()
        line += f"   server CPU {1000 * (after.user + after.system - cpu.user - cpu.system) / total:5.2f} ms/op"
    print(line)


async def watch_latency(connection: grpc.aio.Channel, kv: rpc_pb2_grpc.KVStub) -> None:
    stream = rpc_pb2_grpc.WatchStub(connection).Watch()
    create = rpc_pb2.WatchCreateRequest(key=b"/watch/", range_end=b"/watch0")
    await stream.write(rpc_pb2.WatchRequest(create_request=create))
    await stream.read()
    taken = []
    for i in range(500):
        begin = time.perf_counter()
        waiting = asyncio.ensure_future(stream.read())
        await kv.Put(rpc_pb2.PutRequest(key=b"/watch/%d" % i, value=VALUE))
        await waiting
        taken.append(time.perf_counter() - begin)
    taken.sort()
    print(f"{'put to watch event':30}  p50 {1000 * taken[250]:.2f} ms   p99 {1000 * taken[495]:.2f} ms")
    stream.cancel()


if __name__ == "__main__":
    try:
        import uvloop

        uvloop.run(main())
    except ImportError:
        asyncio.run(main())
