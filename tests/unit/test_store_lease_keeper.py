"""Leases over failovers: members that share an order of commands, on a clock that the test moves."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from navarch.protos.etcd import rpc_pb2
from navarch.protos.navarch import store_pb2
from navarch.services.base.clock import VirtualClock, settle
from navarch.services.store import commands, errors, lease_keeper
from navarch.services.store.backend import MemoryBackend
from navarch.services.store.errors import EtcdError
from navarch.services.store.lease_keeper import LeaseKeeper
from navarch.services.store.lease_router import LeaseRouter
from navarch.services.store.replication.log import Entry, LogStatus, Outcome
from navarch.services.store.replication.node import Timing
from navarch.services.store.state_machine import StateMachine

ELECTION_S = 1.2


class Order:
    """The commands that a majority has, and who leads. What a deposed leader proposes arrives when it is told."""

    def __init__(self, clock: VirtualClock, size: int = 3) -> None:
        self.clock = clock
        self.entries: list[Entry] = []
        self.term = 0
        self.leader: Member | None = None
        self.late: list[tuple[bytes, asyncio.Future]] = []
        self.members = [Member(self, number) for number in range(1, size + 1)]
        self.tasks = [asyncio.create_task(member.keeper.run()) for member in self.members]

    async def __aenter__(self) -> "Order":
        return self

    async def __aexit__(self, *failure) -> None:
        for task in self.tasks:
            task.cancel()
        ended = await asyncio.gather(*self.tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended

    def append(self, command: bytes) -> Entry:
        self.entries.append(Entry(len(self.entries) + 1, self.term, command))
        return self.entries[-1]

    async def elect(self, member: "Member | None", *, unheard: "tuple[Member, ...]" = ()) -> None:
        """Have a member lead, or none; those who do not hear of it believe what they did."""
        self.term += member is not None
        self.leader = member
        if member is not None:
            self.append(b"")
        for other in self.members:
            if other not in unheard:
                self.tell(other)
        await settle()

    def tell(self, member: "Member") -> None:
        member.term, member.leader = self.term, self.leader
        for waiting in member.reading:
            waiting.set()
        member.keeper.role_changed()

    def deliver_late(self) -> None:
        """What deposed leaders proposed is appended now, by the leader of now."""
        late, self.late = self.late, []
        for command, future in late:
            entry = self.append(command)
            outcome = self.leader.catch_up()[entry.index]
            if not future.done():
                future.set_exception(outcome) if isinstance(outcome, Exception) else future.set_result(outcome)


class Member:
    """State machine, keeper and router of a member, and the log that the keeper sees."""

    def __init__(self, order: Order, number: int) -> None:
        self.order = order
        self.id = number
        self.term = 0
        self.leader: Member | None = None
        self.reading: set[asyncio.Event] = set()
        self.proposed: list = []
        self.backend = MemoryBackend()
        self.machine = StateMachine(self.backend, order.clock.monotonic, lambda changes: self.keeper.applied())
        self.keeper = LeaseKeeper(self.machine, self, order.clock, Timing(election_max_s=ELECTION_S))
        self.router = LeaseRouter(self.keeper, self, self.stub, order.clock)

    def stub(self, peer: int) -> "Stub | None":
        return Stub(self.order.members[peer - 1].keeper) if peer else None

    def catch_up(self) -> dict[int, Outcome]:
        entries = self.order.entries[self.machine.applied_index :]
        return {entry.index: out for entry, out in zip(entries, self.machine.apply(entries), strict=True)}

    # ReplicatedLog.

    def status(self) -> LogStatus:
        leader = self.leader.id if self.leader else 0
        return LogStatus(self.id, leader, self.term, 0, 0, self.machine.applied_index)

    async def propose(self, command: bytes, *, membership: bool = False):
        self.proposed.append(commands.decode(command))
        if self.order.leader is self:
            outcome = self.catch_up_to(self.order.append(command))
        else:
            future = asyncio.get_running_loop().create_future()
            self.order.late.append((command, future))
            return await future
        if isinstance(outcome, Exception):
            raise outcome
        await asyncio.sleep(0)
        return outcome

    def catch_up_to(self, entry: Entry) -> Outcome:
        return self.catch_up()[entry.index]

    async def read_index(self) -> int:
        while self.order.leader is not self.leader or self.leader is None:
            told = asyncio.Event()
            self.reading.add(told)
            await told.wait()
            self.reading.discard(told)
        await asyncio.sleep(0)
        self.catch_up()
        return self.machine.applied_index


class Stub:
    """A peer's lease calls, as gRPC brings them."""

    def __init__(self, keeper: LeaseKeeper) -> None:
        self._keeper = keeper

    async def RenewLease(self, request: store_pb2.LeaseRenewal, timeout: float) -> store_pb2.LeaseTime:
        return await self._call(self._keeper.renew(request.id))

    async def LeaseTimeToLive(self, request: store_pb2.LeaseQuery, timeout: float) -> store_pb2.LeaseTime:
        return await self._call(self._keeper.time_to_live(request.id))

    async def _call(self, answer: Awaitable[store_pb2.LeaseTime]) -> store_pb2.LeaseTime:
        try:
            return await answer
        except EtcdError as refusal:
            raise grpc.aio.AioRpcError(
                refusal.code, grpc.aio.Metadata(), grpc.aio.Metadata(), refusal.message
            ) from None


def run(test: Callable[[Order, VirtualClock], Awaitable[None]]) -> None:
    async def main() -> None:
        clock = VirtualClock()
        async with Order(clock) as order:
            await test(order, clock)

    asyncio.run(main())


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def order(clock: VirtualClock):
    async with Order(clock) as order:
        await order.elect(order.members[0])
        yield order


def grant(order: Order, lease: int, ttl_s: int) -> None:
    assert order.leader is not None
    order.leader.catch_up_to(order.append(commands.encode(rpc_pb2.LeaseGrantRequest(ID=lease, TTL=ttl_s))))


def put(order: Order, key: bytes, lease: int) -> None:
    order.leader.catch_up_to(order.append(commands.encode(rpc_pb2.PutRequest(key=key, lease=lease))))


def checkpoints(member: Member) -> list[list[tuple[int, int]]]:
    return [
        [(left.id, left.ttl_s) for left in proposed.leases]
        for proposed in member.proposed
        if isinstance(proposed, store_pb2.LeaseCheckpoint)
    ]


async def test_an_expired_lease_is_revoked_with_its_keys(order: Order, clock: VirtualClock) -> None:
    first, second, _ = order.members
    grant(order, 1, 5)
    grant(order, 2, 50)
    put(order, b"a", 1)
    await clock.elapse(4.9)
    assert first.machine.lessor.get(1)
    await clock.elapse(0.2)
    assert first.machine.lessor.get(1) is None
    assert (await first.router.time_to_live(1)).ttl_s == -1
    assert (await second.router.renew(1)).ttl_s == 0
    assert (await second.router.renew(2)).ttl_s == 50
    assert not first.machine.mvcc.index.current(b"a")


async def test_a_follower_asks_the_leader(order: Order, clock: VirtualClock) -> None:
    grant(order, 1, 5)
    follower = order.members[2]
    for _ in range(3):
        await clock.elapse(4)
        assert (await follower.router.renew(1)).ttl_s == 5
    await clock.elapse(2.5)
    left = await follower.router.time_to_live(1)
    assert (left.ttl_s, left.granted_ttl_s) == (2, 5)


async def test_nothing_is_asked_or_done_while_idle(order: Order, clock: VirtualClock) -> None:
    grant(order, 1, 100)
    await settle()
    assert [when for when, _, future in clock._sleepers if not future.done()] == [100]
    await clock.elapse(99)
    assert order.leader.proposed == []


async def test_a_failover_gives_full_time_and_slack(order: Order, clock: VirtualClock) -> None:
    grant(order, 1, 5)
    await clock.elapse(4)
    await order.elect(order.members[1])
    assert not order.members[0].machine.lessor.leading
    await clock.elapse(6)
    assert order.leader.machine.lessor.get(1)
    await clock.elapse(0.3)
    assert order.leader.machine.lessor.get(1) is None
    order.members[0].catch_up()
    assert order.members[0].machine.lessor.get(1) is None


async def test_a_renewal_waits_for_the_next_leader(order: Order, clock: VirtualClock) -> None:
    grant(order, 1, 5)
    await order.elect(None)
    renewal = asyncio.create_task(order.members[2].router.renew(1))
    await clock.elapse(3)
    assert not renewal.done()
    await order.elect(order.members[1])
    await clock.elapse(0.2)
    assert (await renewal).ttl_s == 5


async def test_without_a_leader_a_renewal_is_refused_in_the_end(order: Order, clock: VirtualClock) -> None:
    await order.elect(None)
    renewal = asyncio.create_task(order.members[2].router.renew(1))
    await clock.elapse(6)
    with pytest.raises(EtcdError, match="no leader"):
        await renewal


async def test_a_deposed_leader_promises_nothing(order: Order, clock: VirtualClock) -> None:
    first, second, _ = order.members
    grant(order, 1, 5)
    await order.elect(second, unheard=(first,))
    await clock.elapse(3.5)
    renewal = asyncio.create_task(first.router.renew(1))
    await clock.elapse(3.5)
    assert not renewal.done()
    assert second.machine.lessor.get(1) is None, "not renewed there"
    order.tell(first)
    await clock.elapse(0.2)
    assert (await renewal).ttl_s == 0


async def test_a_paused_leader_asks_again_whether_it_leads(order: Order, clock: VirtualClock, monkeypatch) -> None:
    first, second, _ = order.members
    grant(order, 1, 50)
    barrier = first.read_index

    async def paused() -> int:
        """The barrier is passed; then the process stands still until another has led for long."""
        monkeypatch.setattr(first, "read_index", barrier)
        index = await barrier()
        await order.elect(second, unheard=(first,))
        await clock.elapse(60)
        return index

    monkeypatch.setattr(first, "read_index", paused)
    renewal = asyncio.create_task(first.keeper.renew(1))
    for _ in range(10):
        await settle()
    assert second.machine.lessor.get(1) is None
    assert not renewal.done(), "a promise now would be for a lease that has ended"
    order.tell(first)
    with pytest.raises(EtcdError, match="leader changed"):
        await renewal


async def test_an_expiry_proposed_late_does_not_end_a_lease_that_lives_on(order: Order, clock: VirtualClock) -> None:
    first, second, _ = order.members
    grant(order, 1, 5)
    await order.elect(second, unheard=(first,))
    await clock.elapse(4)
    assert (await second.router.renew(1)).ttl_s == 5
    await clock.elapse(2)
    assert order.late, "the deposed leader believes that the lease has expired"
    order.tell(first)
    order.deliver_late()
    await settle()
    assert second.machine.lessor.get(1)


async def test_an_expired_lease_is_not_called_dead_before_it_is(order: Order, clock: VirtualClock, monkeypatch) -> None:
    """Else the next leader, which may not know, would revive it."""
    first, second, _ = order.members
    grant(order, 1, 5)

    async def stuck(command: bytes, *, membership: bool = False):
        raise errors.TIMEOUT()

    monkeypatch.setattr(first, "propose", stuck)
    await clock.elapse(6)
    renewal = asyncio.create_task(first.router.renew(1))
    left = asyncio.create_task(first.router.time_to_live(1))
    await clock.elapse(2)
    assert not renewal.done()
    assert not left.done()
    await order.elect(second)
    await clock.elapse(0.2)
    assert (await renewal).ttl_s == 5
    assert (await left).granted_ttl_s == 5


async def test_long_leases_are_checkpointed(order: Order, clock: VirtualClock) -> None:
    first, second, _ = order.members
    grant(order, 1, 3600)
    grant(order, 2, 60)
    await clock.elapse(650)
    assert checkpoints(first) == [[(1, 3300)], [(1, 3000)]]
    await order.elect(second)
    assert (await second.router.time_to_live(1)).ttl_s == 3001
    reloaded = StateMachine(second.backend, clock.monotonic)
    assert (reloaded.lessor.get(1).ttl_s, reloaded.lessor.get(1).checkpointed_s) == (3600, 3000)


async def test_a_renewal_takes_the_checkpoint_back_first(order: Order, clock: VirtualClock) -> None:
    first, second, _ = order.members
    grant(order, 1, 3600)
    await clock.elapse(350)
    assert (await first.router.renew(1)).ttl_s == 3600
    assert (await first.router.renew(1)).ttl_s == 3600
    assert checkpoints(first) == [[(1, 3300)], [(1, 0)]], "the second renewal has nothing to take back"
    await order.elect(second)
    assert (await second.router.time_to_live(1)).ttl_s == 3601
    assert StateMachine(second.backend, clock.monotonic).lessor.get(1).checkpointed_s == 0


async def test_a_checkpoint_proposed_late_does_not_shorten_a_lease(order: Order, clock: VirtualClock) -> None:
    first, second, third = order.members
    grant(order, 1, 3600)
    await order.elect(second, unheard=(first,))
    await clock.elapse(310)
    assert (await second.router.renew(1)).ttl_s == 3600
    assert order.late
    order.tell(first)
    order.deliver_late()
    await order.elect(third)
    assert (await third.router.time_to_live(1)).ttl_s >= 3600


async def test_many_leases_end_in_batches_at_a_bounded_rate(order: Order, clock: VirtualClock, monkeypatch) -> None:
    monkeypatch.setattr(lease_keeper, "EXPIRY_KEYS", 3)
    for lease in range(1, 251):
        grant(order, lease, 5)
    for key in (b"a", b"b", b"c", b"d"):
        put(order, key, 1)
    await clock.elapse(5.1)
    left = 250 - sum(len(batch.ids) for batch in order.leader.proposed)
    assert left > 0
    await clock.elapse(1)
    sizes = [len(batch.ids) for batch in order.leader.proposed]
    assert sum(sizes) == 250
    assert max(sizes) <= lease_keeper.EXPIRY_LEASES
    assert sizes[0] == 1, "a lease with many keys comes alone"
    assert order.leader.machine.lessor.by_expiry() == []


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("elapse"), st.sampled_from([0.3, 1, 2, 4.5, 100, 299, 301, 400])),
        st.tuples(st.just("renew"), st.integers(0, 2), st.sampled_from([1, 2, 3])),
        st.tuples(st.just("elect"), st.integers(0, 2), st.lists(st.integers(0, 2), unique=True)),
        st.tuples(st.just("lose")),
        st.tuples(st.just("tell"), st.integers(0, 2)),
        st.tuples(st.just("late")),
        st.tuples(st.just("grant"), st.sampled_from([1, 2, 3])),
    ),
    max_size=40,
)
TTLS = {1: 5, 2: 320, 3: 1000}


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_what_a_holder_may_count_on(steps: list[tuple]) -> None:
    """A lease renewed in time never ends, whoever leads; one that is not ends once a leader stays."""

    async def play(order: Order, clock: VirtualClock) -> None:
        promised: dict[int, float] = {}
        renewals: list[asyncio.Task] = []

        async def renew(member: Member, lease: int) -> None:
            try:
                answer = await member.router.renew(lease)
            except EtcdError:
                return
            if answer.ttl_s:
                promised[lease] = clock.monotonic() + answer.ttl_s
            else:
                assert promised.get(lease, 0) <= clock.monotonic(), "a live lease was called dead"

        def check() -> None:
            leases = {lease for lease, until in promised.items() if until > clock.monotonic()}
            known = StateMachine(MemoryBackend(), clock.monotonic)
            known.apply(order.entries)
            dead = {lease for lease in leases if known.lessor.get(lease) is None}
            assert not dead, "a live lease has ended"

        await order.elect(order.members[0])
        for step in steps:
            match step:
                case ("elapse", seconds):
                    await clock.elapse(seconds)
                case ("renew", member, lease):
                    renewals.append(asyncio.create_task(renew(order.members[member], lease)))
                case ("elect", member, unheard):
                    others = tuple(order.members[other] for other in unheard if other != member)
                    await order.elect(order.members[member], unheard=others)
                case ("lose",):
                    await order.elect(None)
                case ("tell", member):
                    order.tell(order.members[member])
                case ("late",) if order.leader:
                    order.deliver_late()
                case ("grant", lease) if order.leader and order.leader.machine.lessor.get(lease) is None:
                    grant(order, lease, TTLS[lease])
                    if order.leader.machine.lessor.get(lease) is not None:
                        promised[lease] = max(promised.get(lease, 0), clock.monotonic() + TTLS[lease])
            await settle()
            check()
        await order.elect(order.members[0])
        await clock.elapse(6)
        order.deliver_late()
        check()
        # Nobody renews any more.
        await asyncio.gather(*renewals)
        await clock.elapse(max(TTLS.values()) + ELECTION_S + 1)
        assert order.members[0].machine.lessor.by_expiry() == []

    run(play)
