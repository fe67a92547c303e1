"""The log on pysyncobj, driven by events: the only module that knows pysyncobj.

What it takes from pysyncobj is the protocol (terms, elections, commitment); what it replaces, by overriding the
members named in docs/store.md, is everything that touches disk, time or bytes: the journal, the application of
commands (no pickle), log compaction, the poller. CI compares the installed source with the reviewed one.

One turn of the loop: a tick commits and applies what the last flush made durable and appends what was proposed
since; one flush makes that durable; and so on until nothing is left. So a lone proposal costs one flush and no
waiting, and under load each flush carries everything that arrived during the one before.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from google.protobuf.message import Message
from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf
from pysyncobj.node import Node
from pysyncobj.syncobj import _COMMAND_TYPE
from pysyncobj.transport import Transport

from navarch.services.base.log import get_logger
from navarch.services.base.tasks import TaskOwner
from navarch.services.store.errors import (
    BAD_LEADER_TRANSFEREE,
    LEADER_CHANGED,
    NO_LEADER,
    STOPPED,
    TIMEOUT,
    TOO_MANY_REQUESTS,
    CorruptionError,
)
from navarch.services.store.replication.journal import Journal, LogEntry
from navarch.services.store.replication.log import Entry, LogStatus, Member, Outcome, StateMachine

# etcd's bounds: requests under way, and five seconds plus two election timeouts for each.
MAX_PENDING = 5000
PROPOSE_TIMEOUT_S = 7.0
# Entries kept in memory behind the released index, so that a follower a little behind needs no snapshot.
KEEP_ENTRIES = 1000

_REFUSALS = {
    FAIL_REASON.QUEUE_FULL: TOO_MANY_REQUESTS,
    FAIL_REASON.MISSING_LEADER: NO_LEADER,
}
_log = get_logger("store")


class _JournalView:
    """Our journal under the names by which pysyncobj calls one; positions count from the oldest entry."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.add = journal.add
        self.setCurrentTerm = journal.vote

    def __len__(self) -> int:
        return len(self._journal.entries)

    def __getitem__(self, position: Any) -> Any:
        return self._journal.entries[position]

    def deleteEntriesFrom(self, position: int) -> None:
        self._journal.cut(self._journal.first_index + position)

    def setRaftCommitIndex(self, index: int) -> None:
        """Not kept: a leader finds it again, a follower is told."""

    def onOneSecondTimer(self) -> None:
        """Nothing is deferred."""

    def _destroy(self) -> None:
        self._journal.close()


class _NoPeers(Transport):  # type: ignore[misc]
    """The transport of a single member."""

    def __init__(self) -> None:
        super().__init__(None, None, ())


class _NoSockets:
    """In place of pysyncobj's poller, whose place is taken by the event loop."""

    def poll(self, timeout: float) -> None:
        """Nothing to poll."""


class _RaftNode(SyncObj):  # type: ignore[misc]
    """pysyncobj with our journal and state machine; see docs/store.md for each override."""

    def __init__(self, member: Member, journal: Journal, machine: StateMachine, rng: random.Random) -> None:
        self._rng = rng
        self._journal = journal
        self._machine = machine
        conf = SyncObjConf(autoTick=False, commandsQueueSize=MAX_PENDING, dynamicMembershipChange=False)
        super().__init__(Node(f"{member.id:x}"), (), conf, transport=_NoPeers())
        # The constructor has made a journal of its own, in memory and empty; ours replaces it with what follows.
        self._poller = _NoSockets()
        self._SyncObj__raftLog = _JournalView(journal)
        if not journal.entries:
            journal.add(bytes([_COMMAND_TYPE.NO_OP]), 1, 0)
        self._SyncObj__raftCurrentTerm = max(journal.term, journal.entries[-1][2])
        self._SyncObj__votedForNodeId = journal.voted_for or None
        self._SyncObj__raftLastApplied = self._SyncObj__raftCommitIndex = max(1, machine.applied_index)

    def campaign(self) -> None:
        """Stand for election at the next tick."""
        self._SyncObj__raftElectionDeadline = 0.0

    def propose(self, command: bytes, answer: Callable[[Outcome, int], None]) -> None:
        """Queue a command for the next tick."""
        self._applyCommand(command, answer, _COMMAND_TYPE.REGULAR)

    def _SyncObj__generateRaftTimeout(self) -> float:
        conf = self.conf
        return self._rng.uniform(conf.raftMinTimeout, conf.raftMaxTimeout)

    def _SyncObj__applyLogEntries(self) -> bool:
        # Commitment counts this member's own copy, so nothing above its durable index may count yet.
        last = min(self.raftCommitIndex, self._journal.durable_index)
        begin = self.raftLastApplied + 1
        if last < begin:
            return False
        offset = begin - self._journal.first_index
        entries = self._journal.entries[offset : offset + last - begin + 1]
        outcomes = self._machine.apply([_committed(entry) for entry in entries])
        self._SyncObj__raftLastApplied = last
        waiting = self._SyncObj__commandsWaitingCommit
        for (_, index, term), outcome in zip(entries, outcomes, strict=True):
            for proposed_term, answer in waiting.pop(index, ()):
                answer(outcome, FAIL_REASON.SUCCESS if proposed_term == term else FAIL_REASON.DISCARDED)
        return False

    def _SyncObj__doApplyCommand(self, command: bytes) -> None:
        raise AssertionError("commands are applied in batches")

    def _SyncObj__tryLogCompaction(self) -> None:
        """The state machine is its own snapshot; `RaftLog.release` shortens the journal."""


def _committed(entry: LogEntry) -> Entry:
    command, index, term = entry
    return Entry(index, term, command[1:] if command[0] == _COMMAND_TYPE.REGULAR else b"")


class RaftLog:
    """A ReplicatedLog on disk. A failed write stops it for good: the process must start anew."""

    def __init__(self, member: Member, machine: StateMachine, journal: Journal, rng: random.Random) -> None:
        self._member = member
        self._machine = machine
        self._journal = journal
        self._rng = rng
        self._node: _RaftNode | None = None
        self._stopped = False
        self._wake = asyncio.Event()
        self._waiting: set[asyncio.Future[Message]] = set()
        self._release_to = 0
        self._tasks = TaskOwner()
        self._flusher = ThreadPoolExecutor(1, thread_name_prefix="journal")

    async def start(self) -> None:
        """See ReplicatedLog. Raises CorruptionError when journal and state do not belong together."""
        self._journal.open()
        self._match(self._machine.applied_index)
        node = self._node = _RaftNode(self._member, self._journal, self._machine, self._rng)
        node.campaign()
        while node.raftLastApplied < self._journal.last_index or not node._isLeader():
            await self._turn(node)
        self._tasks.spawn(self._run(node), "raft")

    def _match(self, applied: int) -> None:
        first, last = self._journal.first_index, self._journal.last_index
        if applied > last:
            raise CorruptionError(f"the data has entry {applied} applied, the journal ends at {last}: journal lost?")
        if first > applied + 1:
            raise CorruptionError(f"the data has entry {applied} applied, the journal begins at {first}: data lost?")

    async def stop(self) -> None:
        """See ReplicatedLog."""
        await self._tasks.close()
        self._fail()
        self._flusher.shutdown()
        self._journal.close()

    async def _run(self, node: _RaftNode) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while await self._turn(node):
                    pass
        except Exception as failure:
            _log.error("store.log_failed", error=failure)
            self._fail()
            raise

    async def _turn(self, node: _RaftNode) -> bool:
        """Tick, then flush what the tick appended; returns whether another turn is due."""
        node.doTick()
        if self._release_to:
            self._journal.release(self._release_to, KEEP_ENTRIES)
            self._release_to = 0
        if not self._journal.dirty:
            return False
        batch = self._journal.take()
        await asyncio.get_running_loop().run_in_executor(self._flusher, self._journal.write, batch)
        self._journal.done(batch)
        return True

    def _fail(self) -> None:
        self._stopped = True
        for future in self._waiting:
            if not future.done():
                future.set_exception(STOPPED())

    async def propose(self, command: bytes) -> Message:
        """See ReplicatedLog."""
        if self._node is None or self._stopped:
            raise STOPPED()
        if len(self._waiting) >= MAX_PENDING:
            raise TOO_MANY_REQUESTS()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Message] = loop.create_future()
        self._waiting.add(future)
        self._node.propose(command, partial(_answer, future))
        self._wake.set()
        timer = loop.call_later(PROPOSE_TIMEOUT_S, _expire, future)
        try:
            return await future
        finally:
            timer.cancel()
            self._waiting.discard(future)

    async def read_index(self) -> int:
        """See ReplicatedLog. A single member has nobody to ask: what it acknowledged, it has applied."""
        if self._node is None or self._stopped:
            raise STOPPED()
        if not self._node._isLeader():
            raise NO_LEADER()
        return self._machine.applied_index

    @property
    def term(self) -> int:
        """See ReplicatedLog."""
        return self._journal.term

    def status(self) -> LogStatus:
        """See ReplicatedLog."""
        node = self._node
        if node is None:
            return LogStatus(self._member.id, 0, self._journal.term, 0, 0, self._machine.applied_index)
        leader_id = self._member.id if node._isLeader() and not self._stopped else 0
        return LogStatus(
            self._member.id,
            leader_id,
            node.raftCurrentTerm,
            self._journal.last_index,
            node.raftCommitIndex,
            node.raftLastApplied,
        )

    def members(self) -> Sequence[Member]:
        """See ReplicatedLog."""
        return (self._member,)

    async def transfer(self, member_id: int) -> None:
        """See ReplicatedLog."""
        if member_id != self._member.id:
            raise BAD_LEADER_TRANSFEREE()

    def release(self, index: int) -> None:
        """See ReplicatedLog; happens in the log's next turn, when no write is under way."""
        self._release_to = index
        self._wake.set()


def _expire(future: asyncio.Future[Message]) -> None:
    if not future.done():
        future.set_exception(TIMEOUT())


def _answer(future: asyncio.Future[Message], outcome: Outcome, reason: int) -> None:
    if future.done():
        return
    if reason != FAIL_REASON.SUCCESS:
        future.set_exception(_REFUSALS.get(reason, LEADER_CHANGED)())
    elif isinstance(outcome, Exception):
        future.set_exception(outcome)
    elif outcome is not None:
        future.set_result(outcome)
