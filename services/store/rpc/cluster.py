"""The Cluster service."""

from typing import Any

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.services.store.errors import MEMBER_NOT_FOUND, NOT_ENOUGH_MEMBERS, NOT_SUPPORTED
from navarch.services.store.member import StoreMember


class ClusterServicer(rpc_pb2_grpc.ClusterServicer):
    """The members of the store."""

    def __init__(self, member: StoreMember) -> None:
        self._member = member

    async def MemberList(self, request: rpc_pb2.MemberListRequest, context: Any) -> rpc_pb2.MemberListResponse:
        """All members."""
        if request.linearizable:
            await self._member.read_barrier()
        response = self._member.answer(rpc_pb2.MemberListResponse())
        for member in self._member.log.members():
            response.members.add(
                ID=member.id, name=member.name, peerURLs=member.peer_urls, clientURLs=member.client_urls
            )
        return response

    async def MemberRemove(self, request: rpc_pb2.MemberRemoveRequest, context: Any) -> rpc_pb2.MemberRemoveResponse:
        """Refused: the last member cannot go."""
        if all(member.id != request.ID for member in self._member.log.members()):
            raise MEMBER_NOT_FOUND()
        raise NOT_ENOUGH_MEMBERS()

    async def MemberAdd(self, request: rpc_pb2.MemberAddRequest, context: Any) -> rpc_pb2.MemberAddResponse:
        """Refused: a store has one member."""
        raise NOT_SUPPORTED()

    async def MemberPromote(self, request: rpc_pb2.MemberPromoteRequest, context: Any) -> rpc_pb2.MemberPromoteResponse:
        """Refused: a store has one member."""
        raise NOT_SUPPORTED()

    async def MemberUpdate(self, request: rpc_pb2.MemberUpdateRequest, context: Any) -> rpc_pb2.MemberUpdateResponse:
        """Refused: a store has one member."""
        raise NOT_SUPPORTED()
