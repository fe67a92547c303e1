"""Evaluation of a RangeRequest: which keys, in which order, and what of them."""

from collections.abc import Callable

from navarch.protos.etcd.kv_pb2 import KeyValue
from navarch.protos.etcd.rpc_pb2 import RangeRequest, RangeResponse
from navarch.services.store.mvcc.store import MvccStore

_SORT_KEYS: dict[int, Callable[[KeyValue], int | bytes]] = {
    RangeRequest.KEY: lambda kv: kv.key,
    RangeRequest.VERSION: lambda kv: kv.version,
    RangeRequest.CREATE: lambda kv: kv.create_revision,
    RangeRequest.MOD: lambda kv: kv.mod_revision,
    RangeRequest.VALUE: lambda kv: kv.value,
}


def evaluate(store: MvccStore, request: RangeRequest, current: int) -> RangeResponse:
    """Answer a range at its revision; current: the newest one it may see. Raises EtcdError."""
    main = store.check_revision(request.revision, current)
    response = RangeResponse()
    response.header.revision = current
    if request.count_only:
        response.count = store.index.visible(request.key, request.range_end, main, current, 1)[1]
        return response
    filtered = _is_filtered(request)
    whole = filtered or request.sort_order != RangeRequest.NONE
    # One more than asked for tells whether there is more.
    limit = 0 if whole or request.limit <= 0 else request.limit + 1
    found, response.count = store.index.visible(request.key, request.range_end, main, current, limit)
    if not whole and request.sort_target == RangeRequest.KEY:
        _fill(store, response, found, request)
        return response
    kvs = []
    for packed in found:
        kv = KeyValue()
        store.load(packed, kv)
        if not filtered or _passes(request, kv):
            kvs.append(kv)
    descending = request.sort_order == RangeRequest.DESCEND
    if descending or request.sort_target != RangeRequest.KEY:
        kvs.sort(key=_SORT_KEYS[request.sort_target], reverse=descending)
    if 0 < request.limit < len(kvs):
        del kvs[request.limit :]
        response.more = True
    for kv in kvs:
        if request.keys_only:
            kv.ClearField("value")
        response.kvs.append(kv)
    return response


def _fill(store: MvccStore, response: RangeResponse, found: list[int], request: RangeRequest) -> None:
    if 0 < request.limit < len(found):
        del found[request.limit :]
        response.more = True
    for packed in found:
        kv = response.kvs.add()
        store.load(packed, kv)
        if request.keys_only:
            kv.ClearField("value")


def _is_filtered(request: RangeRequest) -> bool:
    return bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def _passes(request: RangeRequest, kv: KeyValue) -> bool:
    return (
        kv.mod_revision >= request.min_mod_revision
        and kv.create_revision >= request.min_create_revision
        and (not request.max_mod_revision or kv.mod_revision <= request.max_mod_revision)
        and (not request.max_create_revision or kv.create_revision <= request.max_create_revision)
    )
