"""Watches: who is told of which change, in order, once, without anybody waiting for a slow watcher. No I/O.

A watcher is synced (it gets each change as it is published, into a bounded list) or behind (it reads history
from the revision it still needs). A synced one whose list overflows just falls behind: its list is dropped, and
history repeats it. A stream is pulled from by its connection, so that memory is bounded by the lists, and a
watcher that lags is given larger responses rather than more of them.

Revisions are never split over responses unless the watcher asked for fragments. A request for progress takes its place
among the watchers that have something to send, so that steady writes do not put the answer off.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from navarch.protos.etcd.kv_pb2 import Event, KeyValue
from navarch.protos.etcd.rpc_pb2 import WatchCreateRequest, WatchRequest, WatchResponse
from navarch.services.store.errors import COMPACTED, WATCH_ID_DUPLICATE, WATCH_RANGE_EMPTY
from navarch.services.store.mvcc.key_index import UNBOUNDED, in_range
from navarch.services.store.mvcc.store import Change, MvccStore

PENDING_CHANGES = 1000
PENDING_BYTES = 4 << 20
# One reading of history: as much as makes a response worth sending, and never so much that others wait.
HISTORY_CHANGES = 1000
HISTORY_BYTES = 1 << 20
FRAGMENT_BYTES = 1 << 20
# Answers that concern no watcher.
STREAM_ID = -1


class Watcher:
    """One watch of a stream. next_revision: the lowest main revision it has not been given."""

    __slots__ = (
        "behind",
        "end",
        "fragment",
        "id",
        "next_revision",
        "pending",
        "pending_bytes",
        "prev_kv",
        "progress_notify",
        "queued",
        "quiet",
        "start",
        "stream",
        "wants_deletes",
        "wants_puts",
    )  # fmt: skip

    def __init__(self, stream: "WatchStream", request: WatchCreateRequest, watch_id: int, next_revision: int) -> None:
        self.stream = stream
        self.id = watch_id
        self.start = request.key or b"\0"
        self.end = request.range_end
        self.wants_puts = WatchCreateRequest.NOPUT not in request.filters
        self.wants_deletes = WatchCreateRequest.NODELETE not in request.filters
        self.prev_kv = request.prev_kv
        self.progress_notify = request.progress_notify
        self.fragment = request.fragment
        self.next_revision = next_revision
        self.behind = False
        self.pending: list[Change] = []
        self.pending_bytes = 0
        self.queued = False
        self.quiet = True

    def wants(self, change: Change) -> bool:
        """Whether a change passes the watcher's filters and is not older than what it asked for."""
        return (self.wants_deletes if change.deleted else self.wants_puts) and change.main >= self.next_revision

    def offer(self, change: Change) -> None:
        """Take a published change of the watched range."""
        if self.behind or not self.wants(change):
            return
        if len(self.pending) >= PENDING_CHANGES or self.pending_bytes >= PENDING_BYTES:
            self.fall_behind(change.main)
            return
        self.pending.append(change)
        self.pending_bytes += len(change.kv.value)
        self.stream.ready(self)

    def fall_behind(self, revision: int) -> None:
        """Read from history what was not given yet, from this revision on at the latest."""
        if not self.behind:
            self.behind = True
            self.next_revision = self.pending[0].main if self.pending else max(self.next_revision, revision)
            self.pending.clear()
            self.pending_bytes = 0
        self.stream.ready(self)


class WatchHub:
    """All watchers of a store, found by what they watch."""

    def __init__(self, store: MvccStore) -> None:
        self.store = store
        self.revision = store.revision
        self._keys: dict[bytes, dict[Watcher, None]] = {}
        self._ranges: dict[tuple[bytes, bytes], dict[Watcher, None]] = {}
        self._progress: dict[Watcher, None] = {}

    def __len__(self) -> int:
        return sum(map(len, (*self._keys.values(), *self._ranges.values())))

    def add(self, watcher: Watcher) -> None:
        """Let a watcher have what is published from now on."""
        self._group(watcher)[watcher] = None
        if watcher.progress_notify:
            self._progress[watcher] = None

    def remove(self, watcher: Watcher) -> None:
        """Forget a watcher. Idempotent."""
        group = self._group(watcher)
        group.pop(watcher, None)
        if not group:
            self._keys.pop(watcher.start, None) if not watcher.end else self._ranges.pop((watcher.start, watcher.end))
        self._progress.pop(watcher, None)

    def count(self) -> int:
        """How many there are."""
        return sum(map(len, (*self._keys.values(), *self._ranges.values())))

    def _group(self, watcher: Watcher) -> dict[Watcher, None]:
        if not watcher.end:
            return self._keys.setdefault(watcher.start, {})
        return self._ranges.setdefault((watcher.start, watcher.end), {})

    def publish(self, changes: Iterable[Change]) -> None:
        """Hand out what a batch of transactions changed, right after it was applied."""
        self.revision = self.store.revision
        for change in changes:
            key = change.kv.key
            for watcher in self._keys.get(key, ()):
                watcher.offer(change)
            for (start, end), group in self._ranges.items():
                if in_range(key, start, end):
                    for watcher in group:
                        watcher.offer(change)

    def replaced(self) -> None:
        """The store was replaced by a later one, whose changes nobody published: history has them, or cancels."""
        first, self.revision = self.revision + 1, self.store.revision
        for group in (*self._keys.values(), *self._ranges.values()):
            for watcher in group:
                watcher.fall_behind(first)

    def notify_progress(self) -> None:
        """Tell the watchers that asked for it, and have had nothing since the last call, how far they are."""
        for watcher in self._progress:
            if watcher.quiet and not watcher.behind and not watcher.pending:
                watcher.stream.answer(WatchResponse(watch_id=watcher.id))
            watcher.quiet = True


class WatchStream:
    """The watches of one connection: requests in by `handle`, responses out by `take`.

    wake: called whenever `take` may have something new.
    """

    def __init__(self, hub: WatchHub, wake: Callable[[], None]) -> None:
        self._hub = hub
        self._wake = wake
        self._watchers: dict[int, Watcher] = {}
        self._next_id = 0
        self._answers: deque[WatchResponse] = deque()
        # Watchers, and revisions up to which all must be delivered before progress is told.
        self._ready: deque[Watcher | int] = deque()
        self._progress_requests = 0

    @property
    def backlog(self) -> int:
        """Answers to requests not taken yet; the connection stops reading requests while there are many."""
        return len(self._answers) + self._progress_requests

    def handle(self, request: WatchRequest) -> None:
        """Take a request of the client."""
        match request.WhichOneof("request_union"):
            case "create_request":
                self._create(request.create_request)
            case "cancel_request":
                self._cancel(request.cancel_request.watch_id)
            case "progress_request":
                self._progress_requests += 1
                self._ready.append(self._hub.revision)
                self._wake()

    def close(self) -> None:
        """Forget all watches."""
        for watcher in self._watchers.values():
            self._hub.remove(watcher)
        self._watchers.clear()

    def answer(self, response: WatchResponse) -> None:
        """Queue a response without events; it says up to which revision it is true."""
        response.header.revision = self._hub.revision
        self._answers.append(response)
        self._wake()

    def ready(self, watcher: Watcher) -> None:
        """A watcher has something to send."""
        if not watcher.queued:
            watcher.queued = True
            self._ready.append(watcher)
            self._wake()

    def _create(self, request: WatchCreateRequest) -> None:
        refusal = self._refusal(request)
        if refusal:
            self.answer(WatchResponse(watch_id=STREAM_ID, created=True, canceled=True, cancel_reason=refusal))
            return
        current = self._hub.revision
        watcher = Watcher(self, request, request.watch_id or self._new_id(), request.start_revision or current + 1)
        self._watchers[watcher.id] = watcher
        self._hub.add(watcher)
        self.answer(WatchResponse(watch_id=watcher.id, created=True))
        if watcher.next_revision <= current:
            watcher.behind = True
            self.ready(watcher)

    def _refusal(self, request: WatchCreateRequest) -> str:
        if request.watch_id and request.watch_id in self._watchers:
            return WATCH_ID_DUPLICATE
        if request.range_end and request.range_end != UNBOUNDED and request.key >= request.range_end:
            return WATCH_RANGE_EMPTY
        return ""

    def _new_id(self) -> int:
        while self._next_id in self._watchers:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    def _cancel(self, watch_id: int) -> None:
        watcher = self._watchers.pop(watch_id, None)
        if watcher is not None:
            self._hub.remove(watcher)
            self.answer(WatchResponse(watch_id=watch_id, canceled=True))

    @property
    def has_work(self) -> bool:
        """Whether `take` is worth calling."""
        return bool(self._answers or self._ready)

    def take(self) -> list[WatchResponse]:
        """One step's responses, in the order to send them; may be none. Between steps others may run."""
        if self._answers:
            answers = list(self._answers)
            self._answers.clear()
            return answers
        if self._ready:
            watcher = self._ready.popleft()
            if isinstance(watcher, int):
                return self._progress(watcher)
            watcher.queued = False
            return self._advance(watcher) if self._watchers.get(watcher.id) is watcher else []
        return []

    def _progress(self, revision: int) -> list[WatchResponse]:
        """Who had something to send when progress was requested has had its turn; who is behind may need more."""
        if any(watcher.behind and watcher.next_revision <= revision for watcher in self._watchers.values()):
            self._ready.append(revision)
            return []
        self._progress_requests -= 1
        progress = WatchResponse(watch_id=STREAM_ID)
        progress.header.revision = revision if self._ready else self._hub.revision
        return [progress]

    def _advance(self, watcher: Watcher) -> list[WatchResponse]:
        if watcher.behind:
            if watcher.next_revision < self._hub.store.compact_revision:
                return [self._compacted(watcher)]
            changes = self._read_history(watcher)
            if watcher.behind:
                self.ready(watcher)
        else:
            changes, watcher.pending, watcher.pending_bytes = watcher.pending, [], 0
            watcher.next_revision = max(watcher.next_revision, self._hub.revision + 1)
        if not changes:
            return []
        watcher.quiet = False
        return list(self._responses(watcher, changes))

    def _compacted(self, watcher: Watcher) -> WatchResponse:
        del self._watchers[watcher.id]
        self._hub.remove(watcher)
        response = WatchResponse(
            watch_id=watcher.id,
            canceled=True,
            compact_revision=self._hub.store.compact_revision,
            cancel_reason=COMPACTED.message,
        )
        response.header.revision = self._hub.revision
        return response

    def _read_history(self, watcher: Watcher) -> list[Change]:
        """The next stretch of history for a watcher that is behind; it ends at the end of a revision."""
        found: list[Change] = []
        size = read = last = 0
        for change in self._hub.store.changes(watcher.next_revision, self._hub.revision):
            if change.main != last and (read >= HISTORY_CHANGES or size >= HISTORY_BYTES):
                watcher.next_revision = change.main
                return found
            last, read = change.main, read + 1
            if in_range(change.kv.key, watcher.start, watcher.end) and watcher.wants(change):
                found.append(change)
                size += len(change.kv.value)
        watcher.next_revision = max(watcher.next_revision, self._hub.revision + 1)
        watcher.behind = False
        return found

    def _responses(self, watcher: Watcher, changes: list[Change]) -> Iterator[WatchResponse]:
        response = self._response(watcher)
        size = 0
        for _, revision in groupby(changes, key=lambda change: change.main):
            if size >= FRAGMENT_BYTES:
                yield response
                response, size = self._response(watcher), 0
            for change in revision:
                previous = self._hub.store.get_at(change.kv.key, change.main - 1) if watcher.prev_kv else None
                weight = _weight(change.kv) + (_weight(previous) if previous is not None else 0)
                if watcher.fragment and size and size + weight > FRAGMENT_BYTES:
                    response.fragment = True
                    yield response
                    response, size = self._response(watcher), 0
                size += weight
                event = response.events.add(type=Event.DELETE if change.deleted else Event.PUT, kv=change.kv)
                if previous is not None:
                    event.prev_kv.CopyFrom(previous)
        yield response

    def _response(self, watcher: Watcher) -> WatchResponse:
        response = WatchResponse(watch_id=watcher.id)
        response.header.revision = self._hub.revision
        return response


def _weight(kv: KeyValue) -> int:
    return len(kv.key) + len(kv.value)
