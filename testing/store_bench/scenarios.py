"""What is measured besides steady load: failover, memory, restart, the disk itself."""

import asyncio
import os
import signal
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import grpc

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.services.base.dialing import channel
from navarch.testing.store_bench.load import Load, measure
from navarch.testing.store_bench.servers import Cluster, Process, ready

VALUE_BYTES = 2048
_SETTLE_S = 3.0


@dataclass(frozen=True, slots=True)
class Footprint:
    """A member with many keys: its memory (PSS, and how much of it is not pages of files), fresh and restarted."""

    pss_mb: float
    anonymous_mb: float
    restart_s: float
    restarted_pss_mb: float
    restarted_anonymous_mb: float


async def footprint(cluster: Cluster, keys: int) -> Footprint:
    """Fill a cluster of one member, let it settle, stop and start it."""
    await measure(cluster, Load("fill", clients=64, count=keys, keys=keys, value_bytes=VALUE_BYTES))
    (member,) = cluster.members
    await asyncio.sleep(_SETTLE_S)
    fresh = member.memory_bytes()
    await member.end()
    begin = time.perf_counter()
    await member.start()
    await ready(member)
    restart_s = time.perf_counter() - begin
    await asyncio.sleep(_SETTLE_S)
    again = member.memory_bytes()
    return Footprint(
        fresh["Pss"] / 1e6,
        fresh["Pss_Anon"] / 1e6,
        restart_s,
        again["Pss"] / 1e6,
        again["Pss_Anon"] / 1e6,
    )


async def failover_s(cluster: Cluster, times: int) -> float:
    """Median time from kill -9 of the leader to the next acknowledged write, tried at all that are left."""
    taken = []
    for _ in range(times):
        leader = await cluster.leader()
        others = [member for member in cluster.members if member is not leader]
        connections = [channel(member.address, None) for member in others]
        try:
            for connection in connections:
                await _put(connection)
            begin = time.perf_counter()
            await leader.end(signal.SIGKILL)
            writes = [asyncio.create_task(_put(connection)) for connection in connections]
            await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
            taken.append(time.perf_counter() - begin)
            for write in writes:
                write.cancel()
            await asyncio.wait(writes)
        finally:
            for connection in connections:
                await connection.close()
        await _rejoin(leader)
    return statistics.median(taken)


async def _rejoin(member: Process) -> None:
    await member.start()
    await ready(member)
    await asyncio.sleep(_SETTLE_S)


async def _put(connection: grpc.aio.Channel) -> None:
    kv = rpc_pb2_grpc.KVStub(connection)
    while True:
        try:
            await kv.Put(rpc_pb2.PutRequest(key=b"/failover", value=b"v"), timeout=1)
            return
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.005)


def fdatasync_ms(directory: Path, times: int = 1000) -> tuple[float, float]:
    """Median and 99th percentile of writing 1 KiB to laid-out blocks and waiting for the disk."""
    path = directory / "disk"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.posix_fallocate(descriptor, 0, 4 << 20)
        os.fsync(descriptor)
        taken = []
        for i in range(times):
            os.pwrite(descriptor, b"x" * 1024, i * 1024 % (4 << 20))
            begin = time.perf_counter()
            os.fdatasync(descriptor)
            taken.append(1000 * (time.perf_counter() - begin))
    finally:
        os.close(descriptor)
        path.unlink()
    taken.sort()
    return taken[times // 2], taken[times * 99 // 100]
