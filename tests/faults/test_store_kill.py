"""kill -9 of a store under load: nothing acknowledged is lost, at its revision, and watches resume gaplessly.

Writers put numbered values, each to keys of its own; a watcher records every event over all restarts. After
each restart every acknowledged write must be readable as it was acknowledged, and at the end the watcher must
have seen each revision once.
"""

import asyncio
import contextlib
import os
import random
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.services.base.serving import channel

KILLS = 100 if os.environ.get("NAVARCH_SOAK") else 8
WRITERS = 16
KEYS_PER_WRITER = 8
PREFIX, PREFIX_END = b"/w/", b"/w0"


@dataclass
class Acknowledged:
    """What the store has promised. By key: revision and value; a write without an answer may be there or not."""

    writes: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    unanswered: dict[bytes, set[bytes]] = field(default_factory=dict)
    history: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)

    def note(self, key: bytes, value: bytes, revision: int) -> None:
        assert revision not in self.history, f"revision {revision} acknowledged twice"
        self.history[revision] = (key, value)
        self.writes[key] = (revision, value)
        self.unanswered.pop(key, None)


class Store:
    """The store's process, killed and started again on the same data and port."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.process: asyncio.subprocess.Process | None = None
        self.recoveries: list[float] = []

    async def spawn(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "navarch.services.store.main", "--name", "victim"),
            *("--data-dir", str(self.directory), "--listen-insecure", self.address),
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def start(self) -> None:
        begin = time.perf_counter()
        await self.spawn()
        assert self.process is not None
        async with channel(self.address, None) as connection:
            kv = rpc_pb2_grpc.KVStub(connection)
            while True:
                assert self.process.returncode is None, "the store did not start again"
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await kv.Range(rpc_pb2.RangeRequest(key=b"x"), timeout=5)
                    break
                await asyncio.sleep(0.01)
        self.recoveries.append(time.perf_counter() - begin)

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def die_while_starting(self, after_s: float) -> None:
        """A start that is killed somewhere on its way."""
        await self.spawn()
        await asyncio.sleep(after_s)
        await self.kill()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path / "store")
    await store.start()
    yield store
    await store.kill()


async def write(store: Store, writer: int, acknowledged: Acknowledged, rng: random.Random, stop: asyncio.Event) -> None:
    """Put and transact until the store is gone."""
    async with channel(store.address, None) as connection:
        kv = rpc_pb2_grpc.KVStub(connection)
        number = 0
        while not stop.is_set():
            key = b"/w/%02d/%d" % (writer, rng.randrange(KEYS_PER_WRITER))
            number += 1
            value = b"%d-%d-%d" % (writer, number, len(acknowledged.history)) + b"." * rng.randrange(2000)
            acknowledged.unanswered.setdefault(key, set()).add(value)
            put = rpc_pb2.PutRequest(key=key, value=value)
            try:
                if rng.random() < 0.3:
                    txn = rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp(request_put=put)])
                    answer = await kv.Txn(txn, timeout=10)
                else:
                    answer = await kv.Put(put, timeout=10)
            except grpc.aio.AioRpcError as failure:
                if failure.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                    raise
                return
            acknowledged.note(key, value, answer.header.revision)


class Watcher:
    """A client that watches over all restarts, each time from the revision after the last it has seen."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.seen: dict[int, list[tuple[bytes, bytes]]] = {}
        self.next_revision = 2

    async def run(self) -> None:
        """One connection's worth."""
        async with channel(self.store.address, None) as connection:
            stream = rpc_pb2_grpc.WatchStub(connection).Watch()
            create = rpc_pb2.WatchCreateRequest(key=PREFIX, range_end=PREFIX_END, start_revision=self.next_revision)
            with contextlib.suppress(grpc.aio.AioRpcError):
                await stream.write(rpc_pb2.WatchRequest(create_request=create))
                async for response in stream:
                    assert not response.canceled, response.cancel_reason
                    self.take(response)

    def take(self, response: rpc_pb2.WatchResponse) -> None:
        last = self.next_revision - 1
        for event in response.events:
            revision = event.kv.mod_revision
            assert revision >= last, f"revision {revision} after {last}"
            assert revision > self.next_revision - 1, f"revision {revision} seen twice"
            last = revision
            self.seen.setdefault(revision, []).append((event.kv.key, event.kv.value))
        self.next_revision = max(self.next_revision, last + 1)


async def check(store: Store, acknowledged: Acknowledged) -> None:
    """Everything acknowledged is there, unless a write without an answer took its place."""
    async with channel(store.address, None) as connection:
        kv = rpc_pb2_grpc.KVStub(connection)
        response = await kv.Range(rpc_pb2.RangeRequest(key=PREFIX, range_end=PREFIX_END), timeout=10)
        found = {pair.key: pair for pair in response.kvs}
        highest = max(acknowledged.history, default=1)
        assert response.header.revision >= highest, "revisions went back"
        for key, (revision, value) in acknowledged.writes.items():
            pair = found[key]
            if (pair.mod_revision, pair.value) == (revision, value):
                continue
            assert pair.mod_revision > revision, f"{key!r}: acknowledged at {revision}, found {pair.mod_revision}"
            assert pair.value in acknowledged.unanswered.get(key, ()), f"{key!r} holds what nobody wrote"
            acknowledged.note(key, pair.value, pair.mod_revision)
        sample = random.Random(highest).sample(sorted(acknowledged.history), min(50, len(acknowledged.history)))
        for revision in sample:
            key, value = acknowledged.history[revision]
            past = await kv.Range(rpc_pb2.RangeRequest(key=key, revision=revision), timeout=10)
            assert [(pair.mod_revision, pair.value) for pair in past.kvs] == [(revision, value)]


async def test_kill_9_under_load_loses_nothing_acknowledged(store: Store) -> None:
    rng = random.Random(20240607)
    acknowledged = Acknowledged()
    watcher = Watcher(store)
    for _ in range(KILLS):
        stop = asyncio.Event()
        before = len(acknowledged.history)
        tasks = [
            asyncio.create_task(write(store, writer, acknowledged, random.Random(rng.random()), stop))
            for writer in range(WRITERS)
        ]
        watching = asyncio.create_task(watcher.run())
        # The moment is random; that there was load by then is not.
        while len(acknowledged.history) < before + 50:
            await asyncio.sleep(0.001)
        await asyncio.sleep(rng.random() * 0.15)
        await store.kill()
        await asyncio.gather(*tasks, watching)
        if rng.random() < 0.3:
            await store.die_while_starting(rng.random() * 0.5)
        await store.start()
        await check(store, acknowledged)

    watching = asyncio.create_task(watcher.run())
    highest = max(acknowledged.history)
    while watcher.next_revision <= highest:
        assert not watching.done()
        await asyncio.sleep(0.01)
    await store.kill()
    await watching
    for revision, write_ in acknowledged.history.items():
        assert watcher.seen.get(revision) == [write_], f"the watch has {watcher.seen.get(revision)} at {revision}"
    assert sorted(watcher.seen) == list(range(2, max(watcher.seen) + 1)), "a revision is missing"
    recovery = sorted(store.recoveries)
    print(
        f"\n{KILLS} kill -9, {len(acknowledged.history)} acknowledged writes, {len(watcher.seen)} revisions watched, "
        f"0 lost; start to serving p50 {recovery[len(recovery) // 2]:.2f} s, worst {recovery[-1]:.2f} s"
    )


async def test_leases_alarms_and_compaction_survive_kill_9(store: Store) -> None:
    async with channel(store.address, None) as connection:
        kv, leases = rpc_pb2_grpc.KVStub(connection), rpc_pb2_grpc.LeaseStub(connection)
        await leases.LeaseGrant(rpc_pb2.LeaseGrantRequest(ID=7, TTL=600))
        for i in range(5):
            await kv.Put(rpc_pb2.PutRequest(key=b"leased", value=b"%d" % i, lease=7))
        await kv.Compact(rpc_pb2.CompactionRequest(revision=4, physical=True))
        await rpc_pb2_grpc.MaintenanceStub(connection).Alarm(
            rpc_pb2.AlarmRequest(action="ACTIVATE", memberID=1, alarm="NOSPACE")
        )
    await store.kill()
    await store.start()
    async with channel(store.address, None) as connection:
        kv, leases = rpc_pb2_grpc.KVStub(connection), rpc_pb2_grpc.LeaseStub(connection)
        left = await leases.LeaseTimeToLive(rpc_pb2.LeaseTimeToLiveRequest(ID=7, keys=True))
        assert (left.grantedTTL, list(left.keys)) == (600, [b"leased"])
        with pytest.raises(grpc.aio.AioRpcError, match="required revision has been compacted"):
            await kv.Range(rpc_pb2.RangeRequest(key=b"leased", revision=3))
        with pytest.raises(grpc.aio.AioRpcError, match="database space exceeded"):
            await kv.Put(rpc_pb2.PutRequest(key=b"x"))
        await leases.LeaseRevoke(rpc_pb2.LeaseRevokeRequest(ID=7))
        assert (await kv.Range(rpc_pb2.RangeRequest(key=b"leased"))).count == 0
