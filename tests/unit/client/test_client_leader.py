import asyncio
from typing import cast

import pytest

from navarch.protos.k8s.coordination import v1_pb2 as coordinationv1
from navarch.services.api import errors
from navarch.services.base.clock import VirtualClock, settle
from navarch.services.client.client import Client
from navarch.services.client.leader import LeaderElector, Observation, Record


class Leases:
    """A client whose world is one Lease, and which may be cut off."""

    def __init__(self) -> None:
        self.lease: coordinationv1.Lease | None = None
        self.cut_off = False
        self.hangs = False
        self._version = 0

    async def get(self, cls: object, name: str, namespace: str) -> coordinationv1.Lease:
        await self._travel()
        if self.lease is None:
            raise errors.NotFound("leases.coordination.k8s.io", name)
        return self._store(self.lease, self._version)

    async def create(self, lease: coordinationv1.Lease) -> coordinationv1.Lease:
        await self._travel()
        if self.lease is not None:
            raise errors.AlreadyExists("leases.coordination.k8s.io", lease.metadata.name)
        return self._write(lease)

    async def update(self, lease: coordinationv1.Lease) -> coordinationv1.Lease:
        await self._travel()
        if self.lease is None or lease.metadata.resource_version != self.lease.metadata.resource_version:
            raise errors.Conflict("leases.coordination.k8s.io", lease.metadata.name)
        return self._write(lease)

    async def _travel(self) -> None:
        await asyncio.sleep(0)
        if self.hangs:
            await asyncio.Event().wait()
        if self.cut_off:
            raise errors.ServiceUnavailable("cut off")

    def _write(self, lease: coordinationv1.Lease) -> coordinationv1.Lease:
        self._version += 1
        self.lease = self._store(lease, self._version)
        return self._store(self.lease, self._version)

    def _store(self, lease: coordinationv1.Lease, version: int) -> coordinationv1.Lease:
        copy = coordinationv1.Lease()
        copy.CopyFrom(lease)
        copy.metadata.resource_version = str(version)
        return copy


class Candidate:
    """An elector at work, with its own view of the world."""

    def __init__(self, identity: str, leases: Leases, clock: VirtualClock) -> None:
        self.elector = LeaderElector(cast("Client", leases), name="controllers", identity=identity, clock=clock)
        self._working = False
        self.terms = 0
        self.task = asyncio.create_task(self.elector.run(self._started, self._stopped))

    async def _started(self) -> None:
        self._working = True
        self.terms += 1

    async def _stopped(self) -> None:
        self._working = False

    def works(self) -> bool:
        return self._working

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait((self.task,))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def leases() -> Leases:
    return Leases()


async def test_one_of_two_leads_and_renews(leases: Leases, clock: VirtualClock) -> None:
    first = Candidate("a", leases, clock)
    await settle()
    second = Candidate("b", leases, clock)
    await clock.elapse(120)
    assert (first.works(), second.works()) == (True, False)
    assert leases.lease is not None
    spec = leases.lease.spec
    assert (spec.holder_identity, spec.lease_duration_seconds, spec.lease_transitions) == ("a", 15, 0)
    assert clock.now() - spec.renew_time.seconds < 3
    await first.stop()
    await second.stop()


async def test_a_leader_that_stops_hands_over_at_once(leases: Leases, clock: VirtualClock) -> None:
    first = Candidate("a", leases, clock)
    await settle()
    second = Candidate("b", leases, clock)
    await first.stop()
    assert not first.works()
    await clock.elapse(3)
    assert second.works()
    assert leases.lease is not None
    assert leases.lease.spec.holder_identity == "b"
    await second.stop()


async def test_a_leader_that_vanishes_is_replaced_after_its_lease(leases: Leases, clock: VirtualClock) -> None:
    first = Candidate("a", leases, clock)
    await settle()
    second = Candidate("b", leases, clock)
    await clock.elapse(5)
    leases.hangs = True
    first.task.cancel()
    await clock.elapse(3)
    leases.hangs = False
    await clock.elapse(8)
    assert not second.works(), "the lease has not run out"
    await clock.elapse(20)
    assert second.works()
    assert leases.lease is not None
    assert leases.lease.spec.lease_transitions == 1
    await second.stop()


@pytest.mark.parametrize("how", ["cut_off", "hangs"])
async def test_a_leader_that_cannot_renew_stops_before_others_may_start(
    leases: Leases, clock: VirtualClock, how: str
) -> None:
    leader = Candidate("a", leases, clock)
    await clock.elapse(1)
    setattr(leases, how, True)
    await clock.elapse(7)
    assert leader.works()
    await clock.elapse(5)
    assert not leader.works(), "renewing has failed for 10 s, the lease lasts 15"
    setattr(leases, how, False)
    await clock.elapse(15)
    assert leader.works(), "nobody else wanted it"
    assert leader.terms == 2
    await leader.stop()


async def test_a_leader_whose_lease_was_taken_stops_at_its_next_renewal(leases: Leases, clock: VirtualClock) -> None:
    leader = Candidate("a", leases, clock)
    await settle()
    assert leases.lease is not None
    taken = coordinationv1.Lease()
    taken.CopyFrom(leases.lease)
    taken.spec.holder_identity = "b"
    await leases.update(taken)
    await clock.elapse(5)
    assert not leader.works()
    assert leases.lease.spec.holder_identity == "b", "it does not release what is not its own"
    await leader.stop()


async def test_an_identity_that_returns_takes_its_lease_at_once(leases: Leases, clock: VirtualClock) -> None:
    first = Candidate("a", leases, clock)
    await settle()
    leases.hangs = True
    first.task.cancel()
    await clock.elapse(3)
    leases.hangs = False
    again = Candidate("a", leases, clock)
    await settle()
    assert again.works()
    await again.stop()


def test_the_age_of_a_lease_is_judged_by_when_it_was_seen_to_change() -> None:
    observation = Observation("me")
    assert observation.may_take(0)
    observation.observe(Record("other", 15, "1"), 100)
    observation.observe(Record("other", 15, "1"), 110)
    assert not observation.may_take(114.9)
    assert observation.may_take(115)
    observation.observe(Record("other", 15, "2"), 114)
    assert not observation.may_take(128)
    observation.observe(Record("", 1, "3"), 128)
    assert observation.may_take(128)


def test_times_that_could_let_two_lead_are_refused(clock: VirtualClock) -> None:
    with pytest.raises(ValueError, match="lease_s > renew_s"):
        LeaderElector(cast("Client", Leases()), name="x", identity="a", clock=clock, lease_s=10, renew_s=10)
