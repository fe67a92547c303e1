"""Leases while leaders are killed: a lease that is kept alive lives, one that is left alone ends."""

import asyncio
import os
from pathlib import Path

import grpc

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from testing.store_cluster import Member, StoreCluster

KILLS = 2
TTL_S = 5


async def grant(cluster: StoreCluster, member: Member, lease: int) -> None:
    async with cluster.channel(member) as connection:
        leases, kv = rpc_pb2_grpc.LeaseStub(connection), rpc_pb2_grpc.KVStub(connection)
        await leases.LeaseGrant(rpc_pb2.LeaseGrantRequest(ID=lease, TTL=TTL_S), timeout=10)
        await kv.Put(rpc_pb2.PutRequest(key=b"lease/%d" % lease, lease=lease), timeout=10)


async def held(cluster: StoreCluster) -> set[bytes]:
    """The leases' keys that are there, by a linearizable read."""
    while True:
        async with cluster.channel(await cluster.leader()) as connection:
            try:
                read = rpc_pb2.RangeRequest(key=b"lease/", range_end=b"lease0", keys_only=True)
                return {kv.key for kv in (await rpc_pb2_grpc.KVStub(connection).Range(read, timeout=10)).kvs}
            except grpc.aio.AioRpcError as failure:
                # A change of the leader again.
                assert failure.code() is grpc.StatusCode.UNAVAILABLE


async def keep_alive(cluster: StoreCluster, lease: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *("etcdctl", f"--endpoints={cluster.endpoints}", "lease", "keep-alive", f"{lease:x}"),
        env={**os.environ, "ETCDCTL_API": "3"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_kept_lease_outlives_its_leaders_and_a_silent_one_does_not(tmp_path: Path) -> None:
    async with StoreCluster(tmp_path) as cluster:
        await grant(cluster, await cluster.leader(), 1)
        await grant(cluster, await cluster.leader(), 2)
        keeper = await keep_alive(cluster, 1)
        try:
            for _ in range(KILLS):
                victim = await cluster.leader()
                await cluster.kill(victim)
                await cluster.leader()
                # Longer than the TTL and the slack of a failover: only renewals explain that the key is there.
                await asyncio.sleep(TTL_S + 2)
                assert keeper.returncode is None, "the holder was told that its lease has ended"
                assert await held(cluster) == {b"lease/1"}
                await cluster.start(victim)
        finally:
            keeper.terminate()
            told, _ = await keeper.communicate()
        assert b"expired" not in told
        # Nobody renews any more, and the last leader stays.
        async with asyncio.timeout(30):
            while await held(cluster):
                await asyncio.sleep(0.2)


async def test_any_member_answers_for_leases(tmp_path: Path) -> None:
    async with StoreCluster(tmp_path) as cluster:
        await grant(cluster, await cluster.leader(), 7)
        for member in cluster.members.values():
            async with cluster.channel(member) as connection:
                stub = rpc_pb2_grpc.LeaseStub(connection)
                keep = stub.LeaseKeepAlive(timeout=20)
                for lease, ttl_s in ((7, TTL_S), (8, 0)):
                    await keep.write(rpc_pb2.LeaseKeepAliveRequest(ID=lease))
                    told = (await keep.read()).TTL
                    assert told == ttl_s
                left = await stub.LeaseTimeToLive(rpc_pb2.LeaseTimeToLiveRequest(ID=7, keys=True), timeout=10)
                assert (left.grantedTTL, list(left.keys)) == (TTL_S, [b"lease/7"])
                unknown = await stub.LeaseTimeToLive(rpc_pb2.LeaseTimeToLiveRequest(ID=8), timeout=10)
                assert unknown.TTL == -1
                listed = await stub.LeaseLeases(rpc_pb2.LeaseLeasesRequest(), timeout=10)
                assert [lease.ID for lease in listed.leases] == [7]
