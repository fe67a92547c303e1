"""What is wrong with a request before the state is even looked at. Everything here raises EtcdError."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from navarch.protos.etcd.rpc_pb2 import DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest
from navarch.services.store.errors import (
    DUPLICATE_KEY,
    EMPTY_KEY,
    INVALID_SORT_OPTION,
    KEY_NOT_FOUND,
    LEASE_PROVIDED,
    TOO_MANY_OPS,
    VALUE_PROVIDED,
)
from navarch.services.store.mvcc.key_index import in_range

_SORT_ORDERS = frozenset(RangeRequest.SortOrder.values())
_SORT_TARGETS = frozenset(RangeRequest.SortTarget.values())


def check_range(request: RangeRequest) -> None:
    """Refuse an empty key and unknown sort options."""
    if not request.key:
        raise EMPTY_KEY()
    if request.sort_order not in _SORT_ORDERS or request.sort_target not in _SORT_TARGETS:
        raise INVALID_SORT_OPTION()


def check_put(request: PutRequest) -> None:
    """Refuse an empty key, and a value or lease that is given and to be ignored."""
    if not request.key:
        raise EMPTY_KEY()
    if request.ignore_value and request.value:
        raise VALUE_PROVIDED()
    if request.ignore_lease and request.lease:
        raise LEASE_PROVIDED()


def check_delete(request: DeleteRangeRequest) -> None:
    """Refuse an empty key."""
    if not request.key:
        raise EMPTY_KEY()


def check_txn(request: TxnRequest, max_ops: int) -> None:
    """Refuse too many operations, bad ones, and writes that overlap."""
    _check_ops(request, max_ops)
    _written(request.success)
    _written(request.failure)


def _check_ops(request: TxnRequest, max_ops: int) -> None:
    count = max(len(request.compare), len(request.success), len(request.failure))
    if count > max_ops:
        raise TOO_MANY_OPS()
    if any(not compare.key for compare in request.compare):
        raise EMPTY_KEY()
    for op in (*request.success, *request.failure):
        match op.WhichOneof("request"):
            case "request_range":
                check_range(op.request_range)
            case "request_put":
                check_put(op.request_put)
            case "request_delete_range":
                check_delete(op.request_delete_range)
            case "request_txn":
                _check_ops(op.request_txn, max_ops - count)
            case None:
                raise KEY_NOT_FOUND()


@dataclass(slots=True)
class _Written:
    """What a list of operations writes: keys put, ranges deleted."""

    puts: set[bytes] = field(default_factory=set)
    deletes: list[tuple[bytes, bytes]] = field(default_factory=list)

    def put(self, keys: Iterable[bytes], excused: frozenset[bytes] | set[bytes] = frozenset()) -> None:
        """Add keys; one that is written already is refused, unless excused."""
        for key in keys:
            if key in self.puts and key not in excused:
                raise DUPLICATE_KEY()
            if any(in_range(key, start, end) for start, end in self.deletes):
                raise DUPLICATE_KEY()
            self.puts.add(key)


def _written(ops: Iterable[RequestOp]) -> _Written:
    """What the operations write. Only the two branches of one nested transaction may overlap: one of them runs."""
    written = _Written()
    puts: list[bytes] = []
    nested: list[TxnRequest] = []
    for op in ops:
        match op.WhichOneof("request"):
            case "request_put":
                puts.append(op.request_put.key)
            case "request_delete_range":
                written.deletes.append((op.request_delete_range.key, op.request_delete_range.range_end))
            case "request_txn":
                nested.append(op.request_txn)
    for txn in nested:
        success, failure = _written(txn.success), _written(txn.failure)
        written.put(success.puts)
        written.put(failure.puts, excused=success.puts)
        written.deletes += success.deletes + failure.deletes
    written.put(puts)
    return written
