"""Raft by pysyncobj, without I/O: messages, time and flushes in; messages, batches to flush and answers out.

This is the only module that knows pysyncobj. What is taken from it is the protocol: terms, elections, log matching,
commitment, transfer. What it lacks or does unsafely is replaced in `_Protocol` or guarded in `RaftNode`, one method a
guard; docs/store.md lists each with its reason. Whoever drives a node calls `receive`, `propose`, `read_index` as
things happen, then `step`, carries out what it returns, and calls `written` once a batch is on disk.

Membership takes effect when applied, as in etcd; at most one change is on its way.
"""

import _socket
import logging
import random
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pysyncobj.syncobj
from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf
from pysyncobj.node import Node
from pysyncobj.syncobj import _COMMAND_TYPE, _RAFT_STATE
from pysyncobj.transport import Transport

from navarch.protos.navarch import store_pb2 as pb
from navarch.services.store.errors import (
    BAD_LEADER_TRANSFEREE,
    LEADER_CHANGED,
    NOT_LEADER,
    TOO_MANY_REQUESTS,
    TRANSFER_TIMEOUT,
    UNHEALTHY,
    Refusal,
)
from navarch.services.store.replication import messages
from navarch.services.store.replication.journal import Batch, Journal, LogEntry
from navarch.services.store.replication.log import Entry, Outcome, StateMachine
from navarch.services.store.replication.read_index import ReadAnswer, ReadIndex

# pysyncobj puts a function for Windows in its place, for the whole process and on every system.
socket.inet_ntop = _socket.inet_ntop

# Entries of one message, and of all that leave for a peer before it has answered the first of them.
APPEND_BYTES = 2 << 20
AHEAD_BYTES = 8 << 20
_QUEUE = 1 << 20
NO_OP = bytes([_COMMAND_TYPE.NO_OP])

_REFUSALS = {
    FAIL_REASON.QUEUE_FULL: TOO_MANY_REQUESTS,
    FAIL_REASON.REQUEST_DENIED: UNHEALTHY,
}
# The command was certainly not taken: it waits for a leader and is proposed again.
_NOT_TAKEN = frozenset({FAIL_REASON.NOT_LEADER, FAIL_REASON.MISSING_LEADER})

Outgoing = tuple[int, pb.RaftMessage]
Answer = Callable[[Outcome, Refusal | None], None]
TransferAnswer = Callable[[Refusal | None], None]


@dataclass(frozen=True, slots=True)
class Timing:
    """Heartbeats, and how long a member waits for one before it stands for election (uniformly drawn); etcd's values.

    A leader whose connection ends has most likely died, and is waited for no longer than suspicion_s.
    """

    heartbeat_s: float = 0.1
    election_min_s: float = 1.0
    election_max_s: float = 2.0
    suspicion_s: float = 0.2


class Ready(NamedTuple):
    """What a step asks for: messages that may leave now; a batch for `Journal.write`, and what must wait for it."""

    messages: list[Outgoing]
    batch: Batch | None
    after: list[Outgoing]


@dataclass(eq=False, slots=True)
class Proposal:
    """A command on its way. Nobody waits any more once it is abandoned; what is in the log already stays there."""

    command: bytes
    membership: bool
    answer: Answer
    abandoned: bool = False


@dataclass(slots=True)
class _Transfer:
    target: int
    deadline: float
    answer: TransferAnswer
    asked: bool = False


# pysyncobj reads the clock through this name of its module; here it is the time of the step under way.
_step_time = 0.0


def _time_of_step() -> float:
    return _step_time


pysyncobj.syncobj.monotonicTime = _time_of_step
# It cries "truncating already-applied log entries" at each repeated message, where our journal truncates nothing.
logging.getLogger("pysyncobj.syncobj").setLevel(logging.CRITICAL + 1)


def _at(now: float) -> None:
    global _step_time
    _step_time = now


class _JournalView:
    """Our journal under the names by which pysyncobj calls one; positions count from the oldest entry."""

    def __init__(self, node: "RaftNode", journal: Journal) -> None:
        self._node = node
        self._journal = journal
        self.add = journal.add

    def __len__(self) -> int:
        return len(self._journal.entries)

    def __getitem__(self, position: Any) -> Any:
        return self._journal.entries[position]

    def setCurrentTerm(self, term: int, voted_for: int | None) -> None:
        self._journal.vote(term, f"{voted_for:x}" if voted_for is not None else "")

    def deleteEntriesFrom(self, position: int) -> None:
        """Nothing: pysyncobj cuts before it adds, also where the entries match; `Journal.add` cuts at a conflict."""

    def setRaftCommitIndex(self, index: int) -> None:
        self._node._limit_commit(index)

    def onOneSecondTimer(self) -> None:
        """Nothing is deferred."""

    def _destroy(self) -> None:
        """The journal is closed by whoever opened it."""


class _Outbox(Transport):  # type: ignore[misc]
    """What pysyncobj sends goes to the node."""

    def __init__(self, node: "RaftNode") -> None:
        super().__init__(None, None, ())
        self.send = node._send


class _NoPoller:
    """In place of pysyncobj's poller: the driver waits."""

    def poll(self, timeout: float) -> None:
        """Nothing to poll."""


class _Protocol(SyncObj):  # type: ignore[misc]
    """pysyncobj with the members overridden that docs/store.md lists; they all ask the node."""

    def __init__(self, node: "RaftNode", timing: Timing) -> None:
        self._node = node
        conf = SyncObjConf(
            autoTick=False,
            pollerType="select",
            commandsQueueSize=_QUEUE,
            dynamicMembershipChange=True,
            raftMinTimeout=timing.election_min_s,
            raftMaxTimeout=timing.election_max_s,
            appendEntriesPeriod=timing.heartbeat_s,
            leaderFallbackTimeout=timing.election_min_s,
        )
        super().__init__(Node(node.member_id), (), conf, transport=_Outbox(node))
        # The constructor has made a journal of its own, in memory and empty; ours replaces it with what follows.
        self._poller = _NoPoller()

    def _SyncObj__generateRaftTimeout(self) -> float:
        return self._node._draw_timeout()

    def _SyncObj__connectedToAnyone(self) -> bool:
        # Asked when the election deadline has passed: may this member stand?
        return self._node._may_campaign()

    def _SyncObj__sendAppendEntries(self) -> None:
        self._node._replicate()

    def _SyncObj__applyLogEntries(self) -> bool:
        self._node._apply()
        return False

    def _SyncObj__doApplyCommand(self, command: bytes) -> None:
        raise AssertionError("commands are applied in batches")

    def _SyncObj__tryLogCompaction(self) -> None:
        """The state machine is its own snapshot; `RaftLog.release` shortens the journal."""

    def _SyncObj__parseChangeClusterRequest(self, command: bytes) -> bytes | None:
        return command if command[0] == _COMMAND_TYPE.MEMBERSHIP else None

    def _SyncObj__changeCluster(self, request: bytes) -> bool:
        return self._node._may_change_members()

    def _SyncObj__doChangeCluster(self, request: bytes, reverse: bool = False) -> bool:
        """Nothing: changes take effect when applied, so there is nothing to take back either."""
        return True


class RaftNode:
    """One member's part in Raft. Every method that takes `now` takes monotonic seconds that never go back."""

    def __init__(
        self,
        member_id: int,
        journal: Journal,
        machine: StateMachine,
        rng: random.Random,
        timing: Timing | None = None,
        now: float = 0.0,
    ) -> None:
        _at(now)
        self.member_id = member_id
        self.timing = timing or Timing()
        # Peers whose next entry is not in the log any more.
        self.wants_snapshot: set[int] = set()
        self.voters: frozenset[int] = frozenset()
        self.learners: frozenset[int] = frozenset()
        self._journal = journal
        self._machine = machine
        self._rng = rng
        self._proposals: deque[Proposal] = deque()
        # An answer to what an earlier process asked must not be taken for one to this.
        self._reads = ReadIndex(rng.getrandbits(62))
        self._readable: list[tuple[int, ReadAnswer]] = []
        self._transfer: _Transfer | None = None
        self._messages: list[Outgoing] = []
        self._held: list[Outgoing] = []
        self._encoder = messages.Encoder()
        self._writing = self._paused = self._must_send = False
        self._sent_index = self._sent_commit = 0
        self._feed_at = now
        self._role = (0, False, 0)
        # Of the message being answered, and of the leader when it was last heard.
        self._round, self._quiet = 0, False
        self._heard_at = now - self.timing.election_max_s
        # Who would vote for us; None when nobody is being asked.
        self._pre_votes: set[int] | None = None
        self._votes: set[int] = set()
        self._may_stand = False
        self._transfer_term = 0
        self._members: object = None
        self._protocol = _Protocol(self, self.timing)
        self._recover()

    def _recover(self) -> None:
        protocol, journal, machine = self._protocol, self._journal, self._machine
        protocol._SyncObj__raftLog = _JournalView(self, journal)
        protocol._SyncObj__commandsLocalCounter = self._rng.getrandbits(62)
        if not journal.entries:
            journal.add(NO_OP, 1, 0)
        protocol._SyncObj__raftCurrentTerm = max(journal.term, journal.entries[-1][2])
        protocol._SyncObj__votedForNodeId = int(journal.voted_for, 16) if journal.voted_for else None
        protocol._SyncObj__raftLastApplied = max(1, machine.applied_index)
        # A second change of members is only proposed once the one before it is committed, so that one certainly is.
        protocol._SyncObj__raftCommitIndex = max(
            protocol.raftLastApplied, *self._pending_changes(journal.last_index)[-2:-1], 0
        )
        self._reconfigure()
        if self.voters == {self.member_id}:
            protocol._SyncObj__raftElectionDeadline = -1.0

    # What the node knows.

    @property
    def is_leader(self) -> bool:
        """Whether this member leads, as far as it knows."""
        return bool(self._protocol._isLeader())

    @property
    def leader_id(self) -> int:
        """Who leads, as far as this member knows; 0 when it knows of nobody."""
        leader = self._protocol._getLeader()
        return leader.id if leader is not None else 0

    @property
    def term(self) -> int:
        """The current term."""
        return int(self._protocol.raftCurrentTerm)

    @property
    def commit_index(self) -> int:
        """The highest entry known to be committed."""
        return int(self._protocol.raftCommitIndex)

    @property
    def applied_index(self) -> int:
        """The highest entry applied."""
        return int(self._protocol.raftLastApplied)

    @property
    def last_index(self) -> int:
        """The highest entry of the log."""
        return self._journal.last_index

    @property
    def is_transferring(self) -> bool:
        """Whether leadership is being handed over."""
        return self._transfer is not None

    def match_index(self, member: int) -> int:
        """How far a member's log is known to equal ours, at the leader."""
        if member == self.member_id:
            return self.last_index
        return int(self._protocol._SyncObj__raftMatchIndex.get(Node(member), 0)) if self.is_leader else 0

    def is_connected(self, member: int) -> bool:
        """Whether messages to a member have a way to go."""
        return member == self.member_id or Node(member) in self._protocol._SyncObj__connectedNodes

    def silent_s(self, member: int, now: float) -> float:
        """How long the leader has not heard from a member."""
        heard = self._protocol._SyncObj__lastResponseTime.get(Node(member))
        return now - heard if heard is not None else now

    def deadline(self) -> float:
        """When the next step is due though nothing happens."""
        if self.is_leader:
            if self.voters == {self.member_id} and not self.learners:
                return float("inf")
            due = self._protocol._SyncObj__newAppendEntriesTime
        else:
            due = self._protocol._SyncObj__raftElectionDeadline
            if self.leader_id and (self._proposals or self._reads.waits):
                due = min(due, max(self._feed_at, _step_time + self.timing.heartbeat_s))
        return float(due)

    # What happens to it.

    def connected(self, peer: int, now: float) -> None:
        """Messages to a peer can be sent."""
        _at(now)
        self._protocol._SyncObj__connectedNodes.add(Node(peer))
        self._must_send = True

    def disconnected(self, peer: int, now: float) -> None:
        """They cannot. What was forwarded to it may or may not have arrived."""
        _at(now)
        self._protocol._SyncObj__connectedNodes.discard(Node(peer))
        if peer == self.leader_id:
            self._protocol._SyncObj__onLeaderChanged()
            # Should it live, its next message takes this back; and who still hears it refuses to vote.
            self._heard_at = now - self.timing.election_max_s
            suspicion_s = self._rng.uniform(self.timing.heartbeat_s / 2, self.timing.suspicion_s)
            deadline = min(self._protocol._SyncObj__raftElectionDeadline, now + suspicion_s)
            self._protocol._SyncObj__raftElectionDeadline = deadline

    def propose(self, proposal: Proposal) -> None:
        """Have a command appended, here or at the leader, as soon as there is one."""
        # The oldest are given up first, so that without a leader the queue holds no more than who still waits.
        while self._proposals and self._proposals[0].abandoned:
            self._proposals.popleft()
        self._proposals.append(proposal)

    def read_index(self, answer: ReadAnswer) -> None:
        """Answered once everything is applied here that was acknowledged anywhere before the call."""
        self._reads.add(answer)

    def forget_read(self, answer: ReadAnswer) -> None:
        """Nobody waits for this answer any more."""
        self._reads.forget(answer)

    def transfer(self, target: int, answer: TransferAnswer, now: float) -> None:
        """Hand leadership to a voter (0: to the one that is nearest), once it has all entries. Stops proposals."""
        _at(now)
        if not self.is_leader:
            answer(NOT_LEADER)
        elif target == self.member_id:
            answer(None)
        elif target not in (self.voters if target else {0}) or len(self.voters) == 1 or self._transfer:
            answer(BAD_LEADER_TRANSFEREE)
        else:
            target = target or max(
                self.voters - {self.member_id}, key=lambda peer: (self.is_connected(peer), self.match_index(peer), peer)
            )
            self._transfer = _Transfer(target, now + self.timing.election_max_s, answer)

    def receive(self, sender: int, message: pb.RaftMessage, now: float) -> None:
        """Take a message. `step` must follow, after one or several."""
        _at(now)
        kind = message.WhichOneof("body")
        if kind is None or sender == self.member_id:
            return
        if message.term > self.term and kind not in ("append", "vote_request"):
            self._adopt(message.term)
        getattr(self, f"_on_{kind}")(sender, message.term, getattr(message, kind))

    def step(self, now: float) -> Ready:
        """Elect, commit, apply, replicate what has come in; see Ready for what to do then."""
        _at(now)
        if not self._writing and now >= self._feed_at:
            self._feed()
        self._protocol.doTick()
        self._hand_over(now)
        if self.is_leader:
            self._lead()
        elif self.leader_id and self._reads.may_ask(now, self.timing.election_min_s):
            body = pb.ReadIndex(request_id=self._reads.ask(now))
            self._messages.append((self.leader_id, pb.RaftMessage(term=self.term, read_index=body)))
        if (role := (self.term, self.is_leader, self.leader_id)) != self._role:
            self._role = role
            self._leader_changed()
        self._answer_reads()
        return self._ready()

    def _ready(self) -> Ready:
        outgoing, self._messages = self._messages, []
        if self._writing:
            return Ready(outgoing, None, [])
        held, self._held = self._held, []
        if not self._journal.dirty:
            return Ready(outgoing + held, None, [])
        self._writing = True
        return Ready(outgoing, self._journal.take(), held)

    def written(self, batch: Batch, now: float) -> None:
        """A batch is on disk. `step` must follow."""
        _at(now)
        self._writing = False
        self._journal.done(batch)

    def pause(self) -> None:
        """Apply nothing until `installed` or `resume`: the state machine is being replaced."""
        self._paused = True

    def resume(self) -> None:
        """Go on after a pause that changed nothing."""
        self._paused = False

    def installed(self, index: int, term: int, now: float) -> None:
        """The state machine is that of a snapshot now; the log begins after it."""
        _at(now)
        self._paused = False
        if term > self.term:
            self._adopt(term)
        if self._journal.term_at(index) != term:
            self._journal.reset(NO_OP, index, term)
        self._protocol._SyncObj__raftLastApplied = index
        self._protocol._SyncObj__raftCommitIndex = max(index, self.commit_index)
        waiting = self._protocol._SyncObj__commandsWaitingCommit
        for passed in [proposed for proposed in waiting if proposed <= index]:
            for _, answer in waiting.pop(passed):
                answer(None, FAIL_REASON.UNKNOWN_OUTCOME)
        self._reconfigure()
        self._answer_reads()

    def snapshot_sent(self, peer: int, index: int, now: float) -> None:
        """A peer has installed a snapshot that ends with an entry."""
        _at(now)
        self.wants_snapshot.discard(peer)
        node = Node(peer)
        if self.is_leader and node in self._protocol._SyncObj__raftNextIndex:
            match, following = self._protocol._SyncObj__raftMatchIndex, self._protocol._SyncObj__raftNextIndex
            match[node] = max(match[node], index)
            following[node] = max(match[node] + 1, min(following[node], self.last_index + 1))
            self._must_send = True

    # Messages.

    def _on_append(self, sender: int, term: int, append: pb.AppendEntries) -> None:
        if term < self.term:
            # Tells a leader that does not know it yet that its time is over.
            self._held.append((sender, self._heartbeat_reply(append.round)))
            return
        self._heard_at, self._round, self._quiet = _step_time, append.round, append.quiet
        self._pre_votes, self._may_stand = None, False
        message: messages.Dictionary = {
            "type": "append_entries",
            "term": term,
            "commit_index": self._new_commit_index(append),
        }
        if append.prev_index:
            message["entries"] = messages.entries_of(append)
            message["prevLogIdx"], message["prevLogTerm"] = append.prev_index, append.prev_term
        self._protocol._SyncObj__onMessageReceived(Node(sender), message)
        if not append.prev_index:
            self._held.append((sender, self._heartbeat_reply(append.round)))

    def _heartbeat_reply(self, round_: int) -> pb.RaftMessage:
        return pb.RaftMessage(term=self.term, append_reply=pb.AppendReply(round=round_, heartbeat=True))

    def _new_commit_index(self, append: pb.AppendEntries) -> int:
        """Of a leader's commit index only what this message shows to match (Raft figure 2: the last new entry)."""
        return min(append.commit_index, append.prev_index + len(append.entries))

    def _on_append_reply(self, sender: int, term: int, reply: pb.AppendReply) -> None:
        if not self.is_leader or not self._is_of_this_term(term) or sender not in self.voters | self.learners:
            return
        self._reads.echoed(sender, reply.round)
        node, following = Node(sender), self._protocol._SyncObj__raftNextIndex
        self._protocol._SyncObj__lastResponseTime[node] = _step_time
        if reply.heartbeat:
            return
        ahead = 0 if reply.reset else following[node]
        message = {"next_node_idx": reply.next_index, "reset": reply.reset, "success": reply.success}
        self._protocol._SyncObj__onMessageReceived(node, {"type": "next_node_idx", **message})
        # pysyncobj would send again what has left since.
        following[node] = max(following[node], ahead)
        self._must_send |= following[node] <= self.last_index

    def _is_of_this_term(self, term: int) -> bool:
        """A reply counts only in the term it was given in: an older one may speak of entries that are gone."""
        return term == self.term

    def _on_vote_request(self, sender: int, term: int, request: pb.VoteRequest) -> None:
        if self._hears_a_leader() and not request.transfer:
            # Or one that comes back from a partition would end the leader's term for nothing (Raft thesis 4.2.3).
            if request.pre:
                self._reply_pre_vote(sender, granted=False)
            return
        if request.pre:
            current = (request.last_term, request.last_index) >= (self._journal.entries[-1][2], self.last_index)
            self._reply_pre_vote(sender, granted=term >= self.term and current)
            return
        self._protocol._SyncObj__onMessageReceived(
            Node(sender),
            {
                "type": "request_vote",
                "term": term,
                "last_log_term": request.last_term,
                "last_log_index": request.last_index,
            },
        )

    def _reply_pre_vote(self, sender: int, *, granted: bool) -> None:
        self._held.append((sender, pb.RaftMessage(term=self.term, vote_reply=pb.VoteReply(pre=True, granted=granted))))

    def _hears_a_leader(self) -> bool:
        heard = _step_time - self._heard_at < self.timing.election_min_s
        return self.is_leader or (bool(self.leader_id) and heard)

    def _on_vote_reply(self, sender: int, term: int, reply: pb.VoteReply) -> None:
        if not reply.granted or sender not in self.voters:
            return
        if reply.pre:
            if self._pre_votes is not None:
                self._pre_votes.add(sender)
                if len(self._pre_votes) > len(self.voters) // 2:
                    self._stand()
        elif self._is_of_this_term(term) and sender not in self._votes:
            self._votes.add(sender)
            self._protocol._SyncObj__onMessageReceived(Node(sender), {"type": "response_vote", "term": term})

    def _on_forward(self, sender: int, term: int, forward: pb.Forward) -> None:
        if self.is_transferring:
            reply = pb.ForwardReply(request_id=forward.request_id, failure=FAIL_REASON.NOT_LEADER)
            self._messages.append((sender, pb.RaftMessage(term=self.term, forward_reply=reply)))
            return
        message = {"type": "apply_command", "command": forward.data, "request_id": forward.request_id}
        self._protocol._SyncObj__onMessageReceived(Node(sender), message)

    def _on_forward_reply(self, sender: int, term: int, reply: pb.ForwardReply) -> None:
        self._protocol._SyncObj__onMessageReceived(Node(sender), messages.reply_of(reply))

    def _on_read_index(self, sender: int, term: int, question: pb.ReadIndex) -> None:
        def answer(index: int) -> None:
            body = pb.ReadIndexReply(request_id=question.request_id, index=index)
            self._messages.append((sender, pb.RaftMessage(term=self.term, read_index_reply=body)))

        if self.is_leader:
            self._reads.add(answer)
        else:
            answer(0)

    def _on_read_index_reply(self, sender: int, term: int, reply: pb.ReadIndexReply) -> None:
        self._readable += self._reads.answered(reply.request_id, reply.index)

    def _on_timeout_now(self, sender: int, term: int, request: pb.TimeoutNow) -> None:
        if term == self.term:
            self._protocol._SyncObj__onMessageReceived(Node(sender), {"type": "timeout_now", "term": term})

    def _send(self, peer: Node, message: messages.Dictionary) -> None:
        """What pysyncobj sends. Votes and replies wait until what they rely on is on disk; appends do not."""
        match message["type"]:
            case "next_node_idx":
                if message["success"] and self._quiet:
                    return
                if message["reset"] and not message["success"]:
                    message["next_node_idx"] = self._first_of_conflict(message["next_node_idx"])
                self._held.append((peer.id, messages.append_reply(message, self.term, self._round)))
            case "request_vote":
                request = pb.VoteRequest(
                    last_index=message["last_log_index"],
                    last_term=message["last_log_term"],
                    transfer=self._transfer_term == self.term,
                )
                self._held.append((peer.id, pb.RaftMessage(term=self.term, vote_request=request)))
            case "response_vote":
                self._held.append((peer.id, pb.RaftMessage(term=self.term, vote_reply=pb.VoteReply(granted=True))))
            case "apply_command":
                forward = pb.Forward(request_id=message["request_id"], data=message["command"])
                self._messages.append((peer.id, pb.RaftMessage(term=self.term, forward=forward)))
            case "apply_command_response":
                self._send_as_leader(peer.id, messages.forward_reply(message, self.term))
            case "timeout_now":
                self._messages.append((peer.id, pb.RaftMessage(term=self.term, timeout_now=pb.TimeoutNow())))
            case kind:
                raise AssertionError(f"pysyncobj sends {kind}")

    def _first_of_conflict(self, index: int) -> int:
        """Where the term of a refused entry begins: the leader goes back by terms instead of by entries."""
        term = self._journal.term_at(index)
        while index - 1 > self.commit_index and term and self._journal.term_at(index - 1) == term:
            index -= 1
        return index

    # Elections.

    def _draw_timeout(self) -> float:
        return self._rng.uniform(self.timing.election_min_s, self.timing.election_max_s)

    def _adopt(self, term: int) -> None:
        """Somebody is in a higher term: follow nobody in it until a leader shows itself."""
        self._protocol._SyncObj__setCurrentTerm(term, None)
        self._follow_nobody()

    def _follow_nobody(self) -> None:
        self._protocol._SyncObj__setState(_RAFT_STATE.FOLLOWER)
        self._protocol._SyncObj__raftLeader = None

    def _may_campaign(self) -> bool:
        """Whether to raise the term now: asked by the leader to, or sure of a majority that hears no leader either."""
        if self.member_id not in self.voters or self._unapplied_change():
            self._postpone()
            return False
        if self._protocol._SyncObj__transferInProgress:
            self._transfer_term = self.term + 1
        elif not self._may_stand and self.voters != {self.member_id}:
            self._ask_for_pre_votes()
            return False
        self._may_stand, self._pre_votes = False, None
        self._votes = {self.member_id}
        return True

    def _postpone(self) -> None:
        self._protocol._SyncObj__raftElectionDeadline = _step_time + self._draw_timeout()

    def _ask_for_pre_votes(self) -> None:
        self._postpone()
        self._protocol._SyncObj__raftLeader = None
        self._protocol._SyncObj__onLeaderChanged()
        self._pre_votes = {self.member_id}
        request = pb.VoteRequest(last_index=self.last_index, last_term=self._journal.entries[-1][2], pre=True)
        for peer in sorted(self.voters - {self.member_id}):
            self._held.append((peer, pb.RaftMessage(term=self.term, vote_request=request)))

    def _stand(self) -> None:
        self._may_stand, self._pre_votes = True, None
        self._protocol._SyncObj__raftElectionDeadline = -1.0

    def _leader_changed(self) -> None:
        """Reads start over; a transfer is over, however it ended."""
        self._reads.leader_changed()
        self.wants_snapshot.clear()
        self._sent_index = self._sent_commit = 0
        self._feed_at = _step_time
        transfer, self._transfer = self._transfer, None
        if transfer is not None:
            transfer.answer(None)

    # Leading.

    def _feed(self) -> None:
        """Append, or forward to the leader, what was proposed."""
        if not self.leader_id or self.is_transferring or not self.is_connected(self.leader_id):
            return
        for _ in range(len(self._proposals)):
            proposal = self._proposals.popleft()
            if not proposal.abandoned:
                kind = _COMMAND_TYPE.MEMBERSHIP if proposal.membership else _COMMAND_TYPE.REGULAR
                self._protocol._applyCommand(proposal.command, self._answer_of(proposal), kind)

    def _answer_of(self, proposal: Proposal) -> Callable[[Outcome, int], None]:
        def answer(outcome: Outcome, reason: int) -> None:
            if reason in _NOT_TAKEN:
                self._proposals.append(proposal)
                self._feed_at = _step_time + self.timing.heartbeat_s
            elif reason != FAIL_REASON.SUCCESS:
                proposal.answer(None, _REFUSALS.get(reason, LEADER_CHANGED))
            else:
                proposal.answer(outcome, None)

        return answer

    def _lead(self) -> None:
        """Begin a round for waiting reads, and send what is new since the last time."""
        if self._reads.waits and self._has_committed_in_term():
            self._reads.begin_round(self.commit_index)
            self._must_send = True
        needed = self._must_send or self.last_index != self._sent_index
        if needed or self.commit_index != self._sent_commit:
            self._must_send = False
            self._sent_index, self._sent_commit = self.last_index, self.commit_index
            self._replicate(quiet=not needed)
        self._readable += self._confirmed_reads(self.voters - {self.member_id})

    def _replicate(self, *, quiet: bool = False) -> None:
        """Send each peer what it lacks, or else a heartbeat; quiet: or else no more than the commit index."""
        protocol, now = self._protocol, _step_time
        if not quiet:
            protocol._SyncObj__newAppendEntriesTime = now + self.timing.heartbeat_s
        following = protocol._SyncObj__raftNextIndex
        for peer in sorted((self.voters | self.learners) - {self.member_id}):
            node = Node(peer)
            if not self.is_connected(peer):
                continue
            if following[node] <= self._journal.first_index:
                self.wants_snapshot.add(peer)
                self._append_to(peer, (0, 0), [])
                continue
            self.wants_snapshot.discard(peer)
            room = AHEAD_BYTES - self._bytes_ahead(self.match_index(peer), following[node])
            while True:
                entries = self._journal.read(following[node], min(APPEND_BYTES, room)) if room > 0 else []
                previous = following[node] - 1
                self._append_to(peer, (previous, self._journal.term_at(previous)), entries, quiet and not entries)
                following[node] += len(entries)
                room -= sum(len(entry[0]) for entry in entries)
                if not entries or following[node] > self.last_index:
                    break

    def _append_to(self, peer: int, previous: tuple[int, int], entries: list[LogEntry], quiet: bool = False) -> None:
        round_ = self._reads.round
        append = self._encoder.append(self.term, previous, entries, self.commit_index, round_, quiet=quiet)
        self._send_as_leader(peer, append)

    def _send_as_leader(self, peer: int, message: pb.RaftMessage) -> None:
        """At once, though not yet on disk here, unless the vote is not either.

        A voter that is alone leads before that; after a crash it would lead the same term once more.
        """
        durable = self._journal.durable_term == self.term
        (self._messages if durable else self._held).append((peer, message))

    def _bytes_ahead(self, match: int, following: int) -> int:
        """What left for a peer and is not answered."""
        return sum(len(entry[0]) for entry in self._journal.between(match + 1, following))

    def _confirmed_reads(self, others: frozenset[int]) -> list[tuple[int, ReadAnswer]]:
        """Reads for which a majority has shown, since they came, that it follows this leader."""
        return list(self._reads.confirm(others))

    def _has_committed_in_term(self) -> bool:
        """Only then does a leader know what is committed (Raft 8)."""
        return self._journal.term_at(self.commit_index) == self.term

    def _limit_commit(self, index: int) -> None:
        """A leader's own copy counts towards commitment only once it is on disk."""
        if self.is_leader:
            durable = max(self.applied_index, self._journal.durable_index)
            self._protocol._SyncObj__raftCommitIndex = min(index, durable)

    def _hand_over(self, now: float) -> None:
        transfer = self._transfer
        if transfer is None:
            return
        if now > transfer.deadline:
            self._transfer = None
            transfer.answer(TRANSFER_TIMEOUT)
        elif not transfer.asked and self.match_index(transfer.target) == self.last_index:
            transfer.asked = True
            self._protocol.transferLeadership(Node(transfer.target))

    # Applying.

    def _apply(self) -> None:
        """Apply what is committed and durable here: a member must not answer for what it could lose."""
        if self._paused:
            return
        begin, last = self.applied_index + 1, min(self.commit_index, self._journal.durable_index)
        if last < begin:
            return
        offset = begin - self._journal.first_index
        entries = self._journal.entries[offset : offset + last - begin + 1]
        outcomes = self._machine.apply([_committed(entry) for entry in entries])
        self._protocol._SyncObj__raftLastApplied = last
        waiting = self._protocol._SyncObj__commandsWaitingCommit
        for (_, index, term), outcome in zip(entries, outcomes, strict=True):
            for proposed_term, answer in waiting.pop(index, ()):
                answer(outcome, FAIL_REASON.SUCCESS if proposed_term == term else FAIL_REASON.DISCARDED)
        self._reconfigure()

    def _answer_reads(self) -> None:
        applied = self.applied_index
        ready = [(index, answer) for index, answer in self._readable if index <= applied]
        if ready:
            self._readable = [read for read in self._readable if read[0] > applied]
            for index, answer in ready:
                answer(index)

    # Members.

    def _may_change_members(self) -> bool:
        """One change at a time, and only by a leader that knows what is committed (Raft thesis 4.1)."""
        return self._has_committed_in_term() and not self._pending_changes(self.last_index)

    def _pending_changes(self, last: int) -> list[int]:
        """Indexes of the changes of members in the log that are not applied yet."""
        unapplied = self._journal.between(self.applied_index + 1, last + 1)
        return [index for data, index, _ in unapplied if data[0] == _COMMAND_TYPE.MEMBERSHIP]

    def _unapplied_change(self) -> bool:
        return bool(self._pending_changes(self.commit_index))

    def members_changed(self, now: float) -> None:
        """The state machine has learned of members ahead of the log. `step` must follow."""
        _at(now)
        self._reconfigure()

    def _reconfigure(self) -> None:
        """Take the members from the state machine."""
        members = self._machine.members
        if members is self._members:
            return
        self._members = members
        self.voters = frozenset(member.id for member in members.values() if not member.is_learner)
        self.learners = frozenset(members) - self.voters
        protocol = self._protocol
        others = {Node(member) for member in self.voters if member != self.member_id}
        learners = {Node(member) for member in self.learners if member != self.member_id}
        protocol._SyncObj__otherNodes, protocol._SyncObj__readonlyNodes = others, learners
        following, match = protocol._SyncObj__raftNextIndex, protocol._SyncObj__raftMatchIndex
        heard = protocol._SyncObj__lastResponseTime
        for gone in set(following) - others - learners:
            for known in (following, match, heard):
                known.pop(gone, None)
        for new in (others | learners) - set(following):
            following[new], match[new] = self.last_index + 1, 0
        for node in others | learners:
            heard.setdefault(node, _step_time)
        self._must_send = True
        if self.is_leader and self.member_id not in self.voters:
            self._follow_nobody()

    def check_invariants(self) -> None:
        """Raises AssertionError when this member's state contradicts itself."""
        journal = self._journal
        indexes = [index for _, index, _ in journal.entries]
        terms = [term for _, _, term in journal.entries]
        _invariant(indexes == list(range(indexes[0], indexes[0] + len(indexes))), f"indexes without gaps: {indexes}")
        _invariant(terms == sorted(terms), f"terms never fall along the log: {terms}")
        _invariant(terms[-1] <= self.term, f"entry of term {terms[-1]} in term {self.term}")
        _invariant(self.applied_index <= self.commit_index, f"applied {self.applied_index} of {self.commit_index}")
        _invariant(self.commit_index <= self.last_index, f"committed {self.commit_index} of {self.last_index}")
        _invariant(journal.durable_index <= self.last_index, f"durable {journal.durable_index} of {self.last_index}")
        _invariant(self.term >= journal.term, f"term {self.term}, in the journal {journal.term}")
        _invariant(not self.is_leader or self.member_id in self.voters, "a leader votes")


def _invariant(holds: bool, claim: str) -> None:
    if not holds:
        raise AssertionError(claim)


def _committed(entry: LogEntry) -> Entry:
    command, index, term = entry
    return Entry(index, term, b"" if command[0] == _COMMAND_TYPE.NO_OP else command[1:])
