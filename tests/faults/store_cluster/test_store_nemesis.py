"""Faults of all kinds at random while clients work: what they were told must have been the truth.

The seed is printed; NAVARCH_FAULTS_SEED takes it. NAVARCH_SOAK makes it ten minutes, NAVARCH_FAULTS_SECONDS anything,
and NAVARCH_FAULTS_KINDS (comma separated) only some of the faults.
"""

import asyncio
import os
import random
import secrets
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.testing.faulty_cluster import EtcdFaultyCluster, FaultyCluster
from navarch.testing.linearizability import check
from navarch.testing.nemesis import Nemesis
from navarch.testing.store_leases import LeaseHolder
from navarch.testing.store_workload import PREFIX, Watcher, Workload

SOAK_S = 600.0
# By members: what both together take in CI is less than a minute.
SECONDS = {3: 16.0, 5: 8.0}
# What etcd does not notice, or what cannot be done to it.
NOT_FOR_ETCD = {"damage", "lose power", "lose all power", "clock"}


def duration(size: int) -> float:
    if chosen := os.environ.get("NAVARCH_FAULTS_SECONDS"):
        return float(chosen)
    return SOAK_S if os.environ.get("NAVARCH_SOAK") else SECONDS[size]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("size", [3, 5])
async def test_what_clients_were_told_stays_true(
    size: int, faulty_cluster: Callable[[int], AbstractAsyncContextManager[FaultyCluster]]
) -> None:
    seed = int(os.environ.get("NAVARCH_FAULTS_SEED") or secrets.randbits(32))
    print(f"\n{size} members, seed {seed}, {duration(size):.0f} s")
    rng = random.Random(seed)
    kinds = [kind for kind in os.environ.get("NAVARCH_FAULTS_KINDS", "").split(",") if kind]
    async with faulty_cluster(size) as cluster:
        nemesis = Nemesis(cluster, seed, kinds)
        if isinstance(cluster, EtcdFaultyCluster):
            nemesis.leave_out(NOT_FOR_ETCD)
        workload = Workload(lambda: cluster.addresses, rng)
        watchers = [Watcher(lambda: cluster.addresses, random.Random(rng.random())) for _ in range(2)]
        leases = LeaseHolder(lambda: cluster.addresses, random.Random(rng.random()))
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(workload.run(stop))
            tasks.create_task(leases.run(stop))
            watching = [tasks.create_task(watcher.run()) for watcher in watchers]
            try:
                await nemesis.run(duration(size))
                await cluster.settle()
            finally:
                stop.set()
                print("\n".join(nemesis.diary))
                for task in watching:
                    task.cancel()
        await workload.read_all()
        await leases.nothing_is_left()
        hashes = await cluster.hashes()
        assert len(set(hashes.values())) == 1, f"members differ: {hashes}"
        truth = await check_watches(cluster, watchers)
    begin = time.monotonic()
    verdict = check(workload.history)
    print(
        f"{dict(nemesis.counts)}\n{len(workload.history)} operations, "
        f"{sum(op.answer is None for op in workload.history)} without an answer, {truth} events, "
        f"{[watcher.connections for watcher in watchers]} watches, {leases.summary}; "
        f"judged in {time.monotonic() - begin:.1f} s\n{dict(workload.refusals.most_common(8))}"
    )
    assert verdict.ok, verdict.explanation
    assert leases.faults == []


async def check_watches(cluster: FaultyCluster, watchers: list[Watcher]) -> int:
    """Each watcher saw what a new watch of all history tells at each member. Returns how many events there were."""
    async with cluster.channel(await cluster.leader()) as connection:
        # What is deleted last has no revision to be read: a last put has.
        last_put = rpc_pb2.PutRequest(key=PREFIX + b"end")
        last = (await rpc_pb2_grpc.KVStub(connection).Put(last_put, timeout=10)).header.revision
    histories = {}
    for address in cluster.addresses:
        fresh = Watcher(lambda: cluster.addresses, random.Random(0))
        async with asyncio.timeout(30):
            await fresh.follow(address, last)
        histories[address] = fresh.events
    (truth, *others) = histories.values()
    for other in others:
        assert other == truth, "members tell different histories"
    for watcher in watchers:
        async with asyncio.timeout(30):
            await watcher.follow(cluster.addresses[0], last)
        assert watcher.faults == []
        assert watcher.events == truth, "a watcher missed or doubled events"
    return len(truth)
