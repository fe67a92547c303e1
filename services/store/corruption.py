"""Whether members hold the same data: their checksums of the history up to one revision, compared.

The leader asks every so often, and a member at its start, if so configured. What most voters hold is right. Who holds
something else, or finds records of its own damaged, is named by the CORRUPT alarm, after which the store refuses all
but the alarm's end and changes of members: replace the member, then disarm. If none of the answers is that of a
majority, nobody knows who is right, and the alarm names member 0. A member that does not answer, or has compacted
another part of the history, says nothing about itself and is asked again the next time.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

import grpc

from navarch.protos.etcd import rpc_pb2
from navarch.protos.navarch import store_pb2
from navarch.protos.navarch.store_pb2_grpc import PeerStub
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.store import commands
from navarch.services.store.errors import CorruptionError, EtcdError
from navarch.services.store.membership import Members
from navarch.services.store.mvcc.hashing import HistoryHash
from navarch.services.store.mvcc.store import MvccStore
from navarch.services.store.replication.log import ReplicatedLog
from navarch.services.store.state_machine import Alarm

# A hundred thousand keys take a second.
ANSWER_TIMEOUT_S = 60.0
# How long a start waits for connections to the other members; they may be down, or wait for this one.
CONNECT_TIMEOUT_S = 3.0
CONNECT_POLL_S = 0.05
# Answers in place of a checksum.
_DAMAGED = -1
_log = get_logger("store")


class State(Protocol):
    """What is compared; `mvcc` is another object after a snapshot was installed."""

    @property
    def mvcc(self) -> MvccStore:
        """The keys."""
        ...

    @property
    def membership(self) -> Members:
        """Who is asked."""
        ...

    @property
    def alarms(self) -> set[Alarm]:
        """What was raised already."""
        ...


async def hash_history(state: State, revision: int) -> HistoryHash:
    """The checksum up to a revision (0: the current one), between other work. Raises EtcdError, CorruptionError."""
    while True:
        mvcc = state.mvcc
        history = HistoryHash(mvcc, revision)
        while mvcc is state.mvcc:
            if history.advance():
                return history
            await asyncio.sleep(0)


class CorruptionCheck:
    """Asks, answers and raises the alarm. peer_stub: None for a peer that cannot be reached."""

    def __init__(
        self,
        state: Callable[[], State],
        log: ReplicatedLog,
        peer_stub: Callable[[int], PeerStub | None],
        clock: Clock,
    ) -> None:
        self._state = state
        self._log = log
        self._peer_stub = peer_stub
        self._clock = clock

    async def answer(self, revision: int) -> store_pb2.HashKVReply:
        """What a peer asks for. Raises EtcdError, CorruptionError."""
        await self._log.read_index()
        history = await hash_history(self._state(), revision)
        return store_pb2.HashKVReply(
            hash=history.value, revision=history.revision, compact_revision=history.compact_revision
        )

    async def run(self, interval_s: float) -> None:
        """Compare for ever, while this member leads."""
        while True:
            await self._clock.sleep(interval_s)
            if self._log.status().is_leader:
                try:
                    await self.compare()
                except EtcdError as failure:
                    _log.warning("store.not_compared", error=failure)

    async def compare(self) -> None:
        """Compare all members now, and raise the alarm for those that differ. Raises EtcdError."""
        await self._log.read_index()
        answers = await self._answers(self._state().mvcc.revision)
        for member_id in differing(answers, [voter.id for voter in self._state().membership.voters]):
            alarm = (member_id, rpc_pb2.CORRUPT)
            _log.error("store.member_differs", member=f"{member_id:x}", answers=_readable(answers))
            if alarm not in self._state().alarms:
                request = rpc_pb2.AlarmRequest(
                    action=rpc_pb2.AlarmRequest.ACTIVATE, memberID=member_id, alarm=rpc_pb2.CORRUPT
                )
                await self._log.propose(commands.encode(request))

    async def check_start(self) -> None:
        """Refuse to serve what most of those that answer contradict. Raises CorruptionError."""
        me, voters = self._log.status().member_id, [voter.id for voter in self._state().membership.voters]
        await self._connected([voter for voter in voters if voter != me])
        revision = self._state().mvcc.revision
        answers = await self._answers(revision)
        agreeing = sum(answer == answers.get(me) for answer in answers.values())
        if me in answers and len(answers) - agreeing >= max(agreeing, 1):
            raise CorruptionError(
                f"the data up to revision {revision} is not what the other members have: {_readable(answers)}. Remove "
                "this member, and add it anew without its data"
            )

    async def _connected(self, peers: list[int]) -> None:
        """Wait for the others, not for long."""
        deadline = self._clock.monotonic() + CONNECT_TIMEOUT_S
        while any(self._peer_stub(peer) is None for peer in peers) and self._clock.monotonic() < deadline:
            await self._clock.sleep(CONNECT_POLL_S)

    async def _answers(self, revision: int) -> dict[int, int]:
        """Checksums by member, of those that can be compared."""
        me = self._log.status().member_id
        try:
            mine = await hash_history(self._state(), revision)
            compact_revision, own = mine.compact_revision, mine.value
        except CorruptionError as damage:
            _log.error("store.corrupt", error=damage)
            compact_revision, own = self._state().mvcc.compact_revision, _DAMAGED
        others = [member_id for member_id in self._state().membership.by_id if member_id != me]
        replies = await asyncio.gather(*(self._ask(peer, revision, compact_revision) for peer in others))
        answers = {me: own, **dict(zip(others, replies, strict=True))}
        return {member_id: answer for member_id, answer in answers.items() if answer is not None}

    async def _ask(self, peer: int, revision: int, compact_revision: int) -> int | None:
        # Typed as a blocking stub, like all that are made.
        stub: Any = self._peer_stub(peer)
        if stub is None:
            return None
        try:
            reply = await stub.HashKV(store_pb2.HashKVRequest(revision=revision), timeout=ANSWER_TIMEOUT_S)
        except grpc.aio.AioRpcError as failure:
            if failure.code() is grpc.StatusCode.DATA_LOSS:
                return _DAMAGED
            _log.info("store.not_compared", peer=f"{peer:x}", revision=revision, error=failure.details())
            return None
        return int(reply.hash) if reply.compact_revision == compact_revision else None


def differing(answers: dict[int, int], voters: list[int]) -> list[int]:
    """The members whose answer is not that of most voters; [0] when no answer is, and they are not all the same."""
    counted = Counter(answers[voter] for voter in voters if answers.get(voter, _DAMAGED) != _DAMAGED)
    damaged = [member_id for member_id, answer in sorted(answers.items()) if answer == _DAMAGED]
    if len(counted) == 1 and not set(answers.values()) - {*counted, _DAMAGED}:
        return damaged
    right, count = counted.most_common(1)[0] if counted else (_DAMAGED, 0)
    if count <= len(voters) // 2:
        return damaged or [0]
    return [member_id for member_id, answer in sorted(answers.items()) if answer != right]


def _readable(answers: dict[int, int]) -> dict[str, str]:
    return {
        f"{member_id:x}": "damaged" if answer == _DAMAGED else f"{answer:08x}"
        for member_id, answer in sorted(answers.items())
    }
