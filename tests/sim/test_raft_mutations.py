"""Each guard of the Raft node is needed: without it, seeds fail that pass with it.

A mutant takes one guard out. Its faults are those in which the guard matters; the whole core runs the same seeds.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

from navarch.protos.navarch.store_pb2 import RaftMessage
from navarch.services.store.replication import node as node_module
from navarch.services.store.replication.journal import Journal
from navarch.services.store.replication.node import Proposal, RaftNode, Ready
from navarch.testing.history import Put
from navarch.testing.raft_machine import Machine
from navarch.testing.raft_network import Link
from navarch.testing.raft_scenario import Config, Scenario
from navarch.testing.raft_world import Host, World

MOST_SEEDS = 200


class AnswersBeforeTheFlush(RaftNode):
    """Everything counts as durable, and leaves, as soon as it is noted."""

    def _ready(self) -> Ready:
        messages, batch, after = super()._ready()
        if batch is not None:
            self._journal.done(batch)
        return Ready(messages + after, batch, [])


class CountsItselfBeforeTheFlush(RaftNode):
    def _limit_commit(self, index: int) -> None:
        pass


class CommitsWhatDoesNotMatch(RaftNode):
    def _new_commit_index(self, append):  # type: ignore[no-untyped-def]
        return append.commit_index


class HeedsOldReplies(RaftNode):
    def _is_of_this_term(self, term: int) -> bool:
        return True


class ReadsWithoutARound(RaftNode):
    def _confirmed_reads(self, others: frozenset[int]):  # type: ignore[no-untyped-def]
        return super()._confirmed_reads(frozenset())


class ReadsBeforeItsFirstCommit(RaftNode):
    def _has_committed_in_term(self) -> bool:
        return True


class ForgetsItsVote(Journal):
    """Term and vote are in memory only."""

    def vote(self, term: int, voted_for: str) -> None:
        self.term, self.voted_for = term, voted_for


class StandsUnasked(RaftNode):
    """No pre-vote, and no loyalty to a leader that is heard."""

    def _may_campaign(self) -> bool:
        self._may_stand = True
        return super()._may_campaign()

    def _hears_a_leader(self) -> bool:
        return False


class AcknowledgesABrokenSnapshot(World):
    def install(self, host: Host, node: RaftNode, image: Machine, corrupt: bool) -> bool:
        if not corrupt or image.applied_index <= node.applied_index:
            return super().install(host, node, image, corrupt)
        node.installed(image.applied_index, image.applied_term, self.clock(host))
        return True


# Where seeds alone would take too long to come upon a case: told step by step.
Story = Callable[[type[World], int], None]


def _lead(world: World, among: Iterable[int]) -> int:
    """Wait for a leader among some members."""
    wanted = set(among)

    def leads() -> bool:
        return any(host.node is not None and host.node.is_leader for host in map(world.hosts.__getitem__, wanted))

    assert world.run(20.0, leads, every_s=0.0)
    return next(n for n in sorted(wanted) if (node := world.hosts[n].node) is not None and node.is_leader)


def _put(world: World, number: int) -> None:
    host = world.hosts[number]
    command = world.record.encode(Put(b"k", b"v%d" % len(world.record.commands)))
    world.when_awake(host, lambda node: node.propose(Proposal(command, False, lambda outcome, refusal: None)))


def _between(some: Iterable[int], others: Iterable[int]) -> set[Link]:
    return {link for a in some for b in others for link in ((a, b), (b, a))}


def a_voter_crashes_after_its_vote(world_class: type[World], seed: int) -> None:
    """Raft 5.2: the vote for one candidate is not given to another of the same term after a restart."""
    world = world_class(seed, 3)
    world.network.cut = _between((2,), (1, 3))
    first = _lead(world, (1, 3))
    (voter,) = {1, 3} - {first}
    world.crash(world.hosts[voter])
    world.network.cut = _between((first,), (2, voter))
    world.start(world.hosts[voter])
    _lead(world, (2, voter))


def a_reply_comes_two_terms_late(world_class: type[World], seed: int) -> None:
    """What a follower had in an earlier term says nothing about what it has now."""
    world = world_class(seed, 5)
    old = _lead(world, range(1, 6))
    world.run(1.0)
    late, *rest = sorted({1, 2, 3, 4, 5} - {old})
    # The late one takes entries that nobody else has, and its replies are on the way for long.
    world.network.cut = _between((old, late), rest) | {(late, old)}
    for _ in range(9):
        _put(world, old)
    world.run(0.3)
    middle = _lead(world, rest)
    world.run(2.0)
    world.network.mend(_between((old, late), rest))
    world.run(2.0)
    node = world.hosts[middle].node
    assert node is not None
    world.when_awake(world.hosts[middle], lambda node: node.transfer(old, lambda refusal: None, world.now))
    assert _lead(world, (old,)) == old
    world.run(0.3)
    # Now only one other has what the old leader adds, and the late replies arrive.
    friend, *others = rest
    world.network.cut = _between((old, friend), (late, *others)) - {(late, old)}
    for _ in range(4):
        _put(world, old)
    world.run(0.1)
    world.network.mend({(late, old)})
    world.run(0.3)
    world.network.cut = _between((old, friend), (late, *others))
    _put(world, _lead(world, (late, *others)))
    world.run(2.0)


def an_append_comes_twice(world_class: type[World], seed: int) -> None:
    """Raft figure 2, AppendEntries 3: what matches is not cut, however short the message."""
    world = world_class(seed, 3)
    leader = _lead(world, (1, 2, 3))
    world.run(1.0)
    follower, other = sorted({1, 2, 3} - {leader})
    world.network.cut = _between((other,), (leader, follower))
    sent: list[RaftMessage] = []
    send = world.network.send

    def tap(link: Link, message: RaftMessage) -> None:
        if link == (leader, follower) and message.append.entries:
            sent.append(message)
        send(link, message)

    world.network.send = tap  # type: ignore[method-assign]
    for _ in range(2):
        _put(world, leader)
        world.run(0.15)
    world.network.cut = _between((leader,), (follower, other))
    world.network.connect((leader, follower))
    world.hosts[follower].node.receive(leader, sent[0], world.now)  # type: ignore[union-attr]
    world.turn(world.hosts[follower])
    _put(world, _lead(world, (follower, other)))
    world.run(2.0)


def a_deposed_leader_is_far_behind(world_class: type[World], seed: int) -> None:
    """Raft figure 2, AppendEntries 5: a commit index says nothing about entries that were not shown to match."""
    world = world_class(seed, 3)
    deposed = _lead(world, (1, 2, 3))
    world.run(1.0)
    others = sorted({1, 2, 3} - {deposed})
    world.network.cut = _between((deposed,), others)
    for _ in range(5):
        _put(world, deposed)
    leader = _lead(world, others)
    for _ in range(8):
        _put(world, leader)
        world.run(0.2)
    for number in others:
        world.disconnect((number, deposed))
        world.save(world.hosts[number], 0)
    world.network.heal()
    world.run(2.0)


def a_read_at_a_new_leader(world_class: type[World], seed: int) -> None:
    """Raft 8: before its first own commit a leader does not know what its predecessor acknowledged."""
    world = world_class(seed, 3)
    old = world.hosts[_lead(world, (1, 2, 3))]
    world.run(1.0)
    revision = old.machine.revision
    _put(world, old.member_id)
    assert world.run(1.0, lambda: old.machine.revision > revision, every_s=0.0)
    others = sorted({1, 2, 3} - {old.member_id})
    world.network.cut = _between((old.member_id,), others)
    new = world.hosts[_lead(world, others)]
    new.slow_flush_s = 0.3
    revisions: list[int] = []
    world.when_awake(new, lambda node: node.read_index(lambda index: revisions.append(new.machine.revision)))
    assert world.run(5.0, lambda: bool(revisions))
    if revisions[0] != old.machine.revision:
        raise AssertionError(f"a read at revision {revisions[0]} though {old.machine.revision} was acknowledged")


def a_deposed_leader_is_read_from(world_class: type[World], seed: int) -> None:
    """Raft thesis 6.4: it does not know yet that others acknowledge writes now."""
    world = world_class(seed, 3)
    old = world.hosts[_lead(world, (1, 2, 3))]
    world.run(1.0)
    others = sorted({1, 2, 3} - {old.member_id})
    world.network.cut = _between((old.member_id,), others)
    for number in others:
        # What tells them at once; the old leader leads for an election timeout more, unless their votes are split.
        world.disconnect((number, old.member_id))
    new = world.hosts[_lead(world, others)]
    revision = new.machine.revision
    _put(world, new.member_id)
    assert world.run(1.0, lambda: new.machine.revision > revision, every_s=0.0)
    revisions: list[int] = []
    world.when_awake(old, lambda node: node.read_index(lambda index: revisions.append(old.machine.revision)))
    world.run(0.1)
    world.network.heal()
    assert world.run(5.0, lambda: bool(revisions))
    if revisions[0] < new.machine.revision:
        raise AssertionError(f"a read at revision {revisions[0]} though {new.machine.revision} was acknowledged")


def a_member_comes_back(world_class: type[World], seed: int) -> None:
    """Raft thesis 9.6: who was cut off for a while does not depose a leader that all others hear."""
    world = world_class(seed, 3)
    leader = _lead(world, (1, 2, 3))
    world.run(1.0)
    term = world.hosts[leader].journal.term
    gone = leader % 3 + 1
    world.network.cut = _between((gone,), {1, 2, 3} - {gone})
    world.run(8.0)
    world.network.heal()
    world.run(3.0)
    if (found := world.hosts[leader].journal.term) != term:
        raise AssertionError(f"the return of a member has raised the term from {term} to {found}")


@dataclass(frozen=True)
class Mutant:
    faults: tuple[str, ...] = ()
    node: type[RaftNode] = RaftNode
    journal: type[Journal] = Journal
    world: type[World] = World
    patch: Callable[[pytest.MonkeyPatch], None] = lambda monkeypatch: None
    story: Story | None = None

    @property
    def config(self) -> Config:
        return Config(voters=3, clients=6, seconds=6.0, faults_s=0.2, keep=0, faults=self.faults)

    def run(self, seed: int) -> None:
        world = type("Mutated", (self.world,), {"node_class": self.node, "journal_class": self.journal})
        if self.story is not None:
            self.story(world, seed)
        else:
            Scenario(seed, self.config, world).run()

    @property
    def whole(self) -> "Mutant":
        return Mutant(self.faults, story=self.story)


def _cut_always(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(view, position: int) -> None:  # type: ignore[no-untyped-def]
        view._journal.cut(view._journal.first_index + position)

    monkeypatch.setattr(node_module._JournalView, "deleteEntriesFrom", cut)


MUTANTS = {
    "no fsync before acknowledging": Mutant(("crash", "crash all", "slow"), AnswersBeforeTheFlush),
    "a leader counts itself before its flush": Mutant(("crash", "partition", "slow"), CountsItselfBeforeTheFlush),
    "cut-always truncation": Mutant(patch=_cut_always, story=an_append_comes_twice),
    "unclamped commit index": Mutant(node=CommitsWhatDoesNotMatch, story=a_deposed_leader_is_far_behind),
    "replies without a term": Mutant(node=HeedsOldReplies, story=a_reply_comes_two_terms_late),
    "no read barrier": Mutant(node=ReadsWithoutARound, story=a_deposed_leader_is_read_from),
    "reads before the first commit of a term": Mutant(node=ReadsBeforeItsFirstCommit, story=a_read_at_a_new_leader),
    "volatile vote": Mutant(journal=ForgetsItsVote, story=a_voter_crashes_after_its_vote),
    "no pre-vote": Mutant(node=StandsUnasked, story=a_member_comes_back),
    "acknowledged failed snapshot": Mutant(("crash", "partition", "save"), world=AcknowledgesABrokenSnapshot),
}


def _first_failure(mutant: Mutant) -> int:
    for seed in range(MOST_SEEDS):
        try:
            mutant.run(seed)
        except AssertionError as failed:
            print(f"after {seed + 1} seeds: {failed.args[0].splitlines()[0]}")
            return seed
    raise AssertionError(f"the mutant survived {MOST_SEEDS} seeds")


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_seeds_fail_without_the_guard(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        mutant.patch(patched)
        seed = _first_failure(mutant)
    mutant.whole.run(seed)
