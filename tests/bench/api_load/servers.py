"""The servers under load: a store, and API servers of so many workers, each a process of its own."""

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
from bench_apiserver import free_port, issue, listening, spawn

from navarch.services.base.tls import Credentials


@dataclass
class Subject:
    """What is measured, and how to reach it."""

    admin: Credentials
    server: psutil.Process
    store: psutil.Process
    grpc_address: str
    rest_port: int

    def cpu_s(self) -> float:
        """CPU seconds of the API server so far, all workers together."""
        return sum(sum(process.cpu_times()[:2]) for process in self.processes())

    def memory_bytes(self) -> int:
        """What the API server holds: proportional set size, so that shared pages count once."""
        return sum(process.memory_full_info().pss for process in self.processes())

    def processes(self) -> list[psutil.Process]:
        """The server and its workers."""
        return [self.server, *self.server.children(recursive=True)]


async def start(stack: AsyncExitStack, folder: Path, workers: int) -> Subject:
    """A store and an API server that answers."""
    folder.mkdir()
    admin, files = issue(folder)
    store, door, rest = (f"127.0.0.1:{free_port()}" for _ in range(3))
    python = [sys.executable, "-m"]
    arguments = ["--data-dir", str(folder / "store"), "--listen-client", store, *files]
    backend = await spawn(stack, *python, "navarch.services.store.main", *arguments)
    await listening(store)
    arguments = ["--store-endpoints", store, "--listen", door, "--rest-listen", rest, *files]
    if workers > 1:
        arguments += ["--workers", str(workers)]
    server = await spawn(stack, *python, "navarch.services.apiserver.main", *arguments)
    await listening(rest)
    if workers > 1:
        # Each worker listens for itself on the shared port.
        await asyncio.sleep(2)
    return Subject(admin, server, backend, door, int(rest.rpartition(":")[2]))


def now() -> float:
    """The clock of all measurements."""
    return time.perf_counter()
