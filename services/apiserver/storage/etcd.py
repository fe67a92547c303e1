"""A thin asynchronous client of the etcd v3 protocol.

Only what an API server needs: ranges, guarded transactions, leases for expiring keys, compaction, and the raw
watch stream (see `watch`). With one endpoint a call waits for a connection within its deadline, so that the
first request after a restart of the store succeeds; with several, a call that never left moves on to the next.
A request that was under way when the connection broke is never sent twice: its outcome is unknown, and the
caller gets UNAVAILABLE.
"""

import re
from collections.abc import Sequence
from typing import Any

import grpc

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.services.api import errors
from navarch.services.base.http2.client import Http2Channel
from navarch.services.base.tls import Credentials

DEADLINE_S = 10.0
# The first releases whose progress notices never overtake events, as Kubernetes has it.
PRECISE_PROGRESS = {(3, 4): 31, (3, 5): 13}
NOT_SENT = re.compile(r"failed to connect|connection refused|name resolution|no such file", re.IGNORECASE)
# The store's own words, and those of the gRPC library in front of it.
TOO_LARGE = re.compile(r"too large|larger than max")


class Compacted(Exception):
    """The revision asked for is no longer in the store. oldest: one that is, where the store said so, else 0."""

    def __init__(self, message: str, oldest: int = 0) -> None:
        super().__init__(message)
        self.oldest = oldest


class FutureRevision(Exception):
    """The revision asked for is not yet in the store."""


class Etcd:
    """A client of one store cluster. endpoints: "host:port", with or without a scheme."""

    def __init__(self, endpoints: Sequence[str], credentials: Credentials | None) -> None:
        addresses = [endpoint.split("://")[-1].rstrip("/") for endpoint in endpoints]
        self._channels: list[Any] = [Http2Channel(address, credentials) for address in addresses]
        self._kv = [rpc_pb2_grpc.KVStub(channel) for channel in self._channels]
        self._lease = [rpc_pb2_grpc.LeaseStub(channel) for channel in self._channels]
        self._maintenance = [rpc_pb2_grpc.MaintenanceStub(channel) for channel in self._channels]
        self._watch: list[Any] = [rpc_pb2_grpc.WatchStub(channel) for channel in self._channels]
        self._current = 0
        # Whether watches of this store may be asked how far they are; known after `probe`.
        self.precise_progress = False

    async def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            await channel.close()

    async def probe(self) -> None:
        """Learn what the store can do. Raises ServiceUnavailable while it is away."""
        status: rpc_pb2.StatusResponse = await self._call(self._maintenance, "Status", rpc_pb2.StatusRequest())
        self.precise_progress = progress_is_precise(status.version)

    async def size_bytes(self) -> int:
        """What the store holds, without the room that it has taken and does not use."""
        status: rpc_pb2.StatusResponse = await self._call(self._maintenance, "Status", rpc_pb2.StatusRequest())
        return status.dbSizeInUse or status.dbSize

    async def range(self, request: rpc_pb2.RangeRequest) -> rpc_pb2.RangeResponse:
        """Read keys. Raises Compacted or FutureRevision for a revision that is not there."""
        answer: rpc_pb2.RangeResponse = await self._call(self._kv, "Range", request)
        return answer

    async def txn(self, request: rpc_pb2.TxnRequest) -> rpc_pb2.TxnResponse:
        """Compare, then do one of two things, atomically."""
        answer: rpc_pb2.TxnResponse = await self._call(self._kv, "Txn", request)
        return answer

    async def revision(self) -> int:
        """The store's revision, no older than the moment of the call (a linearizable read of nothing)."""
        answer = await self.range(rpc_pb2.RangeRequest(key=b"\0", count_only=True))
        return answer.header.revision

    async def grant(self, ttl_s: int) -> int:
        """A new lease; keys put under it vanish after ttl_s."""
        request = rpc_pb2.LeaseGrantRequest(TTL=ttl_s)
        answer: rpc_pb2.LeaseGrantResponse = await self._call(self._lease, "LeaseGrant", request)
        return answer.ID

    async def compact(self, revision: int) -> None:
        """Forget what was overwritten before a revision. Raises Compacted when that was done already."""
        await self._call(self._kv, "Compact", rpc_pb2.CompactionRequest(revision=revision))

    def watch_stream(self) -> Any:
        """A new watch stream to the present endpoint; the call waits for a connection."""
        return self._watch[self._current].Watch(wait_for_ready=True)

    def next_endpoint(self) -> None:
        """Turn to another endpoint, after the present one failed."""
        self._current = (self._current + 1) % len(self._channels)

    async def _call(self, stubs: Sequence[Any], method: str, request: Any) -> Any:
        alone = len(self._channels) == 1
        for attempt in range(len(self._channels)):
            try:
                call = getattr(stubs[self._current], method)
                return await call(request, timeout=DEADLINE_S, wait_for_ready=alone)
            except grpc.aio.AioRpcError as failure:
                if failure.code() is grpc.StatusCode.UNAVAILABLE and not alone:
                    self.next_endpoint()
                    if attempt + 1 < len(self._channels) and NOT_SENT.search(failure.details() or ""):
                        continue
                raise translated(failure) from failure
        raise AssertionError("unreachable: the last attempt returns or raises")


def translated(failure: grpc.aio.AioRpcError) -> Exception:
    """What a refusal of the store means to the API server's callers."""
    code, details = failure.code(), failure.details() or ""
    if code is grpc.StatusCode.OUT_OF_RANGE:
        return Compacted(details) if "compacted" in details else FutureRevision(details)
    if code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED) and TOO_LARGE.search(details):
        return errors.RequestEntityTooLarge("etcdserver: request is too large")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.ServiceUnavailable("etcdserver: request timed out")
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED):
        return errors.ServiceUnavailable(f"the store is not available: {details}")
    return errors.InternalError(f"the store refused: {details}")


def progress_is_precise(version: str) -> bool:
    """Whether progress notices of this etcd release come only after the events that they cover."""
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if not match:
        return False
    major, minor, patch = map(int, match.groups())
    if (major, minor) >= (3, 6):
        return True
    return patch >= PRECISE_PROGRESS.get((major, minor), 1 << 30)
