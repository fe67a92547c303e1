"""Objects in the store: one key each, guarded by the revision that it was last written at.

Every write is one transaction of the form "if the key is still at this revision, write, else tell me what is
there", so any number of API servers can write at once, and a conflict costs no second read. A write can carry
extras: other objects written or removed in the same transaction under guards of their own, such as the address
that a Service is given. Either all of it happens or nothing.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from navarch.protos.etcd import kv_pb2, rpc_pb2
from navarch.services.api.custom.objects import adopt
from navarch.services.api.errors import ApiError, RequestEntityTooLarge
from navarch.services.api.kinds import Kind
from navarch.services.apiserver.storage import conversion
from navarch.services.apiserver.storage.etcd import Compacted, Etcd
from navarch.services.apiserver.storage.leases import ExpiryLeases
from navarch.services.apiserver.storage.watch import StoreFeed, prefix_end
from navarch.services.apiserver.stored import StoredObject
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger

LOG = get_logger("apiserver.storage")
PAGE = 500
FRESH = 1024
# Every write of an Event lets it live this long again.
EVENT_TTL_S = 3600


Found = TypeVar("Found", StoredObject, StoredObject | None)
# The kind, its objects, the apiVersion that they shall have.
Convert = Callable[[Kind, Sequence[Any], str], Awaitable[list[Any]]]


class Outdated(Exception):
    """The key is not at the revision the write was meant for. newest: what is there, None if nothing is."""

    def __init__(self, newest: StoredObject | None) -> None:
        super().__init__()
        self.newest = newest


class ExtraOutdated(Exception):
    """An extra is not at the revision it was meant for. Nothing was written."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


@dataclass(frozen=True, slots=True)
class Extra:
    """One more key to write (value) or remove (None), if it is still at revision `guard` (0: not there)."""

    key: str
    value: bytes | None
    guard: int


@dataclass(frozen=True, slots=True)
class Page:
    """Objects at a revision, how many keys follow after them, and where those begin."""

    objects: list[StoredObject]
    revision: int
    left: int
    next_start: str


class ObjectStorage:
    """Reads and writes objects of all kinds. wrote: is told the revision of every write."""

    def __init__(self, etcd: Etcd, clock: Clock, wrote: Callable[[int], None]) -> None:
        self.etcd = etcd
        self._convert: Convert | None = None
        self._wrote = wrote
        self._clock = clock
        self._leases = ExpiryLeases(etcd, clock)
        # What was just written, by key: the feed brings it back in a moment, and it need not be made twice.
        self._fresh: OrderedDict[str, StoredObject] = OrderedDict()

    def convert_by(self, convert: Convert) -> None:
        """Have custom objects brought to another version by this, where their definition names a webhook."""
        self._convert = convert

    async def get(self, kind: Kind, namespace: str, name: str, revision: int = 0) -> StoredObject | None:
        """The object now, by a linearizable read, or at a revision; raises Compacted or FutureRevision."""
        request = rpc_pb2.RangeRequest(key=kind.key(namespace, name).encode(), revision=revision)
        answer = await self.etcd.range(request)
        return await self._object_of(kind, answer.kvs[0]) if answer.kvs else None

    async def _object_of(self, kind: Kind, pair: kv_pb2.KeyValue) -> StoredObject:
        stored = StoredObject.of_pair(kind, pair)
        return (await self.converted(kind, [stored]))[0] if kind.is_custom else stored

    async def converted(self, kind: Kind, objects: list[Found]) -> list[Found]:
        """Custom objects in the version of the kind, in whichever they are stored. Raises InternalError."""
        if self._convert is None or kind.custom.conversion.is_none:
            return objects
        foreign = [one for one in objects if one is not None and one.message.api_version != kind.api_version]
        found = await self._convert(kind, [one.decode() for one in foreign], kind.api_version)
        fresh = {}
        for one, message in zip(foreign, found, strict=True):
            adopt(message, kind)
            fresh[id(one)] = StoredObject.of_message(kind, message, one.revision)
        return [fresh.get(id(one), one) for one in objects]

    async def page(self, kind: Kind, namespace: str, *, start: str = "", limit: int = PAGE, revision: int = 0) -> Page:
        """Objects in order of their keys: up to `limit`, fewer where they are large.

        start: the first key, "namespace/name" or name. revision: 0 for now; raises Compacted or FutureRevision.
        """
        prefix = f"{kind.key_prefix}{namespace}/".encode() if namespace else kind.key_prefix.encode()
        begin = max(prefix, (kind.key_prefix + start).encode())
        request = rpc_pb2.RangeRequest(key=begin, range_end=prefix_end(prefix), limit=limit, revision=revision)
        answer = await self._range_that_fits(request)
        objects = [stored for pair in answer.kvs if (stored := readable(kind, pair)) is not None]
        if kind.is_custom:
            objects = await self.converted(kind, objects)
        left = max(0, answer.count - len(answer.kvs))
        last = answer.kvs[-1].key.decode("utf-8", "replace").removeprefix(kind.key_prefix) if answer.kvs else ""
        return Page(objects, revision or answer.header.revision, left, f"{last}\0")

    async def _range_that_fits(self, request: rpc_pb2.RangeRequest) -> rpc_pb2.RangeResponse:
        """Ask for less as long as the answer is more than one message holds."""
        while True:
            try:
                return await self.etcd.range(request)
            except RequestEntityTooLarge:
                if request.limit <= 1:
                    raise
                request.limit //= 2

    async def read_all(self, kind: Kind, revision: int = 0, *, namespace: str = "") -> tuple[list[StoredObject], int]:
        """All objects of a kind at one revision (0: now), read in pages. Raises Compacted or FutureRevision."""
        page = await self.page(kind, namespace, revision=revision)
        objects = list(page.objects)
        while page.left:
            page = await self.page(kind, namespace, start=page.next_start, revision=page.revision)
            objects += page.objects
        return objects, page.revision

    async def keys(self, kind: Kind, revision: int) -> tuple[frozenset[str], int]:
        """The keys ("namespace/name" or name) at a revision, and when the last was written. Raises Compacted."""
        prefix = kind.key_prefix.encode()
        request = rpc_pb2.RangeRequest(key=prefix, range_end=prefix_end(prefix), revision=revision, keys_only=True)
        pairs = (await self.etcd.range(request)).kvs
        last = max((pair.mod_revision for pair in pairs), default=0)
        return frozenset(pair.key.decode("utf-8", "replace").removeprefix(kind.key_prefix) for pair in pairs), last

    def follow(self, kind: Kind, start_revision: int) -> StoreFeed:
        """All changes of a kind from a revision on."""
        return StoreFeed(self.etcd, kind.key_prefix.encode(), start_revision, self._clock)

    async def oldest_revision(self, kind: Kind, compacted: int) -> int:
        """The oldest revision that can be read (0: only the present), given one that no longer can."""
        try:
            async with aclosing(aiter(self.follow(kind, compacted))) as batches:
                await anext(batches)
        except Compacted as failure:
            return failure.oldest
        return 0

    async def create(self, kind: Kind, message: Any, *, extras: Sequence[Extra] = ()) -> StoredObject:
        """Store a new object. Raises Outdated when its key is taken, ExtraOutdated."""
        return await self._write(kind, message, 0, extras)

    async def update(self, kind: Kind, message: Any, revision: int, *, extras: Sequence[Extra] = ()) -> StoredObject:
        """Replace the object last written at `revision`. Raises Outdated when it is another by now, ExtraOutdated."""
        return await self._write(kind, message, revision, extras)

    async def delete(self, stored: StoredObject, *, extras: Sequence[Extra] = ()) -> StoredObject:
        """Remove the object if it is still this revision; returns it as of its deletion."""
        main = Extra(stored.kind.key(stored.namespace, stored.name), None, stored.revision)
        return stored.at(await self._commit(stored.kind, main, extras, 0))

    async def commit_extra(self, extra: Extra) -> None:
        """Write one key that is no object of the API. Raises ExtraOutdated."""
        await self._commit(None, extra, (), 0)

    async def _write(self, kind: Kind, message: Any, guard: int, extras: Sequence[Extra]) -> StoredObject:
        metadata = message.metadata
        metadata.ClearField("resource_version")
        if kind.is_custom:
            return await self._write_custom(kind, message, guard, extras)
        value = conversion.to_stored(message, kind)
        main = Extra(kind.key(metadata.namespace, metadata.name), value, guard)
        lease = await self._leases.lease(EVENT_TTL_S) if kind.resource == "events" else 0
        revision = await self._commit(kind, main, extras, lease)
        stored = StoredObject.of_value(kind, metadata.namespace, metadata.name, value, revision)
        self._fresh[main.key] = stored
        if len(self._fresh) > FRESH:
            self._fresh.popitem(last=False)
        return stored

    def seen(self, kind: Kind, pair: kv_pb2.KeyValue) -> StoredObject | None:
        """The object of a pair that a feed brought; the very one that its writer got, encodings and all."""
        fresh = self._fresh.pop(pair.key.decode("utf-8", "replace"), None)
        if fresh is not None and fresh.revision == pair.mod_revision and fresh.kind is kind:
            return fresh
        return readable(kind, pair)

    async def _write_custom(self, kind: Kind, message: Any, guard: int, extras: Sequence[Extra]) -> StoredObject:
        metadata, stored = message.metadata, message
        if kind.stored_as != kind.api_version:
            if self._convert is not None and not kind.custom.conversion.is_none:
                stored = (await self._convert(kind, [message], kind.stored_as))[0]
            else:
                stored = type(message)()
                stored.CopyFrom(message)
                stored.api_version = kind.stored_as
        main = Extra(kind.key(metadata.namespace, metadata.name), conversion.to_stored(stored, kind), guard)
        return StoredObject.of_message(kind, message, await self._commit(kind, main, extras, 0))

    async def _commit(self, kind: Kind | None, main: Extra, extras: Sequence[Extra], lease: int) -> int:
        steps = (main, *extras)
        answer = await self.etcd.txn(_transaction(steps, lease))
        if answer.succeeded:
            self._wrote(answer.header.revision)
            return answer.header.revision
        for step, found in zip(steps, answer.responses, strict=True):
            pairs = found.response_range.kvs
            if (pairs[0].mod_revision if pairs else 0) == step.guard:
                continue
            if step is not main or kind is None:
                raise ExtraOutdated(step.key)
            raise Outdated(await self._object_of(kind, pairs[0]) if pairs else None)
        raise AssertionError("the store refused a transaction whose guards all hold")


def readable(kind: Kind, pair: kv_pb2.KeyValue) -> StoredObject | None:
    """The object of a pair; None for one that is damaged.

    One spoiled value must not take its resource down: it is reported, and reads as absent until it is repaired.
    """
    try:
        return StoredObject.of_pair(kind, pair)
    except ApiError as failure:
        LOG.error("object.damaged", key=pair.key.decode("utf-8", "replace"), error=str(failure))
        return None


def _transaction(steps: Sequence[Extra], lease: int) -> rpc_pb2.TxnRequest:
    """Write all if every key is still at its revision; else tell what is there: the first as a whole."""
    request = rpc_pb2.TxnRequest()
    for step in steps:
        key = step.key.encode()
        request.compare.add(key=key, target=rpc_pb2.Compare.MOD, mod_revision=step.guard)
        operation = request.success.add()
        if step.value is None:
            operation.request_delete_range.key = key
        else:
            put = operation.request_put
            put.key, put.value, put.lease = key, step.value, lease
        look = request.failure.add().request_range
        look.key, look.keys_only = key, step is not steps[0]
    return request
