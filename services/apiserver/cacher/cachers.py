"""All watch caches of a server, made when a resource is first used."""

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

    def of(self, kind: Kind) -> Cacher:
        """The cacher of a kind; it begins to fill when it is new."""
        cacher = self._by_kind.get(kind.full_name)
        if cacher is None:
            cacher = self._by_kind[kind.full_name] = Cacher(kind, self._storage, self._clock, self._tasks)
        return cacher
