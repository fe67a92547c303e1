"""The store's present revision, read once for all who wait for it.

A read must begin after its caller arrived to be linearizable for that caller. So callers who arrive while a
read is under way share the next one, and at any load at most one read is under way.
"""

import asyncio
from collections.abc import Awaitable, Callable

from navarch.services.base.tasks import TaskOwner


class RevisionReader:
    """Batches linearizable reads of the revision."""

    def __init__(self, read: Callable[[], Awaitable[int]], tasks: TaskOwner) -> None:
        self._read_store = read
        self._tasks = tasks
        self._next: asyncio.Future[int] | None = None
        self._running = False

    async def read(self) -> int:
        """A revision at least as new as every write acknowledged before this call."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        mine = self._next
        if not self._running:
            self._running = True
            self._tasks.spawn(self._run(), "revision-reader")
        return await asyncio.shield(mine)

    async def _run(self) -> None:
        try:
            while self._next is not None:
                batch, self._next = self._next, None
                try:
                    revision = await self._read_store()
                except Exception as failure:
                    batch.set_exception(failure)
                    # Retrieved here, so that a batch whose callers all left is not reported as forgotten.
                    batch.exception()
                else:
                    batch.set_result(revision)
        finally:
            self._running = False
