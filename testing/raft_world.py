"""Members of Raft on a simulated network, disk and clock: one thread, one seed, every run the same again. No I/O.

The world plays the driver (`replication.raft`): it carries messages, flushes batches, moves snapshots, lets members
crash and start anew. After every step it checks what must always hold: each node's own invariants, one leader a term,
one truth about each committed entry. What clients were told is judged by `linearizability`; see `raft_scenario`.
"""

import hashlib
import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, cast

from navarch.protos.navarch import store_pb2 as pb
from navarch.services.store.replication.journal import Batch, Journal
from navarch.services.store.replication.log import Member, StateMachine
from navarch.services.store.replication.node import NO_OP, Outgoing, RaftNode
from navarch.services.store.replication.segments import SegmentWriter
from navarch.testing.raft_disk import SimulatedDisk
from navarch.testing.raft_machine import Machine, Record
from navarch.testing.raft_network import Link, SimulatedNetwork

_RECONNECT_S = 0.1


@dataclass(slots=True)
class Flush:
    """A batch on its way to the disk."""

    batch: Batch
    after: list[Outgoing]


@dataclass(eq=False, slots=True)
class Host:
    """A member's machine: what is on its disk, and its process while it runs.

    life: counts starts, so that what was meant for an earlier process is not given to a later one. offset_s: its clock
    is ahead by this. paused_until: in the world's time. slow_flush_s: how much longer than usual a flush takes.
    """

    member_id: int
    disk: SimulatedDisk
    machine: Machine
    life: int = 0
    node: RaftNode | None = None
    journal: Journal | None = None
    flush: Flush | None = None
    wake_at: float = float("inf")
    offset_s: float = 0.0
    paused_until: float = 0.0
    slow_flush_s: float = 0.0
    retired: bool = False
    installing: bool = False
    members: object = None
    sending: dict[int, int] = field(default_factory=dict)
    inbox: deque[Callable[[RaftNode], None]] = field(default_factory=deque)


class World:
    """Hosts, a network, and a queue of what happens next."""

    journal_class = Journal
    node_class = RaftNode

    def __init__(self, seed: int, voters: int) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.record = Record()
        self.leaders: dict[int, int] = {}
        self.trace: list[str] = []
        self._digest = hashlib.sha256()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self.network = SimulatedNetwork(self.rng, self.at, lambda: self.now, self._deliver)
        self.corrupt_snapshots = 0.0
        members = {number: Member(number, str(number)) for number in range(1, voters + 1)}
        self.hosts: dict[int, Host] = {}
        for number in members:
            self._add(number, Machine(self.record, members))
        for host in self.hosts.values():
            self.start(host)

    def _add(self, number: int, machine: Machine) -> Host:
        self.hosts[number] = Host(number, SimulatedDisk(machine), machine)
        return self.hosts[number]

    # Time.

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._queue, (max(time, self.now), next(self._order), action))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later."""
        self.at(self.now + seconds, action)

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False, every_s: float = 0.05) -> bool:
        """Let time pass, or as much of it as a condition needs; returns whether that came true when last looked at."""
        end = self.now + seconds
        checked = 0.0
        while self._queue and self._queue[0][0] <= end:
            self.now, _, action = heapq.heappop(self._queue)
            action()
            if self.now >= checked:
                checked = self.now + every_s
                if until():
                    return True
        self.now = end
        return until()

    def note(self, *words: object) -> None:
        """Add a line to the trace."""
        line = f"{self.now:8.4f} " + " ".join(str(word) for word in words)
        self._digest.update(line.encode())
        self.trace.append(line)

    @property
    def digest(self) -> str:
        """Equal for runs that were the same."""
        return self._digest.hexdigest()

    # Processes.

    def start(self, host: Host) -> None:
        """Start a member's process from what is on its disk."""
        if host.node is not None or host.retired:
            return
        host.life += 1
        self.note("start", host.member_id)
        host.machine = host.disk.saved.copy()
        host.journal = self.journal_class(Path(), cast(SegmentWriter, host.disk))
        host.journal.open()
        machine, journal = host.machine, host.journal
        if host.disk.from_snapshot and journal.term_at(machine.applied_index) != machine.applied_term:
            # The crash came between the installation and the journal's flush.
            journal.reset(NO_OP, machine.applied_index, machine.applied_term)
            journal.flush()
        if machine.applied_index > journal.last_index or journal.first_index > machine.applied_index + 1:
            raise AssertionError(f"member {host.member_id} has lost entries: {machine.applied_index} are applied")
        host.node = self.node_class(
            host.member_id, journal, cast(StateMachine, machine), random.Random(self.rng.random()), now=self.clock(host)
        )
        host.wake_at, host.members = float("inf"), None
        self.turn(host)

    def crash(self, host: Host) -> None:
        """End a process at once. A flush under way has reached the disk, or not."""
        if host.node is None:
            return
        host.node = None
        host.life += 1
        flush, host.flush = host.flush, None
        reached = flush is not None and self.rng.random() < 0.4 and not host.disk.fails
        self.network.end_lingering()
        self.note("crash", host.member_id, "in a flush" if flush else "", "that reached the disk" if reached else "")
        if flush is not None and reached:
            host.disk.append(flush.batch.payload, flush.batch.last_index)
        host.installing = False
        host.disk.fails = False
        host.sending.clear()
        host.inbox.clear()
        for other in sorted(self.hosts):
            self.disconnect((host.member_id, other))
            self.disconnect((other, host.member_id))

    def clock(self, host: Host) -> float:
        """The time as a member sees it."""
        return self.now + host.offset_s

    def when_awake(self, host: Host, action: Callable[[RaftNode], None]) -> None:
        """Do something in a member's process: now, or in its turn after a pause; never if the process ends before."""
        if host.node is None:
            return
        host.inbox.append(action)
        if len(host.inbox) == 1:
            self._drain(host, host.life)

    def _drain(self, host: Host, life: int) -> None:
        while host.inbox and host.life == life and host.node is not None:
            if host.paused_until > self.now:
                self.at(host.paused_until, partial(self._drain, host, life))
                return
            host.inbox[0](host.node)
            if host.inbox:
                host.inbox.popleft()
                self.turn(host)

    def wake(self, host: Host) -> None:
        """End a pause."""
        host.paused_until = 0.0
        self._drain(host, host.life)

    # The driver's part.

    def turn(self, host: Host) -> None:
        """Step, send, and begin to flush."""
        node = host.node
        if node is None:
            return
        ready = node.step(self.clock(host))
        self._check(node)
        self._send(host, ready.messages)
        if ready.batch is not None:
            self.flush(host, node, ready.batch, ready.after)
        else:
            self._send(host, ready.after)
        self._meet_members(host)
        self._send_snapshots(host, node)
        self._schedule(host, node)

    def flush(self, host: Host, node: RaftNode, batch: Batch, after: list[Outgoing]) -> None:
        """Write a batch; what has to wait for it leaves when it is on disk."""
        flush = host.flush = Flush(batch, after)

        def flushed(node: RaftNode) -> None:
            if host.flush is not flush or host.journal is None:
                return
            try:
                host.journal.write(batch)
            except OSError as failure:
                self.note("member", host.member_id, "stops:", failure)
                self.crash(host)
                self.after(0.5, lambda: self.start(host))
                return
            host.flush = None
            node.written(batch, self.clock(host))
            self._send(host, after)

        self.after(self.rng.uniform(0.0002, 0.002) + host.slow_flush_s, lambda: self.when_awake(host, flushed))

    def _send(self, host: Host, messages: list[Outgoing]) -> None:
        for peer, message in messages:
            self.network.send((host.member_id, peer), message)

    def _deliver(self, sender: int, receiver: int, message: pb.RaftMessage) -> None:
        host = self.hosts[receiver]
        self._digest.update(f"{self.now} {sender} {receiver} {message.WhichOneof('body')}".encode())
        if sender not in host.machine.members and host.machine.meet(self.hosts[sender].machine):
            self.when_awake(host, lambda node: node.members_changed(self.clock(host)))
        self.when_awake(host, lambda node: node.receive(sender, message, self.clock(host)))

    def _schedule(self, host: Host, node: RaftNode) -> None:
        due = node.deadline() - host.offset_s + 0.001
        if due >= host.wake_at > self.now or due == float("inf"):
            return
        host.wake_at = due

        def wake(node: RaftNode) -> None:
            host.wake_at = float("inf")

        self.at(due, lambda: self.when_awake(host, wake) if host.wake_at == due else None)

    # Connections.

    def _meet_members(self, host: Host) -> None:
        if host.machine.members is host.members:
            return
        host.members = host.machine.members
        for joining in sorted(host.machine.members.keys() - self.hosts.keys()):
            self.start(self._add(joining, Machine(self.record, host.machine.members, host.machine.as_of)))
        for other in sorted(self.hosts):
            link = (host.member_id, other)
            if other in host.machine.members and other != host.member_id:
                self.connect(link)
            else:
                self.disconnect(link)

    def connect(self, link: Link) -> None:
        """Open a stream, now or as soon as it is possible and still wanted."""
        host, peer = self.hosts[link[0]], self.hosts.get(link[1])
        if self.network.is_connected(link) or host.node is None or link[1] not in host.machine.members:
            return
        if peer is None or peer.node is None or not self.network.may_connect(link):
            self.after(_RECONNECT_S, lambda: self.connect(link))
            return
        self.network.connect(link)
        self.when_awake(host, lambda node: node.connected(link[1], self.clock(host)))

    def disconnect(self, link: Link, *, lingers: bool = False) -> None:
        """Break a stream; its sender learns it, and tries again. lingers: see SimulatedNetwork."""
        if not self.network.break_(link, lingers=lingers):
            return
        host = self.hosts[link[0]]
        self.when_awake(host, lambda node: node.disconnected(link[1], self.clock(host)))
        if host.node is not None:
            self.after(_RECONNECT_S, lambda: self.connect(link))

    # Snapshots.

    def save(self, host: Host, keep: int) -> None:
        """Save the state machine and shorten the journal behind it."""
        node, journal = host.node, host.journal
        if node is None or journal is None or host.flush is not None or host.installing:
            return
        host.disk.save(host.machine)
        index = min(host.machine.applied_index, *host.sending.values(), node.applied_index)
        journal.release(index, keep, 1 << 20)
        self.note("member", host.member_id, "saved", host.machine.applied_index, "keeps from", journal.first_index)

    def _send_snapshots(self, host: Host, node: RaftNode) -> None:
        for peer in sorted(node.wants_snapshot - host.sending.keys()):
            image = host.machine.copy()
            host.sending[peer] = image.applied_index
            self.after(self.rng.uniform(0.01, 0.3), partial(self._snapshot_arrives, host, host.life, peer, image))

    def _snapshot_arrives(self, host: Host, life: int, peer: int, image: Machine) -> None:
        receiver = self.hosts[peer]
        if host.life != life:
            return
        if receiver.node is None or not self.network.may_connect((host.member_id, peer)):
            self._snapshot_ended(host, peer, 0)
        else:
            self._receive_snapshot(host, receiver, image, self.rng.random() < self.corrupt_snapshots)

    def _snapshot_ended(self, host: Host, peer: int, index: int) -> None:
        def ended(node: RaftNode) -> None:
            if index:
                node.snapshot_sent(peer, index, self.clock(host))
            node.wants_snapshot.discard(peer)
            host.sending.pop(peer, None)

        self.when_awake(host, ended)

    def _receive_snapshot(self, sender: Host, receiver: Host, image: Machine, corrupt: bool) -> None:
        life = sender.life
        begun = receiver.life

        def done(index: int) -> None:
            if sender.life == life:
                self._snapshot_ended(sender, receiver.member_id, index)

        def begin(node: RaftNode) -> None:
            if receiver.installing:
                done(0)
                return
            receiver.installing = True
            node.pause()
            self.after(self.rng.uniform(0.001, 0.05), finish)

        def finish() -> None:
            if receiver.life != begun or receiver.node is None:
                done(0)
                return
            self.when_awake(receiver, install)

        def install(node: RaftNode) -> None:
            receiver.installing = False
            accepted = self.install(receiver, node, image, corrupt)
            node.resume()
            if accepted:
                self._acknowledge(receiver, image.applied_index, done)
            else:
                done(0)

        self.when_awake(receiver, begin)

    def install(self, host: Host, node: RaftNode, image: Machine, corrupt: bool) -> bool:
        """Put a snapshot in the place of the state; returns whether it may be acknowledged."""
        if image.applied_index <= node.applied_index:
            return True
        self.note("member", host.member_id, "gets a snapshot of", image.applied_index, "corrupt" if corrupt else "")
        if corrupt:
            return False
        host.machine.become(image)
        host.disk.save(host.machine, from_snapshot=True)
        node.installed(image.applied_index, image.applied_term, self.clock(host))
        return True

    def _acknowledge(self, host: Host, index: int, done: Callable[[int], None]) -> None:
        """Once the journal is on disk that far."""
        life = host.life

        def attempt() -> None:
            if host.life != life or host.journal is None:
                done(0)
            elif host.journal.durable_index < index:
                self.after(0.002, attempt)
            else:
                done(index)

        attempt()

    # What always holds.

    def _check(self, node: RaftNode) -> None:
        node.check_invariants()
        if node.is_leader and self.leaders.setdefault(node.term, node.member_id) != node.member_id:
            raise AssertionError(f"{self.leaders[node.term]} and {node.member_id} both lead in term {node.term}")

    def running(self) -> list[Host]:
        """Hosts with a process, in order."""
        return [self.hosts[number] for number in sorted(self.hosts) if self.hosts[number].node is not None]

    def leader(self) -> Host | None:
        """Who leads in the highest term."""
        leading = [host for host in self.running() if host.node is not None and host.node.is_leader]
        return max(leading, key=lambda host: cast(RaftNode, host.node).term, default=None)

    def check_logs(self) -> None:
        """Log matching: where two logs agree on an entry's term, they agree on it and all before it."""
        journals = [(host.member_id, host.journal) for host in self.running() if host.journal is not None]
        for position, (a, first) in enumerate(journals):
            for b, second in journals[position + 1 :]:
                begin, end = max(first.first_index, second.first_index) + 1, min(first.last_index, second.last_index)
                while end >= begin and first.term_at(end) != second.term_at(end):
                    end -= 1
                ours, theirs = first.between(begin, end + 1), second.between(begin, end + 1)
                if ours != theirs:
                    raise AssertionError(f"the logs of {a} and {b} agree on the term of entry {end}, not on all before")

    def settled(self) -> bool:
        """Whether all members are in the same state, and it is that of a leader with nothing under way."""
        leader = self.leader()
        if leader is None or leader.node is None or leader.node.applied_index < leader.node.last_index:
            return False
        members = [self.hosts[number] for number in sorted(leader.machine.members)]
        return all(host.node is not None and _position(host) == _position(leader) for host in members)


def _position(host: Host) -> Any:
    return host.machine.applied_index, cast(RaftNode, host.node).term
