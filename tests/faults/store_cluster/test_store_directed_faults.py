"""One fault at a time, each with what must hold during and after it."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import grpc
import pytest

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.testing.faulty_cluster import FaultyCluster
from navarch.testing.store_cluster import POLL_S, Member

MakeCluster = Callable[[int], AbstractAsyncContextManager[FaultyCluster]]
FAILOVERS = 5
REFUSED_WITHIN_S = 5.0


def others(cluster: FaultyCluster, member: Member) -> list[Member]:
    return [each for each in cluster.members.values() if each is not member]


async def put(cluster: FaultyCluster, member: Member, key: bytes, timeout_s: float = 10) -> int:
    async with cluster.channel(member) as connection:
        response = await rpc_pb2_grpc.KVStub(connection).Put(rpc_pb2.PutRequest(key=key), timeout=timeout_s)
        return response.header.revision


async def get(cluster: FaultyCluster, member: Member, key: bytes, *, serializable: bool = False) -> int:
    """How many there are."""
    request = rpc_pb2.RangeRequest(key=key, serializable=serializable)
    async with cluster.channel(member) as connection:
        return (await rpc_pb2_grpc.KVStub(connection).Range(request, timeout=10)).count


async def term(cluster: FaultyCluster, member: Member) -> int:
    status = await cluster.status(member)
    assert status is not None
    return status.raftTerm


async def test_one_of_three_down_everything_works_two_down_only_serializable_reads(
    faulty_cluster: MakeCluster,
) -> None:
    async with faulty_cluster(3) as cluster:
        leader = await cluster.leader()
        follower, last = others(cluster, leader)
        await put(cluster, leader, b"before")
        await cluster.kill(follower)
        for member in (leader, last):
            await put(cluster, member, b"one down")
            assert await get(cluster, member, b"one down") == 1
            async with cluster.channel(member) as connection:
                lease = rpc_pb2_grpc.LeaseStub(connection)
                granted = await lease.LeaseGrant(rpc_pb2.LeaseGrantRequest(TTL=60), timeout=10)
                assert (await lease.LeaseTimeToLive(rpc_pb2.LeaseTimeToLiveRequest(ID=granted.ID), timeout=10)).TTL > 50
                await lease.LeaseRevoke(rpc_pb2.LeaseRevokeRequest(ID=granted.ID), timeout=10)
        await cluster.kill(leader)
        for refused in (put(cluster, last, b"two down"), get(cluster, last, b"before")):
            begin = time.monotonic()
            with pytest.raises(grpc.aio.AioRpcError, match="etcdserver: ") as failure:
                await refused
            took_s = time.monotonic() - begin
            print(f"\nrefused after {took_s:.2f} s: {failure.value.details()}")
            assert took_s < REFUSED_WITHIN_S
        assert await get(cluster, last, b"before", serializable=True) == 1
        await cluster.start(follower)
        await cluster.leader()
        await put(cluster, last, b"two up")


@pytest.mark.parametrize("deaf", [True, False])
async def test_a_leader_cut_off_one_way_is_followed_by_another(faulty_cluster: MakeCluster, deaf: bool) -> None:
    async with faulty_cluster(3) as cluster:
        leader = await cluster.leader()
        rest = others(cluster, leader)
        ends = [member.host for member in rest], [leader.host]
        cluster.network.cut(*(ends if deaf else reversed(ends)), both_ways=False)
        await until(partial(put_works, cluster, rest[0]))
        cluster.network.heal()
        await cluster.settle()
        assert await get(cluster, leader, b"works") == 1


async def test_a_member_that_comes_back_from_a_partition_disturbs_nobody(faulty_cluster: MakeCluster) -> None:
    async with faulty_cluster(3) as cluster:
        leader = await cluster.leader()
        cut_off, other = others(cluster, leader)
        before = await term(cluster, leader)
        cluster.network.cut([cut_off.host], [leader.host, other.host])
        # Long enough for it to stand for election several times, if it would.
        await asyncio.sleep(6)
        await put(cluster, other, b"meanwhile")
        cluster.network.heal()
        await cluster.settle()
        assert await get(cluster, cut_off, b"meanwhile") == 1
        assert await cluster.leader() is leader
        assert {await term(cluster, member) for member in cluster.members.values()} == {before}


async def test_time_from_the_leaders_death_to_the_next_write(faulty_cluster: MakeCluster) -> None:
    async with faulty_cluster(3) as cluster:
        took_s = []
        for _ in range(FAILOVERS):
            leader = await cluster.leader()
            survivor = others(cluster, leader)[0]
            await cluster.kill(leader)
            begin = time.monotonic()
            await until(partial(put_works, cluster, survivor))
            took_s.append(time.monotonic() - begin)
            await cluster.start(leader)
            await cluster.settle()
        print(f"\nfailover: median {statistics.median(took_s):.2f} s, of {sorted(round(s, 2) for s in took_s)}")


async def put_works(cluster: FaultyCluster, member: Member) -> bool:
    try:
        await put(cluster, member, b"works", 1.0)
    except grpc.aio.AioRpcError:
        return False
    return True


async def until(works: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await works():
            await asyncio.sleep(POLL_S)
