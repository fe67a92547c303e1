"""What a genuine kube-apiserver asks of its store, on ours and on Debian's etcd.

Requests have the shapes that kube-apiserver sends: its transactions, lists in pages, watches with progress, events with
leases, its compaction. Where etcd 3.4 cannot do something, that difference is asserted.
"""

import queue
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import grpc
import pytest

from navarch.protos.etcd import kv_pb2, rpc_pb2_grpc
from navarch.protos.etcd import rpc_pb2 as pb
from navarch.testing.store_peers import NAMES, serving

# From this version on kube-apiserver asks for progress and reads from its watch cache.
PROGRESS_VERSION = (3, 5, 13)
# kube-apiserver keeps there how far it has compacted.
COMPACT_KEY = b"compact_rev_key"
PREFIXES = count(1)


@dataclass
class Peer:
    """A store to talk to, and a key space of one test's own."""

    name: str
    channel: grpc.Channel
    prefix: bytes

    @property
    def kv(self) -> rpc_pb2_grpc.KVStub:
        return rpc_pb2_grpc.KVStub(self.channel)

    @property
    def lease(self) -> rpc_pb2_grpc.LeaseStub:
        return rpc_pb2_grpc.LeaseStub(self.channel)

    @property
    def end(self) -> bytes:
        """Behind the last key of the prefix."""
        return self.prefix[:-1] + bytes([self.prefix[-1] + 1])

    def key(self, name: str) -> bytes:
        return self.prefix + name.encode()

    def status(self) -> pb.StatusResponse:
        return rpc_pb2_grpc.MaintenanceStub(self.channel).Status(pb.StatusRequest(), timeout=20)

    @property
    def supports_progress(self) -> bool:
        return tuple(map(int, self.status().version.split("."))) >= PROGRESS_VERSION

    def range(self, key: bytes, **fields: Any) -> pb.RangeResponse:
        return self.kv.Range(pb.RangeRequest(key=key, **fields), timeout=60)

    def list(self, **fields: Any) -> pb.RangeResponse:
        return self.range(fields.pop("key", self.prefix), range_end=self.end, **fields)

    def write(self, key: bytes, value: bytes, expected: int = 0, lease: int = 0) -> pb.TxnResponse:
        """Create (expected 0) or update an object that is at a revision, else tell what is there."""
        put = pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, lease=lease))
        return self._optimistic(key, expected, put)

    def delete(self, key: bytes, expected: int) -> pb.TxnResponse:
        return self._optimistic(key, expected, pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key)))

    def _optimistic(self, key: bytes, expected: int, operation: pb.RequestOp) -> pb.TxnResponse:
        unchanged = pb.Compare(key=key, target=pb.Compare.MOD, result=pb.Compare.EQUAL, mod_revision=expected)
        current = pb.RequestOp(request_range=pb.RangeRequest(key=key))
        request = pb.TxnRequest(compare=[unchanged], success=[operation], failure=[current])
        return self.kv.Txn(request, timeout=20)

    def compact(self, revision: int) -> None:
        self.kv.Compact(pb.CompactionRequest(revision=revision), timeout=20)


class Watch:
    """One stream, as kube-apiserver opens it: it insists on a leader."""

    def __init__(self, peer: Peer, revision: int) -> None:
        self._requests: queue.Queue[pb.WatchRequest | None] = queue.Queue()
        stub = rpc_pb2_grpc.WatchStub(peer.channel)
        self._stream = stub.Watch(iter(self._requests.get, None), timeout=60, metadata=(("hasleader", "true"),))
        create = pb.WatchCreateRequest(
            key=peer.prefix, range_end=peer.end, start_revision=revision, prev_kv=True, progress_notify=True
        )
        self._requests.put(pb.WatchRequest(create_request=create))
        self.created = next(self._stream)

    def next(self) -> pb.WatchResponse:
        return next(self._stream)

    def ask_progress(self) -> None:
        self._requests.put(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))

    def events(self, number: int) -> list[kv_pb2.Event]:
        seen: list[kv_pb2.Event] = []
        while len(seen) < number:
            seen += self.next().events
        return seen

    def close(self) -> None:
        self._requests.put(None)
        self._stream.cancel()


@pytest.fixture(scope="module", params=NAMES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    with serving(request.param, tmp_path_factory.mktemp(request.param) / "data") as channel:
        yield Peer(request.param, channel, b"")


@pytest.fixture
def peer(server: Peer) -> Peer:
    return Peer(server.name, server.channel, b"/registry/kind%d/" % next(PREFIXES))


def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    return error.code(), error.details()


def test_its_version_is_accepted(peer: Peer) -> None:
    status = peer.status()
    assert status.dbSize > 0
    assert peer.supports_progress == (peer.name == "navarch")
    if peer.name == "etcd":
        assert status.version.startswith("3.4.")


def test_an_object_is_created_once(peer: Peer) -> None:
    key = peer.key("ns/a")
    created = peer.write(key, b"1")
    assert created.succeeded
    assert created.responses[0].response_put.header.revision == created.header.revision
    again = peer.write(key, b"2")
    assert not again.succeeded
    (there,) = again.responses[0].response_range.kvs
    assert (there.value, there.mod_revision, there.version) == (b"1", created.header.revision, 1)


def test_an_object_is_updated_and_deleted_only_as_it_was_read(peer: Peer) -> None:
    key = peer.key("ns/a")
    first = peer.write(key, b"1").header.revision
    second = peer.write(key, b"2", expected=first)
    assert second.succeeded
    stale = peer.write(key, b"3", expected=first)
    assert not stale.succeeded
    (there,) = stale.responses[0].response_range.kvs
    assert (there.value, there.create_revision, there.mod_revision) == (b"2", first, second.header.revision)
    assert not peer.delete(key, expected=first).succeeded
    deleted = peer.delete(key, expected=there.mod_revision)
    assert deleted.succeeded
    assert deleted.responses[0].response_delete_range.deleted == 1
    gone = peer.delete(key, expected=there.mod_revision)
    assert not gone.succeeded
    assert not gone.responses[0].response_range.kvs


def compact_with(peer: Peer, known: int, revision: int) -> tuple[int, int]:
    """kube-apiserver's agreement on who compacts. Returns the version of the key and the revision found there."""
    compare = pb.Compare(key=COMPACT_KEY, target=pb.Compare.VERSION, result=pb.Compare.EQUAL, version=known)
    put = pb.RequestOp(request_put=pb.PutRequest(key=COMPACT_KEY, value=str(revision).encode()))
    get = pb.RequestOp(request_range=pb.RangeRequest(key=COMPACT_KEY))
    answer = peer.kv.Txn(pb.TxnRequest(compare=[compare], success=[put], failure=[get]), timeout=20)
    if answer.succeeded:
        return known + 1, revision
    (there,) = answer.responses[0].response_range.kvs
    return there.version, int(there.value)


def test_several_servers_agree_on_who_compacts(peer: Peer) -> None:
    for number in range(5):
        peer.write(peer.key(f"{number}"), b"")
    current = peer.list().header.revision
    first, _ = compact_with(peer, 0, current)
    # The other one comes later, learns, and then has its turn.
    second, told = compact_with(peer, 0, current + 1)
    assert (second, told) == (first, current)
    assert compact_with(peer, second, current + 1) == (first + 1, current + 1)
    peer.compact(current)
    code, message = refusal(lambda: peer.compact(current))
    assert (code, message) == (grpc.StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")


def pages(peer: Peer, limit: int) -> Iterator[pb.RangeResponse]:
    """A list in pages at one revision."""
    revision, key = 0, peer.prefix
    while True:
        page = peer.list(key=key, limit=limit, revision=revision)
        yield page
        if not page.more:
            return
        revision = revision or page.header.revision
        key = page.kvs[-1].key + b"\0"


def test_pages_show_one_moment(peer: Peer) -> None:
    for number in range(25):
        peer.write(peer.key(f"{number:03}"), b"old")
    seen: list[kv_pb2.KeyValue] = []
    remaining = []
    for number, page in enumerate(pages(peer, 10)):
        seen += page.kvs
        remaining.append(page.count)
        peer.kv.Put(pb.PutRequest(key=peer.key(f"{number:03}x"), value=b"new"), timeout=20)
        peer.kv.Put(pb.PutRequest(key=peer.key("024"), value=b"new"), timeout=20)
        peer.kv.DeleteRange(pb.DeleteRangeRequest(key=peer.key(f"02{number}")), timeout=20)
    assert [kv.key for kv in seen] == [peer.key(f"{number:03}") for number in range(25)]
    assert {kv.value for kv in seen} == {b"old"}
    # What is left from the page's beginning on: kube-apiserver makes remainingItemCount of it.
    assert remaining == [25, 15, 5]


def test_a_page_whose_revision_is_compacted_is_refused(peer: Peer) -> None:
    for number in range(5):
        peer.write(peer.key(f"{number}"), b"")
    first = next(pages(peer, 2))
    later = peer.write(peer.key("more"), b"").header.revision
    peer.compact(later)
    code, message = refusal(lambda: peer.list(key=first.kvs[-1].key + b"\0", limit=2, revision=first.header.revision))
    assert (code, message) == (grpc.StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")


def test_a_list_at_a_revision_that_is_not_yet(peer: Peer) -> None:
    revision = peer.list().header.revision + 1000
    code, message = refusal(lambda: peer.list(revision=revision))
    assert (code, message) == (
        grpc.StatusCode.OUT_OF_RANGE,
        "etcdserver: mvcc: required revision is a future revision",
    )


def test_counting_and_looking_at_keys_only(peer: Peer) -> None:
    revisions = [peer.write(peer.key(f"{number}"), b"x" * 100).header.revision for number in range(7)]
    counted = peer.list(count_only=True)
    assert (counted.count, len(counted.kvs)) == (7, 0)
    keys = peer.list(keys_only=True)
    assert [(kv.key, kv.value, kv.mod_revision) for kv in keys.kvs] == [
        (peer.key(f"{number}"), b"", revision) for number, revision in enumerate(revisions)
    ]
    # How kube-apiserver finds the current revision.
    assert peer.range(COMPACT_KEY, limit=1, keys_only=True).header.revision == revisions[-1]


def test_a_watch_shows_what_came_after_a_list(peer: Peer) -> None:
    key = peer.key("a")
    listed = peer.list().header.revision
    first = peer.write(key, b"1").header.revision
    watch = Watch(peer, listed + 1)
    second = peer.write(key, b"2", expected=first).header.revision
    third = peer.delete(key, expected=second).header.revision
    created, modified, deleted = watch.events(3)
    assert watch.created.created
    assert (created.type, created.kv.create_revision, created.kv.mod_revision) == (kv_pb2.Event.PUT, first, first)
    assert not created.HasField("prev_kv")
    assert (modified.kv.value, modified.kv.create_revision, modified.kv.mod_revision) == (b"2", first, second)
    assert (modified.prev_kv.value, modified.prev_kv.mod_revision) == (b"1", first)
    assert (deleted.type, deleted.kv.key, deleted.kv.mod_revision) == (kv_pb2.Event.DELETE, key, third)
    # The object as it was is all that kube-apiserver can show of it.
    assert (deleted.prev_kv.value, deleted.prev_kv.mod_revision) == (b"2", second)
    watch.close()


def test_one_revision_is_never_split_over_responses(peer: Peer) -> None:
    watch = Watch(peer, peer.list().header.revision + 1)
    operations = [
        pb.RequestOp(request_put=pb.PutRequest(key=peer.key(f"{number}"), value=b"x" * 1000)) for number in range(100)
    ]
    revision = peer.kv.Txn(pb.TxnRequest(success=operations), timeout=20).header.revision
    response = watch.next()
    assert [event.kv.mod_revision for event in response.events] == [revision] * 100
    watch.close()


def test_progress_is_told_only_after_all_up_to_it(peer: Peer) -> None:
    watch = Watch(peer, 0)
    for number in range(200):
        revision = peer.write(peer.key(f"{number}"), b"x").header.revision
        if number % 20 == 0:
            watch.ask_progress()
    watch.ask_progress()
    delivered, told = 0, 0
    while told < revision if peer.supports_progress else delivered < revision:
        response = watch.next()
        if response.events:
            delivered = response.events[-1].kv.mod_revision
            assert delivered > told or not peer.supports_progress
        else:
            told = response.header.revision
            # For all watches of the stream at once.
            assert response.watch_id == -1
            if peer.supports_progress:
                assert delivered == told or told < revision
    assert delivered == revision
    watch.close()


def test_progress_beyond_the_last_event_when_others_write(peer: Peer) -> None:
    """A watch of a quiet prefix learns how far the store is, so that lists can be answered from the cache."""
    watch = Watch(peer, 0)
    elsewhere = b"/registry/elsewhere"
    revision = peer.kv.Put(pb.PutRequest(key=elsewhere), timeout=20).header.revision
    watch.ask_progress()
    assert watch.next().header.revision >= revision
    watch.close()


def test_a_watch_of_compacted_history_ends_with_the_place(peer: Peer) -> None:
    first = peer.write(peer.key("a"), b"1").header.revision
    later = peer.write(peer.key("b"), b"1").header.revision
    peer.compact(later)
    watch = Watch(peer, first)
    response = watch.created if watch.created.canceled else watch.next()
    assert response.canceled
    assert response.compact_revision == later
    watch.close()


def test_events_end_with_their_lease(peer: Peer) -> None:
    granted = peer.lease.LeaseGrant(pb.LeaseGrantRequest(TTL=3600), timeout=20)
    assert granted.ID
    assert granted.TTL == 3600
    # Many events share one lease.
    for number in range(5):
        assert peer.write(peer.key(f"event{number}"), b"x", lease=granted.ID).succeeded
    assert {kv.lease for kv in peer.list().kvs} == {granted.ID}
    watch = Watch(peer, 0)
    peer.lease.LeaseRevoke(pb.LeaseRevokeRequest(ID=granted.ID), timeout=20)
    gone = watch.events(5)
    assert {(event.type, event.prev_kv.value) for event in gone} == {(kv_pb2.Event.DELETE, b"x")}
    assert peer.list().count == 0
    watch.close()
    code, message = refusal(lambda: peer.write(peer.key("late"), b"x", lease=granted.ID))
    assert (code, message) == (grpc.StatusCode.NOT_FOUND, "etcdserver: requested lease not found")


def test_a_large_list_comes_in_one_answer(peer: Peer) -> None:
    value = b"x" * 2048
    for begin in range(0, 10_000, 100):
        puts = (pb.PutRequest(key=peer.key(f"{number:05}"), value=value) for number in range(begin, begin + 100))
        peer.kv.Txn(pb.TxnRequest(success=[pb.RequestOp(request_put=put) for put in puts]), timeout=60)
    listed = peer.list()
    assert (len(listed.kvs), listed.count, listed.more) == (10_000, 10_000, False)
    assert [kv.key for kv in listed.kvs] == sorted(kv.key for kv in listed.kvs)
    assert sum(len(kv.value) for kv in listed.kvs) == 10_000 * len(value)
    assert sum(len(page.kvs) for page in pages(peer, 500)) == 10_000


def test_a_watch_cache_catches_up_with_a_large_history(peer: Peer) -> None:
    begin = peer.list().header.revision
    for number in range(3000):
        peer.kv.Put(pb.PutRequest(key=peer.key(f"{number % 10}"), value=b"%d" % number), timeout=20)
    watch = Watch(peer, begin + 1)
    assert [int(event.kv.value) for event in watch.events(3000)] == list(range(3000))
    watch.close()
