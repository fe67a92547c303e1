"""Ownership of background tasks.

Everything that runs in the background belongs to one `TaskOwner`, which ends it. A task that fails
unexpectedly is never silent: the failure is logged and, through the loop's exception handler, ends the
process, whose supervisor starts it again. Level-triggered code makes that safe.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

FATAL = "navarch_fatal"


class TaskOwner:
    """Starts tasks, keeps them referenced, and cancels them all at its close."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run `work` in the background; its unhandled failure is fatal to the process."""
        if self._closed:
            work.close()
            raise RuntimeError(f"task {name} spawned after its owner was closed")
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            message = f"background task {task.get_name()} failed"
            context = {"message": message, "exception": failure, "task": task, FATAL: True}
            task.get_loop().call_exception_handler(context)

    async def close(self) -> None:
        """Cancel all tasks and wait until they have ended. Idempotent."""
        self._closed = True
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
