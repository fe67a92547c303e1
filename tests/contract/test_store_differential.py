"""Random programs on our store and on Debian's etcd: every answer, refusal and event must be the same.

Both servers live as long as the module and are sent the same requests, so that their revisions stay equal. A
program begins with an empty key space; the revisions it names count from the one it began at.
"""

import contextlib
import queue
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from navarch.protos.etcd import rpc_pb2 as pb
from navarch.protos.etcd import rpc_pb2_grpc

EVERYTHING = (b"\0", b"\0")
KEYS = [b"a", b"ab", b"b", b"c", b"d\xff"]
LEASES = count(1000)
SORTED_BY: dict[int, Callable[[Any], Any]] = {
    pb.RangeRequest.VERSION: lambda kv: kv.version,
    pb.RangeRequest.CREATE: lambda kv: kv.create_revision,
    pb.RangeRequest.MOD: lambda kv: kv.mod_revision,
    pb.RangeRequest.VALUE: lambda kv: kv.value,
}

# A revision or a lease as a program names it is an offset; `Server.send` adds what the program began at.
offsets = st.integers(0, 6)
keys = st.sampled_from(KEYS)
ends = st.sampled_from([b"", b"\0", b"a", b"b", b"c", b"e", b"d\xff\0"])
values = st.sampled_from([b"", b"1", b"2", b"\xff"])
flag = st.booleans()
rarely = st.integers(0, 9).map(lambda number: number == 0)
leases = st.sampled_from([0, 0, 0, 0, 0, 1, 2])


def requests(cls: type[Message], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(lambda **chosen: cls(**chosen), **fields)


ranges = requests(
    pb.RangeRequest,
    key=keys | keys | st.just(b"\0"),
    range_end=ends,
    limit=st.sampled_from([0, 0, 1, 2, 3]),
    revision=st.just(0) | offsets,
    sort_order=st.sampled_from([0, 0, 1, 2]),
    sort_target=st.sampled_from([0, 0, 1, 2, 3, 4]),
    keys_only=flag,
    count_only=rarely,
    serializable=flag,
    min_mod_revision=st.sampled_from([0, 0, 0, 1, 3]),
    max_mod_revision=st.sampled_from([0, 0, 0, 2, 4]),
    min_create_revision=st.sampled_from([0, 0, 0, 1, 3]),
    max_create_revision=st.sampled_from([0, 0, 0, 2, 4]),
)
puts = requests(
    pb.PutRequest, key=keys, value=values, lease=leases, prev_kv=flag, ignore_value=rarely, ignore_lease=rarely
)
deletes = requests(pb.DeleteRangeRequest, key=keys, range_end=ends, prev_kv=flag)


@st.composite
def compares(draw: st.DrawFn) -> pb.Compare:
    compare = pb.Compare(
        key=draw(keys), range_end=draw(ends), result=draw(st.integers(0, 3)), target=draw(st.integers(0, 4))
    )
    match compare.target:
        case pb.Compare.VALUE:
            compare.value = draw(values)
        case pb.Compare.VERSION:
            compare.version = draw(st.integers(0, 2))
        case pb.Compare.CREATE:
            compare.create_revision = draw(offsets)
        case pb.Compare.MOD:
            compare.mod_revision = draw(offsets)
        case pb.Compare.LEASE:
            compare.lease = draw(leases)
    return compare


def operations(txns: st.SearchStrategy[pb.TxnRequest]) -> st.SearchStrategy[list[pb.RequestOp]]:
    operation = st.one_of(
        st.builds(lambda request: pb.RequestOp(request_put=request), puts),
        st.builds(lambda request: pb.RequestOp(request_range=request), ranges),
        st.builds(lambda request: pb.RequestOp(request_delete_range=request), deletes),
        st.builds(lambda request: pb.RequestOp(request_txn=request), txns),
    )
    return st.lists(operation, max_size=3)


def transactions(inner: st.SearchStrategy[pb.TxnRequest]) -> st.SearchStrategy[pb.TxnRequest]:
    return requests(
        pb.TxnRequest, compare=st.lists(compares(), max_size=2), success=operations(inner), failure=operations(inner)
    )


txns = st.recursive(st.just(pb.TxnRequest()), transactions, max_leaves=3)
programs = st.lists(
    st.one_of(
        *(puts, puts, puts, deletes, ranges, ranges, txns, txns),
        requests(pb.CompactionRequest, revision=offsets, physical=flag),
        requests(pb.LeaseGrantRequest, ID=st.integers(1, 2), TTL=st.integers(-1, 5000).filter(lambda ttl: ttl != 2)),
        requests(pb.LeaseRevokeRequest, ID=st.integers(1, 2)),
        requests(pb.LeaseTimeToLiveRequest, ID=st.integers(1, 2), keys=flag),
    ),
    max_size=14,
)
watches = requests(
    pb.WatchCreateRequest,
    key=keys,
    range_end=ends.filter(lambda end: end != b"a"),
    filters=st.sampled_from([[], [], [pb.WatchCreateRequest.NOPUT], [pb.WatchCreateRequest.NODELETE]]),
    prev_kv=flag,
    start_revision=offsets,
)


def at(offset: int, base: int) -> int:
    """A revision of the wire for one of a program; 0 stays what it means there."""
    return base + offset if offset else 0


def based(message: Any, base: int, lease: int) -> Any:
    """The request with the revisions and leases that it means in this run."""
    copied = type(message)()
    copied.CopyFrom(message)
    _shift(copied, base, lease)
    return copied


def _shift(message: Any, base: int, lease: int) -> None:
    for field, value in message.ListFields():
        if field.name in ("request_put", "request_range", "request_txn", "success", "failure", "compare"):
            for inner in value if field.is_repeated else [value]:
                _shift(inner, base, lease)
        elif field.name.endswith("revision"):
            setattr(message, field.name, at(value, base))
        elif field.name == "lease" or (field.name == "ID" and value):
            setattr(message, field.name, lease + value)


class Server:
    """One of the two, and what it says in a form that can be compared."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self._channel = grpc.insecure_channel(address, options=[("grpc.max_reconnect_backoff_ms", 100)])
        kv, lease = rpc_pb2_grpc.KVStub(self._channel), rpc_pb2_grpc.LeaseStub(self._channel)
        self._watch = rpc_pb2_grpc.WatchStub(self._channel)
        self._calls: dict[type[Message], Any] = {
            pb.RangeRequest: kv.Range,
            pb.PutRequest: kv.Put,
            pb.DeleteRangeRequest: kv.DeleteRange,
            pb.TxnRequest: kv.Txn,
            pb.CompactionRequest: kv.Compact,
            pb.LeaseGrantRequest: lease.LeaseGrant,
            pb.LeaseRevokeRequest: lease.LeaseRevoke,
            pb.LeaseTimeToLiveRequest: lease.LeaseTimeToLive,
        }

    def call(self, request: Any, **options: Any) -> Any:
        return self._calls[type(request)](request, timeout=20, **options)

    def send(self, request: Any) -> Any:
        """The answer without what is the server's own, or the refusal."""
        try:
            answer = self.call(request)
        except grpc.RpcError as refusal:
            return refusal.code(), refusal.details()
        return normalized(request, answer)

    def watch(self, request: pb.WatchCreateRequest) -> "Watching":
        return Watching(self._watch, request)

    def close(self) -> None:
        self._channel.close()


class Watching:
    """One watch; `events` reads until a revision that the watch is known to show."""

    def __init__(self, stub: Any, request: pb.WatchCreateRequest) -> None:
        self._requests: queue.Queue[pb.WatchRequest | None] = queue.Queue()
        self._requests.put(pb.WatchRequest(create_request=request))
        self._stream = stub.Watch(iter(self._requests.get, None), timeout=5)
        self.created = next(self._stream)

    def events(self, until: int) -> list[Any]:
        seen: list[Any] = [(self.created.created, self.created.canceled, self.created.cancel_reason)]
        for response in () if self.created.canceled else self._stream:
            if response.canceled:
                seen.append(("canceled", response.compact_revision))
                break
            seen += response.events
            if response.events and response.events[-1].kv.mod_revision >= until:
                break
        self._requests.put(None)
        self._stream.cancel()
        return seen


def normalized(request: Any, answer: Any) -> Any:
    answer.header.ClearField("cluster_id")
    answer.header.ClearField("member_id")
    answer.header.ClearField("raft_term")
    if isinstance(request, pb.LeaseTimeToLiveRequest):
        # A second may have passed on one of them; and etcd lists the keys in no order.
        return answer.TTL > 0, answer.grantedTTL, sorted(answer.keys)
    if isinstance(request, pb.LeaseGrantRequest):
        # The floor depends on configured timeouts.
        answer.TTL = max(answer.TTL, 5)
    if isinstance(request, pb.TxnRequest):
        branch = request.success if answer.succeeded else request.failure
        for operation, result in zip(branch, answer.responses, strict=True):
            if kind := operation.WhichOneof("request"):
                inner = getattr(result, kind.replace("request", "response"))
                if kind == "request_range":
                    _forget_ties(operation.request_range, inner)
                elif kind == "request_txn":
                    normalized(operation.request_txn, inner)
    if isinstance(request, pb.RangeRequest):
        _forget_ties(request, answer)
    return answer


def _forget_ties(request: pb.RangeRequest, answer: pb.RangeResponse) -> None:
    """Which of two equal ones comes first, and so is cut off by a limit, etcd leaves open."""
    sort_key = SORTED_BY.get(request.sort_target)
    if sort_key is None or not answer.kvs:
        return
    kept = [sort_key(kv) for kv in answer.kvs]
    del answer.kvs[:]
    for value in kept:
        answer.kvs.add(value=repr(value).encode())


def free_addresses(number: int) -> list[str]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{probe.getsockname()[1]}" for probe in probes]


@contextlib.contextmanager
def running(name: str, command: list[str], address: str) -> Iterator[Server]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        server = Server(name, address)
        try:
            server.call(pb.RangeRequest(key=b"x"), wait_for_ready=True)
            assert process.poll() is None, f"{name} did not start"
            yield server
        finally:
            server.close()
            process.terminate()
            process.wait(10)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    directory = tmp_path_factory.mktemp("differential")
    ours, client, peer = free_addresses(3)
    etcd = shutil.which("etcd")
    assert etcd, "Debian's etcd-server is needed"
    arguments = ["--data-dir", str(directory / "etcd")]
    for option in ("--listen-client-urls", "--advertise-client-urls"):
        arguments += [option, f"http://{client}"]
    for option in ("--listen-peer-urls", "--initial-advertise-peer-urls"):
        arguments += [option, f"http://{peer}"]
    arguments += ["--initial-cluster", f"default=http://{peer}"]
    store = [sys.executable, "-m", "navarch.services.store.main", "--data-dir", str(directory / "ours")]
    with (
        running("ours", [*store, "--listen-insecure", ours], ours) as our_server,
        running("etcd", [etcd, *arguments], client) as their_server,
    ):
        yield our_server, their_server


def compared(both: tuple[Server, Server], request: Any) -> Any:
    ours, theirs = (server.send(request) for server in both)
    assert ours == theirs, f"to {request!r}"
    return ours


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(program=programs, early=watches, late=watches)
def test_the_store_answers_as_etcd_does(both: tuple[Server, Server], program: list[Any], early: Any, late: Any) -> None:
    compared(both, pb.DeleteRangeRequest(key=EVERYTHING[0], range_end=EVERYTHING[1]))
    base = compared(both, pb.PutRequest(key=b"begin")).header.revision
    compacts = any(isinstance(request, pb.CompactionRequest) for request in program)
    lease = next(LEASES) * 10
    for watch in (early, late):
        # What came before an event may be compacted by the time it is read.
        watch.prev_kv = watch.prev_kv and not compacts
    early.start_revision = 0
    following = [server.watch(based(early, base, lease)) for server in both]
    for request in program:
        sent = based(request, base, lease)
        note(str(sent))
        compared(both, sent)
    current = compared(both, pb.RangeRequest(key=b"begin")).header.revision
    late = based(late, base, lease)
    late.start_revision = min(late.start_revision, current + 1)
    looking_back = [server.watch(late) for server in both]
    for watch, watching in [(early, following), (late, looking_back)]:
        # Seen by every watch of this key, whatever it filters.
        put = compared(both, pb.PutRequest(key=watch.key, value=b"end")).header.revision
        deleted = compared(both, pb.DeleteRangeRequest(key=watch.key)).header.revision
        until = put if pb.WatchCreateRequest.NODELETE in watch.filters else deleted
        ours, theirs = (one.events(until) for one in watching)
        assert ours == theirs, f"of {watch!r}"
    compared(both, pb.RangeRequest(key=EVERYTHING[0], range_end=EVERYTHING[1]))
