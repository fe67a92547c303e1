"""The Lease service. Renewals and remaining times are the leader's, and not replicated."""

from collections.abc import AsyncIterator
from typing import Any

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.services.store.errors import LEASE_TTL_TOO_LARGE, NOT_SUPPORTED_FOR_LEARNER
from navarch.services.store.lease import MAX_TTL_S
from navarch.services.store.member import StoreMember


class LeaseServicer(rpc_pb2_grpc.LeaseServicer):
    """Keys that end with their holder."""

    def __init__(self, member: StoreMember) -> None:
        self._member = member

    async def LeaseGrant(self, request: rpc_pb2.LeaseGrantRequest, context: Any) -> rpc_pb2.LeaseGrantResponse:
        """Create a lease, under an id of ours if none is given."""
        self._member.leader.check(context)
        if request.TTL > MAX_TTL_S:
            raise LEASE_TTL_TOO_LARGE()
        request.TTL = max(request.TTL, self._member.lease_keeper.min_ttl_s)
        if request.ID == 0:
            request.ID = self._member.new_lease_id()
        return await self._member.propose(request, rpc_pb2.LeaseGrantResponse)

    async def LeaseRevoke(self, request: rpc_pb2.LeaseRevokeRequest, context: Any) -> rpc_pb2.LeaseRevokeResponse:
        """End a lease and delete its keys."""
        self._member.leader.check(context)
        return await self._member.propose(request, rpc_pb2.LeaseRevokeResponse)

    async def LeaseKeepAlive(
        self, request_iterator: AsyncIterator[rpc_pb2.LeaseKeepAliveRequest], context: Any
    ) -> AsyncIterator[rpc_pb2.LeaseKeepAliveResponse]:
        """Prolong leases; a TTL of 0 says that there is no such lease any more."""
        if self._member.is_learner:
            raise NOT_SUPPORTED_FOR_LEARNER()
        async for request in request_iterator:
            self._member.leader.check(context)
            time = await self._member.leases.renew(request.ID)
            yield self._member.answer(rpc_pb2.LeaseKeepAliveResponse(ID=request.ID, TTL=time.ttl_s))

    async def LeaseTimeToLive(
        self, request: rpc_pb2.LeaseTimeToLiveRequest, context: Any
    ) -> rpc_pb2.LeaseTimeToLiveResponse:
        """What is left of a lease, -1 when it is unknown. The keys are those known here after the leader's answer."""
        self._member.leader.check(context)
        time = await self._member.leases.time_to_live(request.ID)
        await self._member.read_barrier()
        response = rpc_pb2.LeaseTimeToLiveResponse(ID=request.ID, TTL=time.ttl_s, grantedTTL=time.granted_ttl_s)
        lease = self._member.machine.lessor.get(request.ID)
        if request.keys and lease is not None:
            response.keys.extend(sorted(lease.keys))
        return self._member.answer(response)

    async def LeaseLeases(self, request: rpc_pb2.LeaseLeasesRequest, context: Any) -> rpc_pb2.LeaseLeasesResponse:
        """All leases, where the log is led the one that ends first in front."""
        self._member.leader.check(context)
        await self._member.read_barrier()
        response = self._member.answer(rpc_pb2.LeaseLeasesResponse())
        for lease in self._member.machine.lessor.by_expiry():
            response.leases.add(ID=lease.id)
        return response
