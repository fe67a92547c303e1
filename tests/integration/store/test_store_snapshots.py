"""Snapshots: transferred with interruptions, verified, installed under open watches, finished after a crash."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from navarch.protos.etcd import rpc_pb2
from navarch.protos.navarch import store_pb2
from navarch.services.base.clock import SystemClock, VirtualClock
from navarch.services.store.config import Config
from navarch.services.store.errors import CorruptionError
from navarch.services.store.lmdb_backend import LmdbBackend
from navarch.services.store.member import StoreMember
from navarch.services.store.replication.log import Entry
from navarch.services.store.replication.memory import MemoryLog
from navarch.services.store.replication.snapshots import (
    SnapshotReceiver,
    SnapshotRefused,
    SnapshotSender,
    _chunks,
)
from navarch.services.store.replication.transport import SnapshotFile
from navarch.services.store.snapshot_state import MemberSnapshots, complete_installation
from navarch.services.store.watch import WatchStream


def a_member(directory: Path) -> StoreMember:
    directory.mkdir(exist_ok=True)
    backend = LmdbBackend(directory / "data.mdb", 64 << 20)
    return StoreMember(
        Config(data_dir=directory),
        1,
        2,
        backend,
        SystemClock(),
        random.Random(1),
        lambda member: MemoryLog(2, member.machine),
    )


async def fill(member: StoreMember, count: int, size: int = 1000) -> None:
    for number in range(count):
        put = rpc_pb2.PutRequest(key=b"k%d" % (number % 97), value=bytes([number % 251]) * size)
        await member.propose(put, rpc_pb2.PutResponse)


@pytest.fixture
async def members(tmp_path: Path) -> AsyncIterator[tuple[StoreMember, StoreMember]]:
    pair = a_member(tmp_path / "leader"), a_member(tmp_path / "follower")
    for member in pair:
        await member.start()
    yield pair
    for member in pair:
        await member.stop()


def snapshots(member: StoreMember) -> MemberSnapshots:
    assert member.scratch_dir is not None
    return MemberSnapshots(member, member.scratch_dir)


def offer_of(snapshot: SnapshotFile) -> store_pb2.SnapshotOffer:
    return store_pb2.SnapshotOffer(
        term=1,
        last_index=snapshot.last_index,
        last_term=snapshot.last_term,
        size_bytes=snapshot.size_bytes,
        sha256=snapshot.sha256,
    )


def state(member: StoreMember) -> tuple[int, int, int]:
    machine = member.machine
    return machine.applied_index, machine.mvcc.revision, machine.mvcc.hash_at(machine.mvcc.revision)


async def test_a_snapshot_ends_with_the_entry_it_says(members: tuple[StoreMember, StoreMember]) -> None:
    leader, follower = members
    await fill(leader, 300)
    writing = asyncio.create_task(fill(leader, 300))
    snapshot = await snapshots(leader).make()
    await writing
    assert 300 <= snapshot.last_index <= leader.machine.applied_index
    assert hashlib.sha256(snapshot.path.read_bytes()).digest() == snapshot.sha256
    await snapshots(follower).install(snapshot)
    assert follower.machine.applied_index == snapshot.last_index
    assert follower.machine.mvcc.hash_at(follower.machine.mvcc.revision) == leader.machine.mvcc.hash_at(
        follower.machine.mvcc.revision
    )


async def test_an_installed_member_goes_on_and_starts_again(members: tuple[StoreMember, StoreMember]) -> None:
    leader, follower = members
    await fill(follower, 20)
    await fill(leader, 500)
    lease = await leader.propose(rpc_pb2.LeaseGrantRequest(ID=77, TTL=600), rpc_pb2.LeaseGrantResponse)
    await leader.propose(rpc_pb2.PutRequest(key=b"leased", lease=lease.ID), rpc_pb2.PutResponse)
    snapshot = await snapshots(leader).make()
    await snapshots(follower).install(snapshot)
    assert state(follower) == state(leader)
    assert follower.machine.lessor.get(77).keys == {b"leased"}
    entry = Entry(snapshot.last_index + 1, 1, b"")
    follower.machine.apply([entry])
    await follower.stop()
    directory = follower.scratch_dir
    assert directory is not None
    assert complete_installation(directory) is None
    again = a_member(directory)
    assert (again.machine.applied_index, *state(again)[1:]) == (entry.index, *state(leader)[1:])
    await again.stop()


async def test_a_member_serves_while_it_is_defragmented(members: tuple[StoreMember, StoreMember]) -> None:
    member, _ = members
    await fill(member, 2000)
    compaction = rpc_pb2.CompactionRequest(revision=member.machine.mvcc.revision)
    await member.propose(compaction, rpc_pb2.CompactionResponse)
    await member.collected()
    before = member.backend.size_bytes()
    ended = asyncio.create_task(member.defragment())
    meanwhile = 0
    while not ended.done():
        await member.propose(rpc_pb2.PutRequest(key=b"during", value=b"%d" % meanwhile), rpc_pb2.PutResponse)
        meanwhile += 1
        await asyncio.sleep(0)
    await ended
    assert meanwhile > 10
    assert member.backend.size_bytes() < before
    held = state(member)
    await member.stop()
    assert member.scratch_dir is not None
    again = a_member(member.scratch_dir)
    assert state(again) == held
    await again.stop()


async def test_copies_that_a_crash_left_are_removed(tmp_path: Path) -> None:
    for name in ("made-1.mdb", "data.defragmented", "navarch-snapshot-x/snapshot"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"as far as it got")
    assert complete_installation(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


async def test_the_next_start_is_told_of_an_installation(members: tuple[StoreMember, StoreMember]) -> None:
    leader, follower = members
    await fill(leader, 30)
    snapshot = await snapshots(leader).make()
    await snapshots(follower).install(snapshot)
    await follower.stop()
    directory = follower.scratch_dir
    assert directory is not None
    for _ in range(2):
        assert complete_installation(directory) == (snapshot.last_index, snapshot.last_term)


async def test_a_crash_before_the_swap_leaves_the_old_state(
    members: tuple[StoreMember, StoreMember], monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, follower = members
    await fill(leader, 30)
    await fill(follower, 5)
    before = state(follower)
    snapshot = await snapshots(leader).make()

    def fail(self: object, other: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(LmdbBackend, "become", fail)
    with pytest.raises(OSError, match="no"):
        await snapshots(follower).install(snapshot)
    assert state(follower) == before
    await fill(follower, 5)
    await follower.stop()
    directory = follower.scratch_dir
    assert directory is not None
    assert complete_installation(directory) is None
    assert not (directory / "installing").exists()


@pytest.mark.parametrize("damage", ["flip", "cut", "index", "empty", "noise"])
async def test_a_damaged_file_changes_nothing(members: tuple[StoreMember, StoreMember], damage: str) -> None:
    leader, follower = members
    await fill(leader, 200)
    await fill(follower, 5)
    before = state(follower)
    snapshot = await snapshots(leader).make()
    data = bytearray(snapshot.path.read_bytes())
    index = snapshot.last_index
    if damage == "flip":
        # In the midst of a value.
        data[data.index(bytes([120]) * 200) + 100] ^= 1
    elif damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "index":
        index += 1
    else:
        data = bytearray(b"" if damage == "empty" else random.Random(3).randbytes(65536))
    snapshot.path.write_bytes(data)
    wrong = SnapshotFile(snapshot.path, index, snapshot.last_term, len(data), hashlib.sha256(data).digest())
    with pytest.raises(CorruptionError):
        await snapshots(follower).install(wrong)
    assert state(follower) == before
    await fill(follower, 5)
    assert state(follower)[1] == before[1] + 5


def watch(member: StoreMember, **fields: object) -> WatchStream:
    stream = WatchStream(member.watches, lambda: None)
    stream.handle(rpc_pb2.WatchRequest(create_request=rpc_pb2.WatchCreateRequest(**fields)))
    return stream


def taken(stream: WatchStream) -> list[rpc_pb2.WatchResponse]:
    responses = []
    while stream.has_work:
        responses += stream.take()
    return responses


async def test_watches_go_on_over_an_installation(members: tuple[StoreMember, StoreMember]) -> None:
    leader, follower = members
    for member in members:
        await fill(member, 10)
    everything = watch(follower, key=b"\0", range_end=b"\0")
    future = watch(follower, key=b"\0", range_end=b"\0", start_revision=500)
    taken(everything)
    await fill(leader, 90)
    await snapshots(follower).install(await snapshots(leader).make())
    events = [event.kv.mod_revision for response in taken(everything) for event in response.events]
    assert events == list(range(12, 102))
    assert [response.events for response in taken(future) if response.events] == []
    await fill(follower, 3)
    assert [event.kv.mod_revision for response in taken(everything) for event in response.events] == [102, 103, 104]


async def test_a_watch_that_the_snapshot_has_no_history_for_is_cancelled(
    members: tuple[StoreMember, StoreMember],
) -> None:
    leader, follower = members
    stream = watch(follower, key=b"\0", range_end=b"\0", start_revision=1)
    taken(stream)
    await fill(leader, 90)
    await leader.propose(rpc_pb2.CompactionRequest(revision=50), rpc_pb2.CompactionResponse)
    await snapshots(follower).install(await snapshots(leader).make())
    (response,) = taken(stream)
    assert (response.canceled, response.compact_revision) == (True, 50)


# The transfer.


class Broken(grpc.aio.AioRpcError):
    def __init__(self) -> None:
        super().__init__(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), details="broken")


class Line:
    """A Transport's stub that breaks after as many bytes as it is told, once each."""

    def __init__(self, receiver: SnapshotReceiver, breaks: list[int]) -> None:
        self.receiver = receiver
        self.breaks = breaks
        self.offsets: list[int] = []

    def stub(self, peer: int) -> "Line":
        return self

    async def OfferSnapshot(self, offer: store_pb2.SnapshotOffer, timeout: float) -> store_pb2.SnapshotOfferReply:
        return store_pb2.SnapshotOfferReply(offset=await self.receiver.offer(offer))

    async def InstallSnapshot(self, chunks: AsyncIterator[store_pb2.SnapshotChunk], timeout: float) -> None:
        room = self.breaks.pop(0) if self.breaks else 1 << 40

        async def until_broken() -> AsyncIterator[store_pb2.SnapshotChunk]:
            left = room
            async for chunk in chunks:
                if chunk.HasField("offer"):
                    self.offsets.append(chunk.offset)
                if len(chunk.data) > left:
                    chunk.data = chunk.data[:left]
                    yield chunk
                    return
                left -= len(chunk.data)
                yield chunk

        try:
            await self.receiver.receive(until_broken())
        except (SnapshotRefused, OSError) as refusal:
            raise Broken from refusal


def a_file(path: Path, size: int, index: int = 9) -> SnapshotFile:
    data = random.Random(size).randbytes(size)
    path.write_bytes(data)
    return SnapshotFile(path, index, 3, size, hashlib.sha256(data).digest())


class Installed:
    def __init__(self, failures: list[Exception] | None = None) -> None:
        self.contents: list[bytes] = []
        self.failures = failures or []

    async def __call__(self, snapshot: SnapshotFile) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.contents.append(snapshot.path.read_bytes())


async def send(line: Line, snapshot: SnapshotFile) -> bool:
    clock = VirtualClock()
    sending = asyncio.ensure_future(SnapshotSender(line, clock).send(2, snapshot, 3))
    while not sending.done():
        await clock.elapse(1)
        await asyncio.sleep(0.001)
    return await sending


@pytest.mark.parametrize("seed", range(8))
async def test_a_transfer_goes_on_where_it_broke(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    snapshot = a_file(tmp_path / "made", 5_000_000 + seed)
    data = snapshot.path.read_bytes()
    (tmp_path / "in").mkdir()
    installed = Installed()
    line = Line(SnapshotReceiver(tmp_path / "in", installed, lambda: 0), [rng.randrange(2_000_000) for _ in range(4)])
    assert await send(line, snapshot)
    assert installed.contents == [data]
    assert line.offsets == sorted(line.offsets)
    assert list((tmp_path / "in").iterdir()) == []


async def test_a_wrong_checksum_throws_all_away(tmp_path: Path) -> None:
    snapshot = a_file(tmp_path / "made", 3_000_000)
    data = bytearray(snapshot.path.read_bytes())
    installed = Installed()
    receiver = SnapshotReceiver(tmp_path, installed, lambda: 0)
    offer = offer_of(snapshot)
    data[1_234_567] ^= 4
    snapshot.path.write_bytes(data)
    with snapshot.path.open("rb") as file, pytest.raises(SnapshotRefused, match="checksum"):
        await receiver.receive(_chunks(offer, file.fileno(), 0))
    assert installed.contents == []
    assert await receiver.offer(offer) == 0


@pytest.mark.parametrize("failure", [CorruptionError("bad"), OSError(28, "full")])
async def test_what_cannot_be_installed_is_not_acknowledged(tmp_path: Path, failure: Exception) -> None:
    snapshot = a_file(tmp_path / "made", 100_000)
    (tmp_path / "in").mkdir()
    receiver = SnapshotReceiver(tmp_path / "in", Installed([failure]), lambda: 0)
    with snapshot.path.open("rb") as file, pytest.raises((SnapshotRefused, OSError)):
        await receiver.receive(_chunks(offer_of(snapshot), file.fileno(), 0))
    assert list((tmp_path / "in").iterdir()) == []


async def test_parts_of_other_snapshots_go(tmp_path: Path) -> None:
    receiver = SnapshotReceiver(tmp_path, Installed(), lambda: 0)
    (tmp_path / "snapshot-1-aa.part").write_bytes(b"old")
    assert await receiver.offer(store_pb2.SnapshotOffer(last_index=5, size_bytes=9, sha256=b"\1")) == 0
    assert list(tmp_path.iterdir()) == []


async def test_what_is_applied_already_is_acknowledged_without_a_transfer(tmp_path: Path) -> None:
    installed = Installed()
    line = Line(SnapshotReceiver(tmp_path, installed, lambda: 9), [])
    assert await send(line, a_file(tmp_path / "made", 100_000))
    assert (installed.contents, line.offsets) == ([], [100_000])


async def test_only_one_at_a_time(tmp_path: Path) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    async def install(snapshot: SnapshotFile) -> None:
        started.set()
        await go.wait()

    receiver = SnapshotReceiver(tmp_path, install, lambda: 0)
    snapshot = a_file(tmp_path / "made", 10)
    with snapshot.path.open("rb") as file:
        first = asyncio.ensure_future(receiver.receive(_chunks(offer_of(snapshot), file.fileno(), 0)))
        await started.wait()
        with pytest.raises(SnapshotRefused, match="another"):
            await receiver.offer(offer_of(snapshot))
        # The connection goes away, but what has begun is finished before another one comes.
        first.cancel()
        await asyncio.sleep(0)
        with pytest.raises(SnapshotRefused, match="another"):
            await receiver.offer(offer_of(snapshot))
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await first
    assert await receiver.offer(offer_of(snapshot)) == snapshot.size_bytes


async def test_the_sender_gives_up_after_many_attempts_without_progress(tmp_path: Path) -> None:
    receiver = SnapshotReceiver(tmp_path, Installed(), lambda: 0)
    assert not await send(Line(receiver, [0] * 100), a_file(tmp_path / "made", 10))
