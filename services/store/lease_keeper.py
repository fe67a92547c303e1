"""Leases where the log is led: their time, its checkpoints, and their end.

Three things keep a failover from expiring a live lease or reviving a dead one.

- A leader lets time run only once it has applied all that earlier leaders committed, the last checkpoints with it.
- Checkpoints and expiries carry the term of the leader that decided on them and are void in another one: proposed late,
  by a leader that was deposed meanwhile, they change nothing.
- A renewal is answered after a read barrier has shown that we still lead, and once a lower checkpoint has been taken
  back. One whose lease has expired waits for the revocation rather than being told so, since a next leader might know
  the lease still.

Answers come from the leader alone; `LeaseRouter` finds it.
"""

from navarch.protos.navarch import store_pb2
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.store import commands
from navarch.services.store.errors import LEADER_CHANGED, EtcdError
from navarch.services.store.lease import NEVER, Lease, min_ttl_s
from navarch.services.store.pulse import Pulse
from navarch.services.store.replication.log import ReplicatedLog
from navarch.services.store.replication.node import Timing
from navarch.services.store.state_machine import StateMachine

# etcd's rate of revocations, and what one command may hold: its keys are deleted in one go.
REVOKES_PER_S = 1000
EXPIRY_LEASES = 100
EXPIRY_KEYS = 1000
CHECKPOINT_LEASES = 1000
RETRY_S = 1.0

_log = get_logger("store")


class LeaseKeeper:
    """`run` is an endless task. The least TTL follows from the least election timeout, a failover's slack from the
    longest.

    `changed` is woken with each change of the leader, too.
    """

    def __init__(self, machine: StateMachine, log: ReplicatedLog, clock: Clock, timing: Timing) -> None:
        self.min_ttl_s = min_ttl_s(timing.election_min_s)
        self.changed = Pulse()
        self._machine = machine
        self._log = log
        self._clock = clock
        self._slack_s = timing.election_max_s
        # The term we lead with time running; 0 when we do not.
        self._term = 0
        # What `run` waits for, and whether renewals wait for a revocation.
        self._due_s = NEVER
        self._dying = 0

    # Told by the member.

    def role_changed(self) -> None:
        """The leader may be another one."""
        if self._term and not self._leads(self._term):
            self._term = 0
            self._machine.lessor.demote()
        self.changed.wake()

    def applied(self) -> None:
        """A batch of entries was applied."""
        if self._term and (self._dying or self._machine.lessor.next_due() != self._due_s):
            self.changed.wake()

    # Asked by clients and peers.

    async def renew(self, lease_id: int) -> store_pb2.LeaseTime:
        """Prolong a lease; a TTL of 0 says that there is none.

        Raises EtcdError, LEADER_CHANGED where we do not lead.
        """
        while True:
            term, asked = self._leading(), self._clock.monotonic()
            lease = await self._lease(lease_id, term)
            if lease is not None and (lease.checkpointed_s or lease.checkpointing):
                await self._take_back(lease, term)
            elif (now := self._clock.monotonic()) - asked <= self._slack_s:
                ttl_s = self._machine.lessor.renew(lease_id, now)
                return store_pb2.LeaseTime(id=lease_id, ttl_s=ttl_s, granted_ttl_s=ttl_s)
            # Else the barrier is too old to show that nobody else leads by now.

    async def time_to_live(self, lease_id: int) -> store_pb2.LeaseTime:
        """What is left of a lease; -1 when there is none. Raises as `renew`."""
        lease = await self._lease(lease_id, self._leading())
        if lease is None:
            return store_pb2.LeaseTime(id=lease_id, ttl_s=-1)
        left_s = int(lease.remaining_s(self._clock.monotonic()))
        return store_pb2.LeaseTime(id=lease_id, ttl_s=left_s, granted_ttl_s=lease.ttl_s)

    async def _lease(self, lease_id: int, term: int) -> Lease | None:
        """A live lease, as of the call or later; None once there is none."""
        await self._log.read_index()
        while True:
            self._leading(term)
            lease = self._machine.lessor.get(lease_id)
            if lease is None or lease.remaining_s(self._clock.monotonic()) > 0:
                return lease
            self._dying += 1
            try:
                await self.changed.wait(self._clock, RETRY_S)
            finally:
                self._dying -= 1

    async def _take_back(self, lease: Lease, term: int) -> None:
        command = store_pb2.LeaseCheckpoint(leases=[store_pb2.LeaseCheckpoint.Remaining(id=lease.id)], term=term)
        await self._log.propose(commands.encode(command))
        # What was proposed before in this term was applied before.
        lease.checkpointing = False

    def _leads(self, term: int) -> bool:
        status = self._log.status()
        return status.term == term and status.is_leader

    def _leading(self, term: int = 0) -> int:
        """The term that we lead, with time running. Raises EtcdError when it is none, or not the one given."""
        if not self._term or term not in (0, self._term) or not self._leads(self._term):
            raise LEADER_CHANGED()
        return self._term

    # The task.

    async def run(self) -> None:
        """Lead whenever the log does."""
        while True:
            term = await self._led()
            self._machine.lessor.promote(self._clock.monotonic(), self._slack_s)
            self._term = term
            self.changed.wake()
            while self._term == term:
                await self._turn(term)

    async def _led(self) -> int:
        """Wait until we lead and know all that was committed before."""
        while True:
            status = self._log.status()
            if not status.is_leader:
                await self.changed.wait(self._clock, NEVER)
                continue
            try:
                await self._log.read_index()
            except EtcdError as failure:
                _log.info("store.leases_wait", error=failure)
                await self.changed.wait(self._clock, RETRY_S)
                continue
            if self._leads(status.term):
                return status.term

    async def _turn(self, term: int) -> None:
        now, lessor = self._clock.monotonic(), self._machine.lessor
        try:
            if ids := self._expired(now):
                await self._log.propose(commands.encode(store_pb2.LeaseExpiry(ids=ids, term=term)))
                await self._clock.sleep(len(ids) / REVOKES_PER_S)
            elif left := lessor.to_checkpoint(now, CHECKPOINT_LEASES):
                remaining = (store_pb2.LeaseCheckpoint.Remaining(id=lease, ttl_s=ttl_s) for lease, ttl_s in left)
                await self._log.propose(commands.encode(store_pb2.LeaseCheckpoint(leases=remaining, term=term)))
            else:
                self._due_s = lessor.next_due()
                await self.changed.wait(self._clock, self._due_s - now)
        except EtcdError as failure:
            _log.warning("store.leases_not_changed", error=failure)
            await self.changed.wait(self._clock, RETRY_S)

    def _expired(self, now: float) -> list[int]:
        """A command's worth of leases to revoke, at least one if any."""
        ids: list[int] = []
        keys = 0
        for lease in self._machine.lessor.expired(now, EXPIRY_LEASES):
            if ids and keys + len(lease.keys) > EXPIRY_KEYS:
                break
            ids.append(lease.id)
            keys += len(lease.keys)
        return ids
