"""All watch caches of a server, made when a resource is first used."""

from collections.abc import Iterator

from navarch.services.api.kinds import Kind
from navarch.services.apiserver.cacher.cacher import Cacher
from navarch.services.apiserver.storage.objects import ObjectStorage
from navarch.services.base.clock import Clock
from navarch.services.base.tasks import TaskOwner


class Cachers:
    """One cacher a resource and version."""

    def __init__(self, storage: ObjectStorage, clock: Clock, tasks: TaskOwner) -> None:
        self._storage = storage
        self._clock = clock
        self._tasks = tasks
        self._by_kind: dict[str, Cacher] = {}

    def __iter__(self) -> Iterator[Cacher]:
        """The cachers in use."""
        return iter(list(self._by_kind.values()))

    def of(self, kind: Kind) -> Cacher:
        """The cacher of a kind; it begins to fill when it is new."""
        key = _key(kind)
        cacher = self._by_kind.get(key)
        if cacher is None or (kind.is_custom and cacher.kind is not kind):
            self.drop(kind)
            cacher = self._by_kind[key] = Cacher(kind, self._storage, self._clock, self._tasks)
        return cacher

    def end_watches(self) -> None:
        """Tell all watchers that there will be nothing more: the server is about to stop."""
        for cacher in self:
            for subscription in list(cacher.cache.subscriptions()):
                subscription.end("stopping")

    def drop(self, kind: Kind) -> None:
        """A kind is served no more, or otherwise: its watches end, and its cacher does."""
        cacher = self._by_kind.pop(_key(kind), None)
        if cacher is not None:
            cacher.stop()


def _key(kind: Kind) -> str:
    return f"{kind.key_prefix}{kind.version}" if kind.is_custom else kind.full_name
