"""One suite over both logs: what the store may rely on, with a disk and without."""

import asyncio
import errno
import os
import random
from pathlib import Path

import pytest

from navarch.protos.etcd import rpc_pb2
from navarch.services.base.clock import SystemClock
from navarch.services.store.errors import BAD_LEADER_TRANSFEREE, CorruptionError, EtcdError
from navarch.services.store.replication.alone import NoPeers
from navarch.services.store.replication.journal import Journal
from navarch.services.store.replication.log import Entry, Member, Outcome
from navarch.services.store.replication.memory import MemoryLog
from navarch.services.store.replication.node import Timing
from navarch.services.store.replication.raft import KEEP_ENTRIES, RaftLog
from navarch.services.store.replication.segments import SegmentWriter

# SHA-256 over the names and texts of version 0.3.17.
REVIEWED_PYSYNCOBJ = "04d423e8bb294a776742c74d8a0c462e653c55485a7351f6f1dec6e722be5175"
ME = Member(0xABC, "me")
FAST = Timing(heartbeat_s=0.02, election_min_s=0.1, election_max_s=0.2)


class Recorder:
    """A state machine that keeps the commands, answers with their number, and refuses b"refuse"."""

    def __init__(self, applied_index: int = 0) -> None:
        self.applied_index, self.applied_term = applied_index, 0
        self.members, self.removed = {ME.id: ME}, frozenset()
        self.commands: list[bytes] = []
        self.batches = 0

    def apply(self, entries) -> list[Outcome]:
        self.batches += 1
        return [self._apply(entry) for entry in entries]

    def _apply(self, entry: Entry) -> Outcome:
        assert entry.index > self.applied_index
        self.applied_index = entry.index
        if not entry.command:
            return None
        self.commands.append(entry.command)
        if entry.command == b"refuse":
            return ValueError("refused")
        return rpc_pb2.PutResponse(header=rpc_pb2.ResponseHeader(revision=len(self.commands)))


class NoSnapshots:
    """Nobody is sent or sends any."""

    async def make(self):
        raise AssertionError("a single member has no followers")

    install = make


class Wire:
    """Transports of several logs in one loop."""

    def __init__(self) -> None:
        self.ends: dict[int, End] = {}

    def end(self, member_id: int) -> "End":
        return self.ends.setdefault(member_id, End(self, member_id))


class End(NoPeers):
    """One member's end of a wire: what is sent arrives in the loop's next turn."""

    def __init__(self, wire: Wire, member_id: int) -> None:
        self.wire, self.member_id, self.receiver = wire, member_id, None

    async def start(self, receiver) -> None:
        self.receiver = receiver
        for end in self.wire.ends.values():
            if end.receiver is not None and end is not self:
                end.receiver.connected(self.member_id)
                receiver.connected(end.member_id)

    async def stop(self) -> None:
        self.receiver = None
        for end in self.wire.ends.values():
            if end.receiver is not None:
                end.receiver.disconnected(self.member_id)

    def send(self, peer: int, message) -> None:
        asyncio.get_running_loop().call_soon(self._arrive, peer, message)

    def _arrive(self, peer: int, message) -> None:
        receiver = self.wire.ends[peer].receiver
        if receiver is not None and self.receiver is not None:
            receiver.received(self.member_id, [message])


def raft(machine: Recorder, directory: Path, sync=os.fdatasync, transport=None, member_id: int = ME.id) -> RaftLog:
    journal = Journal(directory, SegmentWriter(directory, sync))
    transport = transport or NoPeers()
    return RaftLog(member_id, machine, journal, random.Random(member_id), SystemClock(), transport, NoSnapshots(), FAST)


async def leader_of_three(directory: Path) -> tuple[RaftLog, list[RaftLog]]:
    """Three members on one wire; the one that leads, and the others."""
    wire = Wire()
    logs = []
    for member_id in (ME.id, 2, 3):
        machine = Recorder()
        machine.members = {ME.id: ME, 2: Member(2, "two"), 3: Member(3, "three")}
        logs.append(raft(machine, directory / str(member_id), transport=wire.end(member_id), member_id=member_id))
        logs[-1].machine = machine
    for log in logs:
        await log.start()
    await logs[0].propose(b"first")
    leader = next(log for log in logs if log.status().is_leader)
    if leader is not logs[0]:
        await leader.transfer(ME.id)
        await logs[0].read_index()
    return logs[0], logs[1:]


@pytest.fixture(params=["memory", "raft", "three"])
async def log(request, tmp_path: Path):
    others: list[RaftLog] = []
    if request.param == "three":
        log, others = await leader_of_three(tmp_path)
    else:
        machine = Recorder()
        log = MemoryLog(ME.id, machine) if request.param == "memory" else raft(machine, tmp_path / "journal")
        log.machine = machine
        await log.start()
    log.machine.commands.clear()
    yield log
    for each in (log, *others):
        await each.stop()


async def test_a_started_log_leads_and_has_applied_all(log) -> None:
    status = log.status()
    assert status.is_leader
    assert status.term >= 1
    assert status.applied_index == status.commit_index == status.last_index
    assert ME in log.members()


async def test_answers_belong_to_their_commands(log) -> None:
    answers = await asyncio.gather(*(log.propose(b"%d" % i) for i in range(200)))
    assert [log.machine.commands[answer.header.revision - 1] for answer in answers] == [b"%d" % i for i in range(200)]
    assert len(log.machine.commands) == 200


async def test_proposals_of_one_task_are_applied_in_order(log) -> None:
    for i in range(20):
        await log.propose(b"%d" % i)
    assert log.machine.commands == [b"%d" % i for i in range(20)]


async def test_a_refusal_reaches_its_proposer_only(log) -> None:
    results = await asyncio.gather(*map(log.propose, (b"a", b"refuse", b"b")), return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["PutResponse", "ValueError", "PutResponse"]


async def test_a_read_sees_what_was_acknowledged(log) -> None:
    for i in range(5):
        await log.propose(b"x")
        assert await log.read_index() >= i + 1
        assert len(log.machine.commands) == i + 1


async def test_a_proposer_that_gives_up_harms_nobody(log) -> None:
    task = asyncio.ensure_future(log.propose(b"given up"))
    await asyncio.sleep(0)
    task.cancel()
    await log.propose(b"kept")
    assert log.machine.commands[-1] == b"kept"
    assert task.cancelled() or task.done()


async def test_a_stopped_log_refuses(log) -> None:
    await log.stop()
    for call in (log.propose(b"x"), log.read_index()):
        with pytest.raises(EtcdError, match="server stopped"):
            await call


async def test_leadership_goes_to_members_only(log) -> None:
    await log.transfer(ME.id)
    with pytest.raises(EtcdError, match=BAD_LEADER_TRANSFEREE.message):
        await log.transfer(1)


# What only a disk has.


def test_pysyncobj_is_the_one_that_was_reviewed() -> None:
    """The overrides of `replication/node.py` reach into it: read docs/store.md before changing this."""
    import hashlib

    import pysyncobj

    digest = hashlib.sha256()
    for path in sorted(Path(pysyncobj.__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    assert digest.hexdigest() == REVIEWED_PYSYNCOBJ


async def fill(log: RaftLog) -> None:
    """3,000 entries over several segments."""
    for _ in range(6):
        await asyncio.gather(*(log.propose(b"x" * 5000) for _ in range(500)))


async def test_a_restart_repeats_what_the_state_machine_lacks(tmp_path: Path) -> None:
    first = raft(Recorder(), tmp_path)
    await first.start()
    for i in range(10):
        await first.propose(b"%d" % i)
    applied, term = first.status().applied_index, first.status().term
    await first.stop()
    machine = Recorder(applied - 3)
    second = raft(machine, tmp_path)
    await second.start()
    assert machine.commands == [b"7", b"8", b"9"]
    assert second.status().term == term + 1
    await second.stop()


async def test_concurrent_proposals_share_flushes(tmp_path: Path) -> None:
    syncs = []

    def sync(descriptor: int) -> None:
        syncs.append(descriptor)
        os.fdatasync(descriptor)

    machine = Recorder()
    log = raft(machine, tmp_path, sync)
    await log.start()
    syncs.clear()
    machine.batches = 0
    await asyncio.gather(*(log.propose(b"x") for _ in range(500)))
    assert len(syncs) <= 5
    assert machine.batches <= 5
    await log.stop()


async def test_nothing_is_applied_or_acknowledged_before_it_is_durable(tmp_path: Path) -> None:
    import threading

    hold = threading.Event()
    hold.set()

    def sync(descriptor: int) -> None:
        hold.wait()
        os.fdatasync(descriptor)

    machine = Recorder()
    log = raft(machine, tmp_path, sync)
    await log.start()
    hold.clear()
    proposal = asyncio.ensure_future(log.propose(b"x"))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not proposal.done()
    assert machine.commands == []
    hold.set()
    await proposal
    assert machine.commands == [b"x"]
    await log.stop()


async def test_a_failed_flush_stops_the_member_and_acknowledges_nothing(tmp_path: Path) -> None:
    failing = False

    def sync(descriptor: int) -> None:
        if failing:
            raise OSError(errno.EIO, "injected")
        os.fdatasync(descriptor)

    failures = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
    machine = Recorder()
    log = raft(machine, tmp_path, sync)
    await log.start()
    await log.propose(b"kept")
    failing = True
    results = await asyncio.gather(*(log.propose(b"lost") for _ in range(5)), return_exceptions=True)
    assert {str(result) for result in results} == {"etcdserver: server stopped"}
    failing = False
    with pytest.raises(EtcdError, match="server stopped"):
        await log.propose(b"later")
    assert machine.commands == [b"kept"]
    assert not log.status().is_leader
    await asyncio.sleep(0)
    assert failures, "the failure ends the process"
    await log.stop()


async def test_the_log_is_shortened_under_steady_load(tmp_path: Path) -> None:
    log = raft(Recorder(), tmp_path)
    await log.start()

    async def propose_without_pause() -> None:
        while log._journal.first_index < 2000:
            await log.propose(b"x" * 5000)
            log.release(log.status().applied_index)

    # Several, so that something is always waiting for the flush under way.
    await asyncio.gather(*(propose_without_pause() for _ in range(20)))
    await log.stop()


async def test_release_shortens_the_log(tmp_path: Path) -> None:
    log = raft(Recorder(), tmp_path)
    await log.start()
    await fill(log)
    log.release(log.status().applied_index)
    await log.propose(b"next")
    assert log._journal.first_index == 3002 - KEEP_ENTRIES
    assert not (tmp_path / "0000000000000001.journal").exists()
    await log.stop()


@pytest.mark.parametrize("lost", ["journal", "data"])
async def test_a_journal_that_does_not_fit_the_data_is_refused(tmp_path: Path, lost: str) -> None:
    log = raft(Recorder(), tmp_path)
    await log.start()
    await fill(log)
    log.release(log.status().applied_index)
    await log.propose(b"next")
    await log.stop()
    if lost == "journal":
        for path in tmp_path.iterdir():
            path.unlink()
    with pytest.raises(CorruptionError, match=f"{lost} lost"):
        await raft(Recorder(2500 if lost == "journal" else 0), tmp_path).start()


async def test_nothing_is_unpickled(tmp_path: Path, monkeypatch) -> None:
    import pickle

    def refuse(*args, **kwargs):
        raise AssertionError("pickle used")

    monkeypatch.setattr(pickle, "loads", refuse)
    monkeypatch.setattr(pickle, "dumps", refuse)
    for _ in range(2):
        log = raft(Recorder(), tmp_path)
        await log.start()
        await log.propose(b"\x80\x04N.")
        await log.stop()
