"""What a cluster shows of itself: metrics by etcd's names, health, and members whose data differs."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import grpc
import lmdb
import pytest
from prometheus_client.parser import text_string_to_metric_families

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.protos.etcd.kv_pb2 import KeyValue
from navarch.testing.store_cluster import Member, StoreCluster

KEYS = 50


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[StoreCluster]:
    async with StoreCluster(tmp_path, 3, arguments=["--quota-bytes=400000"]) as cluster:
        yield cluster


async def get(member: Member, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://{member.metrics_address}{path}") as answer:
        return answer.status, await answer.text()


async def metrics(member: Member) -> dict[str, float]:
    """Sums over labels by sample name."""
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families((await get(member, "/metrics"))[1]):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0) + sample.value
    return sums


async def put(cluster: StoreCluster, key: bytes, value: bytes = b"value") -> int:
    async with cluster.channel(await cluster.leader()) as connection:
        answer = await rpc_pb2_grpc.KVStub(connection).Put(rpc_pb2.PutRequest(key=key, value=value), timeout=10)
    return answer.header.revision


async def test_metrics_have_the_names_of_etcd(cluster: StoreCluster) -> None:
    for number in range(KEYS):
        revision = await put(cluster, b"/%d" % number)
    leader = await cluster.leader()
    async with cluster.channel(leader) as connection:
        # The other members have applied it, too.
        await rpc_pb2_grpc.KVStub(connection).Range(rpc_pb2.RangeRequest(key=b"/1"), timeout=10)
        shown = {member.name: await metrics(member) for member in cluster.members.values()}
    assert sum(one["etcd_server_is_leader"] for one in shown.values()) == 1
    for one in shown.values():
        assert one["etcd_server_has_leader"] == 1
        assert one["etcd_server_leader_changes_seen_total"] >= 1
        assert one["etcd_server_proposals_applied_total"] > KEYS / 2
        assert one["etcd_disk_wal_fsync_duration_seconds_count"] > 0
        assert one["etcd_disk_backend_commit_duration_seconds_count"] > 0
        assert one["etcd_mvcc_db_total_size_in_bytes"] >= one["etcd_mvcc_db_total_size_in_use_in_bytes"] > 0
        assert one["etcd_network_active_peers"] == 2
        assert one["etcd_network_peer_round_trip_time_seconds_count"] == 2
        assert one["process_resident_memory_bytes"] > 0
    mine = shown[leader.name]
    assert mine["etcd_server_proposals_committed_total"] > KEYS
    assert mine["etcd_server_proposals_pending"] == 0
    assert mine["etcd_debugging_mvcc_keys_total"] == KEYS
    assert mine["etcd_debugging_mvcc_current_revision"] == revision
    assert mine["etcd_network_peer_sent_bytes_total"] > KEYS * len(b"value")
    text = (await get(leader, "/metrics"))[1]
    labels = 'grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"'
    assert f"grpc_server_handled_total{{{labels}}} {KEYS}.0" in text


async def fill(cluster: StoreCluster) -> None:
    for number in range(20):
        await put(cluster, b"/%d" % number, bytes(50_000))


async def test_health_names_what_is_wrong(cluster: StoreCluster) -> None:
    leader = await cluster.leader()
    assert await get(leader, "/health") == (200, '{"health":"true","reason":""}')
    with pytest.raises(grpc.aio.AioRpcError, match="database space exceeded"):
        await fill(cluster)
    assert await get(leader, "/health") == (503, '{"health":"false","reason":"ALARM NOSPACE"}')
    assert (await get(leader, "/health?exclude=NOSPACE"))[0] == 200
    for member in cluster.members.values():
        if member is not leader:
            await cluster.kill(member)
    status, text = await get(leader, "/health?exclude=NOSPACE")
    assert status == 503
    assert "QGET ERROR:etcdserver: " in text or "RAFT NO LEADER" in text


def falsify(member: Member, value: bytes) -> None:
    """Change a value in the file of a stopped member so that its checksums are right."""
    with lmdb.open(str(member.directory / "data.mdb"), subdir=False, max_dbs=2, map_size=1 << 30) as env:
        records = env.open_db(b"records", create=False)
        with env.begin(write=True) as txn:
            key, stored = next(iter(txn.cursor(records)))
            record = KeyValue.FromString(bytes(stored)[:-4])
            record.value = value
            payload = record.SerializeToString()
            checksum = zlib.crc32(payload, zlib.crc32(bytes(key))).to_bytes(4, "big")
            txn.put(bytes(key), payload + checksum, db=records)


async def alarms(cluster: StoreCluster) -> list[tuple[int, int]]:
    async with cluster.channel(await cluster.leader()) as connection:
        answer = await rpc_pb2_grpc.MaintenanceStub(connection).Alarm(rpc_pb2.AlarmRequest(), timeout=10)
    return [(alarm.memberID, alarm.alarm) for alarm in answer.alarms]


async def falsified(cluster: StoreCluster) -> Member:
    """A follower that has stopped, with another value than the others."""
    for number in range(KEYS):
        await put(cluster, b"/%d" % number)
    leader = await cluster.leader()
    wrong = next(member for member in cluster.members.values() if member is not leader)
    await cluster.stop(wrong)
    falsify(wrong, b"other")
    return wrong


async def test_a_member_that_differs_raises_the_alarm(tmp_path: Path) -> None:
    async with StoreCluster(tmp_path, 3, arguments=["--corrupt-check-interval=0.2"]) as cluster:
        ids = await cluster.ids()
        wrong = await falsified(cluster)
        assert await alarms(cluster) == []
        await cluster.start(wrong)
        async with asyncio.timeout(30):
            while not (raised := await alarms(cluster)):
                await asyncio.sleep(0.05)
        assert raised == [(ids[wrong.name], rpc_pb2.CORRUPT)]
        with pytest.raises(grpc.aio.AioRpcError, match="corrupt cluster"):
            await put(cluster, b"more")
        # The way out: replace the member, then lift the alarm.
        await cluster.remove_member(wrong)
        await cluster.add_member()
        async with cluster.channel(await cluster.leader()) as connection:
            lift = rpc_pb2.AlarmRequest(action=rpc_pb2.AlarmRequest.DEACTIVATE, alarm=rpc_pb2.CORRUPT)
            await rpc_pb2_grpc.MaintenanceStub(connection).Alarm(lift, timeout=10)
        await put(cluster, b"more")
        assert await alarms(cluster) == []


async def test_a_member_that_differs_does_not_start(tmp_path: Path) -> None:
    async with StoreCluster(tmp_path, 3, arguments=["--initial-corrupt-check"]) as cluster:
        wrong = await falsified(cluster)
        await cluster.spawn(wrong)
        assert await cluster.ended(wrong) == 1
        assert "is not what the other members have" in wrong.log()
        await put(cluster, b"more")
