"""Two members' transports over loopback: what one sends the other gets, in order, at most once, from whom it may."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import grpc
import pytest

from navarch.protos.navarch import store_pb2, store_pb2_grpc
from navarch.services.base.clock import SystemClock
from navarch.services.base.dialing import channel
from navarch.services.base.serving import GrpcServer
from navarch.services.base.tls import CertificateAuthority, Credentials
from navarch.services.store.replication import peers as peers_module
from navarch.services.store.replication.log import Member
from navarch.services.store.replication.peers import CLUSTER_KEY, FROM_KEY, SERVER_OPTIONS, TO_KEY, Peers
from navarch.services.store.replication.snapshots import SnapshotReceiver
from navarch.services.store.rpc.peer import PeerHandlers, PeerServicer

CLUSTER = 0xC1


@dataclass
class Inbox:
    """A Receiver that remembers."""

    got: list[tuple[int, int]] = field(default_factory=list)
    links: list[tuple[str, int]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def received(self, sender: int, messages: Sequence[store_pb2.RaftMessage]) -> None:
        self.got += [(sender, message.term) for message in messages]
        self.changed.set()

    def connected(self, peer: int) -> None:
        self.links.append(("up", peer))
        self.changed.set()

    def disconnected(self, peer: int) -> None:
        self.links.append(("down", peer))
        self.changed.set()

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not reached():
                self.changed.clear()
                await self.changed.wait()

    def terms(self, sender: int) -> list[int]:
        return [term for who, term in self.got if who == sender]


class Side:
    """One member: its transport and its server."""

    def __init__(self, member_id: int, credentials: Credentials | None, cluster_id: int = CLUSTER) -> None:
        self.id = member_id
        self.inbox = Inbox()
        self.credentials = credentials
        self.peers = Peers(cluster_id, member_id, credentials, SystemClock())
        self.roster = SimpleNamespace(members=MappingProxyType({1: Member(1, "a"), 2: Member(2, "b")}), removed=set())
        self.address = "127.0.0.1:0"
        self.server: GrpcServer | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.credentials else 'http'}://{self.address}"

    async def serve(self) -> None:
        async def install(snapshot: object) -> None:
            raise AssertionError("nothing is sent")

        handlers = PeerHandlers(
            receiver=self.inbox,
            roster=self.roster,
            snapshots=SnapshotReceiver(Path(), install, lambda: 0),
            leases=Leases(),
            members=lambda request: store_pb2.MembersReply(cluster_id=CLUSTER),
            appeared=self.peers.appeared,
        )
        self.server = GrpcServer(self.credentials, component="test", options=SERVER_OPTIONS, light=True)
        self.server.add(store_pb2_grpc.add_PeerServicer_to_server, PeerServicer(CLUSTER, self.id, handlers))
        await self.server.start(self.address)
        self.address = self.server.address

    async def shut(self) -> None:
        if self.server is not None:
            await self.server.stop(0)
            self.server = None


class Leases:
    async def renew(self, lease_id: int) -> store_pb2.LeaseTime:
        return store_pb2.LeaseTime(id=lease_id, ttl_s=7)

    async def time_to_live(self, lease_id: int) -> store_pb2.LeaseTime:
        return store_pb2.LeaseTime(id=lease_id, ttl_s=5)


def message(number: int, size: int = 0) -> store_pb2.RaftMessage:
    entries = [store_pb2.Entry(data=b"x" * size)] if size else []
    return store_pb2.RaftMessage(term=number, append=store_pb2.AppendEntries(entries=entries))


@pytest.fixture(params=["plain", "tls"])
def credentials(request: pytest.FixtureRequest) -> Credentials | None:
    if request.param == "plain":
        return None
    now = time.time()
    return CertificateAuthority.create("peers", now).issue("store", ips=("127.0.0.1",), now=now, server=True)


@pytest.fixture
async def sides(credentials: Credentials | None) -> AsyncIterator[tuple[Side, Side]]:
    first, second = Side(1, credentials), Side(2, credentials)
    for side in (first, second):
        await side.serve()
        await side.peers.start(side.inbox)
    yield first, second
    for side in (first, second):
        await side.peers.stop()
        await side.shut()


async def connect(first: Side, second: Side) -> None:
    first.peers.set_peers({second.id: [second.url]})
    second.peers.set_peers({first.id: [first.url]})
    await first.inbox.until(lambda: ("up", second.id) in first.inbox.links)
    await second.inbox.until(lambda: ("up", first.id) in second.inbox.links)


async def test_messages_arrive_in_order_and_once(sides: tuple[Side, Side]) -> None:
    first, second = sides
    await connect(first, second)
    for number in range(1, 2001):
        first.peers.send(2, message(number, size=number % 700))
        second.peers.send(1, message(number))
        if number % 37 == 0:
            await asyncio.sleep(0)
    await second.inbox.until(lambda: len(second.inbox.got) >= 2000)
    await first.inbox.until(lambda: len(first.inbox.got) >= 2000)
    assert second.inbox.terms(1) == list(range(1, 2001))
    assert first.inbox.terms(2) == list(range(1, 2001))


async def test_large_messages_pass(sides: tuple[Side, Side]) -> None:
    first, second = sides
    await connect(first, second)
    for number in range(1, 9):
        first.peers.send(2, message(number, size=3 << 20))
    await second.inbox.until(lambda: len(second.inbox.got) >= 8)
    assert second.inbox.terms(1) == list(range(1, 9))


async def test_a_full_queue_drops_what_comes(sides: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers_module, "QUEUE_MESSAGES", 10)
    first, second = sides
    await connect(first, second)
    for number in range(1, 101):
        first.peers.send(2, message(number))
    await second.inbox.until(lambda: bool(second.inbox.got))
    first.peers.send(2, message(1000))
    await second.inbox.until(lambda: second.inbox.terms(1)[-1] == 1000)
    assert second.inbox.terms(1) == [*range(1, 11), 1000]


async def test_what_is_sent_without_a_connection_is_dropped(sides: tuple[Side, Side]) -> None:
    first, second = sides
    first.peers.send(2, message(1))
    await connect(first, second)
    first.peers.send(2, message(2))
    await second.inbox.until(lambda: bool(second.inbox.got))
    assert second.inbox.terms(1) == [2]


async def test_a_restarted_peer_is_found_again(sides: tuple[Side, Side]) -> None:
    first, second = sides
    await connect(first, second)
    for number in (1, 2, 3):
        await second.shut()
        await first.inbox.until(lambda: first.inbox.links[-1] == ("down", 2))
        assert first.peers.stub(2) is None
        await second.serve()
        await first.inbox.until(lambda: first.inbox.links[-1] == ("up", 2))
        first.peers.send(2, message(number))
        await second.inbox.until(lambda number=number: second.inbox.terms(1)[-1:] == [number])
    assert second.inbox.terms(1) == [1, 2, 3]


async def test_another_url_is_tried(sides: tuple[Side, Side]) -> None:
    first, second = sides
    first.peers.set_peers({2: ["http://127.0.0.1:1", "nonsense", second.url]})
    await first.inbox.until(lambda: ("up", 2) in first.inbox.links)


async def test_set_peers_changes_only_what_differs(sides: tuple[Side, Side]) -> None:
    first, second = sides
    await connect(first, second)
    first.peers.set_peers({2: [second.url]})
    first.peers.send(2, message(1))
    await second.inbox.until(lambda: len(second.inbox.got) == 1)
    assert first.inbox.links == [("up", 2)]
    first.peers.set_peers({})
    await first.inbox.until(lambda: first.inbox.links[-1] == ("down", 2))
    first.peers.send(2, message(2))
    first.peers.set_peers({2: [second.url]})
    await first.inbox.until(lambda: first.inbox.links[-1] == ("up", 2))
    first.peers.send(2, message(3))
    await second.inbox.until(lambda: len(second.inbox.got) == 2)
    assert second.inbox.terms(1) == [1, 3]


async def test_single_calls_say_who_they_are_from(sides: tuple[Side, Side]) -> None:
    first, second = sides
    await connect(first, second)
    stub = first.peers.stub(2)
    assert stub is not None
    assert (await stub.RenewLease(store_pb2.LeaseRenewal(id=9), timeout=30)).ttl_s == 7
    assert (await stub.LeaseTimeToLive(store_pb2.LeaseQuery(id=9), timeout=30)).ttl_s == 5


async def refused(side: Side, metadata: dict[str, str]) -> tuple[grpc.StatusCode, str]:
    async with channel(side.address, side.credentials) as connection:
        call = store_pb2_grpc.PeerStub(connection).RenewLease(
            store_pb2.LeaseRenewal(id=1), metadata=tuple(metadata.items()), timeout=5
        )
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call
        return failure.value.code(), failure.value.details()


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        pytest.param({CLUSTER_KEY: "bad"}, grpc.StatusCode.FAILED_PRECONDITION, "cluster bad", id="cluster"),
        pytest.param({TO_KEY: "7"}, grpc.StatusCode.FAILED_PRECONDITION, "looks for member 7", id="other member"),
        pytest.param({FROM_KEY: "9"}, grpc.StatusCode.PERMISSION_DENIED, "9 is no member", id="unknown"),
        pytest.param({FROM_KEY: "6"}, grpc.StatusCode.PERMISSION_DENIED, "6 has been removed", id="removed"),
        pytest.param({FROM_KEY: "x"}, grpc.StatusCode.FAILED_PRECONDITION, "does not say who", id="garbage"),
    ],
)
async def test_strangers_are_refused(
    sides: tuple[Side, Side], change: dict[str, str], code: grpc.StatusCode, words: str
) -> None:
    side = sides[1]
    side.roster.removed.add(6)
    found, details = await refused(side, {CLUSTER_KEY: f"{CLUSTER:x}", FROM_KEY: "1", TO_KEY: "2", **change})
    assert (found, words in details) == (code, True), details


async def test_another_clusters_member_is_logged_once(
    sides: tuple[Side, Side], caplog: pytest.LogCaptureFixture
) -> None:
    _, second = sides
    stranger = Side(1, second.credentials, cluster_id=0xBAD)
    await stranger.peers.start(stranger.inbox)
    for _ in range(3):
        await refused(second, {CLUSTER_KEY: "bad", FROM_KEY: "1", TO_KEY: "2"})
    stranger.peers.set_peers({2: [second.url]})
    async with asyncio.timeout(20):
        while not any(record.message == "store.peer_unreachable" for record in caplog.records):
            await asyncio.sleep(0.02)
    await stranger.peers.stop()
    lines = [record for record in caplog.records if record.message == "store.peer_refused"]
    assert len(lines) == 1
    assert stranger.inbox.links == []
    assert second.inbox.got == []


async def test_a_certificate_of_another_authority_is_refused() -> None:
    now = time.time()
    ours, theirs = (
        CertificateAuthority.create(name, now).issue(name, ips=("127.0.0.1",), now=now, server=True)
        for name in ("ours", "theirs")
    )
    server, client = Side(2, ours), Side(1, theirs)
    await server.serve()
    await client.peers.start(client.inbox)
    client.peers.set_peers({2: [server.url]})
    await asyncio.wait([asyncio.ensure_future(client.inbox.changed.wait())], timeout=1)
    await client.peers.stop()
    await server.shut()
    assert client.inbox.links == []


async def test_only_the_newest_stream_of_a_member_counts(sides: tuple[Side, Side]) -> None:
    _, second = sides
    metadata = ((CLUSTER_KEY, f"{CLUSTER:x}"), (FROM_KEY, "1"), (TO_KEY, "2"))
    async with channel(second.address, second.credentials) as old, channel(second.address, second.credentials) as new:
        older = store_pb2_grpc.PeerStub(old).Deliver(metadata=metadata)
        await older.initial_metadata()
        await older.write(store_pb2.RaftBatch(messages=[message(1)]))
        await second.inbox.until(lambda: len(second.inbox.got) == 1)
        newer = store_pb2_grpc.PeerStub(new).Deliver(metadata=metadata)
        await newer.initial_metadata()
        with pytest.raises(grpc.aio.AioRpcError) as end:
            await older
        assert end.value.code() is grpc.StatusCode.ABORTED
        await newer.write(store_pb2.RaftBatch(messages=[message(2)]))
        await second.inbox.until(lambda: len(second.inbox.got) == 2)
        newer.cancel()
    assert second.inbox.terms(1) == [1, 2]
