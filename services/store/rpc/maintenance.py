"""The Maintenance service."""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.services.store.corruption import hash_history
from navarch.services.store.errors import BAD_LEADER_TRANSFEREE, NOT_SUPPORTED
from navarch.services.store.member import StoreMember
from navarch.services.store.snapshot_state import SENDING

# What the member stands in for. kube-apiserver asks for progress on watches only from 3.5.13 on.
ETCD_VERSION = "3.5.13"
STORAGE_VERSION = "3.5.0"
SNAPSHOT_CHUNK_BYTES = 1 << 20


class MaintenanceServicer(rpc_pb2_grpc.MaintenanceServicer):
    """Care for this member and its data."""

    def __init__(self, member: StoreMember) -> None:
        self._member = member

    async def Status(self, request: rpc_pb2.StatusRequest, context: Any) -> rpc_pb2.StatusResponse:
        """How this member is."""
        status, backend = self._member.log.status(), self._member.backend
        response = rpc_pb2.StatusResponse(
            version=ETCD_VERSION,
            storageVersion=STORAGE_VERSION,
            dbSize=backend.size_bytes(),
            dbSizeInUse=backend.size_in_use_bytes(),
            dbSizeQuota=self._member.quota_bytes,
            leader=status.leader_id,
            raftIndex=status.commit_index,
            raftTerm=status.term,
            raftAppliedIndex=status.applied_index,
            isLearner=self._member.is_learner,
        )
        if not status.leader_id:
            response.errors.append("etcdserver: no leader")
        for member, alarm in sorted(self._member.machine.alarms):
            response.errors.append(f"memberID:{member} alarm:{rpc_pb2.AlarmType.Name(alarm)} ")
        return self._member.answer(response)

    async def Alarm(self, request: rpc_pb2.AlarmRequest, context: Any) -> rpc_pb2.AlarmResponse:
        """List, raise or lift alarms."""
        if request.action != rpc_pb2.AlarmRequest.GET:
            return await self._member.propose(request, rpc_pb2.AlarmResponse)
        response = self._member.answer(rpc_pb2.AlarmResponse())
        for member, alarm in sorted(self._member.machine.alarms):
            if request.memberID in (0, member) and request.alarm in (rpc_pb2.NONE, alarm):
                response.alarms.add(memberID=member, alarm=alarm)
        return response

    async def Defragment(self, request: rpc_pb2.DefragmentRequest, context: Any) -> rpc_pb2.DefragmentResponse:
        """Rewrite the data file without free pages, while this member goes on serving."""
        await self._member.defragment()
        return self._member.answer(rpc_pb2.DefragmentResponse())

    async def Hash(self, request: rpc_pb2.HashRequest, context: Any) -> rpc_pb2.HashResponse:
        """A checksum of all retained history."""
        history = await hash_history(self._member.machine, 0)
        return self._member.answer(rpc_pb2.HashResponse(hash=history.value))

    async def HashKV(self, request: rpc_pb2.HashKVRequest, context: Any) -> rpc_pb2.HashKVResponse:
        """A checksum of the history up to a revision, to compare members by."""
        history = await hash_history(self._member.machine, request.revision)
        return self._member.answer(
            rpc_pb2.HashKVResponse(
                hash=history.value, compact_revision=history.compact_revision, hash_revision=history.revision
            )
        )

    async def Snapshot(self, request: rpc_pb2.SnapshotRequest, context: Any) -> AsyncIterator[rpc_pb2.SnapshotResponse]:
        """The data file as of now, in pieces, followed by its SHA-256."""
        with tempfile.TemporaryDirectory(prefix=SENDING, dir=self._member.scratch_dir) as folder:
            path = Path(folder) / "snapshot"
            await self._member.copy_data(path)
            remaining = path.stat().st_size
            digest = hashlib.sha256()
            with path.open("rb") as file:
                while chunk := await asyncio.to_thread(file.read, SNAPSHOT_CHUNK_BYTES):
                    digest.update(chunk)
                    remaining -= len(chunk)
                    yield self._piece(chunk, remaining)
        yield self._piece(digest.digest(), 0)

    def _piece(self, blob: bytes, remaining: int) -> rpc_pb2.SnapshotResponse:
        return self._member.answer(
            rpc_pb2.SnapshotResponse(blob=blob, remaining_bytes=remaining, version=STORAGE_VERSION)
        )

    async def Downgrade(self, request: rpc_pb2.DowngradeRequest, context: Any) -> rpc_pb2.DowngradeResponse:
        """Refused: there is one version of the format."""
        raise NOT_SUPPORTED()

    async def MoveLeader(self, request: rpc_pb2.MoveLeaderRequest, context: Any) -> rpc_pb2.MoveLeaderResponse:
        """Hand leadership to another member; only the leader can."""
        if not request.targetID:
            # To the log, whichever member is nearest.
            raise BAD_LEADER_TRANSFEREE()
        await self._member.log.transfer(request.targetID)
        return self._member.answer(rpc_pb2.MoveLeaderResponse())
