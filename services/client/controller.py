"""Runs one reconcile function over a queue of keys.

`reconcile(key)` gets a name, looks at the caches, acts, and says when to look again. It is correct whenever
and however often it is called, so all trouble has one remedy: call it again later. Event handlers only put
keys into `queue`; workers take them out. Failures back off per key and are logged; conflicts, which every
busy cluster has, are retried without noise.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from navarch.services.api import errors
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.base.tasks import TaskOwner
from navarch.services.client.workqueue import QueueClosed, WorkQueue


@dataclass(frozen=True, slots=True)
class Result:
    """How a reconcile ended. requeue_after_s: look at this key again then, whatever happens."""

    requeue_after_s: float | None = None


class Hindered(Exception):
    """What a reconcile cannot do now, through no fault of ours. The message says what hinders it."""


Reconcile = Callable[[str], Awaitable[Result | None]]


@dataclass(slots=True)
class Statistics:
    """What a controller did since its process began."""

    reconciles: int = 0
    errors: int = 0
    last_error: str = ""


class Controller:
    """Workers between a queue and a reconcile function. Startable again after a stop."""

    def __init__(self, name: str, reconcile: Reconcile, workers: int, clock: Clock) -> None:
        self.name = name
        self.statistics = Statistics()
        self.queue: WorkQueue[str] = WorkQueue(clock)
        self._reconcile = reconcile
        self._workers = workers
        self._clock = clock
        self._log = get_logger(name)
        self._tasks: TaskOwner | None = None

    @property
    def running(self) -> bool:
        """Whether workers take keys."""
        return self._tasks is not None

    def start(self) -> None:
        """Begin to take keys. Keys added before wait in the queue."""
        if self._tasks is None:
            self._tasks = TaskOwner()
            for number in range(self._workers):
                self._tasks.spawn(self._work(), f"{self.name}-{number}")

    async def stop(self) -> None:
        """End the workers where they stand. What they were at is reconciled by whoever runs next."""
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            await tasks.close()

    async def close(self) -> None:
        """Stop for good and drop the queue."""
        await self.stop()
        await self.queue.close()

    async def _work(self) -> None:
        while True:
            try:
                key = await self.queue.get()
            except QueueClosed:
                return
            try:
                await self._process(key)
            except BaseException:
                # Stopped in the middle: the key is for whoever works on next.
                self.queue.add(key)
                raise
            finally:
                self.queue.done(key)

    async def _process(self, key: str) -> None:
        self.statistics.reconciles += 1
        try:
            result = await self._reconcile(key)
        except Exception as failure:
            self._retry(key, failure)
            return
        self.queue.forget(key)
        if result is not None and result.requeue_after_s is not None:
            self.queue.add_after(key, result.requeue_after_s)

    def _retry(self, key: str, failure: Exception) -> None:
        self.queue.add_rate_limited(key)
        if isinstance(failure, errors.Conflict):
            self._log.debug("reconcile.conflict", key=key, error=failure)
            return
        self.statistics.errors += 1
        self.statistics.last_error = f"{key}: {failure}"
        retries = self.queue.num_requeues(key)
        if isinstance(failure, errors.ApiError | Hindered):
            self._log.warning("reconcile.failed", key=key, retries=retries, error=failure)
        else:
            self._log.exception("reconcile.bug", key=key, retries=retries)
