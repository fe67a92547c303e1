"""``FaultyCluster``: a ``StoreCluster`` whose members each have a host, a disk and a clock that can fail.

A host is a network namespace, a disk a small tmpfs. ``EtcdFaultyCluster`` runs etcd's members instead of ours, which
tells faults of the tests from faults of the store.
"""

import asyncio
import errno
import os
import random
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import grpc

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.testing.netns import Network
from navarch.testing.store_cluster import ASK_TIMEOUT_S, POLL_S, Member, StoreCluster
from navarch.testing.unsynced import Machine, compile_library

DISK_MB = 600
SETTLE_TIMEOUT_S = 60.0


def umount_leftovers() -> None:
    """Take away the disks of runs whose process is gone."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        source, path = line.split()[:2]
        name, _, pid = source.rpartition("-")
        if name == "navarch-disk" and not Path(f"/proc/{pid}").exists():
            subprocess.run(["umount", "--lazy", path], check=True)


@dataclass
class FaultyCluster(StoreCluster):
    """Enter `network` before it, with enough hosts for members to be replaced."""

    network: Network = field(kw_only=True)

    def __post_init__(self) -> None:
        self.machines: dict[str, Machine] = {}
        self._mounts: list[Path] = []
        self.directory.mkdir(parents=True, exist_ok=True)
        self._library = compile_library(self.directory)
        self.hosts = self.network.hosts
        self.prefix = self._enter
        umount_leftovers()
        super().__post_init__()

    async def __aexit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all, and take the disks away."""
        await super().__aexit__(kind, failure, trace)
        for path in self._mounts:
            subprocess.run(["umount", path], check=True)  # noqa: ASYNC221
        self._mounts = []

    def place(self) -> Member:
        """Room for one more member, with a host, a disk and a clock of its own."""
        member = super().place()
        disk = self.directory / f"{member.name}.disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", f"navarch-disk-{os.getpid()}", str(disk)]
        subprocess.run(mount, check=True)
        self._mounts.append(disk)
        machine = self.machines[member.name] = Machine(self._library, disk)
        member.directory = machine.data
        return member

    async def remove_member(self, member: Member) -> None:
        """Remove a member; its host is free for another."""
        await super().remove_member(member)
        self._free_hosts.append(member.host)

    def _enter(self, member: Member) -> list[str]:
        environment = self.machines[member.name].environment()
        return [*self.network.enter(member.host), "env", *(f"{name}={value}" for name, value in environment.items())]

    @property
    def addresses(self) -> list[str]:
        """Where clients find members, running or not."""
        return [member.address for member in self.members.values()]

    # Faults that are more than a signal.

    async def lose_power(self, member: Member, rng: random.Random | None = None) -> int:
        """kill -9, and what was not synced is gone (with rng: some of it). Returns how much that was."""
        await self.kill(member)
        return await asyncio.to_thread(self.machines[member.name].lose, rng)

    async def kill_durably(self, member: Member) -> None:
        """kill -9 of the process alone: the disk keeps all."""
        await self.kill(member)
        await asyncio.to_thread(self.machines[member.name].forget)

    def fill_disk(self, member: Member, leave_bytes: int = 0) -> None:
        """Leave only so much on its disk."""
        disk = member.directory.parent
        with (disk / "filler").open("wb") as file:
            while True:
                stat = os.statvfs(disk)
                try:
                    os.posix_fallocate(file.fileno(), 0, max(1, stat.f_bavail * stat.f_bsize - leave_bytes))
                    return
                except OSError as failure:
                    # The member has written since the look; so there is less to fill.
                    if failure.errno != errno.ENOSPC:
                        raise

    def free_disk(self, member: Member) -> None:
        """Give it back."""
        (member.directory.parent / "filler").unlink(missing_ok=True)

    # What holds when the faults are over.

    async def settle(self) -> None:
        """Wait until all members answer linearizable reads. Raises TimeoutError."""
        async with asyncio.timeout(SETTLE_TIMEOUT_S):
            await asyncio.gather(*(self._reads(member) for member in self.members.values()))

    async def _reads(self, member: Member) -> None:
        while True:
            async with self.channel(member) as connection:
                try:
                    request = rpc_pb2.RangeRequest(key=b"settled")
                    await rpc_pb2_grpc.KVStub(connection).Range(request, timeout=2 * ASK_TIMEOUT_S)
                    return
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(POLL_S)

    async def hashes(self) -> dict[str, int]:
        """Each member's hash of all history up to one revision that all have."""
        answers = await asyncio.gather(*(self._hash(member, 0) for member in self.members.values()))
        revision = min(answer.header.revision for answer in answers)
        answers = await asyncio.gather(*(self._hash(member, revision) for member in self.members.values()))
        return {name: answer.hash for name, answer in zip(self.members, answers, strict=True)}

    async def _hash(self, member: Member, revision: int) -> rpc_pb2.HashKVResponse:
        async with self.channel(member) as connection:
            return await rpc_pb2_grpc.MaintenanceStub(connection).HashKV(
                rpc_pb2.HashKVRequest(revision=revision), timeout=10
            )


class EtcdFaultyCluster(FaultyCluster):
    """The same with Debian's etcd in place of our members."""

    async def spawn(self, member: Member) -> None:
        """Start etcd's process and return at once."""
        flags = {
            "name": member.name,
            "data-dir": member.directory,
            "listen-peer-urls": member.peer_url,
            "initial-advertise-peer-urls": member.peer_url,
            "listen-client-urls": member.client_url,
            "advertise-client-urls": member.client_url,
            "pre-vote": "true",
        }
        # etcd is a static program: nothing can be loaded before it.
        with member.log_path.open("ab") as log:
            member.process = await asyncio.create_subprocess_exec(
                *self.network.enter(member.host),
                "etcd",
                *(f"--{flag}={value}" for flag, value in flags.items()),
                *member.initial,
                stdout=log,
                stderr=log,
            )
        member.paused = False
