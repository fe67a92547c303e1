"""Leases under which expiring keys (Events) are put.

A lease for each key would double the writes. Keys written within the same minute share one, which lives a
minute longer than the shortest-lived of them was promised.
"""

from navarch.services.apiserver.storage.etcd import Etcd
from navarch.services.base.clock import Clock

SHARED_FOR_S = 60.0
# A lease's keys go in one transaction.
KEYS_PER_LEASE = 1000


class ExpiryLeases:
    """Hands out the present lease of each lifetime."""

    def __init__(self, etcd: Etcd, clock: Clock) -> None:
        self._etcd = etcd
        self._clock = clock
        # By lifetime: the lease, until when it may be handed out, and how often still.
        self._current: dict[int, tuple[int, float, int]] = {}

    async def lease(self, ttl_s: int) -> int:
        """A lease that keeps a key for at least ttl_s seconds, and at most a minute longer."""
        now = self._clock.monotonic()
        lease, until, left = self._current.get(ttl_s, (0, 0.0, 0))
        if now >= until or left <= 0:
            lease, until, left = await self._etcd.grant(ttl_s + int(SHARED_FOR_S)), now + SHARED_FOR_S, KEYS_PER_LEASE
        self._current[ttl_s] = (lease, until, left - 1)
        return lease
