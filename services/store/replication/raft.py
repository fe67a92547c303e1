"""The log on Raft: drives a `RaftNode` with the clock, the journal's disk and the network.

One pump: a step of the node after anything has happened, then its messages leave and its batch is flushed, and the
next step follows the flush. So a lone proposal costs one flush and no waiting, and under load each flush and each
message carries everything that arrived meanwhile. Nothing ticks but heartbeats and election deadlines.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from google.protobuf.message import Message
from grpc import StatusCode

from navarch.protos.navarch import store_pb2
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.base.tasks import TaskOwner
from navarch.services.store.errors import (
    LEADER_CHANGED,
    NO_LEADER,
    STOPPED,
    TIMEOUT,
    TOO_MANY_REQUESTS,
    CorruptionError,
    EtcdError,
    Refusal,
)
from navarch.services.store.replication.flusher import Flusher
from navarch.services.store.replication.journal import Batch, Journal
from navarch.services.store.replication.log import LogStatus, Member, Outcome, StateMachine
from navarch.services.store.replication.node import NO_OP, Outgoing, Proposal, RaftNode, Timing
from navarch.services.store.replication.transport import SnapshotFile, Snapshots, Transport

# etcd's bound on requests under way.
MAX_PENDING = 5000
# How long a proposal or read may wait: for a leader, a majority, the disk. An election takes a second or two.
REQUEST_TIMEOUT_S = 4.0
# Kept in memory behind the released index, so that a follower that was away for a moment needs no snapshot.
KEEP_ENTRIES = 1000
KEEP_BYTES = 32 << 20
# How long entries are kept for a follower that says nothing, and how many for one that is slow.
PATIENCE_S = 2.0
SLOW_ENTRIES = 100_000
SNAPSHOT_PAUSE_S = 5.0

_log = get_logger("store")


class RaftLog:
    """A ReplicatedLog on disk. A failed write stops it for good: the process must start anew."""

    def __init__(
        self,
        member_id: int,
        machine: StateMachine,
        journal: Journal,
        rng: random.Random,
        clock: Clock,
        transport: Transport,
        snapshots: Snapshots,
        timing: Timing | None = None,
        installed: tuple[int, int] | None = None,
    ) -> None:
        self.on_role: Callable[[], None] = lambda: None
        self.timing = timing or Timing()
        self._member_id = member_id
        self._machine = machine
        self._journal = journal
        self._rng = rng
        self._clock = clock
        self._transport = transport
        self._snapshots = snapshots
        # Index and term of a snapshot that the state is, where the journal may not know of it.
        self._installed = installed
        self._node: RaftNode | None = None
        self._stopped = False
        self._pump_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._waiting: set[asyncio.Future[Message]] = set()
        # Proposals that ended without an answer.
        self._failed = 0
        self._reading: set[asyncio.Future[int]] = set()
        self._transferring: set[asyncio.Future[None]] = set()
        self._release_to = 0
        # Peers that a snapshot is on its way to, and the index it ends with.
        self._sending: dict[int, int] = {}
        self._flushing: asyncio.Future[None] | None = None
        # At the start of a single member: done once it leads and has applied all it had.
        self._recovered: asyncio.Future[None] | None = None
        self._durable_waits: list[tuple[int, asyncio.Future[None]]] = []
        self._role = (0, 0)
        self._members: object = None
        self._tasks = TaskOwner()
        self._flusher = Flusher(journal.write)

    async def start(self) -> None:
        """See ReplicatedLog. Raises CorruptionError when journal and state do not belong together."""
        self._journal.open()
        if self._installed is not None and self._journal.term_at(self._installed[0]) != self._installed[1]:
            self._journal.reset(NO_OP, *self._installed)
        self._match(self._machine.applied_index)
        node = self._node = RaftNode(
            self._member_id, self._journal, self._machine, self._rng, self.timing, self._clock.monotonic()
        )
        await self._transport.start(self)
        if node.voters == {self._member_id}:
            self._recovered = asyncio.get_running_loop().create_future()
        self._pump()
        if self._recovered is not None:
            await self._recovered

    def _match(self, applied: int) -> None:
        first, last = self._journal.first_index, self._journal.last_index
        if applied > last:
            raise CorruptionError(f"the data has entry {applied} applied, the journal ends at {last}: journal lost?")
        if first > applied + 1:
            raise CorruptionError(f"the data has entry {applied} applied, the journal begins at {first}: data lost?")

    async def stop(self) -> None:
        """See ReplicatedLog."""
        self._fail()
        await self._transport.stop()
        await self._tasks.close()
        await self._flusher.close()
        self._journal.close()

    # The pump.

    def _wake(self) -> None:
        """Step once all that has happened in this turn of the loop is known."""
        if not self._pump_due:
            self._pump_due = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Step, send, and begin to flush; the end of the flush is the next thing that happens."""
        self._pump_due = False
        node = self._node
        if node is None or self._stopped:
            return
        try:
            ready = node.step(self._clock.monotonic())
        except Exception as failure:
            self._die(failure)
            return
        self._send(ready.messages)
        if ready.batch is None:
            self._release(node)
        else:
            # Followers get theirs meanwhile: a commit takes one disk's time, not two.
            self._flushing = self._flusher.flush(ready.batch)
            self._flushing.add_done_callback(partial(self._flushed, node, ready.batch, ready.after))
        self._notice(node)
        self._schedule(node)

    def _flushed(self, node: RaftNode, batch: Batch, after: list[Outgoing], flush: "asyncio.Future[None]") -> None:
        self._flushing = None
        if (failure := flush.exception()) is not None:
            self._die(failure)
            return
        node.written(batch, self._clock.monotonic())
        self._send(after)
        for wait in [wait for wait in self._durable_waits if wait[0] <= self._journal.durable_index]:
            self._durable_waits.remove(wait)
            if not wait[1].done():
                wait[1].set_result(None)
        self._release(node)
        self._pump()

    def _send(self, messages: list[Outgoing]) -> None:
        for peer, message in messages:
            self._transport.send(peer, message)

    def _notice(self, node: RaftNode) -> None:
        """What others have to know: members, the leader, who needs a snapshot."""
        recovered = self._recovered
        if recovered is not None and not recovered.done() and node.is_leader and node.applied_index == node.last_index:
            recovered.set_result(None)
        if self._machine.members is not self._members:
            self._members = self._machine.members
            self._transport.set_peers(
                {member.id: member.peer_urls for member in self.members() if member.id != self._member_id}
            )
        if (role := (node.term, node.leader_id)) != self._role:
            self._role = role
            _log.info("store.leader", term=node.term, leader=f"{node.leader_id:x}", member=f"{self._member_id:x}")
            self.on_role()
        for peer in node.wants_snapshot - self._sending.keys():
            self._sending[peer] = node.applied_index
            self._tasks.spawn(self._send_snapshot(node, peer), "snapshot")

    def _schedule(self, node: RaftNode) -> None:
        due = node.deadline()
        if self._timer is not None:
            # An earlier timer finds nothing due and sets the next; cheaper than a new one for each heartbeat.
            if self._timer_at <= due:
                return
            self._timer.cancel()
            self._timer = None
        if due == float("inf"):
            return
        self._timer_at = due
        wait_s = max(0.0, due - self._clock.monotonic()) + 0.001
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._timed_out)

    def _timed_out(self) -> None:
        self._timer = None
        self._pump()

    def _die(self, failure: BaseException) -> None:
        _log.error("store.log_failed", error=failure)
        self._fail()
        if self._recovered is not None and not self._recovered.done():
            self._recovered.set_exception(failure)
        else:
            self._tasks.spawn(_raise(failure), "raft")

    def _fail(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        waiting: list[asyncio.Future[Any]] = [
            *self._waiting,
            *self._reading,
            *self._transferring,
            *(wait for _, wait in self._durable_waits),
        ]
        for future in waiting:
            if not future.done():
                future.set_exception(STOPPED())

    # Receiver: what the transport reports.

    def received(self, sender: int, messages: Sequence[store_pb2.RaftMessage]) -> None:
        """See Receiver."""
        node = self._node
        if node is None or self._stopped:
            return
        now = self._clock.monotonic()
        try:
            for message in messages:
                node.receive(sender, message, now)
        except Exception as failure:
            self._die(failure)
            return
        self._pump()

    def connected(self, peer: int) -> None:
        """See Receiver."""
        if self._node is not None:
            self._node.connected(peer, self._clock.monotonic())
            self._wake()

    def disconnected(self, peer: int) -> None:
        """See Receiver."""
        if self._node is not None:
            self._node.disconnected(peer, self._clock.monotonic())
            self._wake()

    # What the store asks for.

    async def propose(self, command: bytes, *, membership: bool = False) -> Message:
        """See ReplicatedLog."""
        node = self._running()
        if len(self._waiting) >= MAX_PENDING:
            raise TOO_MANY_REQUESTS()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Message] = loop.create_future()
        proposal = Proposal(command, membership, partial(_answer, future))
        self._waiting.add(future)
        node.propose(proposal)
        self._wake()
        timer = loop.call_later(REQUEST_TIMEOUT_S, self._expire, future)
        try:
            return await future
        except EtcdError as failure:
            self._failed += failure.code is StatusCode.UNAVAILABLE
            raise
        finally:
            proposal.abandoned = True
            timer.cancel()
            self._waiting.discard(future)

    async def read_index(self) -> int:
        """See ReplicatedLog."""
        node = self._running()
        if len(self._reading) >= MAX_PENDING:
            raise TOO_MANY_REQUESTS()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        self._reading.add(future)
        answer = partial(_resolve, future)
        node.read_index(answer)
        self._wake()
        timer = loop.call_later(REQUEST_TIMEOUT_S, self._expire, future)
        try:
            return await future
        finally:
            timer.cancel()
            self._reading.discard(future)
            if future.cancelled() or future.exception() is not None:
                node.forget_read(answer)

    def _expire(self, future: "asyncio.Future[Message] | asyncio.Future[int]") -> None:
        if not future.done():
            has_leader = self._node is not None and self._node.leader_id
            future.set_exception(TIMEOUT() if has_leader else NO_LEADER())

    def _running(self) -> RaftNode:
        if self._node is None or self._stopped:
            raise STOPPED()
        return self._node

    @property
    def term(self) -> int:
        """See ReplicatedLog."""
        return self._journal.term

    def status(self) -> LogStatus:
        """See ReplicatedLog."""
        node = self._node
        if node is None:
            return LogStatus(self._member_id, 0, self._journal.term, 0, 0, self._machine.applied_index)
        leader_id = 0 if self._stopped else node.leader_id
        return LogStatus(
            self._member_id,
            leader_id,
            node.term,
            node.last_index,
            node.commit_index,
            node.applied_index,
            len(self._waiting),
            self._failed,
        )

    def members(self) -> Sequence[Member]:
        """See ReplicatedLog."""
        return tuple(self._machine.members.values())

    def members_changed(self) -> None:
        """See ReplicatedLog."""
        if self._node is not None and not self._stopped:
            self._node.members_changed(self._clock.monotonic())
            self._wake()

    def match_index(self, member_id: int) -> int:
        """How far a member has the log, as the leader knows; 0 elsewhere."""
        return self._node.match_index(member_id) if self._node is not None else 0

    def silent_s(self, member_id: int) -> float:
        """How long the leader has not heard from a member."""
        return self._node.silent_s(member_id, self._clock.monotonic()) if self._node is not None else 0.0

    async def transfer(self, member_id: int) -> None:
        """See ReplicatedLog; 0 stands for the member that is nearest."""
        node = self._running()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transferring.add(future)

        def answer(refusal: Refusal | None) -> None:
            if not future.done():
                if refusal is None:
                    future.set_result(None)
                else:
                    future.set_exception(refusal())

        node.transfer(member_id, answer, self._clock.monotonic())
        self._wake()
        try:
            await future
        finally:
            self._transferring.discard(future)

    def release(self, index: int) -> None:
        """See ReplicatedLog; happens in the log's next turn without a write under way."""
        self._release_to = index
        self._wake()

    def _release(self, node: RaftNode) -> None:
        if not self._release_to or self._flushing is not None:
            return
        now, self_id = self._clock.monotonic(), self._member_id
        index = min(self._release_to, *self._sending.values(), node.applied_index)
        if node.is_leader:
            behind = [
                node.match_index(peer)
                for peer in (node.voters | node.learners) - {self_id}
                if node.silent_s(peer, now) < PATIENCE_S
            ]
            index = min(index, max(min(behind, default=index), index - SLOW_ENTRIES))
        self._journal.release(index, KEEP_ENTRIES, KEEP_BYTES)
        self._release_to = 0

    # Snapshots.

    async def _send_snapshot(self, node: RaftNode, peer: int) -> None:
        """Bring a peer to where the log can take over; if that fails, the node asks again."""
        try:
            snapshot = await self._snapshots.make()
            self._sending[peer] = snapshot.last_index
            from navarch.services.store.replication.snapshots import SnapshotSender

            if await SnapshotSender(self._transport, self._clock).send(peer, snapshot, node.term):
                node.snapshot_sent(peer, snapshot.last_index, self._clock.monotonic())
        except OSError as failure:
            _log.warning("store.snapshot_not_made", peer=f"{peer:x}", error=failure)
            # A full disk, most likely; each attempt copies the whole state.
            await self._clock.sleep(SNAPSHOT_PAUSE_S)
        finally:
            node.wants_snapshot.discard(peer)
            del self._sending[peer]
        self._wake()

    async def install(self, snapshot: SnapshotFile) -> None:
        """Replace the state by a verified snapshot, unless it is newer. Raises CorruptionError, OSError."""
        node = self._running()
        node.pause()
        try:
            if snapshot.last_index <= node.applied_index:
                return
            await self._snapshots.install(snapshot)
            node.installed(snapshot.last_index, snapshot.last_term, self._clock.monotonic())
        except BaseException as failure:
            if self._machine.applied_index != node.applied_index:
                # The state is there, but perhaps not for good: entries must not be applied to it again.
                self._die(failure)
            raise
        finally:
            node.resume()
        await self._durable(snapshot.last_index)

    async def _durable(self, index: int) -> None:
        """Wait until the journal is on disk up to an index."""
        self._running()
        durable = asyncio.get_running_loop().create_future()
        self._durable_waits.append((index, durable))
        self._wake()
        await durable


async def _raise(failure: BaseException) -> None:
    raise failure


def _resolve(future: "asyncio.Future[int]", index: int) -> None:
    if not future.done():
        future.set_result(index)


def _answer(future: asyncio.Future[Message], outcome: Outcome, refusal: Refusal | None) -> None:
    if future.done():
        return
    if refusal is not None:
        future.set_exception(refusal())
    elif isinstance(outcome, Exception):
        future.set_exception(outcome)
    elif outcome is not None:
        future.set_result(outcome)
    else:
        future.set_exception(LEADER_CHANGED())
