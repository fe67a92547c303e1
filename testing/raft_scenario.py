"""A run of `World` from one seed: clients, faults, and what has to hold in the end.

A seed decides everything: how many members, which kinds of faults and how often, what clients do. `Failed` carries what
is needed to understand a failure and to see it again.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from navarch.services.store.errors import TOO_MANY_REQUESTS, UNHEALTHY, Refusal
from navarch.services.store.replication.node import Proposal, RaftNode
from navarch.testing.history import (
    Action,
    Answered,
    Delete,
    Get,
    ModRevisionIs,
    Operation,
    Put,
    Txn,
    ValueIs,
    compare_and_swap,
)
from navarch.testing.linearizability import check
from navarch.testing.raft_machine import AddLearner, Change, Promote, Remove
from navarch.testing.raft_world import Host, World

_CLIENT_TIMEOUT_S = 2.5
_KEYS = (b"a", b"b", b"c", b"d")
_TRACE_LINES = 60


class Failed(AssertionError):
    """A seed that failed, in words."""


@dataclass(frozen=True, slots=True)
class Config:
    """What a run is made of. faults_s: mean time between faults; keep: entries that outlive a saved machine."""

    voters: int
    clients: int
    seconds: float
    faults_s: float
    keep: int
    faults: tuple[str, ...]

    @staticmethod
    def of(rng: random.Random) -> "Config":
        """Any."""
        faults = [name for name in sorted(FAULTS) if rng.random() < 0.6] or ["crash"]
        return Config(
            voters=rng.choice((1, 3, 3, 3, 5)),
            clients=rng.choice((2, 4, 6)),
            seconds=rng.choice((4.0, 6.0, 8.0)),
            faults_s=rng.choice((0.2, 0.5, 1.0)),
            keep=rng.choice((0, 2, 20)),
            faults=tuple(faults),
        )


class Scenario:
    """Clients and faults over a world."""

    def __init__(self, seed: int, config: Config | None = None, world_class: type[World] = World) -> None:
        self.seed = seed
        self.rng = random.Random(seed ^ 0x5EED)
        self.config = config or Config.of(self.rng)
        self.world = world_class(seed, self.config.voters)
        self.world.corrupt_snapshots = self.rng.choice((0.0, 0.3))
        self.history: list[Operation] = []
        self.quiet = False
        self._open: dict[int, Operation] = {}
        self._calls = 0
        self._values = 0
        self._new_member = 10

    def run(self) -> None:
        """The whole run. Raises Failed."""
        try:
            for number in range(self.config.clients):
                self._client_later(f"client {number}")
            self._fault_later()
            self.world.run(self.config.seconds)
            self._end()
        except Exception as failure:
            raise Failed(self._report(failure)) from failure

    def _report(self, failure: Exception) -> str:
        what = f"seed {self.seed}: {type(failure).__name__}: {failure}"
        replay = f"{self.config}; NAVARCH_SEED={self.seed} replays this:"
        return "\n".join([what, replay, *self.world.trace[-_TRACE_LINES:]])

    # Clients.

    def _client_later(self, name: str) -> None:
        self.world.after(self.rng.expovariate(8.0), lambda: self._call(name))

    def _call(self, name: str) -> None:
        """One operation, at any member; then the next one."""
        running = self.world.running()
        if self.quiet or not running:
            if not self.quiet:
                self._client_later(name)
            return
        self.begin(name, self._action(), self.rng.choice(running), lambda: self._client_later(name))

    def _action(self) -> Action:
        self._values += 1
        value, key, other = b"v%d" % self._values, self.rng.choice(_KEYS), self.rng.choice(_KEYS)
        found = self.world.rng.choice(self.world.running()).machine.keys.get(key)
        match self.rng.randrange(8):
            case 0 | 1 | 2:
                return Get(key)
            case 3 | 4:
                return Put(key, value)
            case 5:
                return compare_and_swap(ValueIs(key, found.value if found else value), value)
            case 6:
                return Txn(
                    (ModRevisionIs(key, (found.mod_revision or 0) if found else 0),),
                    (Put(key, value), Put(other, value)) if other != key else (Put(key, value),),
                    (Get(key), Get(other)),
                )
            case _:
                return Delete(key)

    def begin(self, name: str, action: Action, host: Host, done: Callable[[], None]) -> None:
        """Do one operation and note it in the history."""
        world = self.world
        self._calls += 1
        call, operation = self._calls, Operation(name, action, self.world.now)
        self._open[call] = operation

        def end(answer: Answered | None, *, refused: bool = False) -> None:
            if self._open.pop(call, None) is None:
                return
            ended = operation if answer is None else replace(operation, returned=world.now, answer=answer)
            if not refused:
                self.history.append(ended)
            world.note(ended, "at", host.member_id, "refused" if refused else "")
            done()

        def answered(outcome: object, refusal: Refusal | None) -> None:
            answer = cast(Answered, outcome) if refusal is None else None
            end(answer, refused=refusal in (UNHEALTHY, TOO_MANY_REQUESTS))

        def readable(index: int) -> None:
            end(host.machine.run(action))

        proposal = Proposal(b"", False, answered)

        def ask(node: RaftNode) -> None:
            if isinstance(action, Get):
                node.read_index(readable)
            else:
                proposal.command = world.record.encode(action)
                node.propose(proposal)

        def give_up() -> None:
            proposal.abandoned = True
            end(None)

        world.when_awake(host, ask)
        world.after(_CLIENT_TIMEOUT_S, give_up)

    # Faults.

    def _fault_later(self) -> None:
        self.world.after(self.rng.expovariate(1 / self.config.faults_s), self._fault)

    def _fault(self) -> None:
        if self.quiet:
            return
        FAULTS[self.rng.choice(self.config.faults)](self)
        self._fault_later()

    def any_host(self) -> Host | None:
        """A running host; the leader more often than others."""
        leader = self.world.leader()
        if leader is not None and self.rng.random() < 0.4:
            return leader
        running = self.world.running()
        return self.rng.choice(running) if running else None

    def change(self, change: Change, host: Host) -> None:
        """Ask for a change of members."""
        world = self.world

        def answered(outcome: object, refusal: Refusal | None) -> None:
            world.note(change, "refused" if refusal or outcome is None else "done")
            if outcome is not None and isinstance(change, Remove):
                world.after(1.5, lambda: self._retire(change.member_id))

        def ask(node: RaftNode) -> None:
            node.propose(Proposal(world.record.encode(change), True, answered))

        world.note("ask", host.member_id, "for", change)
        world.when_awake(host, ask)

    def _retire(self, member_id: int) -> None:
        host = self.world.hosts[member_id]
        self.world.crash(host)
        host.retired = True

    def next_member(self) -> int:
        """An id that was never used."""
        self._new_member += 1
        return self._new_member

    # The end.

    def _end(self) -> None:
        world = self.world
        self.quiet = True
        world.network.heal()
        for host in list(world.hosts.values()):
            host.slow_flush_s, host.disk.fails = 0.0, False
            world.wake(host)
            world.start(host)
        world.note("all is well again")
        if not world.run(40.0, world.settled):
            raise AssertionError(f"does not settle: {[_describe(host) for host in world.running()]}")
        self._read_all()
        if not world.run(10.0, world.settled):
            raise AssertionError("is not at rest though nobody asks for anything")
        world.check_logs()
        self._compare_machines()
        verdict = check([*self.history, *self._open.values()])
        if not verdict.ok:
            raise AssertionError(verdict.explanation)

    def _read_all(self) -> None:
        leader = self.world.leader()
        assert leader is not None
        waiting = set(_KEYS)
        for key in _KEYS:
            self.begin("at the end", Get(key), leader, lambda key=key: waiting.discard(key))  # type: ignore[misc]
        if not self.world.run(2.0, lambda: not waiting):
            raise AssertionError("reads are not answered though all is well")

    def _compare_machines(self) -> None:
        leader = self.world.leader()
        assert leader is not None
        for number in sorted(leader.machine.members):
            host = self.world.hosts[number]
            if host.machine.contents() != leader.machine.contents():
                raise AssertionError(f"{number} and {leader.member_id} have applied the same entries and differ")


def _describe(host: Host) -> str:
    node = host.node
    assert node is not None
    role = "leads" if node.is_leader else f"follows {node.leader_id}"
    return (
        f"{host.member_id} {role} in term {node.term}, has {node.last_index}, "
        f"committed {node.commit_index}, applied {node.applied_index}, of {sorted(host.machine.members)}"
    )


def _crash(scenario: Scenario) -> None:
    host = scenario.any_host()
    if host is not None:
        scenario.world.crash(host)
        scenario.world.after(scenario.rng.choice((0.01, 0.3, 2.0)), lambda: scenario.world.start(host))


def _crash_all(scenario: Scenario) -> None:
    if scenario.rng.random() < 0.5:
        for host in scenario.world.running():
            scenario.world.crash(host)
            scenario.world.after(scenario.rng.uniform(0.01, 0.5), lambda host=host: scenario.world.start(host))  # type: ignore[misc]


def _partition(scenario: Scenario) -> None:
    world, rng = scenario.world, scenario.rng
    numbers = sorted(world.hosts)
    side = set(rng.sample(numbers, rng.randint(1, max(1, len(numbers) // 2))))
    one_way = rng.choice((0, 0, 1, 2))
    links = {(a, b) for a in numbers for b in numbers if a != b and (a in side) != (b in side)}
    world.network.cut |= {(a, b) for a, b in links if not one_way or (a in side) == (one_way == 1)}
    world.note("cut off", sorted(side), ("both ways", "sending", "receiving")[one_way])
    if rng.random() < 0.5:
        for link in sorted(links):
            world.after(rng.uniform(0.1, 1.0), lambda link=link: world.disconnect(link, lingers=True))  # type: ignore[misc]
    world.after(rng.choice((0.3, 1.0, 2.5)), world.network.heal)


def _break(scenario: Scenario) -> None:
    host = scenario.any_host()
    if host is not None:
        other = scenario.rng.choice(sorted(scenario.world.hosts))
        scenario.world.note("break", host.member_id, other)
        scenario.world.disconnect((host.member_id, other), lingers=scenario.rng.random() < 0.5)


def _pause(scenario: Scenario) -> None:
    host = scenario.any_host()
    if host is not None:
        host.paused_until = scenario.world.now + scenario.rng.choice((0.2, 1.0, 2.0))
        scenario.world.note("pause", host.member_id, f"until {host.paused_until:.4f}")


def _jump(scenario: Scenario) -> None:
    host = scenario.any_host()
    if host is not None:
        host.offset_s += scenario.rng.choice((0.1, 1.0, 60.0))
        scenario.world.note("clock of", host.member_id, "is ahead by", host.offset_s)
        scenario.world.when_awake(host, lambda node: None)


def _slow(scenario: Scenario) -> None:
    world, rng = scenario.world, scenario.rng
    host = scenario.any_host()
    if host is not None:
        host.slow_flush_s = rng.choice((0.0, 0.05, 0.3))
        other = rng.choice(sorted(world.hosts))
        world.network.slow_s[host.member_id, other] = rng.choice((0.0, 0.02, 0.2))
        world.note("slow", host.member_id, host.slow_flush_s, dict(world.network.slow_s))


def _disk(scenario: Scenario) -> None:
    host = scenario.any_host()
    if host is not None:
        host.disk.fails = True


def _save(scenario: Scenario) -> None:
    for host in scenario.world.running():
        if scenario.rng.random() < 0.7:
            scenario.world.save(host, scenario.config.keep)


def _transfer(scenario: Scenario) -> None:
    world = scenario.world
    leader = world.leader()
    if leader is not None:
        target = scenario.rng.choice([0, *sorted(leader.machine.members)])
        world.note("transfer from", leader.member_id, "to", target)
        world.when_awake(
            leader,
            lambda node: node.transfer(target, lambda refusal: world.note("transfer:", refusal), world.clock(leader)),
        )


def _members(scenario: Scenario) -> None:
    rng, host = scenario.rng, scenario.any_host()
    if host is None:
        return
    members = host.machine.members
    learners = [number for number, member in sorted(members.items()) if member.is_learner]
    voters = sorted(set(members) - set(learners))
    choice = rng.randrange(3)
    if choice == 0 and not learners:
        scenario.change(AddLearner(scenario.next_member()), host)
    elif choice == 1 and learners:
        scenario.change(Promote(learners[0]), host)
    elif choice == 2 and len(voters) > 2:
        scenario.change(Remove(rng.choice(sorted(members))), host)


FAULTS: dict[str, Callable[[Scenario], None]] = {
    "break": _break,
    "crash": _crash,
    "crash all": _crash_all,
    "disk": _disk,
    "jump": _jump,
    "members": _members,
    "partition": _partition,
    "pause": _pause,
    "save": _save,
    "slow": _slow,
    "transfer": _transfer,
}
