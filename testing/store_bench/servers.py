"""The stores that are compared: etcd's and ours, of one member or several on loopback, in directories side by side.

Every process is started here and ended by its id; its directory goes with it.
"""

import asyncio
import shutil
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.services.base.dialing import channel

READY_TIMEOUT_S = 60.0
_POLL_S = 0.02


@dataclass(eq=False, slots=True)
class Process:
    """One server process, which may be killed and started again."""

    command: Sequence[str]
    address: str
    log: Path
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start; does not wait until it serves."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(*self.command, stdout=log, stderr=log)

    async def end(self, signum: int = signal.SIGTERM) -> None:
        """Send a signal and wait for the end."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signum)
            await self.process.wait()

    @property
    def pid(self) -> int:
        """Its id while it runs."""
        assert self.process is not None
        return self.process.pid

    def cpu_s(self) -> float:
        """Time on a CPU so far, all threads. The kernel's own books: not sampled at ticks."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def memory_bytes(self) -> dict[str, int]:
        """PSS and its parts by their names in smaps_rollup."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()[1:]
        return {name.rstrip(":"): 1024 * int(size) for name, size, _ in (line.split() for line in lines)}


class Cluster:
    """Members of one store. An async context manager: all serve inside, nothing is left behind."""

    def __init__(self, kind: str, members: int, directory: Path) -> None:
        self.kind = kind
        self._directory = directory / f"{kind}-{members}"
        self._directory.mkdir()
        names = [f"m{i}" for i in range(1, members + 1)]
        ports = free_ports(2 * members)
        clients = [f"127.0.0.1:{port}" for port in ports[:members]]
        peers = [f"127.0.0.1:{port}" for port in ports[members:]]
        initial = ",".join(f"{name}=http://{peer}" for name, peer in zip(names, peers, strict=True))
        make = {"etcd": _etcd, "navarch": _navarch, "null": _null}[kind]
        self.members = [
            Process(
                make(name, self._directory / name, client, peer, initial), client, self._directory.with_suffix(".log")
            )
            for name, client, peer in zip(names, clients, peers, strict=True)
        ]

    async def __aenter__(self) -> Self:
        try:
            for member in self.members:
                await member.start()
            for member in self.members:
                await ready(member)
        except BaseException:
            await self._remove()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._remove()

    async def _remove(self) -> None:
        for member in self.members:
            await member.end(signal.SIGKILL)
        shutil.rmtree(self._directory)

    async def leader(self) -> Process:
        """The member that leads."""
        async with asyncio.timeout(READY_TIMEOUT_S):
            while True:
                for member in self.members:
                    status = await _status(member)
                    if status is not None and status.leader and status.leader == status.header.member_id:
                        return member
                await asyncio.sleep(_POLL_S)

    def cpu_s(self) -> float:
        """CPU time of all members."""
        return sum(member.cpu_s() for member in self.members)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


async def ready(member: Process) -> None:
    """Wait until a member answers a linearizable read. Raises RuntimeError when it ends instead."""
    async with asyncio.timeout(READY_TIMEOUT_S), channel(member.address, None) as connection:
        kv = rpc_pb2_grpc.KVStub(connection)
        while True:
            if member.process is not None and member.process.returncode is not None:
                raise RuntimeError(f"{member.command} ended: {member.log.read_text()[-2000:]}")
            try:
                await kv.Range(rpc_pb2.RangeRequest(key=b"x"), timeout=READY_TIMEOUT_S)
                return
            except grpc.aio.AioRpcError:
                await asyncio.sleep(_POLL_S)


async def _status(member: Process) -> rpc_pb2.StatusResponse | None:
    if member.process is None or member.process.returncode is not None:
        return None
    async with channel(member.address, None) as connection:
        try:
            return await rpc_pb2_grpc.MaintenanceStub(connection).Status(rpc_pb2.StatusRequest(), timeout=1)
        except grpc.aio.AioRpcError:
            return None


def _etcd(name: str, directory: Path, client: str, peer: str, initial: str) -> list[str]:
    return [
        *("etcd", "--name", name, "--data-dir", str(directory), "--log-level", "error"),
        *("--listen-client-urls", f"http://{client}", "--advertise-client-urls", f"http://{client}"),
        *("--listen-peer-urls", f"http://{peer}", "--initial-advertise-peer-urls", f"http://{peer}"),
        *("--initial-cluster", initial, "--initial-cluster-state", "new"),
    ]


def _navarch(name: str, directory: Path, client: str, peer: str, initial: str) -> list[str]:
    command = [sys.executable, "-m", "navarch.services.store.main", "--name", name, "--data-dir", str(directory)]
    command += ["--listen-insecure", client]
    if "," in initial:
        command += ["--listen-peer", peer, "--initial-cluster", initial, "--initial-cluster-state", "new"]
    return command


def _null(name: str, directory: Path, client: str, peer: str, initial: str) -> list[str]:
    return [sys.executable, "-m", "navarch.testing.store_bench.null_server", client]
