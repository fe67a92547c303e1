"""A member as a service: certificates, stopping and starting, streams, and what it does when nothing happens."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.services.base.clock import VirtualClock, settle
from navarch.services.base.serving import channel
from navarch.services.base.tls import CertificateAuthority
from navarch.services.store import member
from navarch.services.store.bootstrap import BootstrapError
from navarch.services.store.config import Config
from navarch.services.store.service import StoreService


@pytest.fixture(params=["memory", "disk"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Config:
    return Config(data_dir=tmp_path / "store" if request.param == "disk" else None)


@pytest.fixture
async def store(config: Config) -> AsyncIterator[StoreService]:
    service = StoreService(config)
    await service.start()
    yield service
    await service.stop()


def put(key: bytes, value: bytes = b"", **options) -> rpc_pb2.PutRequest:
    return rpc_pb2.PutRequest(key=key, value=value, **options)


async def test_headers_say_who_answers_and_when(store: StoreService) -> None:
    async with channel(store.address, None) as connection:
        kv = rpc_pb2_grpc.KVStub(connection)
        first = (await kv.Put(put(b"a"))).header
        second = (await kv.Range(rpc_pb2.RangeRequest(key=b"a"))).header
        assert first == second
        assert first.revision == 2
        assert first.raft_term >= 1
        members = await rpc_pb2_grpc.ClusterStub(connection).MemberList(rpc_pb2.MemberListRequest(linearizable=True))
        assert [member.ID for member in members.members] == [first.member_id]
        assert members.header.cluster_id == first.cluster_id != 0


async def test_identity_and_data_survive_a_restart(tmp_path: Path) -> None:
    headers = []
    for _ in range(3):
        service = StoreService(Config(data_dir=tmp_path))
        await service.start()
        async with channel(service.address, None) as connection:
            headers.append((await rpc_pb2_grpc.KVStub(connection).Put(put(b"a"))).header)
        await service.stop()
    assert len({(header.cluster_id, header.member_id) for header in headers}) == 1
    assert [header.revision for header in headers] == [2, 3, 4]
    assert [header.raft_term for header in headers] == [1, 2, 3]


async def test_only_certificates_of_the_authority_are_let_in(tmp_path: Path) -> None:
    now = time.time()
    authority, stranger = (CertificateAuthority.create("ca", now) for _ in range(2))
    server = authority.issue("store", ips=("127.0.0.1",), now=now, server=True)
    service = StoreService(Config(credentials=server))
    await service.start()
    try:
        client = authority.issue("kube-apiserver", ("system:masters",), now=now)
        async with channel(service.address, client) as connection:
            assert (await rpc_pb2_grpc.KVStub(connection).Put(put(b"a"))).header.revision == 2
        foreign = stranger.issue("kube-apiserver", ("system:masters",), now=now)
        for credentials in (None, foreign):
            async with channel(service.address, credentials) as connection:
                with pytest.raises(grpc.aio.AioRpcError) as refusal:
                    await rpc_pb2_grpc.KVStub(connection).Put(put(b"a"), timeout=5)
                assert refusal.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    finally:
        await service.stop()


async def test_a_stop_ends_watches_with_a_reason(config: Config) -> None:
    service = StoreService(config)
    await service.start()
    async with channel(service.address, None) as connection:
        stream = rpc_pb2_grpc.WatchStub(connection).Watch()
        await stream.write(rpc_pb2.WatchRequest(create_request=rpc_pb2.WatchCreateRequest(key=b"a")))
        assert (await stream.read()).created
        stopping = asyncio.ensure_future(service.stop())
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await stream.read()
        assert ended.value.code() == grpc.StatusCode.UNAVAILABLE
        await stopping
    await service.stop()


async def test_a_reader_that_does_not_read_holds_nobody_up(store: StoreService) -> None:
    async with channel(store.address, None) as connection:
        kv, watches = rpc_pb2_grpc.KVStub(connection), rpc_pb2_grpc.WatchStub(connection)
        create = rpc_pb2.WatchRequest(create_request=rpc_pb2.WatchCreateRequest(key=b"\0", range_end=b"\0"))
        slow, quick = watches.Watch(), watches.Watch()
        for stream in (slow, quick):
            await stream.write(create)
            await stream.read()
        seen: list[int] = []
        for i in range(40):
            await kv.Put(put(b"%d" % i, b"x" * 500_000))
            seen += [event.kv.mod_revision for event in (await quick.read()).events]
        assert seen == list(range(2, 42))
        late: list[int] = []
        while len(late) < 40:
            late += [event.kv.mod_revision for event in (await slow.read()).events]
        assert late == seen
        slow.cancel()
        quick.cancel()


async def test_leases_end_by_the_clock_that_was_handed_in() -> None:
    clock = VirtualClock()
    service = StoreService(Config(), clock=clock)
    await service.start()
    async with channel(service.address, None) as connection:
        kv, leases = rpc_pb2_grpc.KVStub(connection), rpc_pb2_grpc.LeaseStub(connection)
        await leases.LeaseGrant(rpc_pb2.LeaseGrantRequest(ID=1, TTL=10))
        await kv.Put(put(b"a", lease=1))
        await clock.elapse(6)
        keep = leases.LeaseKeepAlive()
        await keep.write(rpc_pb2.LeaseKeepAliveRequest(ID=1))
        assert (await keep.read()).TTL == 10
        await clock.elapse(9.9)
        assert (await kv.Range(rpc_pb2.RangeRequest(key=b"a"))).count == 1
        await clock.elapse(0.1)
        await settle()
        assert (await kv.Range(rpc_pb2.RangeRequest(key=b"a"))).count == 0
        await keep.write(rpc_pb2.LeaseKeepAliveRequest(ID=1))
        assert (await keep.read()).TTL == 0
        keep.cancel()
    await service.stop()


@pytest.mark.parametrize(
    ("mode", "retention", "wait_s", "expected"),
    [("revision", 3, member.REVISION_CHECK_S, 8), ("periodic", 100, 110, 11)],
)
async def test_automatic_compaction(mode: str, retention: int, wait_s: float, expected: int) -> None:
    clock = VirtualClock()
    service = StoreService(Config(auto_compaction_mode=mode, auto_compaction_retention=retention), clock=clock)
    await service.start()
    async with channel(service.address, None) as connection:
        for i in range(10):
            await rpc_pb2_grpc.KVStub(connection).Put(put(b"a", b"%d" % i))
    await clock.elapse(wait_s)
    assert service.member is not None
    assert service.member.machine.mvcc.compact_revision == expected
    await service.stop()


async def test_a_refused_start_leaves_the_directory_to_the_next(tmp_path: Path) -> None:
    wrong = StoreService(Config(data_dir=tmp_path, initial_cluster={"other": ("http://127.0.0.1:1",)}))
    with pytest.raises(BootstrapError) as refusal:
        await wrong.start()
    await wrong.stop()
    right = StoreService(Config(data_dir=tmp_path))
    await right.start()
    await right.stop()
    assert "does not name this member" in str(refusal.value)


async def test_a_follower_leaves_automatic_compaction_to_the_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    service = StoreService(Config(auto_compaction_mode="revision", auto_compaction_retention=3), clock=clock)
    await service.start()
    assert service.member is not None
    async with channel(service.address, None) as connection:
        for _ in range(10):
            await rpc_pb2_grpc.KVStub(connection).Put(put(b"a"))
    followed = replace(service.member.log.status(), leader_id=1)
    monkeypatch.setattr(service.member.log, "status", lambda: followed)
    await clock.elapse(member.REVISION_CHECK_S)
    assert service.member.machine.mvcc.compact_revision <= 0
    monkeypatch.undo()
    await clock.elapse(member.REVISION_CHECK_S)
    assert service.member.machine.mvcc.compact_revision == 8
    await service.stop()


async def test_requests_beyond_the_limit_are_refused(store: StoreService) -> None:
    async with channel(store.address, None) as connection:
        kv = rpc_pb2_grpc.KVStub(connection)
        await kv.Put(put(b"a", b"x" * 1_500_000))
        with pytest.raises(grpc.aio.AioRpcError, match="etcdserver: request is too large") as refusal:
            await kv.Put(put(b"a", b"x" * 1_600_000))
        assert refusal.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        txn = rpc_pb2.TxnRequest(success=[{"request_put": {"key": b"%d" % i}} for i in range(10_000)])
        with pytest.raises(grpc.aio.AioRpcError, match="too many operations in txn request"):
            await kv.Txn(txn)
