"""``StoreCluster``: a store of several members, each a process of its own, for tests and benchmarks.

Every cluster has loopback addresses of its own (127.x.y.1, .2, ...), so that ports are fixed, free, and stay a
member's over restarts, however many clusters run at once. A member's output is in `<directory>/<name>.log`.
"""

import asyncio
import contextlib
import itertools
import os
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.services.base.dialing import channel
from navarch.services.base.tls import CertificateAuthority

CLIENT_PORT, PEER_PORT, METRICS_PORT = 2379, 2380, 2381
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
ASK_TIMEOUT_S = 1.0
POLL_S = 0.03
TOKEN = "test"


@dataclass(eq=False)
class Member:
    """A member's place: it stays while processes come and go."""

    name: str
    host: str
    directory: Path
    log_path: Path
    tls: bool
    # What its first start was told: later ones say the same, as an operator's unit file does.
    initial: tuple[str, ...] = ()
    process: asyncio.subprocess.Process | None = None
    paused: bool = False

    @property
    def address(self) -> str:
        """Where clients connect."""
        return f"{self.host}:{CLIENT_PORT}"

    @property
    def client_url(self) -> str:
        """The same as a URL."""
        return f"{'https' if self.tls else 'http'}://{self.address}"

    @property
    def peer_url(self) -> str:
        """Where the other members connect."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{PEER_PORT}"

    @property
    def metrics_address(self) -> str:
        """Where metrics are served, in plain HTTP."""
        return f"{self.host}:{METRICS_PORT}"

    @property
    def running(self) -> bool:
        """Whether there is a process; a paused one counts."""
        return self.process is not None and self.process.returncode is None

    def log(self) -> str:
        """What its processes have written."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""


@dataclass
class StoreCluster:
    """An async context manager; on entry all members run and follow one leader.

    arguments: more flags for every member. environment: more variables. prefix: what stands before a member's command
    (`ip netns exec ...`). hosts: addresses instead of loopback ones. certificates: mutual TLS for clients and peers.
    """

    directory: Path
    size: int = 3
    certificates: bool = False
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    prefix: Callable[[Member], Sequence[str]] = lambda member: ()
    hosts: Sequence[str] = ()
    token: str = TOKEN

    def __post_init__(self) -> None:
        network = f"127.{1 + secrets.randbelow(254)}.{secrets.randbelow(256)}"
        self._free_hosts = list(self.hosts) or [f"{network}.{number}" for number in range(1, 255)]
        # A name is never used twice.
        self._numbers = itertools.count(1)
        self._authority = CertificateAuthority.create("store-test", time.time()) if self.certificates else None
        self.members: dict[str, Member] = {}
        # What clients show.
        self.credentials = self._authority.issue("root", now=time.time()) if self._authority else None
        for _ in range(self.size):
            self.place()
        for member in self.members.values():
            member.initial = self.initial(self.members.values(), "new")

    async def __aenter__(self) -> Self:
        """Start all."""
        try:
            await asyncio.gather(*map(self.start, self.members.values()))
            await self.leader(unanimous=True)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all at once."""
        for member in self.members.values():
            await self.kill(member)

    # Members and what to reach them by.

    def __getitem__(self, name: str) -> Member:
        return self.members[name]

    @property
    def running(self) -> list[Member]:
        """Members that can answer."""
        return [member for member in self.members.values() if member.running and not member.paused]

    @property
    def endpoints(self) -> str:
        """All client URLs, as etcdctl takes them."""
        return ",".join(member.client_url for member in self.members.values())

    def channel(self, member: Member) -> grpc.aio.Channel:
        """A new connection of a client to a member."""
        return channel(member.address, self.credentials)

    def client_files(self) -> list[str]:
        """etcdctl's flags for its certificate, none in plain text."""
        if self.credentials is None:
            return []
        return [f"--{'cacert' if flag == 'ca' else flag}={path}" for flag, path in self._files("client").items()]

    async def status(self, member: Member) -> rpc_pb2.StatusResponse | None:
        """What a member says of itself; None when it does not answer."""
        async with self.channel(member) as connection:
            try:
                return await rpc_pb2_grpc.MaintenanceStub(connection).Status(
                    rpc_pb2.StatusRequest(), timeout=ASK_TIMEOUT_S
                )
            except grpc.aio.AioRpcError:
                return None

    async def leader(self, timeout_s: float = READY_TIMEOUT_S, *, unanimous: bool = False) -> Member:
        """The member that most (or all) members call their leader, as soon as there is one. Raises TimeoutError."""
        needed = len(self.members) if unanimous else len(self.members) // 2 + 1
        async with asyncio.timeout(timeout_s):
            while True:
                running = self.running
                answers = await asyncio.gather(*(self.status(member) for member in running))
                named = Counter((answer.raftTerm, answer.leader) for answer in answers if answer and answer.leader)
                for member, answer in zip(running, answers, strict=True):
                    if answer is None or answer.leader != answer.header.member_id:
                        continue
                    if named[answer.raftTerm, answer.leader] >= needed:
                        return member
                await asyncio.sleep(POLL_S)

    async def ids(self) -> dict[str, int]:
        """Ids by name, of members that have made their name known."""
        return {member.name: member.ID for member in (await self.listed()).members if member.name}

    async def listed(self) -> rpc_pb2.MemberListResponse:
        """What the leader lists."""
        async with self.channel(await self.leader()) as connection:
            stub = rpc_pb2_grpc.ClusterStub(connection)
            return await stub.MemberList(rpc_pb2.MemberListRequest(linearizable=True), timeout=10)

    # Life and death.

    async def spawn(self, member: Member) -> None:
        """Start a member's process and return at once."""
        with member.log_path.open("ab") as log:
            member.process = await asyncio.create_subprocess_exec(
                *self.prefix(member),
                *(sys.executable, "-m", "navarch.services.store.main"),
                *self._flags(member),
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
            )
        member.paused = False

    async def start(self, member: Member) -> None:
        """Start a member's process and return when it answers."""
        await self.spawn(member)
        await self.answers(member)

    async def answers(self, member: Member, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until a member answers. Raises RuntimeError with its output when it ends instead."""
        async with asyncio.timeout(timeout_s):
            while await self.status(member) is None:
                if not member.running:
                    raise RuntimeError(f"{member.name} ended: {member.log()[-2000:]}")
                await asyncio.sleep(POLL_S)

    async def restart(self, member: Member) -> None:
        """Start a member again, gracefully stopped before if it still runs."""
        await self.stop(member)
        await self.start(member)

    async def kill(self, member: Member, signum: int = signal.SIGKILL) -> None:
        """Send a deadly signal and wait for the end."""
        if member.process is not None:
            with contextlib.suppress(ProcessLookupError):
                member.process.send_signal(signum)
                if member.paused:
                    self.resume(member)
            await member.process.wait()

    async def stop(self, member: Member) -> int:
        """Stop gracefully; returns the exit code."""
        await asyncio.wait_for(self.kill(member, signal.SIGTERM), STOP_TIMEOUT_S)
        return await self.ended(member, STOP_TIMEOUT_S)

    async def ended(self, member: Member, timeout_s: float = READY_TIMEOUT_S) -> int:
        """Wait for a process to end by itself; returns its exit code."""
        if member.process is None:
            return 0
        return await asyncio.wait_for(member.process.wait(), timeout_s)

    def pause(self, member: Member) -> None:
        """Stop the process where it stands (SIGSTOP)."""
        assert member.process is not None
        member.process.send_signal(signal.SIGSTOP)
        member.paused = True

    def resume(self, member: Member) -> None:
        """Let it continue."""
        assert member.process is not None
        member.process.send_signal(signal.SIGCONT)
        member.paused = False

    def wipe(self, member: Member) -> None:
        """Throw a stopped member's data away."""
        assert not member.running
        member.directory.rename(member.directory.with_name(f"{member.directory.name}.{secrets.token_hex(4)}.gone"))

    # Membership.

    async def add_member(self, *, learner: bool = False, start: bool = True) -> Member:
        """Make a new member known and start it."""
        leader = await self.leader()
        member = self.place()
        request = rpc_pb2.MemberAddRequest(peerURLs=[member.peer_url], isLearner=learner)
        try:
            async with self.channel(leader) as connection:
                await rpc_pb2_grpc.ClusterStub(connection).MemberAdd(request, timeout=10)
        except BaseException:
            del self.members[member.name]
            raise
        member.initial = self.initial(self.members.values(), "existing")
        if start:
            await self.start(member)
        return member

    async def move_member(self, member: Member) -> None:
        """Restart a member at another address, which the others are told before."""
        listed = await self.listed()
        (member_id,) = (known.ID for known in listed.members if member.peer_url in known.peerURLs)
        host = self._free_hosts.pop(0)
        moved = replace(member, host=host)
        async with self.channel(await self.leader()) as connection:
            request = rpc_pb2.MemberUpdateRequest(ID=member_id, peerURLs=[moved.peer_url])
            await rpc_pb2_grpc.ClusterStub(connection).MemberUpdate(request, timeout=10)
        await self.kill(member)
        member.host = host
        self._certify(member)
        await self.start(member)

    async def remove_member(self, member: Member) -> None:
        """Remove a member, whose process then ends by itself."""
        listed = await self.listed()
        (member_id,) = (known.ID for known in listed.members if member.peer_url in known.peerURLs)
        async with self.channel(await self.leader()) as connection:
            request = rpc_pb2.MemberRemoveRequest(ID=member_id)
            await rpc_pb2_grpc.ClusterStub(connection).MemberRemove(request, timeout=10)
        await self.ended(member)
        del self.members[member.name]

    # How a member is started.

    def place(self) -> Member:
        """Room for one more member, with address, directory and certificate; nothing is started or added."""
        host = self._free_hosts.pop(0)
        name = f"m{next(self._numbers)}"
        member = Member(name, host, self.directory / name, self.directory / f"{name}.log", self.certificates)
        self.members[name] = member
        self.directory.mkdir(parents=True, exist_ok=True)
        self._certify(member)
        return member

    def _certify(self, member: Member) -> None:
        if self._authority is not None and self.credentials is not None:
            server = self._authority.issue("store", ips=("127.0.0.1", member.host), now=time.time(), server=True)
            server.save(**self._files(member.name))
            self.credentials.save(**self._files("client"))

    def initial(self, members: Iterable[Member], state: str) -> tuple[str, ...]:
        """What a member's first start is told about the cluster."""
        peers = ",".join(f"{member.name}={member.peer_url}" for member in members)
        return "--initial-cluster", peers, "--initial-cluster-state", state, "--initial-cluster-token", self.token

    def _flags(self, member: Member) -> list[str]:
        flags = ["--name", member.name, "--data-dir", str(member.directory), "--listen-peer", f"{member.host}:2380"]
        if self.credentials is None:
            flags += ["--listen-insecure", member.address]
        else:
            flags += ["--listen-client", member.address]
            for flag, path in self._files(member.name).items():
                flags += [f"--{flag}", str(path)]
        flags += ["--listen-metrics", member.metrics_address]
        flags += ["--initial-advertise-peer-urls", member.peer_url, "--advertise-client-urls", member.client_url]
        return [*flags, *member.initial, *self.arguments]

    def _files(self, name: str) -> dict[str, Path]:
        return {flag: self.directory / f"{name}.{flag}.pem" for flag in ("ca", "cert", "key")}
