"""The thread that waits for the journal's disk, so that the event loop does not.

One thread for good and a plain queue: an executor's future costs as much as the flush of a quick disk.
"""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue

from navarch.services.store.replication.journal import Batch


class Flusher:
    """Writes batches in order. write: blocks until a batch is on disk."""

    def __init__(self, write: Callable[[Batch], None]) -> None:
        self._write = write
        self._queue: SimpleQueue[tuple[Batch, asyncio.Future[None]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def flush(self, batch: Batch) -> "asyncio.Future[None]":
        """Done once the batch is on disk; carries the failure if it is not."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
            self._thread.start()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put((batch, done))
        return done

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            batch, done = item
            failure: Exception | None = None
            try:
                self._write(batch)
            except Exception as caught:
                failure = caught
            done.get_loop().call_soon_threadsafe(_settle, done, failure)

    async def close(self) -> None:
        """End the thread, after what it was given."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(thread.join)


def _settle(done: "asyncio.Future[None]", failure: Exception | None) -> None:
    if done.cancelled():
        return
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)
