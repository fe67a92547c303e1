"""The loop around nft: what it does when that refuses, and in what batches."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.services.base.clock import VirtualClock, settle
from navarch.services.base.metrics import Metrics
from navarch.services.proxy import conntrack, nft, synchronizer
from navarch.services.proxy.conntrack import CleanUp
from navarch.services.proxy.frontends import HealthCheck
from navarch.services.proxy.health import SICK_AFTER_S, ProxyHealth
from navarch.services.proxy.isolation import MOST, culprits
from navarch.services.proxy.measures import Measures
from navarch.services.proxy.netlink import Counts
from navarch.services.proxy.state import ProxyState
from navarch.services.proxy.structure import Settings
from navarch.services.proxy.synchronizer import FULL_S, MIN_PERIOD_S, RETRY_MIN_S, SUSPECT_S, Synchronizer
from navarch.testing.proxy_objects import NODE, ServiceBuilder, SliceBuilder


class World:
    """The loop, with a kernel that takes or refuses what the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = VirtualClock()
        self.state = ProxyState(Settings(), NODE)
        self.metrics = Metrics()
        self.health = ProxyHealth(self.clock)
        self.checks: list[HealthCheck] = []
        self.applied: list[str] = []
        self.refusals = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.loop = Synchronizer(self.state, self.clock, Measures(self.metrics), self.health, self.on_checks)
        monkeypatch.setattr(nft, "apply", self.apply)
        # As if it had been asked for before, which takes a thread.
        self.loop._generation = 1

    async def apply(self, text: str) -> None:
        await self.gate.wait()
        if self.refusals:
            self.refusals -= 1
            raise nft.NftError("no")
        self.applied.append(text)

    async def on_checks(self, checks: Iterable[HealthCheck]) -> None:
        self.checks = list(checks)

    def series(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(name)

    async def turn(self, seconds: float = MIN_PERIOD_S) -> None:
        await settle()
        await self.clock.elapse(seconds)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.fixture
async def running(world: World) -> object:
    task = asyncio.create_task(world.loop.run())
    yield task
    task.cancel()


def service(number: int) -> ServiceBuilder:
    return ServiceBuilder(f"s{number}", f"10.96.0.{number}").port(80)


@pytest.mark.usefixtures("running")
async def test_the_first_sync_sets_the_whole_table_and_later_ones_changes_only(world: World) -> None:
    world.state.set_service(service(1).object)
    world.loop.notice()
    await world.turn()
    assert len(world.applied) == 1
    assert world.applied[0].startswith("add table inet navarch-proxy\ndelete table")
    world.state.set_slice(SliceBuilder("s1").port(8080).endpoint("10.244.0.1").object)
    world.loop.notice(triggered=world.clock.now() - 1)
    await world.turn()
    assert len(world.applied) == 2
    assert "delete table" not in world.applied[1]
    assert "10.96.0.1 . 80 . 0 : 10.244.0.1 . 8080" in world.applied[1]
    assert world.series("kubeproxy_network_programming_duration_seconds_count") == 1
    assert world.series("kubeproxy_sync_full_proxy_rules_duration_seconds_count") == 1
    assert world.series("kubeproxy_sync_partial_proxy_rules_duration_seconds_count") == 1


@pytest.mark.usefixtures("running")
async def test_what_comes_during_a_transaction_is_one_more(world: World) -> None:
    world.loop.notice()
    await world.turn()
    world.gate.clear()
    for number in range(1, 6):
        world.state.set_service(service(number).object)
        world.loop.notice()
        await world.turn()
    world.gate.set()
    await world.turn()
    await world.turn()
    assert len(world.applied) == 3
    assert [f"10.96.0.{number} . tcp" in world.applied[1] for number in range(1, 6)] == [True] + [False] * 4
    assert all(f"10.96.0.{number} . tcp" in world.applied[2] for number in range(2, 6))


@pytest.mark.usefixtures("running")
async def test_after_a_refusal_the_whole_table_is_set(world: World) -> None:
    world.loop.notice()
    await world.turn()
    world.refusals = 2
    world.state.set_service(service(1).object)
    world.loop.notice(triggered=world.clock.now())
    await world.turn()
    assert len(world.applied) == 1
    assert world.health.healthy
    await world.turn(RETRY_MIN_S)
    await world.turn(RETRY_MIN_S * 4)
    await world.turn()
    assert len(world.applied) == 2
    assert "delete table" in world.applied[1]
    assert "10.96.0.1 . tcp . 80" in world.applied[1]
    assert world.series("kubeproxy_sync_proxy_rules_nftables_sync_failures_total") == 2
    # What caused it is measured until it is done.
    assert world.series("kubeproxy_network_programming_duration_seconds_count") == 1


@pytest.mark.usefixtures("running")
async def test_a_proxy_that_cannot_sync_is_not_well(world: World) -> None:
    world.refusals = 1_000_000
    world.loop.notice()
    await world.turn()
    assert world.health.healthy
    await world.clock.elapse(SICK_AFTER_S)
    assert not world.health.healthy
    world.refusals = 0
    for _ in range(4):
        await world.turn(10.0)
    assert world.health.healthy


@pytest.mark.usefixtures("running")
async def test_nothing_to_do_runs_nothing(world: World) -> None:
    world.loop.notice()
    await world.turn()
    world.state.set_service(service(1).object)
    world.loop.notice()
    await world.turn()
    world.state.set_service(service(1).object)
    world.loop.notice()
    await world.turn()
    assert len(world.applied) == 2


@pytest.mark.usefixtures("running")
async def test_health_checks_are_told(world: World) -> None:
    built = service(1).load_balancer("198.51.100.7").external_local(30999)
    world.state.set_service(built.object)
    world.loop.notice()
    await world.turn()
    assert world.checks == [HealthCheck(30999, "default", "s1", 0)]


@pytest.mark.usefixtures("running")
async def test_flows_are_looked_at_when_the_change_is_in_the_kernel_at_last(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned: list[CleanUp] = []

    def clean(work: CleanUp) -> int:
        cleaned.append(work)
        return 0

    monkeypatch.setattr(conntrack, "clean", clean)
    world.loop.notice()
    await world.turn()
    world.refusals = 1
    world.state.set_service(ServiceBuilder("dns", "10.96.0.10").port(53, protocol="UDP").object)
    world.state.set_slice(SliceBuilder("dns").port(5353, protocol="UDP").endpoint("10.244.0.1").object)
    world.loop.notice()
    await world.turn()
    assert cleaned == []
    async with asyncio.timeout(60):
        while not cleaned:
            await world.turn(RETRY_MIN_S)
            await asyncio.sleep(0.001)
    assert [str(id) for id in cleaned[0].changes] == ["udp://10.96.0.10:53"]


@given(st.integers(0, 40), st.sets(st.integers(0, 39), max_size=10), st.booleans())
def test_culprits_are_found_by_halves(count: int, guilty: set[int], everything: bool) -> None:
    keys = [f"default/s{number}" for number in range(count)]
    bad = {key for number, key in enumerate(keys) if number in guilty}
    asked = 0

    async def is_refused(some: Sequence[str]) -> bool:
        nonlocal asked
        asked += 1
        return everything or not bad.isdisjoint(some)

    found = asyncio.run(culprits(keys, is_refused))
    assert set(found) == (bad if len(bad) <= MOST and not everything else set())
    assert asked <= 2 + (len(found) + 1) * (count.bit_length() + 2) * (MOST if not found else 1)


@pytest.mark.usefixtures("running")
async def test_a_service_that_nft_cannot_take_is_left_out_until_it_changes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def apply(text: str) -> None:
        if "10.96.0.3 ." in text:
            raise nft.NftRefused("no such thing")
        world.applied.append(text)

    async def is_refused(text: str) -> bool:
        return "10.96.0.3 ." in text

    monkeypatch.setattr(nft, "apply", apply)
    monkeypatch.setattr(nft, "is_refused", is_refused)
    for number in range(1, 6):
        world.state.set_service(service(number).object)
    world.loop.notice()
    async with asyncio.timeout(30):
        while not world.applied:
            await asyncio.sleep(0)
            await world.turn(RETRY_MIN_S)
    (whole,) = world.applied
    assert all(f"10.96.0.{number} ." in whole for number in (1, 2, 4, 5))
    assert world.state.left_out == {"default/s3"}
    assert world.series("navarch_proxy_services_left_out") == 1
    world.state.set_service(ServiceBuilder("s3", "10.96.0.33").port(80).object)
    world.loop.notice()
    async with asyncio.timeout(30):
        while len(world.applied) < 2:
            await asyncio.sleep(0)
            await world.turn(RETRY_MIN_S)
    assert "10.96.0.33 ." in world.applied[1]
    assert not world.state.left_out


class Kernel:
    """Answers as the kernel would; counting takes time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.now = 1
        self.counted = 0
        self.found: Counts | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to let go of."""

    def generation(self) -> int:
        return self.now

    def counts(self, table: str, sets: Iterable[str]) -> Counts | None:
        self.counted += 1
        self.world.clock.advance(0.5)
        return self.found


@pytest.fixture
def kernel(world: World, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel(world)
    monkeypatch.setattr(synchronizer, "Nftables", lambda: made)
    world.state.set_service(service(1).object)
    world.state.whole()
    made.found = Counts(*world.loop._expected()())
    return made


async def test_as_long_as_nobody_changes_anything_nothing_is_counted(world: World, kernel: Kernel) -> None:
    await world.loop._check()
    assert kernel.counted == 0
    assert not world.state.is_dirty


async def test_others_changes_elsewhere_are_counted_once_and_at_intervals(world: World, kernel: Kernel) -> None:
    kernel.now = 2
    await world.loop._check()
    await world.loop._check()
    assert kernel.counted == 1
    # Ten seconds for half a second of work.
    kernel.now = 3
    await world.loop._check()
    assert kernel.counted == 1
    world.clock.advance(10)
    await world.loop._check()
    assert kernel.counted == 2
    assert not world.state.is_dirty


async def test_others_changes_that_no_number_tells_are_mended_by_and_by(world: World, kernel: Kernel) -> None:
    """As an element that is replaced by another: nobody can say, so the whole is put in place now and then."""
    world.clock.advance(SUSPECT_S)
    assert not world.loop._is_whole_due()
    kernel.now = 2
    await world.loop._check()
    assert world.loop._is_whole_due()
    await world.loop._apply_whole()
    world.clock.advance(SUSPECT_S)
    assert not world.loop._is_whole_due(), "only once"
    world.clock.advance(FULL_S)
    assert world.loop._is_whole_due()


@pytest.mark.parametrize("damage", ["table", "rule", "element"])
async def test_others_changes_of_the_table_make_it_be_set_anew(world: World, kernel: Kernel, damage: str) -> None:
    kernel.now = 2
    assert kernel.found is not None
    rules, elements = kernel.found.rules, kernel.found.elements
    kernel.found = {
        "table": None,
        "rule": Counts(rules - 1, elements),
        "element": Counts(rules, {**elements, "frontends4": 0}),
    }[damage]
    await world.loop._check()
    assert world.state.wants_whole
    assert world.series("navarch_proxy_restored_total") == 1
