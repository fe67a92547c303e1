"""What a member without a leader does for clients that require one."""

import asyncio
from dataclasses import replace

import grpc
import pytest

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.services.base.serving import channel
from navarch.services.store import leader_monitor
from navarch.services.store.config import Config
from navarch.services.store.service import StoreService

REQUIRING = ((leader_monitor.REQUIRE_LEADER, "true"),)


@pytest.fixture
async def service():
    service = StoreService(Config())
    await service.start()
    yield service
    await service.stop()


@pytest.fixture
async def connection(service: StoreService):
    async with channel(service.address, None) as connection:
        yield connection


def lose_leader(service: StoreService, monkeypatch) -> None:
    log = service.member.log
    status = log.status
    monkeypatch.setattr(log, "status", lambda: replace(status(), leader_id=0))
    log.on_role()


async def until_lost(service: StoreService) -> None:
    while not service.member.leader.lost:
        await asyncio.sleep(0.05)


async def opened(connection: grpc.aio.Channel, metadata) -> grpc.aio.StreamStreamCall:
    watch = rpc_pb2_grpc.WatchStub(connection).Watch(metadata=metadata, timeout=30)
    await watch.write(rpc_pb2.WatchRequest(create_request=rpc_pb2.WatchCreateRequest(key=b"a")))
    assert (await watch.read()).created
    return watch


async def test_watches_that_require_a_leader_end_without_one(service, connection, monkeypatch) -> None:
    requiring, other = await opened(connection, REQUIRING), await opened(connection, ())
    lose_leader(service, monkeypatch)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await requiring.read()
    assert (failure.value.code(), failure.value.details()) == (grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader")
    await other.write(rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest()))
    assert (await other.read()).watch_id == -1
    late = rpc_pb2_grpc.WatchStub(connection).Watch(metadata=REQUIRING, timeout=10)
    assert (await late.code(), await late.details()) == (grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader")


async def test_calls_that_require_a_leader(service, connection, monkeypatch) -> None:
    lose_leader(service, monkeypatch)
    await until_lost(service)
    kv, lease = rpc_pb2_grpc.KVStub(connection), rpc_pb2_grpc.LeaseStub(connection)
    read = rpc_pb2.RangeRequest(key=b"a", serializable=True)
    await kv.Range(read, timeout=10)
    with pytest.raises(grpc.aio.AioRpcError, match="no leader"):
        await kv.Range(read, metadata=REQUIRING, timeout=10)
    keep_alive = lease.LeaseKeepAlive(metadata=REQUIRING, timeout=10)
    await keep_alive.write(rpc_pb2.LeaseKeepAliveRequest(ID=1))
    with pytest.raises(grpc.aio.AioRpcError, match="no leader"):
        await keep_alive.read()
