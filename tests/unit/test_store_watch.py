"""Watches: each watcher gets each change of its range once and in order, however slowly it takes them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from navarch.protos.etcd import rpc_pb2
from navarch.protos.etcd.kv_pb2 import Event
from navarch.services.store import commands, errors, watch
from navarch.services.store.backend import MemoryBackend
from navarch.services.store.mvcc.key_index import in_range
from navarch.services.store.replication.log import Entry
from navarch.services.store.state_machine import StateMachine
from navarch.services.store.watch import WatchHub, WatchStream


class Store:
    def __init__(self) -> None:
        self.machine = StateMachine(MemoryBackend(), lambda: 0.0, lambda changes: self.hub.publish(changes))
        self.hub = WatchHub(self.machine.mvcc)

    def do(self, *requests) -> None:
        first = self.machine.applied_index + 1
        entries = [Entry(first + i, 1, commands.encode(request)) for i, request in enumerate(requests)]
        assert not any(isinstance(outcome, Exception) for outcome in self.machine.apply(entries))

    def put(self, key: bytes, value: bytes = b"") -> None:
        self.do(rpc_pb2.PutRequest(key=key, value=value))

    def delete(self, key: bytes) -> None:
        self.do(rpc_pb2.DeleteRangeRequest(key=key))


class Client:
    def __init__(self, store: Store) -> None:
        self.wakes = 0
        self.stream = WatchStream(store.hub, self.wake)

    def wake(self) -> None:
        self.wakes += 1

    def watch(self, key: bytes, end: bytes = b"", **options) -> None:
        self.stream.handle(
            rpc_pb2.WatchRequest(create_request=rpc_pb2.WatchCreateRequest(key=key, range_end=end, **options))
        )

    def drain(self) -> list[rpc_pb2.WatchResponse]:
        responses = []
        while self.stream.has_work:
            responses += self.stream.take()
        return responses

    def events(self) -> list[tuple[str, bytes, int]]:
        return [
            (Event.EventType.Name(event.type), event.kv.key, event.kv.mod_revision)
            for response in self.drain()
            for event in response.events
        ]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def client(store: Store) -> Client:
    return Client(store)


def test_a_watch_is_created_before_it_has_events(store: Store, client: Client) -> None:
    store.put(b"a")
    client.watch(b"a")
    store.put(b"a")
    created, event = client.drain()
    assert (created.created, created.watch_id, created.header.revision) == (True, 0, 2)
    assert event.events[0].kv.mod_revision == 3
    assert client.wakes


def test_the_past_comes_first_and_only_once(store: Store, client: Client) -> None:
    for key in (b"a", b"b", b"a"):
        store.put(key)
    client.watch(b"a", b"b", start_revision=2)
    store.put(b"a")
    assert client.events() == [("PUT", b"a", 2), ("PUT", b"a", 4), ("PUT", b"a", 5)]
    store.delete(b"a")
    assert client.events() == [("DELETE", b"a", 6)]


def test_a_watch_of_the_future_waits_for_it(store: Store, client: Client) -> None:
    client.watch(b"a", start_revision=4)
    for _ in range(4):
        store.put(b"a")
    assert [revision for _, _, revision in client.events()] == [4, 5]


def test_filters_and_previous_values(store: Store, client: Client) -> None:
    client.watch(b"a", filters=["NOPUT"], prev_kv=True)
    client.watch(b"a", filters=["NODELETE"], prev_kv=True)
    client.drain()
    store.put(b"a", b"1")
    store.put(b"a", b"2")
    store.delete(b"a")
    deletes, puts = sorted(client.drain(), key=lambda response: response.watch_id)
    assert [(event.type, event.prev_kv.value) for event in deletes.events] == [(Event.DELETE, b"2")]
    assert [event.prev_kv.value for event in puts.events] == [b"", b"1"]
    assert not puts.events[0].HasField("prev_kv")


def test_compacted_history_cancels_the_watch(store: Store, client: Client) -> None:
    for _ in range(5):
        store.put(b"a")
    store.do(rpc_pb2.CompactionRequest(revision=4))
    client.watch(b"a", start_revision=3)
    client.watch(b"a", start_revision=4)
    responses = client.drain()
    canceled = [response for response in responses if response.canceled]
    assert [(r.watch_id, r.compact_revision, r.cancel_reason) for r in canceled] == [(0, 4, errors.COMPACTED.message)]
    assert [event.kv.mod_revision for r in responses for event in r.events] == [4, 5, 6]


def test_bad_watches(client: Client) -> None:
    client.watch(b"b", b"a")
    client.watch(b"a", watch_id=7)
    client.watch(b"a", watch_id=7)
    client.watch(b"a")
    empty, first, second, third = client.drain()
    assert (empty.watch_id, empty.created, empty.canceled, empty.cancel_reason) == (
        -1,
        True,
        True,
        errors.WATCH_RANGE_EMPTY,
    )
    assert (first.watch_id, first.canceled) == (7, False)
    assert (second.watch_id, second.cancel_reason) == (-1, errors.WATCH_ID_DUPLICATE)
    assert third.watch_id == 0


def test_cancel(store: Store, client: Client) -> None:
    client.watch(b"a")
    client.drain()
    store.put(b"a")
    client.stream.handle(rpc_pb2.WatchRequest(cancel_request=rpc_pb2.WatchCancelRequest(watch_id=0)))
    client.stream.handle(rpc_pb2.WatchRequest(cancel_request=rpc_pb2.WatchCancelRequest(watch_id=5)))
    assert [(response.watch_id, response.canceled) for response in client.drain()] == [(0, True)]
    store.put(b"a")
    assert client.drain() == []
    assert not store.hub._keys


def test_progress_is_answered_when_all_is_delivered(store: Store, client: Client) -> None:
    for _ in range(3):
        store.put(b"a")
    client.watch(b"a", start_revision=2)
    client.watch(b"b")
    client.stream.handle(rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest()))
    store.put(b"a")
    *before, progress = client.drain()
    assert (progress.watch_id, progress.header.revision, len(progress.events)) == (-1, 5, 0)
    assert sum(len(response.events) for response in before) == 4


def test_progress_is_answered_while_writes_go_on(store: Store, client: Client) -> None:
    client.watch(b"a")
    client.watch(b"a", b"c")
    client.drain()
    store.put(b"a")
    for _ in range(2):
        client.stream.handle(rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest()))
    responses = []
    for _ in range(6):
        responses += client.stream.take()
        store.put(b"a")
    delivered: dict[int, int] = {}
    progress = []
    for response in responses:
        if response.watch_id == watch.STREAM_ID:
            progress.append(response.header.revision)
            assert min(delivered.values()) >= response.header.revision >= 2
        for event in response.events:
            delivered[response.watch_id] = event.kv.mod_revision
    assert len(progress) == 2


def test_progress_waits_for_who_is_behind(store: Store, client: Client, monkeypatch) -> None:
    monkeypatch.setattr(watch, "HISTORY_CHANGES", 2)
    for _ in range(9):
        store.put(b"a")
    client.watch(b"a", start_revision=2)
    client.stream.handle(rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest()))
    *before, progress = client.drain()
    assert (progress.watch_id, progress.header.revision) == (-1, 10)
    assert [event.kv.mod_revision for response in before for event in response.events] == list(range(2, 11))


def test_progress_without_watches_or_for_one_of_the_future(store: Store, client: Client) -> None:
    request = rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest())
    client.stream.handle(request)
    assert [(r.watch_id, r.header.revision) for r in client.drain()] == [(-1, 1)]
    client.watch(b"a", start_revision=9)
    client.stream.handle(request)
    assert [(r.watch_id, r.header.revision) for r in client.drain()] == [(0, 1), (-1, 1)]


def test_a_store_that_was_replaced_by_a_later_one(store: Store, client: Client, monkeypatch) -> None:
    """As by a snapshot of the leader: nothing is lost or doubled, or the watch is cancelled as compacted."""
    client.watch(b"a")
    client.watch(b"a", start_revision=7)
    client.watch(b"b")
    client.drain()
    store.put(b"a")
    client.watch(b"a", progress_notify=True)
    with monkeypatch.context() as patch:
        patch.setattr(store.hub, "publish", lambda changes: None)
        for key in (b"b", b"a", b"a", b"a", b"a"):
            store.put(key)
    store.hub.replaced()
    assert (store.hub.revision, len(store.hub)) == (7, 4)
    store.put(b"a")
    got: dict[int, list[int]] = {}
    for response in client.drain():
        got.setdefault(response.watch_id, []).extend(event.kv.mod_revision for event in response.events)
    assert got == {0: [2, 4, 5, 6, 7, 8], 1: [7, 8], 2: [3], 3: [4, 5, 6, 7, 8]}
    with monkeypatch.context() as patch:
        patch.setattr(store.hub, "publish", lambda changes: None)
        store.put(b"c")
        store.put(b"c")
        store.do(rpc_pb2.CompactionRequest(revision=10))
    store.hub.replaced()
    responses = client.drain()
    assert {r.watch_id for r in responses if r.canceled and r.compact_revision == 10} == {0, 1, 2, 3}


def test_the_tombstone_at_the_compacted_revision_is_still_seen(store: Store, client: Client) -> None:
    store.put(b"a")
    store.delete(b"a")
    store.do(rpc_pb2.CompactionRequest(revision=3))
    while store.machine.mvcc.collectable:
        store.machine.mvcc.collect()
    client.watch(b"a", start_revision=3)
    assert client.events() == [("DELETE", b"a", 3)]


def test_a_long_quiet_watch_is_not_cancelled_by_a_compaction(store: Store, client: Client, monkeypatch) -> None:
    monkeypatch.setattr(watch, "PENDING_CHANGES", 2)
    client.watch(b"a")
    client.drain()
    for _ in range(5):
        store.put(b"b")
    store.do(rpc_pb2.CompactionRequest(revision=6))
    for _ in range(4):
        store.put(b"a")
    assert [revision for _, _, revision in client.events()] == [7, 8, 9, 10]


def test_quiet_watchers_that_asked_for_it_hear_of_progress(store: Store, client: Client) -> None:
    client.watch(b"a", progress_notify=True)
    client.watch(b"b", progress_notify=True)
    client.watch(b"c")
    client.drain()
    store.put(b"b")
    client.drain()
    store.hub.notify_progress()
    assert [(response.watch_id, response.header.revision) for response in client.drain()] == [(0, 2)]
    store.hub.notify_progress()
    assert {response.watch_id for response in client.drain()} == {0, 1}


def test_fragments_split_a_revision_and_say_so(store: Store, client: Client) -> None:
    client.watch(b"a", b"\0", fragment=True)
    client.watch(b"a", b"\0")
    client.drain()
    big = b"x" * (watch.FRAGMENT_BYTES // 2 - 2)
    ops = [rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"a%d" % i, value=big)) for i in range(5)]
    store.do(rpc_pb2.TxnRequest(success=ops))
    responses = client.drain()
    assert [(len(r.events), r.fragment) for r in responses if r.watch_id == 0] == [(2, True), (2, True), (1, False)]
    assert [(len(r.events), r.fragment) for r in responses if r.watch_id == 1] == [(5, False)]


def test_fragments_count_previous_values_and_keys(store: Store, client: Client) -> None:
    client.watch(b"a", b"\0", fragment=True, prev_kv=True)
    client.drain()
    big = b"x" * (watch.FRAGMENT_BYTES // 3)
    ops = [rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"a%d" % i, value=big)) for i in range(3)]
    store.do(rpc_pb2.TxnRequest(success=ops))
    client.drain()
    store.do(rpc_pb2.TxnRequest(success=ops))
    responses = client.drain()
    assert [(len(r.events), r.fragment) for r in responses] == [(1, True), (1, True), (1, False)]
    assert max(r.ByteSize() for r in responses) <= watch.FRAGMENT_BYTES


def test_a_slow_watcher_holds_little_and_misses_nothing(store: Store, client: Client, monkeypatch) -> None:
    monkeypatch.setattr(watch, "PENDING_CHANGES", 10)
    monkeypatch.setattr(watch, "HISTORY_CHANGES", 7)
    client.watch(b"a", b"\0")
    client.drain()
    for i in range(100):
        store.put(b"a%d" % i)
    (watcher,) = client.stream._watchers.values()
    assert len(watcher.pending) <= 10
    responses = client.drain()
    assert [event.kv.mod_revision for response in responses for event in response.events] == list(range(2, 102))
    assert max(len(response.events) for response in responses) <= 10


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_everything_is_delivered_once_and_in_order(data: st.DataObject) -> None:
    """Small bounds and random takes: watchers fall behind and catch up in every way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch, "PENDING_CHANGES", 3)
        patch.setattr(watch, "HISTORY_CHANGES", 2)
        store = Store()
        client = Client(store)
        keys = [b"a", b"b", b"c"]
        wanted: dict[int, tuple[bytes, bytes, int]] = {}
        written: list[tuple[bytes, int]] = []
        got: dict[int, list[tuple[bytes, int]]] = {}

        def take() -> None:
            for response in client.stream.take():
                got.setdefault(response.watch_id, []).extend((e.kv.key, e.kv.mod_revision) for e in response.events)

        for step in data.draw(st.lists(st.sampled_from(["watch", "put", "txn", "take"]), max_size=40)):
            revision = store.machine.mvcc.revision
            if step == "watch":
                key, end = data.draw(st.sampled_from([(b"a", b""), (b"a", b"\0"), (b"b", b"c")]))
                start = data.draw(st.integers(0, revision + 2))
                wanted[len(wanted)] = (key, end, start or revision + 1)
                client.watch(key, end, start_revision=start)
            elif step == "put":
                key = data.draw(st.sampled_from(keys))
                store.put(key)
                written.append((key, revision + 1))
            elif step == "txn":
                store.do(rpc_pb2.TxnRequest(success=[{"request_put": {"key": key}} for key in keys]))
                written += [(key, revision + 1) for key in keys]
            elif client.stream.has_work:
                take()
        while client.stream.has_work:
            take()
        for watch_id, (key, end, start) in wanted.items():
            expected = [(k, r) for k, r in written if in_range(k, key, end) and r >= start]
            assert got.get(watch_id, []) == expected
