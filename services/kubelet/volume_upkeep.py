"""Keeps the volumes of running Pods up to date, and removes those of Pods that are no more."""

from collections.abc import Awaitable, Callable

from navarch.services.base.clock import Clock
from navarch.services.base.tasks import TaskOwner
from navarch.services.kubelet.pod_worker import PodWorker
from navarch.services.kubelet.pods import PodTable

ORPHAN_RETRY_S = 5.0
# Tokens are renewed long before they end.
LOOK_S = 10.0


class VolumeUpkeep:
    """Of one node. refresh: brings the files of a Pod up to date. tasks: own what it begins."""

    def __init__(
        self, table: PodTable, refresh: Callable[[PodWorker], Awaitable[None]], tasks: TaskOwner, clock: Clock
    ) -> None:
        self._table = table
        self._refresh = refresh
        self._tasks = tasks
        self._clock = clock

    def references_changed(self, uids: set[str]) -> None:
        """What these Pods' volumes are made from has changed. Returns at once."""
        for worker in self._table.references_changed(uids):
            self._tasks.spawn(self._refreshed(worker), "refresh-volumes")

    async def _refreshed(self, worker: PodWorker) -> None:
        await self._refresh(worker)

    async def renew(self, due: Callable[[], set[str]]) -> None:
        """Write new tokens before the old ones end, and what drivers want anew, for ever. due: the uids of Pods."""
        while True:
            await self._clock.sleep(LOOK_S)
            for uid in due():
                if (worker := self._table.get(uid)) is not None and worker.machine.volumes_ready:
                    await self._refresh(worker)

    async def remove_orphans(self, remove: Callable[[Callable[[], set[str]]], Awaitable[bool]]) -> None:
        """What is left of Pods that are no more; some of it may wait for a plugin that has not come yet.

        remove: told how to learn the uids of the Pods that are here; returns whether nothing is left.
        """
        while not await remove(self._table.uids):
            await self._clock.sleep(ORPHAN_RETRY_S)
