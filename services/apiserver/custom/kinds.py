"""The kinds of the definitions in the store, kept in a server's table as the definitions come, change and go."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from navarch.protos.k8s.apiextensions import v1_pb2 as apiextensionsv1
from navarch.services.api import meta
from navarch.services.api.custom.versions import custom_kinds, is_established
from navarch.services.api.errors import ApiError
from navarch.services.api.kinds import KINDS, Kind, KindTable
from navarch.services.apiserver.cacher.cache import TooOld
from navarch.services.apiserver.cacher.cachers import Cachers
from navarch.services.apiserver.cacher.selection import Selection
from navarch.services.apiserver.cacher.subscription import Subscription
from navarch.services.apiserver.stored import StoredObject
from navarch.services.base.log import get_logger

LOG = get_logger("apiserver.custom")
CRD = KINDS.of(apiextensionsv1.CustomResourceDefinition)


@dataclass(slots=True)
class _Entry:
    """A definition as it was read, and the kinds made of it."""

    crd: Any
    identity: bytes = b""
    kinds: list[Kind] = field(default_factory=list)


class CustomKinds:
    """Fills the table. on_change: called after each change of a definition."""

    def __init__(self, table: KindTable, cachers: Cachers, on_change: Callable[[], None]) -> None:
        self._table = table
        self._cachers = cachers
        self._on_change = on_change
        self._entries: dict[str, _Entry] = {}
        self._subscription: Subscription | None = None
        self._ended = asyncio.Event()

    @property
    def definitions(self) -> list[Any]:
        """All definitions, to look at only."""
        return [entry.crd for entry in self._entries.values()]

    def kinds_of(self, name: str) -> list[Kind]:
        """The kinds served of a definition."""
        entry = self._entries.get(name)
        return entry.kinds if entry is not None else []

    async def start(self) -> None:
        """Take up the definitions that are there."""
        cacher = self._cachers.of(CRD)
        await cacher.ready()
        self._begin()

    async def run(self) -> None:
        """Follow the definitions, forever; after `start`."""
        while True:
            await self._ended.wait()
            await self._cachers.of(CRD).ready()
            self._begin()

    def _begin(self) -> None:
        self._ended.clear()
        cache = self._cachers.of(CRD).cache
        # Woken within the very step that changes the cache: who sees a definition finds its kinds served.
        subscription = self._subscription = Subscription(Selection(), cache.revision, self._take)
        present = {stored.name: stored for stored in cache.select("")}
        for name in [name for name in self._entries if name not in present]:
            self._forget(name)
        for stored in present.values():
            self._observe(stored)
        self._publish()
        try:
            cache.subscribe(subscription)
        except TooOld:
            self._ended.set()

    def _take(self) -> None:
        subscription = self._subscription
        if subscription is None:
            return
        for event in subscription.take():
            if event.type.name == "DELETED":
                self._forget(event.stored.name)
            else:
                self._observe(event.stored)
        self._publish()
        if subscription.ended:
            self._ended.set()

    def _observe(self, stored: StoredObject) -> None:
        try:
            crd = stored.decode()
            identity = _identity(crd)
            entry = self._entries.get(stored.name)
            if entry is None or entry.identity != identity:
                self._forget(stored.name)
                kinds = custom_kinds(crd) if is_established(crd) else []
                entry = self._entries[stored.name] = _Entry(crd, identity, kinds)
        except ApiError as failure:
            LOG.error("definition.damaged", name=stored.name, error=failure.message)
            return
        entry.crd = crd
        for kind in entry.kinds:
            kind.custom.is_terminating = meta.is_being_deleted(crd)

    def _forget(self, name: str) -> None:
        entry = self._entries.pop(name, None)
        for kind in entry.kinds if entry is not None else ():
            self._cachers.drop(kind)

    def _publish(self) -> None:
        self._table.replace_custom(kind for _, entry in sorted(self._entries.items()) for kind in entry.kinds)
        self._on_change()


def _identity(crd: Any) -> bytes:
    """What the kinds of a definition depend on."""
    parts = (crd.spec, crd.status.accepted_names)
    encoded = [part.SerializeToString(deterministic=True) for part in parts]
    return b"\0".join((crd.metadata.uid.encode(), str(is_established(crd)).encode(), *encoded))
