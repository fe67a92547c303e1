"""Notices when there has been no leader for longer than it takes to find a new one.

Clients may ask (metadata `hasleader: true`) not to be served by a member that is cut off: what they watch there stands
still without their knowing.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from navarch.services.base.clock import Clock
from navarch.services.store.errors import NO_LEADER
from navarch.services.store.pulse import Pulse
from navarch.services.store.replication.log import ReplicatedLog

REQUIRE_LEADER = "hasleader"


class _Context(Protocol):
    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...


class LeaderMonitor:
    """`run` is an endless task. changed: woken with each change of the leader. on_lost: called once it is missing."""

    def __init__(
        self, log: ReplicatedLog, clock: Clock, patience_s: float, changed: Pulse, on_lost: Callable[[], None]
    ) -> None:
        self.lost = False
        self._log = log
        self._clock = clock
        self._patience_s = patience_s
        self._changed = changed
        self._on_lost = on_lost

    def is_missed_by(self, context: _Context) -> bool:
        """Whether a call must end because it requires the leader that is missing."""
        return self.lost and (REQUIRE_LEADER, "true") in (context.invocation_metadata() or ())

    def check(self, context: _Context) -> None:
        """Raises EtcdError for a call that requires the leader that is missing."""
        if self.is_missed_by(context):
            raise NO_LEADER()

    async def run(self) -> None:
        """Follow the leader's coming and going."""
        while True:
            if self._log.status().leader_id:
                self.lost = False
                await self._changed.wait(self._clock, float("inf"))
                continue
            missing_at = self._clock.monotonic()
            while not self._log.status().leader_id:
                left_s = missing_at + self._patience_s - self._clock.monotonic()
                if left_s <= 0 and not self.lost:
                    self.lost = True
                    self._on_lost()
                await self._changed.wait(self._clock, float("inf") if self.lost else left_s)
