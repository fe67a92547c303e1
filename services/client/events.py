"""Records Events: what happened to an object, for people.

`EventRecorder.event` never blocks and never fails: it hands the report to the correlator and returns; a task
sends what has gathered as one batch. The correlator (no I/O) turns reports into writes: a report seen before
raises the count of its Event; an object about which much is reported is cut to a burst and a trickle. Queue
and memory are bounded: when the API server is away for long, the oldest unsent Events are dropped.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

from google.protobuf.message import Message

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.navarch import objects_pb2
from navarch.services.api import errors
from navarch.services.api.codec.times import format_seconds
from navarch.services.api.kinds import KINDS
from navarch.services.api.meta import metadata_of, time_from
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.base.tasks import TaskOwner
from navarch.services.client import requests
from navarch.services.client.client import Client

EventType = Literal["Normal", "Warning"]

UNSENT_LIMIT = 1000
REMEMBERED_LIMIT = 4096
BATCH = 100
# Per object: a burst of Events, then one every five minutes.
BURST = 25
REFILL_S = 300.0
# Repeats of a report later than this make a new Event.
AGGREGATE_S = 600.0
MESSAGE_BYTES = 1024
RETRIES = 12
RETRY_S = 0.25
RETRY_MAX_S = 10.0

Reported = tuple[str, ...]


@dataclass(slots=True)
class _Known:
    """An Event that was reported, and whether the server has it."""

    event: corev1.Event
    stored: bool = False


@dataclass(slots=True)
class Correlator:
    """Which Event a report becomes. Deterministic: time comes as an argument."""

    _known: OrderedDict[Reported, _Known] = field(default_factory=OrderedDict)
    _buckets: OrderedDict[Reported, tuple[float, float]] = field(default_factory=OrderedDict)

    def report(self, event: corev1.Event, now: float) -> Reported | None:
        """Note a report. Returns the key of the Event to send, or None when too much is said of its object."""
        source, about = event.source, event.involved_object
        if not self._allow((source.component, about.uid, about.namespace, about.name), now):
            return None
        key = (
            source.component,
            about.kind,
            about.namespace,
            about.name,
            about.uid,
            about.field_path,
            event.type,
            event.reason,
            event.message,
        )
        known = self._known.get(key)
        if known is not None and now - known.event.last_timestamp.seconds <= AGGREGATE_S:
            known.event.count += 1
            known.event.last_timestamp.CopyFrom(event.last_timestamp)
        else:
            self._known[key] = _Known(event)
        self._known.move_to_end(key)
        while len(self._known) > REMEMBERED_LIMIT:
            self._known.popitem(last=False)
        return key

    def write_of(self, key: Reported) -> objects_pb2.Mutation | None:
        """The write that brings the server to what was reported; None when the report was forgotten."""
        known = self._known.get(key)
        if known is None:
            return None
        event = known.event
        if not known.stored:
            return requests.mutation(requests.create_request(event))
        patch = {"count": event.count, "lastTimestamp": format_seconds(event.last_timestamp.seconds)}
        metadata = event.metadata
        return requests.mutation(
            requests.patch_request(corev1.Event, metadata.name, metadata.namespace, patch, "strategic")
        )

    def settled(self, key: Reported, *, stored: bool) -> bool:
        """The server has the Event, or has it not. Returns whether we thought that it had it."""
        known = self._known.get(key)
        if known is None:
            return False
        before, known.stored = known.stored, stored
        return before

    def _allow(self, about: Reported, now: float) -> bool:
        tokens, since = self._buckets.get(about, (float(BURST), now))
        tokens = min(float(BURST), tokens + (now - since) / REFILL_S)
        allowed = tokens >= 1.0
        self._buckets[about] = (tokens - 1.0 if allowed else tokens, now)
        self._buckets.move_to_end(about)
        while len(self._buckets) > REMEMBERED_LIMIT:
            self._buckets.popitem(last=False)
        return allowed


class EventRecorder:
    """Reports Events of one component of one host."""

    def __init__(self, client: Client, component: str, host: str, clock: Clock) -> None:
        self._client = client
        self._source = corev1.EventSource(component=component, host=host or None)
        self._host = host
        self._clock = clock
        self._correlator = Correlator()
        # In the order of first report; a key waits once, however often it is reported meanwhile.
        self._unsent: OrderedDict[Reported, None] = OrderedDict()
        self._order = itertools.count()
        self._wake = asyncio.Event()
        self._tasks: TaskOwner | None = None
        self._log = get_logger("events").bind(component=component)
        self.dropped = 0

    def event(
        self, obj: Message | corev1.ObjectReference, type: EventType, reason: str, message: str, *, field_path: str = ""
    ) -> None:
        """Report something about an object (or a reference to one, such as to a container of a Pod)."""
        about = reference(obj)
        if field_path:
            about.field_path = field_path
        now = self._clock.now()
        key = self._correlator.report(self._make(about, type, reason, message, now), now)
        if key is None:
            self.dropped += 1
            return
        self._unsent[key] = None
        if len(self._unsent) > UNSENT_LIMIT:
            self._unsent.popitem(last=False)
            self.dropped += 1
        if self._tasks is None:
            self._tasks = TaskOwner()
            self._tasks.spawn(self._send(), "events")
        self._wake.set()

    async def flush(self) -> None:
        """Send what waits, once; for an orderly stop and for tests."""
        while keys := list(self._unsent)[:BATCH]:
            await self._send_batch(keys)

    async def stop(self) -> None:
        """Send no more."""
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            await tasks.close()

    def _make(
        self, about: corev1.ObjectReference, type: EventType, reason: str, message: str, now: float
    ) -> corev1.Event:
        data = message.encode()
        if len(data) > MESSAGE_BYTES:
            message = data[: MESSAGE_BYTES - 4].decode(errors="ignore") + " ..."
        return corev1.Event(
            metadata=metav1.ObjectMeta(
                # Unique also among reports of one moment.
                name=f"{about.name}.{int(now * 1e9) + next(self._order):x}",
                # Events about cluster-scoped objects live in the default namespace.
                namespace=about.namespace or "default",
            ),
            involved_object=about,
            reason=reason,
            message=message,
            source=self._source,
            first_timestamp=time_from(now),
            last_timestamp=time_from(now),
            count=1,
            type=type,
            reporting_component=self._source.component,
            reporting_instance=self._host,
        )

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            failures = 0
            while keys := list(self._unsent)[:BATCH]:
                try:
                    await self._send_batch(keys)
                    failures = 0
                except errors.ApiError as failure:
                    failures += 1
                    self._log.warning("events.unsent", error=failure, waiting=len(self._unsent))
                    if failures > RETRIES:
                        self._drop(keys)
                    await self._clock.sleep(min(RETRY_S * 2.0 ** min(failures, 16), RETRY_MAX_S))

    async def _send_batch(self, keys: list[Reported]) -> None:
        writes = [(key, write) for key in keys if (write := self._correlator.write_of(key)) is not None]
        for key in keys:
            del self._unsent[key]
        try:
            results = await self._client.batch([write for _, write in writes])
        except BaseException:
            self._unsent.update((key, None) for key in keys)
            raise
        for (key, _), result in zip(writes, results, strict=True):
            self._settle(key, result)

    def _settle(self, key: Reported, result: Message | errors.ApiError) -> None:
        match result:
            case errors.NotFound():
                # It expired on the server: make it anew. Or its namespace is gone: leave it.
                if self._correlator.settled(key, stored=False):
                    self._unsent[key] = None
            case errors.AlreadyExists():
                # The answer to an earlier attempt was lost.
                self._correlator.settled(key, stored=True)
            case errors.ApiError():
                self.dropped += 1
                self._log.debug("events.refused", error=result)
            case _:
                self._correlator.settled(key, stored=True)

    def _drop(self, keys: list[Reported]) -> None:
        for key in keys:
            if key in self._unsent:
                del self._unsent[key]
                self.dropped += 1


def reference(obj: Message | corev1.ObjectReference) -> corev1.ObjectReference:
    """A reference to an object, as Events carry it."""
    if isinstance(obj, corev1.ObjectReference):
        copy = corev1.ObjectReference()
        copy.CopyFrom(obj)
        return copy
    kind = KINDS.of(obj)
    metadata = metadata_of(obj)
    return corev1.ObjectReference(
        kind=kind.kind,
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        api_version=kind.api_version,
        resource_version=metadata.resource_version,
    )
