"""Evaluation of puts, deletions and transactions, with etcd's semantics.

A transaction first decides all its branches (nested ones too) on the state before it, then checks what the
chosen branches need, and only then writes: a refused transaction has changed nothing.
"""

from collections.abc import Iterator, Sequence

from navarch.protos.etcd.kv_pb2 import KeyValue
from navarch.protos.etcd.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    DeleteRangeResponse,
    PutRequest,
    PutResponse,
    RequestOp,
    TxnRequest,
    TxnResponse,
)
from navarch.services.store.errors import KEY_NOT_FOUND, LEASE_NOT_FOUND
from navarch.services.store.lease import Lessor
from navarch.services.store.mvcc import ranges
from navarch.services.store.mvcc.store import MvccStore, WriteTxn

# The outcomes of a transaction and those nested in it, in the order they are met.
Branches = Iterator[bool]
_ABSENT = KeyValue()


def check_put(store: MvccStore, lessor: Lessor, request: PutRequest) -> None:
    """Refuse a put whose key must exist and does not, or whose lease is unknown. Raises EtcdError."""
    if (request.ignore_value or request.ignore_lease) and not store.index.current(request.key):
        raise KEY_NOT_FOUND()
    if request.lease and lessor.get(request.lease) is None:
        raise LEASE_NOT_FOUND()


def put(store: MvccStore, txn: WriteTxn, request: PutRequest) -> PutResponse:
    """Carry out a checked put."""
    response = PutResponse()
    value, lease = request.value, request.lease
    if request.prev_kv or request.ignore_value or request.ignore_lease:
        previous = store.get(request.key)
        if previous is not None:
            if request.prev_kv:
                response.prev_kv.CopyFrom(previous)
            value = previous.value if request.ignore_value else value
            lease = previous.lease if request.ignore_lease else lease
    txn.put(request.key, value, lease)
    response.header.revision = txn.revision
    return response


def delete_range(store: MvccStore, txn: WriteTxn, request: DeleteRangeRequest) -> DeleteRangeResponse:
    """Delete a range of keys."""
    response = DeleteRangeResponse()
    for key in store.index.live_keys(request.key, request.range_end):
        if request.prev_kv:
            store.load(store.index.current(key), response.prev_kvs.add())
        txn.delete(key)
        response.deleted += 1
    response.header.revision = txn.revision
    return response


def is_read_only(request: TxnRequest) -> bool:
    """Whether no branch of a transaction can write."""
    return all(
        op.WhichOneof("request") in ("request_range", None)
        or (op.WhichOneof("request") == "request_txn" and is_read_only(op.request_txn))
        for op in (*request.success, *request.failure)
    )


def is_serializable(request: TxnRequest) -> bool:
    """Whether every read of a transaction accepts stale data (its compares then do, too)."""
    return all(op.request_range.serializable for op in (*request.success, *request.failure))


def transact(store: MvccStore, lessor: Lessor, txn: WriteTxn, request: TxnRequest) -> TxnResponse:
    """Decide, check and carry out a transaction. Raises EtcdError, having changed nothing."""
    branches = list(_decide(store, request))
    _check(store, lessor, request, iter(branches))
    response = TxnResponse()
    _execute(store, txn, request, iter(branches), response)
    response.header.revision = txn.revision
    return response


def _chosen(request: TxnRequest, branches: Branches) -> tuple[bool, Sequence[RequestOp]]:
    succeeded = next(branches)
    return succeeded, request.success if succeeded else request.failure


def _decide(store: MvccStore, request: TxnRequest) -> Iterator[bool]:
    succeeded = all(_holds(store, compare) for compare in request.compare)
    yield succeeded
    for op in request.success if succeeded else request.failure:
        if op.WhichOneof("request") == "request_txn":
            yield from _decide(store, op.request_txn)


def _check(store: MvccStore, lessor: Lessor, request: TxnRequest, branches: Branches) -> None:
    for op in _chosen(request, branches)[1]:
        match op.WhichOneof("request"):
            case "request_put":
                check_put(store, lessor, op.request_put)
            case "request_range":
                store.check_revision(op.request_range.revision, store.revision)
            case "request_txn":
                _check(store, lessor, op.request_txn, branches)


def _execute(store: MvccStore, txn: WriteTxn, request: TxnRequest, branches: Branches, response: TxnResponse) -> None:
    response.succeeded, ops = _chosen(request, branches)
    for op in ops:
        answer = response.responses.add()
        match op.WhichOneof("request"):
            case "request_put":
                answer.response_put.CopyFrom(put(store, txn, op.request_put))
            case "request_delete_range":
                answer.response_delete_range.CopyFrom(delete_range(store, txn, op.request_delete_range))
            case "request_range":
                answer.response_range.CopyFrom(ranges.evaluate(store, op.request_range, txn.revision))
            case "request_txn":
                # Only the outermost answer names a revision.
                answer.response_txn.header.SetInParent()
                _execute(store, txn, op.request_txn, branches, answer.response_txn)


def _holds(store: MvccStore, compare: Compare) -> bool:
    if not compare.range_end:
        kv = store.get(compare.key)
        if kv is None:
            # There is no way to say "absent" as a value, so a comparison of values never holds then.
            return compare.target != Compare.VALUE and _compares(compare, _ABSENT)
        return _compares(compare, kv)
    keys = store.index.live_keys(compare.key, compare.range_end)
    if not keys:
        return compare.target != Compare.VALUE and _compares(compare, _ABSENT)
    return all(_compares(compare, kv) for key in keys if (kv := store.get(key)) is not None)


def _compares(compare: Compare, kv: KeyValue) -> bool:
    actual: int | bytes
    expected: int | bytes
    match compare.target:
        case Compare.VERSION:
            actual, expected = kv.version, compare.version
        case Compare.CREATE:
            actual, expected = kv.create_revision, compare.create_revision
        case Compare.MOD:
            actual, expected = kv.mod_revision, compare.mod_revision
        case Compare.VALUE:
            actual, expected = kv.value, compare.value
        case Compare.LEASE:
            actual, expected = kv.lease, compare.lease
        case _:
            return True
    match compare.result:
        case Compare.EQUAL:
            return actual == expected
        case Compare.NOT_EQUAL:
            return actual != expected
        case Compare.GREATER:
            return actual > expected  # type: ignore[operator]
        case Compare.LESS:
            return actual < expected  # type: ignore[operator]
        case _:
            return True
