"""Leases: who holds which keys, and when a holder has been silent for too long. No I/O; time is an argument.

Grants, revocations and attachments are replicated. Expiry times are not: they are kept where the log is led,
start anew there (a failover lengthens a lease, never shortens it), and end in a proposed revocation.
"""

import heapq
from dataclasses import dataclass, field

from navarch.services.store.errors import LEASE_EXISTS, LEASE_NOT_FOUND, LEASE_TTL_TOO_LARGE

# etcd's floor: one and a half election timeouts, rounded up to a second.
MIN_TTL_S = 2
MAX_TTL_S = 9_000_000_000


@dataclass(slots=True)
class Lease:
    """A lease and the keys that end with it. expiry_s is on the injected monotonic clock."""

    id: int
    ttl_s: int
    expiry_s: float
    keys: set[bytes] = field(default_factory=set)

    def remaining_s(self, now: float) -> float:
        """Time left; negative once expired."""
        return self.expiry_s - now


class Lessor:
    """All leases."""

    def __init__(self) -> None:
        self._leases: dict[int, Lease] = {}
        self._holder: dict[bytes, int] = {}
        # (expiry, id); an entry whose lease was renewed since is pushed again when it comes up.
        self._due: list[tuple[float, int]] = []

    @staticmethod
    def clamp_ttl(ttl_s: int) -> int:
        """The TTL that is granted for one asked for. Raises EtcdError above the limit."""
        if ttl_s > MAX_TTL_S:
            raise LEASE_TTL_TOO_LARGE()
        return max(ttl_s, MIN_TTL_S)

    def grant(self, lease_id: int, ttl_s: int, now: float) -> Lease:
        """Create a lease. Raises EtcdError when the id is taken or 0."""
        if lease_id == 0:
            raise LEASE_NOT_FOUND()
        if lease_id in self._leases:
            raise LEASE_EXISTS()
        lease = Lease(lease_id, ttl_s, now + ttl_s)
        self._leases[lease_id] = lease
        heapq.heappush(self._due, (lease.expiry_s, lease_id))
        return lease

    def revoke(self, lease_id: int) -> list[bytes]:
        """Remove a lease; returns its keys in order, for deletion. Raises EtcdError when unknown."""
        lease = self._leases.pop(lease_id, None)
        if lease is None:
            raise LEASE_NOT_FOUND()
        for key in lease.keys:
            del self._holder[key]
        return sorted(lease.keys)

    def renew(self, lease_id: int, now: float) -> int:
        """Prolong a live lease by its TTL; returns the TTL, or 0 when there is no such lease any more."""
        lease = self._leases.get(lease_id)
        if lease is None or lease.remaining_s(now) <= 0:
            return 0
        lease.expiry_s = now + lease.ttl_s
        return lease.ttl_s

    def get(self, lease_id: int) -> Lease | None:
        """A lease by id."""
        return self._leases.get(lease_id)

    def by_expiry(self) -> list[Lease]:
        """All leases, the one that ends first in front."""
        return sorted(self._leases.values(), key=lambda lease: (lease.expiry_s, lease.id))

    def attach(self, key: bytes, lease_id: int) -> None:
        """Tie a key to a lease (0: to none), in place of what it was tied to."""
        held_by = self._holder.get(key, 0)
        if held_by == lease_id:
            return
        if held_by:
            self._leases[held_by].keys.discard(key)
            del self._holder[key]
        if lease_id:
            self._leases[lease_id].keys.add(key)
            self._holder[key] = lease_id

    def next_expiry(self) -> float | None:
        """When `expired` is worth asking; None without leases."""
        while self._due:
            expiry, lease_id = self._due[0]
            lease = self._leases.get(lease_id)
            if lease is not None and lease.expiry_s == expiry:
                return expiry
            heapq.heappop(self._due)
            if lease is not None:
                heapq.heappush(self._due, (lease.expiry_s, lease_id))
        return None

    def expired(self, now: float, limit: int = 1000) -> list[int]:
        """Ids of leases past their expiry. They stay until revoked, and come up again should that fail."""
        # By id: one that was revoked and granted again within the same instant is noted twice.
        due: dict[int, None] = {}
        while len(due) < limit and (expiry := self.next_expiry()) is not None and expiry <= now:
            due[heapq.heappop(self._due)[1]] = None
        for lease_id in due:
            heapq.heappush(self._due, (self._leases[lease_id].expiry_s, lease_id))
        return list(due)

    def restart(self, now: float) -> None:
        """Give every lease its full time again, on becoming responsible for them."""
        for lease in self._leases.values():
            lease.expiry_s = now + lease.ttl_s
        self._due = [(lease.expiry_s, lease.id) for lease in self._leases.values()]
        heapq.heapify(self._due)
