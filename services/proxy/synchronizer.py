"""Has the kernel's table follow the state: as little as possible, as soon as possible, all or nothing.

Whatever came while one transaction was under way goes into the next one. After a failure, and whenever somebody else
has changed the table, the whole of it is put in place anew, in one transaction; connections that exist are not
touched by that. A sync that fails is tried again, ever later.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.proxy import conntrack, nft
from navarch.services.proxy.affinity import AffinityKeeper
from navarch.services.proxy.conntrack import CleanUp
from navarch.services.proxy.frontends import HealthCheck
from navarch.services.proxy.health import ProxyHealth
from navarch.services.proxy.isolation import culprits
from navarch.services.proxy.measures import Measures
from navarch.services.proxy.netlink import Nftables
from navarch.services.proxy.state import FrontendChange, ProxyState
from navarch.services.proxy.structure import base_chains, containers

# Between the beginnings of two syncs.
MIN_PERIOD_S = 0.02
RETRY_MIN_S, RETRY_MAX_S = 0.1, 10.0
# Of the whole table, until it is looked for the Services that are at fault.
REFUSALS = 3
# How soon others' changes are seen: one small question to the kernel.
CHECK_S = 1.0
# Of counting a large table again and again, this share of a processor at most.
COUNTING_SHARE = 0.05
# Whatever was not noticed is mended by then; sooner where others have changed something, and no number tells what.
FULL_S, SUSPECT_S = 3600.0, 300.0

OnSynced = Callable[[], None]


class Synchronizer:
    """Runs the loop. on_health_checks: told of those that are wanted after each sync."""

    def __init__(
        self,
        state: ProxyState,
        clock: Clock,
        measures: Measures,
        health: ProxyHealth,
        on_health_checks: Callable[[Iterable[HealthCheck]], Awaitable[None]],
    ) -> None:
        self._state = state
        self._clock = clock
        self._measures = measures
        self._health = health
        self._on_health_checks = on_health_checks
        self._affinity = AffinityKeeper(state.settings.table)
        self._wake = asyncio.Event()
        self._triggers: list[float] = []
        self._generation: int | None = None
        self._counts_not_before = 0.0
        self._suspects = False
        self._whole_at = clock.monotonic()
        # Of the whole table, one after the other.
        self._refusals = 0
        # What has not reached the kernel yet, or not been followed up.
        self._pending: list[FrontendChange] = []
        self._applying = asyncio.Lock()
        self._log = get_logger("proxy")
        self.on_synced: OnSynced | None = None

    def notice(self, triggered: float | None = None) -> None:
        """The state has changed. triggered: when, in Unix time, that happened which is to be seen in the table."""
        self._health.queued()
        self._measures.last_queued.set(self._clock.now())
        if triggered is not None:
            self._triggers.append(triggered)
        self._wake.set()

    async def run(self) -> None:
        """Follow the state for ever."""
        retry_s = RETRY_MIN_S
        while True:
            await self._wake.wait()
            self._wake.clear()
            began = self._clock.monotonic()
            if await self._sync():
                retry_s = RETRY_MIN_S
            else:
                await self._clock.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_MAX_S)
                self._wake.set()
            await self._clock.sleep(began + MIN_PERIOD_S - self._clock.monotonic())

    async def watch(self) -> None:
        """Look for others' changes for ever."""
        while True:
            await self._clock.sleep(CHECK_S)
            if self._is_whole_due():
                self._whole_at = self._clock.monotonic()
                self._state.distrust()
                self.notice()
            try:
                await self._check()
            except (OSError, TimeoutError) as failure:
                self._log.warning("proxy.check_failed", error=failure)

    def _is_whole_due(self) -> bool:
        return self._clock.monotonic() - self._whole_at >= (SUSPECT_S if self._suspects else FULL_S)

    async def _check(self) -> None:
        async with self._applying:
            began = self._clock.monotonic()
            if self._generation is None or self._state.is_dirty or began < self._counts_not_before:
                return
            intact, generation = await asyncio.to_thread(self._look, self._generation, self._expected())
            if generation != self._generation:
                self._suspects = True
                self._counts_not_before = began + (self._clock.monotonic() - began) / COUNTING_SHARE
            self._generation = generation
        if not intact:
            self._log.warning("proxy.restores", table=self._state.settings.table)
            self._measures.restored.inc()
            self._state.distrust()
            self.notice()

    def _expected(self) -> Callable[[], tuple[int, dict[str, int]]]:
        """How many rules and, by container, elements there should be; counted only if that is called.

        Left out: sets that never change, whose intervals the kernel holds as two each, and sets that rules fill.
        """

        def count() -> tuple[int, dict[str, int]]:
            state = self._state
            elements = {
                container.name: len(container.elements)
                for container in containers(state.settings)
                if not container.flags or (container.flags == "interval" and not container.elements)
            }
            for place, _ in state.elements():
                elements[place.container] += 1
            chains = [*state.chains.values(), *base_chains()]
            return sum(len(chain.rules) for chain in chains), elements

        return count

    def _look(self, generation: int, expected: Callable[[], tuple[int, dict[str, int]]]) -> tuple[bool, int]:
        with Nftables() as kernel:
            now = kernel.generation()
            if now == generation:
                return True, now
            rules, elements = expected()
            counts = kernel.counts(self._state.settings.table, elements)
            return counts is not None and counts.rules == rules and counts.elements == elements, now

    async def _sync(self) -> bool:
        """Apply what has changed. Returns whether that succeeded."""
        if not self._state.is_dirty:
            self._done()
            return True
        triggers, self._triggers = self._triggers, []
        began = self._clock.monotonic()
        whole = self._state.wants_whole
        try:
            async with self._applying:
                await (self._apply_whole() if whole else self._apply_changes())
        except (nft.NftError, OSError) as failure:
            self._measures.failures.inc()
            self._log.warning("proxy.sync_failed", whole=whole, error=failure)
            self._state.distrust()
            self._triggers = [*triggers, *self._triggers]
            if whole and isinstance(failure, nft.NftRefused):
                await self._isolate(failure)
            return False
        self._refusals = 0
        took_s = self._clock.monotonic() - began
        self._measure(whole, took_s, triggers)
        await self._after()
        return True

    async def _isolate(self, failure: nft.NftRefused) -> None:
        """Leave those Services out that nft cannot take; once may be chance, as when somebody else has the table."""
        self._refusals += 1
        if self._refusals < REFUSALS:
            return
        self._refusals = 0
        try:
            found = await culprits(list(self._state.rules), self._is_refused)
        except (nft.NftError, OSError) as obstacle:
            self._log.warning("proxy.not_isolated", error=obstacle)
            return
        for key in found:
            self._state.leave_out(key)
            self._log.error("proxy.service_left_out", service=key, error=failure)

    async def _is_refused(self, keys: Sequence[str]) -> bool:
        alone = self._state.only(keys)
        text, _ = await asyncio.to_thread(alone.whole)
        return await nft.is_refused(text)

    async def _apply_whole(self) -> None:
        text, changes = self._state.whole()
        self._pending += changes
        kept = await self._affinity.whole(self._state)
        await self._transact(text + kept)
        self._whole_at, self._suspects = self._clock.monotonic(), False
        self._log.info("proxy.table_set", services=len(self._state.rules), bytes=len(text))

    async def _apply_changes(self) -> None:
        transaction, changes = self._state.changes()
        self._pending += changes
        if transaction:
            self._measures.changed.observe(transaction.size)
            text = transaction.render(self._state.settings)
            await self._transact(await self._affinity.before(changes) + text)

    async def _transact(self, text: str) -> None:
        before = self._generation if self._generation is not None else await asyncio.to_thread(_generation)
        await nft.apply(text)
        # Ours is one more. If others changed something meanwhile, it is more than that, which the next check sees.
        self._generation = before + 1

    async def _after(self) -> None:
        """What follows from a change that has reached the kernel. A failure here is told, and does no harm."""
        for conflict in self._state.take_conflicts():
            self._log.warning(
                "proxy.address_taken", service=conflict.service, frontend=conflict.id, owner=conflict.owner
            )
        changes, self._pending = self._pending, []
        work = CleanUp.of(changes, self._state.node_ips)
        if work.changes:
            try:
                self._measures.stale_flows.inc(await asyncio.to_thread(conntrack.clean, work))
            except OSError as failure:
                self._log.warning("proxy.conntrack_failed", error=failure)
        await self._on_health_checks(self._state.health_checks)
        if not self._state.is_dirty:
            self._done()

    def _done(self) -> None:
        self._health.updated()
        if self.on_synced is not None:
            self.on_synced()

    def _measure(self, whole: bool, took_s: float, triggers: list[float]) -> None:
        measures = self._measures
        measures.sync.observe(took_s)
        (measures.full if whole else measures.partial).observe(took_s)
        now = self._clock.now()
        measures.last_sync.set(now)
        for triggered in triggers:
            measures.programming.observe(max(0.0, now - triggered))
        measures.services.set(len(self._state.rules))
        measures.left_out.set(len(self._state.left_out))
        measures.chains.set(len(self._state.chains))


def _generation() -> int:
    with Nftables() as kernel:
        return kernel.generation()
