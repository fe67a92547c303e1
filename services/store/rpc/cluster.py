"""The Cluster service.

Changes are made at the leader, which alone knows who is alive and how far everybody's log is; other members forward the
call over the leader's peer address, where this service is served too, but forwards nothing on. What must hold wherever
a change is applied is checked by `membership`; here it is refused what could leave the cluster without a majority.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.protos.navarch import store_pb2
from navarch.services.base.tls import Credentials
from navarch.services.store import commands
from navarch.services.store.errors import (
    LEARNER_NOT_READY,
    MEMBER_BAD_URLS,
    NO_LEADER,
    NOT_LEADER,
    NOT_SUPPORTED_FOR_LEARNER,
    UNHEALTHY,
    EtcdError,
    Refusal,
)
from navarch.services.store.member import StoreMember
from navarch.services.store.membership import to_message
from navarch.services.store.peer_urls import dial, parse
from navarch.services.store.replication.log import Member

# How long a change may look for a leader; an election takes a second or two.
TIMEOUT_S = 7.0
RETRY_S = 0.05
# A member that the leader has not heard of for so long is not counted on.
SILENT_S = 2.0
# A store of one member may have been started without a place where others find it.
UNREACHABLE = Refusal(
    grpc.StatusCode.FAILED_PRECONDITION, "etcdserver: a member has no peer URL: restart it with --listen-peer first"
)
# A learner is promoted once it has this part of the leader's log.
LEARNER_READY = 0.9

Response = TypeVar(
    "Response",
    rpc_pb2.MemberAddResponse,
    rpc_pb2.MemberRemoveResponse,
    rpc_pb2.MemberUpdateResponse,
    rpc_pb2.MemberPromoteResponse,
)


class ClusterServicer(rpc_pb2_grpc.ClusterServicer):
    """The members of the store.

    credentials: what to show the leader when a call is forwarded. forwards: whether it is; on the peer address not.
    """

    def __init__(self, member: StoreMember, credentials: Credentials | None = None, *, forwards: bool = True) -> None:
        self._member = member
        self._credentials = credentials
        self._forwards = forwards

    async def MemberList(self, request: rpc_pb2.MemberListRequest, context: Any) -> rpc_pb2.MemberListResponse:
        """All members."""
        if request.linearizable:
            await self._member.read_barrier()
        return self._member.answer(rpc_pb2.MemberListResponse(members=_listed(self._member.log.members())))

    async def MemberAdd(self, request: rpc_pb2.MemberAddRequest, context: Any) -> rpc_pb2.MemberAddResponse:
        """Admit a member, which starts afterwards, as voter or learner."""
        _check_urls(request.peerURLs)
        return await self._at_leader("MemberAdd", request, lambda: self._add(request))

    async def MemberRemove(self, request: rpc_pb2.MemberRemoveRequest, context: Any) -> rpc_pb2.MemberRemoveResponse:
        """Send a member away for good. A leader hands over first."""
        return await self._at_leader("MemberRemove", request, lambda: self._remove(request))

    async def MemberUpdate(self, request: rpc_pb2.MemberUpdateRequest, context: Any) -> rpc_pb2.MemberUpdateResponse:
        """Give a member other peer URLs."""
        _check_urls(request.peerURLs)
        return await self._at_leader("MemberUpdate", request, lambda: self._update(request))

    async def MemberPromote(self, request: rpc_pb2.MemberPromoteRequest, context: Any) -> rpc_pb2.MemberPromoteResponse:
        """Make a voter of a learner that has caught up."""
        return await self._at_leader("MemberPromote", request, lambda: self._promote(request))

    # At the leader.

    async def _add(self, request: rpc_pb2.MemberAddRequest) -> rpc_pb2.MemberAddResponse:
        membership = self._member.machine.membership
        if not all(voter.peer_urls for voter in membership.voters):
            raise UNREACHABLE()
        if not request.isLearner:
            membership.check_add_voter()
        if not all(map(self._is_alive, membership.voters)):
            raise UNHEALTHY()
        member = Member(self._member.new_member_id(), "", tuple(request.peerURLs), (), request.isLearner)
        members = await self._change(store_pb2.MembershipChange(add=to_message(member)))
        return rpc_pb2.MemberAddResponse(member=_listed([member])[0], members=members)

    async def _remove(self, request: rpc_pb2.MemberRemoveRequest) -> rpc_pb2.MemberRemoveResponse:
        membership, log = self._member.machine.membership, self._member.log
        membership.check_remove(request.ID)
        if not membership[request.ID].is_learner:
            rest = [member for member in membership.voters if member.id != request.ID]
            if sum(map(self._is_alive, rest)) < len(rest) // 2 + 1:
                raise UNHEALTHY()
        if log.status().member_id == request.ID:
            await log.transfer(0)
            raise NOT_LEADER()
        return rpc_pb2.MemberRemoveResponse(members=await self._change(store_pb2.MembershipChange(remove=request.ID)))

    async def _update(self, request: rpc_pb2.MemberUpdateRequest) -> rpc_pb2.MemberUpdateResponse:
        update = store_pb2.Member(id=request.ID, peer_urls=request.peerURLs)
        return rpc_pb2.MemberUpdateResponse(members=await self._change(store_pb2.MembershipChange(update=update)))

    async def _promote(self, request: rpc_pb2.MemberPromoteRequest) -> rpc_pb2.MemberPromoteResponse:
        membership, log = self._member.machine.membership, self._member.log
        membership.promote(request.ID)
        membership.check_promote()
        if log.match_index(request.ID) < LEARNER_READY * log.match_index(log.status().member_id):
            raise LEARNER_NOT_READY()
        return rpc_pb2.MemberPromoteResponse(members=await self._change(store_pb2.MembershipChange(promote=request.ID)))

    def _is_alive(self, member: Member) -> bool:
        log, connected = self._member.log, self._member.peer_stub(member.id) is not None
        return member.id == log.status().member_id or (connected and log.silent_s(member.id) < SILENT_S)

    async def _change(self, change: store_pb2.MembershipChange) -> list[rpc_pb2.Member]:
        await self._member.log.propose(commands.encode(change), membership=True)
        return _listed(self._member.log.members())

    # On the way there.

    async def _at_leader(self, call: str, request: Message, act: Callable[[], Awaitable[Response]]) -> Response:
        """Do something here if this member leads, else have the leader do it."""
        clock, log = self._member.clock, self._member.log
        deadline = clock.monotonic() + TIMEOUT_S
        while clock.monotonic() < deadline:
            status = log.status()
            try:
                if status.is_leader:
                    return self._member.answer(await act())
                if not self._forwards:
                    raise NOT_LEADER()
                if self._member.is_learner:
                    raise NOT_SUPPORTED_FOR_LEARNER()
                if status.leader_id:
                    response: Response = await self._forward(status.leader_id, call, request)
                    return self._member.answer(response)
            except EtcdError as failure:
                # The leader has just changed, and nothing was done.
                if failure.message != NOT_LEADER.message or not self._forwards:
                    raise
            await clock.sleep(RETRY_S)
        raise NO_LEADER()

    async def _forward(self, leader_id: int, call: str, request: Message) -> Any:
        leader = self._member.machine.members.get(leader_id)
        if leader is None or not leader.peer_urls:
            raise NO_LEADER()
        async with dial(leader.peer_urls[0], self._credentials) as connection:
            try:
                response = await getattr(rpc_pb2_grpc.ClusterStub(connection), call)(request, timeout=TIMEOUT_S)
            except grpc.aio.AioRpcError as failure:
                raise EtcdError(failure.code(), failure.details() or "") from failure
        if request != rpc_pb2.MemberRemoveRequest(ID=self._member.log.status().member_id):
            # So that a list read here shows it too.
            with contextlib.suppress(EtcdError):
                await self._member.read_barrier()
        return response


def _check_urls(urls: Iterable[str]) -> None:
    try:
        parsed = [parse(url) for url in urls]
    except ValueError:
        parsed = []
    if not parsed:
        raise MEMBER_BAD_URLS()


def _listed(members: Iterable[Member]) -> list[rpc_pb2.Member]:
    return [
        rpc_pb2.Member(
            ID=member.id,
            name=member.name,
            peerURLs=member.peer_urls,
            clientURLs=member.client_urls,
            isLearner=member.is_learner,
        )
        for member in sorted(members, key=lambda member: member.id)
    ]
