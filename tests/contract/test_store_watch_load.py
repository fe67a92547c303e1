"""Watches under load: every change once and in order, for the quick, the slow and those who come back."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.services.base.serving import channel
from navarch.services.store import watch
from navarch.services.store.config import Config
from navarch.services.store.service import StoreService

WRITERS, WRITES = 6, 150
PREFIX, END = b"/w/", b"/w0"


@pytest.fixture
async def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    # Small, so that watchers fall behind, catch up and fall behind again.
    monkeypatch.setattr(watch, "PENDING_CHANGES", 5)
    monkeypatch.setattr(watch, "HISTORY_CHANGES", 7)
    service = StoreService(Config(data_dir=tmp_path))
    await service.start()
    yield service.address
    await service.stop()


class Reader:
    """A client that follows the prefix. lazy: it pauses now and then. restless: it leaves now and then."""

    def __init__(self, address: str, seed: int, *, lazy: bool, restless: bool) -> None:
        self.address, self.rng = address, random.Random(seed)
        self.lazy, self.restless = lazy, restless
        self.seen: list[tuple[int, bytes, bool]] = []
        self.next_revision = 2

    async def follow(self, until: asyncio.Future[int]) -> None:
        while not (until.done() and self.next_revision > until.result()):
            async with channel(self.address, None) as connection:
                await self.read(rpc_pb2_grpc.WatchStub(connection).Watch(), until)

    async def read(self, stream: grpc.aio.StreamStreamCall, until: asyncio.Future[int]) -> None:
        create = rpc_pb2.WatchCreateRequest(key=PREFIX, range_end=END, start_revision=self.next_revision)
        await stream.write(rpc_pb2.WatchRequest(create_request=create))
        async for response in stream:
            assert not response.canceled, response.cancel_reason
            for event in response.events:
                self.seen.append((event.kv.mod_revision, event.kv.key, bool(event.type)))
                self.next_revision = event.kv.mod_revision + 1
            if until.done() and self.next_revision > until.result():
                break
            if self.restless and self.rng.random() < 0.05:
                break
            if self.lazy:
                await asyncio.sleep(self.rng.random() * 0.02)
        stream.cancel()


async def write(address: str, seed: int, written: list[tuple[int, bytes, bool]]) -> None:
    rng = random.Random(seed)
    async with channel(address, None) as connection:
        kv = rpc_pb2_grpc.KVStub(connection)
        for number in range(WRITES):
            key = PREFIX + b"%d/%d" % (seed, rng.randrange(10))
            if rng.random() < 0.2:
                answer = await kv.DeleteRange(rpc_pb2.DeleteRangeRequest(key=key), timeout=20)
                written += [(answer.header.revision, key, True)] * answer.deleted
            elif rng.random() < 0.2:
                txn = rpc_pb2.TxnRequest()
                for each in sorted({key, PREFIX + b"%d/x" % seed}):
                    txn.success.add(request_put=rpc_pb2.PutRequest(key=each, value=b"%d" % number))
                revision = (await kv.Txn(txn, timeout=20)).header.revision
                written += [(revision, op.request_put.key, False) for op in txn.success]
            else:
                answer = await kv.Put(rpc_pb2.PutRequest(key=key, value=b"%d" % number), timeout=20)
                written.append((answer.header.revision, key, False))


async def compact_behind(address: str, readers: list[Reader]) -> None:
    compacted = 0
    async with channel(address, None) as connection:
        kv = rpc_pb2_grpc.KVStub(connection)
        while True:
            target = min(reader.next_revision for reader in readers) - 1
            if target > max(1, compacted):
                await kv.Compact(rpc_pb2.CompactionRequest(revision=target), timeout=20)
                compacted = target
            await asyncio.sleep(0.02)


async def test_nothing_is_lost_or_told_twice(address: str) -> None:
    readers = [
        Reader(address, 1, lazy=False, restless=False),
        Reader(address, 2, lazy=True, restless=False),
        Reader(address, 3, lazy=False, restless=True),
        Reader(address, 4, lazy=True, restless=True),
    ]
    written: list[tuple[int, bytes, bool]] = []
    until: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    following = [asyncio.create_task(reader.follow(until)) for reader in readers]
    compacting = asyncio.create_task(compact_behind(address, readers))
    await asyncio.gather(*(write(address, seed, written) for seed in range(WRITERS)))
    last = max(revision for revision, _, _ in written)
    until.set_result(last)
    # Wakes those who have seen everything already.
    await write(address, WRITERS, [])
    await asyncio.gather(*following)
    compacting.cancel()
    await asyncio.wait([compacting])
    for reader in readers:
        seen = [change for change in reader.seen if change[0] <= last]
        revisions = [revision for revision, _, _ in seen]
        assert revisions == sorted(revisions)
        assert sorted(seen) == sorted(written)
