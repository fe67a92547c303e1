"""The Peer service: what other members of the cluster send to this one.

Messages go to the log's Receiver. Of each member only its newest stream counts: an older one belongs to a connection
that the member has given up, and what is still in it must not arrive behind newer messages.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import grpc

from navarch.protos.navarch import store_pb2, store_pb2_grpc
from navarch.services.base.log import get_logger
from navarch.services.base.tls import identity
from navarch.services.store.errors import NOT_SUPPORTED
from navarch.services.store.replication.log import Member
from navarch.services.store.replication.peers import CLUSTER_KEY, FROM_KEY, TO_KEY
from navarch.services.store.replication.snapshots import SnapshotReceiver, SnapshotRefused
from navarch.services.store.replication.transport import Receiver

_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
_DENIED = grpc.StatusCode.PERMISSION_DENIED
# So many refusals are remembered, to log each once.
_REMEMBERED = 1000
_log = get_logger("store")

Batches = AsyncIterator[store_pb2.RaftBatch]


class Roster(Protocol):
    """Who takes part, and who did once; a change replaces the mapping."""

    @property
    def members(self) -> Mapping[int, Member]:
        """By id."""
        ...

    @property
    def removed(self) -> Set[int]:
        """Ids that must not come back."""
        ...


class Leases(Protocol):
    """The leases where they are kept. Raises EtcdError, UNAVAILABLE when that is not here."""

    async def renew(self, lease_id: int) -> store_pb2.LeaseTime:
        """Prolong a lease."""
        ...

    async def time_to_live(self, lease_id: int) -> store_pb2.LeaseTime:
        """What is left of a lease."""
        ...


async def _hashes_nothing(revision: int) -> store_pb2.HashKVReply:
    raise NOT_SUPPORTED()


@dataclass(frozen=True, slots=True)
class PeerHandlers:
    """What the calls are passed on to. appeared: told of each member that connects."""

    receiver: Receiver
    roster: Roster
    snapshots: SnapshotReceiver
    leases: Leases
    members: Callable[[store_pb2.MembersRequest], store_pb2.MembersReply]
    appeared: Callable[[int], None] = lambda peer: None
    hash_kv: Callable[[int], Awaitable[store_pb2.HashKVReply]] = _hashes_nothing


class PeerServicer(store_pb2_grpc.PeerServicer):
    """See store.proto."""

    def __init__(self, cluster_id: int, member_id: int, handlers: PeerHandlers) -> None:
        self._cluster_id = cluster_id
        self._member_id = member_id
        self._handlers = handlers
        self._streams: dict[int, asyncio.Future[None]] = {}
        # What was refused to whom, and logged.
        self._refused: dict[tuple[str, str], None] = {}

    async def Deliver(self, requests: Batches, context: Any) -> store_pb2.Delivered:
        """Hand messages to the receiver while this is the newest stream of their sender."""
        sender = await self._check(context)
        await context.send_initial_metadata(((FROM_KEY, f"{self._member_id:x}"),))
        if (older := self._streams.get(sender)) is not None:
            older.cancel()
        stream = self._streams[sender] = asyncio.ensure_future(self._deliver(sender, requests, context))
        self._handlers.appeared(sender)
        try:
            await asyncio.wait((stream,))
        finally:
            stream.cancel()
            if self._streams.get(sender) is stream:
                del self._streams[sender]
        if stream.cancelled():
            await context.abort(grpc.StatusCode.ABORTED, "a newer connection of the same member took its place")
        stream.result()
        return store_pb2.Delivered()

    async def _deliver(
        self,
        sender: int,
        requests: Batches,
        context: Any,
    ) -> None:
        receiver, roster = self._handlers.receiver, self._handlers.roster
        members = roster.members
        async for batch in requests:
            if roster.members is not members:
                members = roster.members
                await self._check(context)
            receiver.received(sender, batch.messages)

    async def OfferSnapshot(self, request: store_pb2.SnapshotOffer, context: Any) -> store_pb2.SnapshotOfferReply:
        """How much of it is here."""
        await self._check(context)
        try:
            return store_pb2.SnapshotOfferReply(offset=await self._handlers.snapshots.offer(request))
        except (SnapshotRefused, OSError) as refusal:
            await self._refuse_snapshot(context, refusal)

    async def InstallSnapshot(
        self, requests: AsyncIterator[store_pb2.SnapshotChunk], context: Any
    ) -> store_pb2.SnapshotInstalled:
        """Answer once it is installed."""
        await self._check(context)
        try:
            return store_pb2.SnapshotInstalled(last_index=await self._handlers.snapshots.receive(requests))
        except (SnapshotRefused, OSError) as refusal:
            await self._refuse_snapshot(context, refusal)

    async def _refuse_snapshot(self, context: Any, refusal: Exception) -> NoReturn:
        _log.warning("store.snapshot_refused", peer=context.peer(), reason=refusal)
        await context.abort(grpc.StatusCode.ABORTED, str(refusal))
        raise AssertionError("abort raises")

    async def RenewLease(self, request: store_pb2.LeaseRenewal, context: Any) -> store_pb2.LeaseTime:
        """See Leases."""
        await self._check(context)
        return await self._handlers.leases.renew(request.id)

    async def LeaseTimeToLive(self, request: store_pb2.LeaseQuery, context: Any) -> store_pb2.LeaseTime:
        """See Leases."""
        await self._check(context)
        return await self._handlers.leases.time_to_live(request.id)

    async def HashKV(self, request: store_pb2.HashKVRequest, context: Any) -> store_pb2.HashKVReply:
        """The checksum of the data here."""
        await self._check(context)
        return await self._handlers.hash_kv(request.revision)

    async def Members(self, request: store_pb2.MembersRequest, context: Any) -> store_pb2.MembersReply:
        """For members that join, which have no id yet."""
        return self._handlers.members(request)

    # Who may call.

    async def _check(self, context: Any) -> int:
        """The sender's id, once it is a member that means this one; others are refused."""
        metadata = dict(context.invocation_metadata() or ())
        try:
            cluster, sender, target = (int(metadata[key], 16) for key in (CLUSTER_KEY, FROM_KEY, TO_KEY))
        except (KeyError, ValueError):
            await self._refuse(context, _PRECONDITION, "it does not say who it is", "")
        refusal = self._refusal(cluster, sender, target)
        if refusal is not None:
            await self._refuse(context, *refusal, f"{sender:x} of cluster {cluster:x}")
        self._forgive(f"{sender:x} of cluster {cluster:x}")
        return sender

    def _refusal(self, cluster: int, sender: int, target: int) -> tuple[grpc.StatusCode, str] | None:
        roster = self._handlers.roster
        if cluster != self._cluster_id:
            return _PRECONDITION, f"it belongs to cluster {cluster:x}, this is a member of {self._cluster_id:x}"
        if target != self._member_id:
            return _PRECONDITION, f"it looks for member {target:x}, this is {self._member_id:x}"
        if sender in roster.removed:
            return _DENIED, f"member {sender:x} has been removed from cluster {cluster:x}"
        if sender not in roster.members:
            return _DENIED, f"{sender:x} is no member of cluster {cluster:x}, as far as this one knows"
        return None

    async def _refuse(self, context: Any, code: grpc.StatusCode, reason: str, who: str) -> NoReturn:
        known = (who, reason)
        if known not in self._refused:
            if len(self._refused) >= _REMEMBERED:
                self._refused.clear()
            self._refused[known] = None
            certificates = context.auth_context().get("x509_pem_cert", ())
            _log.warning(
                "store.peer_refused",
                peer=who,
                address=context.peer(),
                common_name=identity(certificates[0])[0] if certificates else "",
                cluster=f"{self._cluster_id:x}",
                reason=reason,
            )
        await context.abort(code, reason)
        raise AssertionError("abort raises")

    def _forgive(self, who: str) -> None:
        """It is accepted again: its next refusal is news."""
        for known in [known for known in self._refused if known[0] == who]:
            del self._refused[known]
