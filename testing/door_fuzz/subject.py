"""The server under fire: a store and an API server, each a process of its own, and how they look from outside."""

import asyncio
import re
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil

from navarch.services.base.dialing import channel
from navarch.services.base.tls import CertificateAuthority, Credentials
from navarch.services.base.tls_context import client_context

START_S = 60.0
# An error, or anything with a traceback: what no client may cause. What it may: warnings.
_BAD_LINE = re.compile(r"^\S+ (ERROR|FATAL) |traceback=|^Traceback", re.MULTILINE)
# The clients that the server calls by itself may be sent anywhere by objects, and fail there.
HISTORY_S = "5"


@dataclass
class Subject:
    """A running server."""

    admin: Credentials
    server: psutil.Process
    store: psutil.Process
    rest_port: int
    grpc_port: int
    log_path: Path
    _read: int = 0

    def rss_mib(self) -> int:
        """The memory of the API server."""
        return int(self.server.memory_info().rss) >> 20

    def store_rss_mib(self) -> int:
        """The memory of the store."""
        return int(self.store.memory_info().rss) >> 20

    def sockets(self) -> int:
        """Files that the API server has open."""
        return int(self.server.num_fds())

    def is_running(self) -> bool:
        """Whether the process lives."""
        return bool(self.server.is_running() and self.server.status() != psutil.STATUS_ZOMBIE)

    def complaints(self) -> list[str]:
        """Lines of the log since the last look that speak of a fault."""
        with self.log_path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
            self._read += len(data)
        return [line for line in data.decode(errors="replace").splitlines() if _BAD_LINE.search(line)]

    def tls(self) -> ssl.SSLContext:
        """For a client of the REST door."""
        context = client_context(self.admin)
        context.set_alpn_protocols(["http/1.1"])
        return context

    def h2_tls(self) -> ssl.SSLContext:
        """For a client of the gRPC door that speaks for itself."""
        context = client_context(self.admin)
        context.set_alpn_protocols(["h2"])
        return context

    def channel(self) -> grpc.aio.Channel:
        """To the gRPC door."""
        return channel(f"127.0.0.1:{self.grpc_port}", self.admin)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Subject]:
    """Both processes, until the end of the block."""
    now = time.time()
    authority = CertificateAuthority.create("fuzz", now)
    own = authority.issue("kube-apiserver", ["system:masters"], ["localhost"], ["127.0.0.1"], now=now, server=True)
    files = {name: folder / f"{name}.pem" for name in ("ca", "cert", "key")}
    own.save(*files.values())
    flags = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    store, door, rest = free_ports(3)
    async with AsyncExitStack() as stack:
        arguments = ["--data-dir", str(folder / "store"), "--listen-client", f"127.0.0.1:{store}", *flags]
        backend = await _spawn(stack, folder / "store.log", "navarch.services.store.main", *arguments)
        await _listening(backend, store)
        doors = ["--listen", f"127.0.0.1:{door}", "--rest-listen", f"127.0.0.1:{rest}", "--history", HISTORY_S]
        arguments = ["--store-endpoints", f"127.0.0.1:{store}", *doors, *flags]
        log = folder / "server.log"
        server = await _spawn(stack, log, "navarch.services.apiserver.main", *arguments)
        await _listening(server, rest)
        admin = authority.issue("fuzzer", ["system:masters"], now=now)
        yield Subject(admin, server, backend, rest, door, log)


def free_ports(count: int) -> Sequence[int]:
    """So many ports that nobody listens on."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


async def _spawn(stack: AsyncExitStack, log: Path, module: str, *arguments: str) -> psutil.Process:
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, *arguments, stdout=file, stderr=file
        )

    async def end() -> None:
        if process.returncode is None:
            process.kill()
        await process.wait()

    stack.push_async_callback(end)
    return psutil.Process(process.pid)


async def _listening(process: psutil.Process, port: int) -> None:
    async with asyncio.timeout(START_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                if not process.is_running():
                    raise
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return
