"""What a member does about its own place in the cluster: it makes itself known, learns who else is there, and goes
when it was removed.

All of it looks at what is, again and again. The log alone does not do: a member that was removed is not sent that
entry any more, and one that was away while others moved or were replaced cannot answer them. So a member without a
leader asks all it knows, and a leader tells the members that it does not hear of. Both say what they know and take over
what is newer; entries of the log that came before change nothing again (see `membership`).
"""

import asyncio

import grpc

from navarch.protos.navarch import store_pb2
from navarch.services.base.log import get_logger
from navarch.services.store import commands
from navarch.services.store.bootstrap import Identity, answer_members
from navarch.services.store.config import Config
from navarch.services.store.errors import EtcdError
from navarch.services.store.member import StoreMember
from navarch.services.store.membership import from_reply, to_message
from navarch.services.store.peer_urls import ask_members
from navarch.services.store.replication.log import Member

RETRY_S = 0.5
CHECK_S = 2.0
_log = get_logger("store")


class RemovedError(Exception):
    """The cluster goes on without this member."""


class Presence:
    """Two tasks: `publish`, which ends once it is done, and `watch`, which ends with RemovedError only."""

    def __init__(self, config: Config, identity: Identity, member: StoreMember) -> None:
        self._config = config
        self._identity = identity
        self._member = member

    async def publish(self) -> None:
        """Make name and URLs known, where others than the configured ones are stored."""
        member = self._member
        while (me := member.machine.members.get(self._identity.member_id)) is not None:
            change = self._difference(me)
            if change is None:
                return
            try:
                await member.log.propose(commands.encode(change))
            except EtcdError as failure:
                _log.info("store.not_published", error=failure)
                await member.clock.sleep(RETRY_S)

    def _difference(self, me: Member) -> store_pb2.MembershipChange | None:
        config = self._config
        if (me.name, me.client_urls) != (config.name, config.client_urls):
            told = Member(me.id, config.name, me.peer_urls, config.client_urls)
            return store_pb2.MembershipChange(publish=to_message(told))
        if not me.peer_urls and config.peer_urls:
            # It was alone, and could not be reached, until now.
            return store_pb2.MembershipChange(update=to_message(Member(me.id, me.name, config.peer_urls)))
        return None

    async def watch(self) -> None:
        """Raises RemovedError once this member is none any more."""
        while True:
            self.check()
            await self._member.clock.sleep(CHECK_S)
            await asyncio.gather(*map(self._exchange, self._to_be_asked()))

    def check(self) -> None:
        """Raises RemovedError if this member has been removed."""
        if self._identity.member_id in self._member.machine.removed:
            raise RemovedError(
                f"{self._config.name} ({self._identity.member_id:x}) has been removed from its cluster for good; to "
                f"come back, it must be added anew and start without the data in {self._config.data_dir}"
            )

    def _to_be_asked(self) -> list[str]:
        """Peer URLs: those of all without a leader, those of the silent as a leader."""
        log, me = self._member.log, self._identity.member_id
        leader_id = log.status().leader_id
        others = [other for other in self._member.machine.members.values() if other.id != me]
        if leader_id:
            others = [other for other in others if leader_id == me and log.silent_s(other.id) > CHECK_S]
        return [url for other in others for url in other.peer_urls]

    async def _exchange(self, url: str) -> None:
        try:
            self._learn(await ask_members(url, self._config.peer_credentials, self._known()))
        except (grpc.aio.AioRpcError, ValueError):
            # Not there, which is why it was asked; the next round follows.
            return

    def exchanged(self, request: store_pb2.MembersRequest) -> store_pb2.MembersReply:
        """The other end: learn from a member that asks, and answer."""
        if request.HasField("known"):
            self._learn(request.known)
        return self._known()

    def _known(self) -> store_pb2.MembersReply:
        member = self._member
        return answer_members(self._identity.cluster_id, member.machine.membership, member.backend)

    def _learn(self, known: store_pb2.MembersReply) -> None:
        member = self._member
        if known.cluster_id == self._identity.cluster_id and known.as_of > member.machine.membership.as_of:
            _log.info("store.members_learned", as_of=known.as_of, members=[f"{one.id:x}" for one in known.members])
            member.machine.adopt_members(from_reply(known))
            member.log.members_changed()
