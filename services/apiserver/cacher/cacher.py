"""The shell around one watch cache: lists the store, follows it, and lets readers wait for a revision.

A read without a resource version has to see every write acknowledged before it. It learns the store's revision
(one linearizable read for all who wait), then waits here until the cache has got there. On a busy resource the
next event brings it; on a quiet one the feed is asked for progress, for as long as somebody waits.
"""

import asyncio
import heapq
import itertools

from navarch.protos.etcd import kv_pb2
from navarch.services.api.errors import ApiError, InternalError, ServiceUnavailable, UnknownKind
from navarch.services.api.fields import supported_fields
from navarch.services.api.kinds import Kind
from navarch.services.apiserver.cacher.cache import RING_CHANGES, WatchCache
from navarch.services.apiserver.cacher.selection import NODE_FIELD
from navarch.services.apiserver.storage.etcd import Compacted, FutureRevision
from navarch.services.apiserver.storage.objects import ObjectStorage
from navarch.services.apiserver.storage.watch import Batch, StoreFeed
from navarch.services.apiserver.stored import StoredObject, split_key
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.base.tasks import TaskOwner

LOG = get_logger("apiserver.cacher")
READY_S = 10.0
# How long a reader waits for the cache before the store is asked instead.
CATCH_UP_S = 1.0
PROGRESS_RETRY_S = 0.1
BEHIND_RETRY_S = 0.005
LIST_RETRY_S = 0.2


class Cacher:
    """The watch cache of one resource. Started on first use, kept until the server stops."""

    def __init__(self, kind: Kind, storage: ObjectStorage, clock: Clock, tasks: TaskOwner) -> None:
        self.kind = kind
        self.cache = WatchCache(namespaced=kind.namespaced, on_nodes=NODE_FIELD in supported_fields(kind))
        self._storage = storage
        self._clock = clock
        self._tasks = tasks
        self._feed: StoreFeed | None = None
        self._ready = asyncio.Event()
        self._order = itertools.count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._asking = False
        # Set by every batch of the feed.
        self._moved = asyncio.Event()
        # Why it is not filled, as of the last attempt.
        self._failure: ApiError | None = None
        self._running = tasks.spawn(self._run(), f"cacher:{kind.qualified_resource}")

    def stop(self) -> None:
        """End all watches and follow the store no more. Idempotent."""
        self._running.cancel()
        self._failure = UnknownKind("the server could not find the requested resource")
        self._ready.set()
        for subscription in list(self.cache.subscriptions()):
            subscription.end("gone")

    async def ready(self) -> WatchCache:
        """The cache, once it has been filled. Raises ServiceUnavailable when the store keeps us waiting."""
        if self._failure is not None:
            raise self._failure
        if not self._ready.is_set():
            try:
                async with asyncio.timeout(READY_S):
                    await self._ready.wait()
            except TimeoutError:
                raise ServiceUnavailable(f"the cache of {self.kind.qualified_resource} is not filled yet") from None
            if self._failure is not None:
                raise self._failure
        return self.cache

    async def reach(self, revision: int, patience_s: float = CATCH_UP_S) -> bool:
        """Wait until the cache is at least at this revision; False when that takes too long."""
        await self.ready()
        return await self._arrive(revision, patience_s)

    async def catch_up(self, revision: int) -> None:
        """Bring the cache to a revision that the store has. Raises ServiceUnavailable when it stays behind."""
        await self.ready()
        if not await self._follow_to(revision, READY_S):
            raise ServiceUnavailable(f"the cache of {self.kind.qualified_resource} is behind the store")

    async def _follow_to(self, revision: int, patience_s: float) -> bool:
        return await (self._arrive(revision, patience_s) if self.precise else self._compare(revision, patience_s))

    async def _compare(self, revision: int, patience_s: float) -> bool:
        """Find out that nothing up to this revision is missing, from a store that does not say how far its feed is.

        Events come in order. So it is all there once the last write of a key that was left at that revision is,
        and no key is there that was not.
        """
        try:
            keys, last = await self._storage.keys(self.kind, revision)
            async with asyncio.timeout(patience_s):
                while self.cache.revision < revision:
                    if self.cache.revision >= last and all(key in keys for key in self.cache):
                        self.cache.advance(revision)
                        self._wake_arrived()
                        break
                    self._moved.clear()
                    await self._moved.wait()
        except (ApiError, Compacted, TimeoutError):
            return False
        return True

    async def _arrive(self, revision: int, patience_s: float) -> bool:
        if self.cache.revision >= revision:
            return True
        arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (revision, next(self._order), arrived))
        self.ask_progress()
        try:
            async with asyncio.timeout(patience_s):
                await arrived
        except TimeoutError:
            return False
        return True

    @property
    def is_ready(self) -> bool:
        """Whether the cache has been filled."""
        return self._ready.is_set()

    @property
    def precise(self) -> bool:
        """Whether a quiet cache can prove how new it is."""
        return self._storage.etcd.precise_progress

    def ask_progress(self) -> None:
        """Have the cache's revision brought up to date soon, if the store can tell it."""
        if self.precise and not self._asking:
            self._asking = True
            self._tasks.spawn(self._ask_while_waiting(), "cacher-progress")

    async def _ask_while_waiting(self) -> None:
        try:
            while True:
                before = self.cache.revision
                self._moved.clear()
                if self._feed is not None:
                    await self._feed.request_progress()
                try:
                    async with asyncio.timeout(PROGRESS_RETRY_S):
                        await self._moved.wait()
                except TimeoutError:
                    LOG.debug("cacher.no_progress", resource=self.kind.qualified_resource)
                self._wake_arrived()
                if not self._waiting:
                    return
                if self.cache.revision == before:
                    # A member that is behind: do not spin on it.
                    await self._clock.sleep(BEHIND_RETRY_S)
        finally:
            self._asking = False

    async def _run(self) -> None:
        while True:
            try:
                present = await self._storage.etcd.revision()
                objects, revision = await self._read_past(present)
            except (ApiError, Compacted, FutureRevision) as failure:
                LOG.warning("cacher.list_failed", resource=self.kind.qualified_resource, error=str(failure))
                self._failure = failure if isinstance(failure, InternalError) else None
                await self._clock.sleep(LIST_RETRY_S)
                continue
            self._failure = None
            self.cache.reset(objects, revision)
            self._feed = self._storage.follow(self.kind, revision + 1)
            if not self._ready.is_set():
                self._tasks.spawn(self._become_ready(present), "cacher-ready")
            try:
                async for batch in self._feed:
                    await self._apply(batch)
            except (Compacted, ApiError) as reason:
                LOG.warning("cacher.starts_over", resource=self.kind.qualified_resource, reason=str(reason))
            finally:
                self._feed = None

    async def _read_past(self, present: int) -> tuple[list[StoredObject], int]:
        """The objects as they were a while ago: what came since arrives by the feed and fills the ring.

        So those who watched through another server, or through this one before it was started again, can
        resume here.
        """
        past = max(1, present - RING_CHANGES)
        try:
            return await self._storage.read_all(self.kind, past)
        except Compacted:
            return await self._storage.read_all(self.kind, await self._storage.oldest_revision(self.kind, past))

    async def _become_ready(self, present: int) -> None:
        """Let readers in once the past has been made up for."""
        while not await self._follow_to(present, READY_S):
            LOG.warning("cacher.is_behind", resource=self.kind.qualified_resource, revision=present)
            await self._clock.sleep(LIST_RETRY_S)
        self._ready.set()

    async def _apply(self, batch: Batch) -> None:
        pairs = [event.kv for event in batch.events]
        found = [
            None if event.type == kv_pb2.Event.DELETE else self._storage.seen(self.kind, pair)
            for event, pair in zip(batch.events, pairs, strict=True)
        ]
        if self.kind.is_custom:
            found = await self._storage.converted(self.kind, found)
        for pair, current in zip(pairs, found, strict=True):
            namespace, name = split_key(self.kind, pair.key)
            key = f"{namespace}/{name}" if namespace else name
            self.cache.apply(key, current, pair.mod_revision)
        self.cache.advance(batch.revision)
        self._moved.set()
        self._wake_arrived()

    def _wake_arrived(self) -> None:
        waiting = self._waiting
        while waiting and (waiting[0][0] <= self.cache.revision or waiting[0][2].done()):
            _, _, arrived = heapq.heappop(waiting)
            if not arrived.done():
                arrived.set_result(None)
