"""Leader election by Lease: of several candidates at most one works at a time.

The holder renews its Lease every `retry_s`; when it could not for `renew_s` it stops its work, well before
`lease_s`, after which others may take over. Candidates judge the age of a Lease by when they saw it change,
on their own clock, so clocks may differ. Writes carry the version that was read: of two who grab at once,
one is refused. A holder that stops in order gives the Lease up, and the next takes it at once.

An identity that returns takes its own Lease without waiting: give each host and role a stable one, and a
process that was killed works again as soon as it is back. No two running processes may share one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from navarch.protos.k8s.coordination import v1_pb2 as coordinationv1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import errors
from navarch.services.api.meta import micro_time_from
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.client.client import Client

JITTER = 1.2


@dataclass(frozen=True, slots=True)
class Record:
    """What a Lease says of its holder. version: changes with every write of it."""

    holder: str
    duration_s: float
    version: str


class Observation:
    """Judges by the local clock whether a Lease can be taken. Pure: fed with what was read and when."""

    def __init__(self, identity: str) -> None:
        self._identity = identity
        self._record: Record | None = None
        self._seen = 0.0

    def observe(self, record: Record, now: float) -> None:
        """Note a Lease as read. now: monotonic seconds."""
        if record != self._record:
            self._record, self._seen = record, now

    def may_take(self, now: float) -> bool:
        """Whether the Lease is ours, nobody's, or its holder has not renewed it for its whole duration."""
        record = self._record
        if record is None or record.holder in ("", self._identity):
            return True
        return now >= self._seen + record.duration_s


class LeaderElector:
    """Contends for one Lease, and works while holding it."""

    def __init__(
        self,
        client: Client,
        *,
        namespace: str = "kube-system",
        name: str,
        identity: str,
        clock: Clock,
        lease_s: float = 15.0,
        renew_s: float = 10.0,
        retry_s: float = 2.0,
    ) -> None:
        if not lease_s > renew_s > retry_s * JITTER > 0:
            raise ValueError("leader election needs lease_s > renew_s > 1.2 * retry_s > 0")
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._lease_s = lease_s
        self._renew_s = renew_s
        self._retry_s = retry_s
        self._observation = Observation(identity)
        self._lease: coordinationv1.Lease | None = None
        self._log = get_logger("leader").bind(lease=name, identity=identity)
        self.is_leader = False

    async def run(self, on_started: Callable[[], Awaitable[None]], on_stopped: Callable[[], Awaitable[None]]) -> None:
        """Contend until cancelled. on_started begins the work and returns; on_stopped ends it.

        on_stopped is awaited whenever the Lease is lost, and at cancellation before the Lease is given up.
        """
        while True:
            await self._acquire()
            self.is_leader = True
            self._log.info("leader.started")
            try:
                await on_started()
                await self._hold()
                self._log.warning("leader.lost")
            finally:
                self.is_leader = False
                await on_stopped()
                await self._within(self._retry_s, self._release())

    async def _acquire(self) -> None:
        while not await self._within(self._renew_s, self._try()):
            await self._clock.sleep(self._retry_s * random.uniform(1.0, JITTER))

    async def _hold(self) -> None:
        """Renew until renewing has failed for too long."""
        renewed = self._clock.monotonic()
        while self._clock.monotonic() - renewed < self._renew_s:
            await self._clock.sleep(self._retry_s)
            left_s = renewed + self._renew_s - self._clock.monotonic()
            if left_s > 0 and await self._within(left_s, self._try()):
                renewed = self._clock.monotonic()
            elif not self._may_take():
                # Somebody else holds it: no need to wait for our deadline.
                return

    async def _within(self, seconds: float, work: Coroutine[Any, Any, bool]) -> bool:
        """Await work, giving up (False) after this long by our clock: a call that hangs must not outlast us."""
        attempt = asyncio.ensure_future(work)
        timer = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait((attempt, timer), return_when=asyncio.FIRST_COMPLETED)
            return attempt.done() and attempt.result()
        finally:
            timer.cancel()
            if not attempt.done():
                attempt.cancel()
                await asyncio.wait((attempt,))

    def _may_take(self) -> bool:
        return self._observation.may_take(self._clock.monotonic())

    async def _try(self) -> bool:
        """One attempt to take or renew the Lease."""
        try:
            if not self.is_leader or self._lease is None:
                self._note(await self._client.get(coordinationv1.Lease, self._name, self._namespace))
            if not self._may_take():
                return False
            self._note(await self._client.update(self._wanted(self._identity)))
        except errors.NotFound:
            return await self._create()
        except errors.Conflict:
            self._lease = None
            return False
        except errors.ApiError as failure:
            self._lease = None
            self._log.warning("leader.lease_failed", error=failure)
            return False
        return True

    async def _create(self) -> bool:
        self._lease = None
        try:
            self._note(await self._client.create(self._wanted(self._identity)))
        except errors.ApiError as failure:
            self._log.info("leader.create_failed", error=failure)
            return False
        return True

    def _note(self, lease: coordinationv1.Lease) -> None:
        self._lease = lease
        spec = lease.spec
        record = Record(spec.holder_identity, float(spec.lease_duration_seconds), lease.metadata.resource_version)
        self._observation.observe(record, self._clock.monotonic())

    def _wanted(self, holder: str) -> coordinationv1.Lease:
        """The Lease as it is to be written for this holder."""
        lease = coordinationv1.Lease()
        if self._lease is not None:
            lease.CopyFrom(self._lease)
        else:
            lease.metadata.CopyFrom(metav1.ObjectMeta(name=self._name, namespace=self._namespace))
        spec = lease.spec
        now = micro_time_from(self._clock.now())
        if spec.holder_identity != holder:
            if holder:
                spec.lease_transitions += 1 if self._lease is not None else 0
                spec.acquire_time.CopyFrom(now)
            spec.holder_identity = holder
        spec.lease_duration_seconds = round(self._lease_s) if holder else 1
        spec.renew_time.CopyFrom(now)
        return lease

    async def _release(self) -> bool:
        """Give the Lease up, if it is still ours."""
        if self._lease is None or self._lease.spec.holder_identity != self._identity:
            return False
        try:
            self._note(await self._client.update(self._wanted("")))
        except errors.ApiError as failure:
            self._log.info("leader.release_failed", error=failure)
            return False
        return True
