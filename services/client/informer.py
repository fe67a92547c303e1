"""Keeps a `Cache` equal to what the API server has, and tells handlers what changed.

List once, then watch from the list's version; after a broken stream, watch on from the last version seen
(bookmarks keep it young); only when that is too old, list again and tell the difference. So handlers see
every object's latest state, though not every state in between, and are called on the loop, in order, after
the cache has changed.
"""

from __future__ import annotations

import asyncio
import builtins
import os
import random
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any, Generic, cast

from google.protobuf.message import Message

from navarch.services.api import errors
from navarch.services.api.kinds import KINDS
from navarch.services.api.meta import key_of, metadata_of
from navarch.services.base.clock import Clock, SystemClock
from navarch.services.base.log import get_logger
from navarch.services.base.tasks import TaskOwner
from navarch.services.client.cache import Cache, IndexFunction
from navarch.services.client.client import Client, WatchEvent
from navarch.services.client.requests import M

Handler = Callable[[M | None, M | None], None]

PAGE = 500
BACKOFF_BASE_S = 0.05
BACKOFF_MAX_S = 5.0
# A stream that lived this long was a healthy one: its end is not a failure to back off from.
HEALTHY_STREAM_S = 1.0


def by_namespace(obj: Message) -> tuple[str, ...]:
    """An indexer."""
    return (metadata_of(obj).namespace,)


def by_owner_uid(obj: Message) -> tuple[str, ...]:
    """An indexer: the uids of all owners."""
    return tuple(owner.uid for owner in metadata_of(obj).owner_references)


class Informer(Generic[M]):
    """The objects of one kind (in one namespace, with one selection), followed."""

    def __init__(
        self,
        client: Client,
        cls: type[M],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        indexers: Mapping[str, IndexFunction[M]] | None = None,
        clock: Clock | None = None,
        detect_mutation: bool | None = None,
    ) -> None:
        self._client = client
        self._cls = cls
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._clock = clock or SystemClock()
        if detect_mutation is None:
            detect_mutation = os.environ.get("NAVARCH_MUTATION_DETECTOR") == "1"
        self._cache: Cache[M] = Cache(indexers or {}, detect_mutation=detect_mutation)
        self._handlers: list[Handler[M]] = []
        self._synced = asyncio.Event()
        self._tasks: TaskOwner | None = None
        self._log = get_logger("informer").bind(resource=KINDS.of(cls).resource)
        self._failures = 0
        self._began = 0.0
        self.resource_version = ""
        self.last_error = ""

    def __len__(self) -> int:
        return len(self._cache)

    @property
    def has_synced(self) -> bool:
        """Whether the first list has reached the cache and the handlers."""
        return self._synced.is_set()

    def get(self, key: str) -> M | None:
        """The object "namespace/name" (or "name"), lent read-only."""
        return self._cache.get(key)

    def list(self) -> builtins.list[M]:
        """All objects, lent read-only."""
        return self._cache.list()

    def by_index(self, name: str, value: str) -> builtins.list[M]:
        """The objects under this value of an index, lent read-only."""
        return self._cache.by_index(name, value)

    def index_values(self, name: str) -> builtins.list[str]:
        """The values under which an index holds objects."""
        return self._cache.index_values(name)

    def add_indexers(self, indexers: Mapping[str, IndexFunction[M]]) -> None:
        """Add indexes at any time. Raises ValueError for a name that exists with another function."""
        self._cache.add_indexers(indexers)

    def check_mutations(self) -> None:
        """For tests: raise CacheMutated if somebody changed a lent object."""
        self._cache.check_mutations()

    def on_event(self, handler: Handler[M]) -> None:
        """Have a handler called with (old, new) at every change; (None, new) now for each object present."""
        self._handlers.append(handler)
        for obj in self._cache.list():
            self._call(handler, None, obj)

    def start(self) -> None:
        """Begin to follow. Idempotent."""
        if self._tasks is None:
            self._tasks = TaskOwner()
            self._tasks.spawn(self._follow(), f"informer-{KINDS.of(self._cls).resource}")

    async def stop(self) -> None:
        """Cease to follow; the cache stays as it is."""
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            await tasks.close()
            self.check_mutations()

    async def synced(self) -> None:
        """Wait until the first list has reached the cache and the handlers."""
        await self._synced.wait()

    async def _follow(self) -> None:
        while True:
            self._began = self._clock.monotonic()
            try:
                if not self.resource_version:
                    await self._relist()
                await self._watch()
            except (errors.Expired, errors.Gone):
                self._log.info("informer.relists", resource_version=self.resource_version)
                self.resource_version = ""
            except errors.ApiError as failure:
                self.last_error = str(failure)
                self._log.warning("informer.failed", error=failure, failures=self._failures)
            await self._back_off()

    async def _back_off(self) -> None:
        """Wait before the next attempt: not at all after a healthy stream, else ever longer, jittered."""
        if self._clock.monotonic() - self._began >= HEALTHY_STREAM_S:
            self._failures = 0
        delay_s = min(BACKOFF_BASE_S * 2.0 ** min(self._failures, 16), BACKOFF_MAX_S)
        self._failures += 1
        await self._clock.sleep(delay_s * random.uniform(0.5, 1.0))

    async def _relist(self) -> None:
        objects: builtins.list[M] = []
        token = ""
        while True:
            page = await self._client.list(
                self._cls,
                self._namespace,
                label_selector=self._label_selector,
                field_selector=self._field_selector,
                limit=PAGE,
                continue_token=token,
            )
            objects += page.items
            if not (token := page.continue_token):
                break
        for old, new in self._cache.replace(objects):
            self._tell(old, new)
        self.resource_version = page.resource_version
        self._synced.set()

    async def _watch(self) -> None:
        stream = self._client.watch(
            self._cls,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            resource_version=self.resource_version,
        )
        async with aclosing(stream):
            async for event in stream:
                self._apply(event)
                self.resource_version = metadata_of(event.object).resource_version

    def _apply(self, event: WatchEvent[M]) -> None:
        match event.type:
            case "ADDED" | "MODIFIED":
                if (change := self._cache.put(event.object)) is not None:
                    self._tell(*change)
            case "DELETED":
                if self._cache.remove(key_of(event.object)) is not None:
                    # The event's object is newer than the cached one: it is the last state.
                    self._tell(event.object, None)
            case "BOOKMARK":
                pass

    def _tell(self, old: M | None, new: M | None) -> None:
        for handler in self._handlers:
            self._call(handler, old, new)

    def _call(self, handler: Handler[M], old: M | None, new: M | None) -> None:
        try:
            handler(old, new)
        except Exception:
            # One handler's bug must not cost the others their events.
            self._log.exception("informer.handler_failed", handler=getattr(handler, "__qualname__", repr(handler)))


class Informers:
    """One informer a kind, shared by everybody in a process."""

    def __init__(self, client: Client, clock: Clock | None = None) -> None:
        self._client = client
        self._clock = clock
        self._informers: dict[type[Message], Informer[Any]] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._started = False

    def of(self, cls: type[M], indexers: Mapping[str, IndexFunction[M]] | None = None) -> Informer[M]:
        """The informer of all objects of a kind; begins at once if the factory has started."""
        informer = cast("Informer[M] | None", self._informers.get(cls))
        if informer is None:
            informer = self._informers[cls] = Informer(self._client, cls, clock=self._clock)
            if self._started:
                informer.start()
        informer.add_indexers(indexers or {})
        return informer

    def start(self) -> None:
        """Start all informers, and later ones as they are asked for."""
        self._started = True
        for informer in self._informers.values():
            informer.start()

    def drop(self, cls: type[M]) -> Informer[M] | None:
        """Stop the informer of a kind that is served no more; what it held can still be read."""
        informer = cast("Informer[M] | None", self._informers.pop(cls, None))
        if informer is not None:
            stopping = asyncio.get_running_loop().create_task(informer.stop())
            self._stopping.add(stopping)
            stopping.add_done_callback(self._stopping.discard)
        return informer

    async def synced(self) -> None:
        """Wait until all informers asked for so far have their first list."""
        for informer in list(self._informers.values()):
            await informer.synced()

    async def stop(self) -> None:
        """Stop all informers."""
        self._started = False
        await asyncio.gather(*self._stopping)
        for informer in self._informers.values():
            await informer.stop()
