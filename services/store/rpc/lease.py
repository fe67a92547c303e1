"""The Lease service. Renewals and remaining times are the leader's, and not replicated."""

from collections.abc import AsyncIterator
from typing import Any

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.services.store.errors import LEASE_TTL_TOO_LARGE
from navarch.services.store.lease import MAX_TTL_S
from navarch.services.store.member import StoreMember


class LeaseServicer(rpc_pb2_grpc.LeaseServicer):
    """Keys that end with their holder."""

    def __init__(self, member: StoreMember) -> None:
        self._member = member

    async def LeaseGrant(self, request: rpc_pb2.LeaseGrantRequest, context: Any) -> rpc_pb2.LeaseGrantResponse:
        """Create a lease, under an id of ours if none is given."""
        if request.TTL > MAX_TTL_S:
            raise LEASE_TTL_TOO_LARGE()
        if request.ID == 0:
            request.ID = self._member.new_lease_id()
        return await self._member.propose(request, rpc_pb2.LeaseGrantResponse)

    async def LeaseRevoke(self, request: rpc_pb2.LeaseRevokeRequest, context: Any) -> rpc_pb2.LeaseRevokeResponse:
        """End a lease and delete its keys."""
        return await self._member.propose(request, rpc_pb2.LeaseRevokeResponse)

    async def LeaseKeepAlive(
        self, request_iterator: AsyncIterator[rpc_pb2.LeaseKeepAliveRequest], context: Any
    ) -> AsyncIterator[rpc_pb2.LeaseKeepAliveResponse]:
        """Prolong leases; a TTL of 0 says that there is no such lease any more."""
        async for request in request_iterator:
            await self._member.read_barrier()
            ttl_s = self._member.renew(request.ID)
            yield self._member.answer(rpc_pb2.LeaseKeepAliveResponse(ID=request.ID, TTL=ttl_s))

    async def LeaseTimeToLive(
        self, request: rpc_pb2.LeaseTimeToLiveRequest, context: Any
    ) -> rpc_pb2.LeaseTimeToLiveResponse:
        """What is left of a lease, -1 when it is unknown."""
        await self._member.read_barrier()
        lease = self._member.machine.lessor.get(request.ID)
        response = self._member.answer(rpc_pb2.LeaseTimeToLiveResponse(ID=request.ID, TTL=-1))
        if lease is not None:
            response.TTL = int(lease.remaining_s(self._member.clock.monotonic()))
            response.grantedTTL = lease.ttl_s
            if request.keys:
                response.keys.extend(sorted(lease.keys))
        return response

    async def LeaseLeases(self, request: rpc_pb2.LeaseLeasesRequest, context: Any) -> rpc_pb2.LeaseLeasesResponse:
        """All leases, the one that ends first in front."""
        await self._member.read_barrier()
        response = self._member.answer(rpc_pb2.LeaseLeasesResponse())
        for lease in self._member.machine.lessor.by_expiry():
            response.leases.add(ID=lease.id)
        return response
