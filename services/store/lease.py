"""Leases: who holds which keys, and when a holder has been silent for too long. No I/O; time is an argument.

Grants, revocations, attachments and checkpoints are replicated. Time is not: it runs where the log is led, and nowhere
else does anything expire. Whoever begins to lead gives every lease what its last checkpoint left of it, or else its
whole TTL, and some slack (`promote`): a failover lengthens a lease, never shortens it. Long leases are checkpointed
from time to time, so that failovers do not lengthen them for ever; a renewal takes the checkpoint back first.
"""

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from navarch.services.store.errors import LEASE_EXISTS, LEASE_NOT_FOUND, LEASE_TTL_TOO_LARGE

# The least that is ever granted, the same on every member: this is part of what commands mean.
MIN_TTL_S = 2
MAX_TTL_S = 9_000_000_000
# Only leases longer than this are checkpointed, this often, as in etcd: a failover gives back at most as much, and a
# lease that is never renewed costs twelve small entries an hour.
CHECKPOINT_INTERVAL_S = 300.0
NEVER = math.inf


def min_ttl_s(election_s: float) -> int:
    """The least TTL that outlives an election (etcd's formula): one and a half timeouts, in whole seconds."""
    return max(MIN_TTL_S, math.ceil(1.5 * election_s))


@dataclass(slots=True)
class Lease:
    """A lease and the keys that end with it.

    checkpointed_s: what the last checkpoint left of it, 0 if there is none (replicated). The rest is only used by who
    leads, on its monotonic clock. checkpointing: whether a checkpoint was proposed that a renewal must take back.
    """

    id: int
    ttl_s: int
    checkpointed_s: int = 0
    expiry_s: float = NEVER
    checkpoint_due_s: float = NEVER
    checkpointing: bool = False
    keys: set[bytes] = field(default_factory=set)

    def remaining_s(self, now: float) -> float:
        """Time left; negative once expired."""
        return self.expiry_s - now

    def begin(self, now: float, remaining_s: float) -> None:
        """Let the time run from now on."""
        self.expiry_s = now + remaining_s
        self.checkpoint_due_s = now + CHECKPOINT_INTERVAL_S if self.ttl_s > CHECKPOINT_INTERVAL_S else NEVER
        self.checkpointing = False


class _Agenda:
    """Leases by a time of theirs. Each is noted once; that its time has moved is noticed when it comes up."""

    def __init__(self, leases: dict[int, Lease], due_s: Callable[[Lease], float]) -> None:
        self._leases = leases
        self._due_s = due_s
        self._heap: list[tuple[float, int]] = []

    def note(self, lease: Lease) -> None:
        if (due_s := self._due_s(lease)) < NEVER:
            heapq.heappush(self._heap, (due_s, lease.id))

    def clear(self) -> None:
        self._heap.clear()

    def first(self) -> float:
        """When the next one is due."""
        while self._heap:
            due_s, lease_id = self._heap[0]
            lease = self._leases.get(lease_id)
            if lease is not None and self._due_s(lease) == due_s:
                return due_s
            heapq.heappop(self._heap)
            if lease is not None:
                self.note(lease)
        return NEVER

    def take(self, now: float, limit: int) -> list[Lease]:
        """Leases that are due, to be noted again."""
        # By id: one that was revoked and granted again within the same instant is noted twice.
        due: dict[int, Lease] = {}
        while len(due) < limit and self.first() <= now:
            lease_id = heapq.heappop(self._heap)[1]
            due[lease_id] = self._leases[lease_id]
        return list(due.values())


class Lessor:
    """All leases."""

    def __init__(self) -> None:
        self.leading = False
        self._leases: dict[int, Lease] = {}
        self._holder: dict[bytes, int] = {}
        self._expiries = _Agenda(self._leases, lambda lease: lease.expiry_s)
        self._checkpoints = _Agenda(self._leases, lambda lease: lease.checkpoint_due_s)

    # Replicated.

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
        lease = self._leases[lease_id] = Lease(lease_id, ttl_s)
        if self.leading:
            lease.begin(now, ttl_s)
            self._expiries.note(lease)
            self._checkpoints.note(lease)
        return lease

    def revoke(self, lease_id: int) -> list[bytes]:
        """Remove a lease; returns its keys in order, for deletion. Raises EtcdError when unknown."""
        lease = self._leases.pop(lease_id, None)
        if lease is None:
            raise LEASE_NOT_FOUND()
        for key in lease.keys:
            del self._holder[key]
        return sorted(lease.keys)

    def checkpoint(self, lease_id: int, remaining_s: int) -> Lease | None:
        """Note what is left of a lease, for those who lead later; 0 takes the note back. None when unknown."""
        lease = self._leases.get(lease_id)
        if lease is not None:
            lease.checkpointed_s = remaining_s if 0 < remaining_s < lease.ttl_s else 0
        return lease

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

    def get(self, lease_id: int) -> Lease | None:
        """A lease by id."""
        return self._leases.get(lease_id)

    def by_expiry(self) -> list[Lease]:
        """All leases, where time runs the one that ends first in front."""
        return sorted(self._leases.values(), key=lambda lease: (lease.expiry_s, lease.id))

    # Where the log is led.

    def promote(self, now: float, slack_s: float) -> None:
        """Begin to lead: time runs from what is known to be left at most, never less than a holder counts on."""
        self.demote()
        self.leading = True
        for lease in self._leases.values():
            lease.begin(now, slack_s + (lease.checkpointed_s or lease.ttl_s))
            self._expiries.note(lease)
            self._checkpoints.note(lease)

    def demote(self) -> None:
        """Cease to lead: nothing expires here any more. Idempotent."""
        self.leading = False
        self._expiries.clear()
        self._checkpoints.clear()
        for lease in self._leases.values():
            lease.expiry_s = lease.checkpoint_due_s = NEVER

    def renew(self, lease_id: int, now: float) -> int:
        """Prolong a live lease by its TTL; returns the TTL, or 0 when there is no such lease any more.

        A checkpoint of it must have been taken back before.
        """
        lease = self._leases.get(lease_id)
        if lease is None or not self.leading or lease.remaining_s(now) <= 0:
            return 0
        lease.begin(now, lease.ttl_s)
        return lease.ttl_s

    def next_due(self) -> float:
        """When `expired` or `to_checkpoint` is worth asking."""
        return min(self._expiries.first(), self._checkpoints.first())

    def expired(self, now: float, limit: int = 1000) -> list[Lease]:
        """Leases past their expiry. They stay until revoked, and come up again should that fail."""
        due = self._expiries.take(now, limit)
        for lease in due:
            self._expiries.note(lease)
        return due

    def to_checkpoint(self, now: float, limit: int = 1000) -> list[tuple[int, int]]:
        """Ids of long leases that are due for a checkpoint, and the whole seconds left of each."""
        due = self._checkpoints.take(now, limit)
        for lease in due:
            lease.checkpoint_due_s = now + CHECKPOINT_INTERVAL_S
            lease.checkpointing = True
            self._checkpoints.note(lease)
        return [(lease.id, max(1, math.ceil(lease.remaining_s(now)))) for lease in due]
