"""Requests that nobody should send: our store refuses them, or does not, in the words of Debian's etcd."""

import contextlib
import queue
from collections.abc import Iterator
from typing import Any, NamedTuple

import grpc
import pytest

from navarch.protos.etcd import rpc_pb2 as pb
from navarch.protos.etcd import rpc_pb2_grpc
from navarch.testing.store_peers import NAMES, serving

MAX_INT64 = (1 << 63) - 1
MIN_INT64 = -(1 << 63)


class Both(NamedTuple):
    ours: grpc.Channel
    theirs: grpc.Channel


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Both with a little history: revisions 2 to 7, compacted at 4."""
    directory = tmp_path_factory.mktemp("bad-input")
    with contextlib.ExitStack() as stack:
        channels = [stack.enter_context(serving(name, directory / name)) for name in NAMES]
        for channel in channels:
            kv = rpc_pb2_grpc.KVStub(channel)
            for number in range(6):
                kv.Put(pb.PutRequest(key=b"k%d" % (number % 3), value=b"%d" % number))
            kv.Compact(pb.CompactionRequest(revision=4, physical=True))
        yield Both(*channels)


def put(key: bytes = b"k", **fields: Any) -> pb.PutRequest:
    return pb.PutRequest(key=key, **fields)


def ops(*requests: Any) -> list[pb.RequestOp]:
    kinds = {pb.PutRequest: "request_put", pb.RangeRequest: "request_range", pb.TxnRequest: "request_txn"}
    kinds[pb.DeleteRangeRequest] = "request_delete_range"
    return [pb.RequestOp(**{kinds[type(request)]: request}) for request in requests]


def nested(depth: int) -> pb.TxnRequest:
    txn = pb.TxnRequest(success=ops(put(b"deep")))
    for _ in range(depth):
        txn = pb.TxnRequest(success=ops(txn))
    return txn


def compare(**fields: Any) -> pb.TxnRequest:
    return pb.TxnRequest(compare=[pb.Compare(**fields)], success=ops(pb.RangeRequest(key=b"k0")))


MANY = [put(b"%d" % number) for number in range(10_000)]

KV: dict[str, tuple[str, Any]] = {
    "range-empty-key": ("Range", pb.RangeRequest()),
    "range-empty-key-with-end": ("Range", pb.RangeRequest(range_end=b"z")),
    "range-end-before-start": ("Range", pb.RangeRequest(key=b"z", range_end=b"a")),
    "range-end-is-start": ("Range", pb.RangeRequest(key=b"k0", range_end=b"k0")),
    "range-future": ("Range", pb.RangeRequest(key=b"k0", revision=1000)),
    "range-compacted": ("Range", pb.RangeRequest(key=b"k0", revision=3)),
    "range-at-the-compaction": ("Range", pb.RangeRequest(key=b"k0", revision=4)),
    "range-max-revision": ("Range", pb.RangeRequest(key=b"k0", revision=MAX_INT64)),
    "range-negative-revision": ("Range", pb.RangeRequest(key=b"k0", revision=-1)),
    "range-min-revision": ("Range", pb.RangeRequest(key=b"k0", revision=MIN_INT64)),
    "range-negative-limit": ("Range", pb.RangeRequest(key=b"k", range_end=b"l", limit=-1)),
    "range-max-limit": ("Range", pb.RangeRequest(key=b"k", range_end=b"l", limit=MAX_INT64)),
    "range-contradicting-filters": (
        "Range",
        pb.RangeRequest(key=b"k", range_end=b"l", min_mod_revision=MAX_INT64, max_mod_revision=1),
    ),
    "range-negative-filters": ("Range", pb.RangeRequest(key=b"k", range_end=b"l", min_mod_revision=-5)),
    "put-empty-key": ("Put", put(b"")),
    "put-too-large": ("Put", put(value=b"x" * (3 << 19))),
    "put-too-large-key": ("Put", put(b"x" * (3 << 19))),
    "put-unknown-lease": ("Put", put(lease=4711)),
    "put-negative-lease": ("Put", put(lease=-1)),
    "put-ignore-value-of-nothing": ("Put", put(b"nothing", ignore_value=True)),
    "put-ignore-lease-of-nothing": ("Put", put(b"nothing", ignore_lease=True)),
    "put-value-and-ignore-value": ("Put", put(b"k0", value=b"x", ignore_value=True)),
    "put-lease-and-ignore-lease": ("Put", put(b"k0", lease=1, ignore_lease=True)),
    "delete-empty-key": ("DeleteRange", pb.DeleteRangeRequest()),
    "delete-end-before-start": ("DeleteRange", pb.DeleteRangeRequest(key=b"z", range_end=b"a")),
    "txn-empty": ("Txn", pb.TxnRequest()),
    "txn-10000-operations": ("Txn", pb.TxnRequest(success=ops(*MANY))),
    "txn-10000-compares": ("Txn", pb.TxnRequest(compare=[pb.Compare(key=b"k")] * 10_000)),
    "txn-129-operations": ("Txn", pb.TxnRequest(failure=ops(*MANY[:129]))),
    "txn-129-nested": ("Txn", pb.TxnRequest(success=ops(pb.TxnRequest(success=ops(*MANY[:129]))))),
    "txn-too-large": ("Txn", pb.TxnRequest(success=ops(put(value=b"x" * (3 << 19))))),
    "txn-same-key-twice": ("Txn", pb.TxnRequest(success=ops(put(), put()))),
    "txn-put-and-delete": ("Txn", pb.TxnRequest(success=ops(put(), pb.DeleteRangeRequest(key=b"a", range_end=b"z")))),
    "txn-same-key-nested": ("Txn", pb.TxnRequest(success=ops(put(), pb.TxnRequest(failure=ops(put()))))),
    "txn-put-empty-key": ("Txn", pb.TxnRequest(success=ops(put(b"")))),
    "txn-range-empty-key": ("Txn", pb.TxnRequest(failure=ops(pb.RangeRequest()))),
    "txn-range-future": ("Txn", pb.TxnRequest(success=ops(pb.RangeRequest(key=b"k0", revision=1000)))),
    "txn-range-compacted": ("Txn", pb.TxnRequest(success=ops(put(), pb.RangeRequest(key=b"k0", revision=2)))),
    "txn-range-future-not-taken": ("Txn", pb.TxnRequest(failure=ops(pb.RangeRequest(key=b"k0", revision=1000)))),
    "txn-unknown-lease": ("Txn", pb.TxnRequest(success=ops(put(b"first"), put(lease=4711)))),
    "txn-unknown-lease-not-taken": ("Txn", pb.TxnRequest(failure=ops(put(lease=4711)))),
    "txn-compare-empty-key": ("Txn", compare()),
    "txn-compare-without-value": ("Txn", compare(key=b"k0", target=pb.Compare.VALUE)),
    "txn-compare-max-revision": ("Txn", compare(key=b"k0", target=pb.Compare.MOD, mod_revision=MAX_INT64)),
    "txn-compare-negative-version": ("Txn", compare(key=b"k0", target=pb.Compare.VERSION, version=-1, result=1)),
    "txn-operation-without-request": ("Txn", pb.TxnRequest(success=[pb.RequestOp()])),
    "txn-deeply-nested": ("Txn", nested(20)),
    "compact-future": ("Compact", pb.CompactionRequest(revision=1000)),
    "compact-max": ("Compact", pb.CompactionRequest(revision=MAX_INT64)),
    "compact-again": ("Compact", pb.CompactionRequest(revision=4)),
    "compact-before": ("Compact", pb.CompactionRequest(revision=2)),
    "compact-zero": ("Compact", pb.CompactionRequest()),
    "compact-negative": ("Compact", pb.CompactionRequest(revision=-1)),
}
LEASE: dict[str, tuple[str, Any]] = {
    "grant-too-long": ("LeaseGrant", pb.LeaseGrantRequest(ID=1, TTL=9_000_000_001)),
    "grant-max": ("LeaseGrant", pb.LeaseGrantRequest(ID=1, TTL=MAX_INT64)),
    "revoke-unknown": ("LeaseRevoke", pb.LeaseRevokeRequest(ID=4711)),
    "revoke-none": ("LeaseRevoke", pb.LeaseRevokeRequest()),
    "revoke-negative": ("LeaseRevoke", pb.LeaseRevokeRequest(ID=-1)),
    "time-of-unknown": ("LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=4711, keys=True)),
    "time-of-none": ("LeaseTimeToLive", pb.LeaseTimeToLiveRequest()),
}
CASES = {
    **{name: (rpc_pb2_grpc.KVStub, *case) for name, case in KV.items()},
    **{name: (rpc_pb2_grpc.LeaseStub, *case) for name, case in LEASE.items()},
    "hash-future": (rpc_pb2_grpc.MaintenanceStub, "HashKV", pb.HashKVRequest(revision=1000)),
    "hash-compacted": (rpc_pb2_grpc.MaintenanceStub, "HashKV", pb.HashKVRequest(revision=2)),
    "remove-unknown-member": (rpc_pb2_grpc.ClusterStub, "MemberRemove", pb.MemberRemoveRequest(ID=4711)),
    "update-unknown-member": (
        rpc_pb2_grpc.ClusterStub,
        "MemberUpdate",
        pb.MemberUpdateRequest(ID=4711, peerURLs=["http://127.0.0.1:1"]),
    ),
    "promote-unknown-member": (rpc_pb2_grpc.ClusterStub, "MemberPromote", pb.MemberPromoteRequest(ID=4711)),
    "add-member-without-url": (rpc_pb2_grpc.ClusterStub, "MemberAdd", pb.MemberAddRequest()),
    "move-leader-to-nobody": (rpc_pb2_grpc.MaintenanceStub, "MoveLeader", pb.MoveLeaderRequest(targetID=4711)),
}


def outcome(channel: grpc.Channel, stub: Any, method: str, request: Any) -> Any:
    """The refusal, or the answer without what is the server's own."""
    try:
        answer = getattr(stub(channel), method)(request, timeout=20)
    except grpc.RpcError as refusal:
        error: Any = refusal
        return error.code(), error.details()
    answer.header.Clear()
    for response in getattr(answer, "responses", ()):
        for _, inner in response.ListFields():
            inner.header.ClearField("cluster_id")
    return answer


@pytest.mark.parametrize("case", CASES)
def test_a_bad_request_meets_the_same_answer(both: Both, case: str) -> None:
    ours, theirs = (outcome(channel, *CASES[case]) for channel in both)
    assert ours == theirs


@pytest.mark.parametrize(
    ("case", "code", "message"),
    [
        ("range-empty-key", "INVALID_ARGUMENT", "etcdserver: key is not provided"),
        ("put-too-large", "INVALID_ARGUMENT", "etcdserver: request is too large"),
        ("put-unknown-lease", "NOT_FOUND", "etcdserver: requested lease not found"),
        ("txn-10000-operations", "INVALID_ARGUMENT", "etcdserver: too many operations in txn request"),
        ("txn-same-key-twice", "INVALID_ARGUMENT", "etcdserver: duplicate key given in txn request"),
        ("compact-future", "OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision"),
        ("range-compacted", "OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted"),
        ("range-max-revision", "OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision"),
    ],
)
def test_the_words_themselves(both: Both, case: str, code: str, message: str) -> None:
    assert outcome(both.ours, *CASES[case]) == (grpc.StatusCode[code], message)


def test_two_mebibytes(both: Both) -> None:
    """etcd does not even read them; our refusal is the one that clients know."""
    request = put(value=b"x" * (2 << 20))
    ours, theirs = (outcome(channel, rpc_pb2_grpc.KVStub, "Put", request) for channel in both)
    assert ours == (grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large")
    assert theirs[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("fields", [{"sort_order": 7}, {"sort_order": 1, "sort_target": 9}])
def test_odd_sort_options(both: Both, fields: dict[str, Any]) -> None:
    """Debian's etcd ends with a panic; ours answers as newer ones do."""
    request = pb.RangeRequest(key=b"k", range_end=b"l", **fields)
    assert outcome(both.ours, rpc_pb2_grpc.KVStub, "Range", request) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "etcdserver: invalid sort option",
    )


def test_nothing_of_a_refused_transaction_happened(both: Both) -> None:
    for channel in both:
        outcome(channel, *CASES["txn-unknown-lease"])
        assert rpc_pb2_grpc.KVStub(channel).Range(pb.RangeRequest(key=b"first")).count == 0


WATCHES = {
    "compacted": pb.WatchCreateRequest(key=b"k0", start_revision=2),
    "empty-range": pb.WatchCreateRequest(key=b"z", range_end=b"a", start_revision=7),
    "empty-key": pb.WatchCreateRequest(start_revision=7),
    "negative-revision": pb.WatchCreateRequest(key=b"k0", start_revision=-1),
    "given-id": pb.WatchCreateRequest(key=b"k0", watch_id=42, start_revision=1 << 40),
    "negative-id": pb.WatchCreateRequest(key=b"k0", watch_id=-1),
    "max-revision": pb.WatchCreateRequest(key=b"k0", start_revision=MAX_INT64),
    "odd-filter": pb.WatchCreateRequest(key=b"k0", filters=[7], start_revision=1 << 40),  # type: ignore[list-item]
}


# Those that are cancelled some time after they were created.
CANCELLED_LATER = {"compacted", "negative-revision"}
LAST_ID = 99


def watched(channel: grpc.Channel, case: str) -> list[Any]:
    """What a stream says to a watch, and to others: one with an id that is taken, the cancelling of an unknown one."""
    requests: queue.Queue[pb.WatchRequest | None] = queue.Queue()
    requests.put(pb.WatchRequest(create_request=WATCHES[case]))
    for watch_id in (77, 77, LAST_ID):
        create = pb.WatchCreateRequest(key=b"k1", watch_id=watch_id, start_revision=1 << 40)
        requests.put(pb.WatchRequest(create_request=create))
        requests.put(pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=4711)))
    stream = rpc_pb2_grpc.WatchStub(channel).Watch(iter(requests.get, None), timeout=20)
    seen: list[Any] = []
    awaited = {LAST_ID} | ({0} if case in CANCELLED_LATER else set())
    for one in stream:
        # Where history is compacted, the revision says it all; ours gives the reason in words, too.
        reason = "" if one.compact_revision else one.cancel_reason
        seen.append((one.watch_id, one.created, one.canceled, one.compact_revision, reason, len(one.events)))
        if one.watch_id == LAST_ID or one.canceled:
            awaited.discard(one.watch_id)
        if not awaited:
            break
    requests.put(None)
    stream.cancel()
    return sorted(seen)


@pytest.mark.parametrize("case", WATCHES)
def test_a_bad_watch_meets_the_same_answer(both: Both, case: str) -> None:
    ours, theirs = (watched(channel, case) for channel in both)
    assert ours == theirs


@pytest.mark.parametrize("lease", [0, 4711, -1, MAX_INT64])
def test_keeping_an_unknown_lease_alive(both: Both, lease: int) -> None:
    request = pb.LeaseKeepAliveRequest(ID=lease)
    answers = [next(rpc_pb2_grpc.LeaseStub(channel).LeaseKeepAlive(iter([request]), timeout=20)) for channel in both]
    assert [(answer.ID, answer.TTL) for answer in answers] == [(lease, 0)] * 2
