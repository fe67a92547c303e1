"""An API server of several processes on the same ports.

Python runs on one processor a process. Any number of API servers may share a store, so more of them is all that
it takes: each worker is a whole one, and the kernel spreads new connections over the listening sockets
(SO_REUSEPORT). A worker that ends by itself is started again; when the parent ends, so do they.
"""

import asyncio
import sys

from navarch.services.base.log import get_logger
from navarch.services.base.tasks import TaskOwner

LOG = get_logger("apiserver.workers")
RESTART_S = 1.0
STOP_S = 7.0
SHARED = "--share-ports"


class Workers:
    """Runs so many API servers with the same arguments."""

    def __init__(self, argv: list[str], count: int) -> None:
        self._command = [sys.executable, "-m", "navarch.services.apiserver.main", *argv, SHARED]
        self._count = count
        self._tasks = TaskOwner()

    async def start(self) -> None:
        """Start them all."""
        for number in range(self._count):
            self._tasks.spawn(self._keep(number), f"worker-{number}")

    async def stop(self) -> None:
        """End them all, gracefully first."""
        await self._tasks.close()

    async def _keep(self, number: int) -> None:
        while True:
            process = await asyncio.create_subprocess_exec(*self._command)
            try:
                code = await process.wait()
            finally:
                if process.returncode is None:
                    await _end(process)
            LOG.warning("worker.ended", worker=number, pid=process.pid, code=code)
            await asyncio.sleep(RESTART_S)


async def _end(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
