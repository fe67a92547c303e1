"""Follows the runtime: its event stream, and a relist as the safety net.

With an event stream a relist comes every minute. A runtime without one is relisted every 100 ms while some
Pod is in transition, every second while one runs that is to end by itself, else every ten seconds. After a
broken stream everything is listed again. A relist asks for details only of what it did not know or what changed.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import grpc

from navarch.protos.cri import v1_pb2 as criv1
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.kubelet.core.observed import (
    NAME_LABEL,
    NAMESPACE_LABEL,
    UID_LABEL,
    Container,
    Sandbox,
    container_of,
    sandbox_of,
)
from navarch.services.kubelet.runtime import Runtime, RuntimeFailure
from navarch.services.kubelet.termination import with_last_words

SLOW_RELIST_S = 60.0
POLL_S = 10.0
EXPECTANT_POLL_S = 1.0
FAST_POLL_S = 0.1
RECONNECT_S = 0.2
LONGEST_RECONNECT_S = 5.0
INSPECTIONS = 8

Fact = Sandbox | Container


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """Which Pod something in the runtime belongs to."""

    namespace: str
    name: str
    uid: str


@dataclass(slots=True)
class Listing:
    """A whole list of the runtime, by Pod. It began at `sequence`."""

    sequence: int
    pods: dict[PodIdentity, list[Fact]] = field(default_factory=lambda: defaultdict(list))


class RuntimeWatch:
    """Tells what the runtime does. Callbacks are called on the loop."""

    def __init__(
        self,
        runtime: Runtime,
        clock: Clock,
        root: str,
        on_facts: Callable[[PodIdentity, tuple[Fact, ...]], None],
        on_listing: Callable[[Listing], None],
        in_transition: Callable[[], bool],
        expects_ends: Callable[[], bool],
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._root = root
        self._on_facts = on_facts
        self._on_listing = on_listing
        self._in_transition = in_transition
        self._expects_ends = expects_ends
        self._details: dict[str, tuple[int, Fact]] = {}
        self._log = get_logger("kubelet.runtime")
        self._gate = asyncio.Semaphore(INSPECTIONS)
        self._hurry = asyncio.Event()
        self.sequence = 1
        self.has_events = True
        # Told of each whole list, by the moment when it began.
        self.observe: Callable[[float], None] = lambda _: None

    def hurry(self) -> None:
        """A Pod is in transition: without an event stream, look often from now on."""
        if not self.has_events:
            self._hurry.set()

    async def relist(self) -> None:
        """List everything now. Raises RuntimeFailure."""
        self.sequence += 1
        listing = Listing(self.sequence)
        sandboxes, containers = await asyncio.gather(self._runtime.list_sandboxes(), self._runtime.list_containers())
        owners = {box.id: PodIdentity(box.metadata.namespace, box.metadata.name, box.metadata.uid) for box in sandboxes}
        boxes = await asyncio.gather(*(self._sandbox(box) for box in sandboxes))
        runs = await asyncio.gather(*(self._container(container) for container in containers))
        for box in boxes:
            if box is not None:
                listing.pods[owners[box.id]].append(box)
        for container, run in zip(containers, runs, strict=True):
            if run is not None and UID_LABEL in container.labels:
                listing.pods[_identity(container.labels)].append(run)
        present = {box.id for box in sandboxes} | {container.id for container in containers}
        for id_ in self._details.keys() - present:
            del self._details[id_]
        self._on_listing(listing)

    async def follow(self) -> None:
        """Keep telling, for ever; first of all a listing."""
        await asyncio.gather(self._follow_events(), self._relist_now_and_then())

    async def inspect_container(self, id_: str, sandbox_id: str) -> Container:
        """One container, now. Raises RuntimeFailure."""
        return self._read(await self._runtime.container_status(id_), sandbox_id)

    async def _sandbox(self, box: criv1.PodSandbox) -> Sandbox | None:
        known = self._details.get(box.id)
        if known is not None and known[0] == box.state and isinstance(known[1], Sandbox):
            return known[1]
        async with self._gate:
            try:
                fact = sandbox_of(await self._runtime.sandbox_status(box.id))
            except RuntimeFailure as failure:
                if failure.not_found:
                    return None
                raise
        if fact.ips or not fact.ready:
            self._details[box.id] = (box.state, fact)
        return fact

    async def _container(self, container: criv1.Container) -> Container | None:
        known = self._details.get(container.id)
        if known is not None and known[0] == container.state and isinstance(known[1], Container):
            return known[1]
        async with self._gate:
            try:
                fact = await self.inspect_container(container.id, container.pod_sandbox_id)
            except RuntimeFailure as failure:
                if failure.not_found:
                    return None
                raise
        self._details[container.id] = (container.state, fact)
        return fact

    def _read(self, status: criv1.ContainerStatus, sandbox_id: str) -> Container:
        return with_last_words(container_of(status, sandbox_id), status, self._root)

    async def _follow_events(self) -> None:
        delay_s = RECONNECT_S
        while True:
            events = self._runtime.events()
            # The stream is under way before the list: between them nothing is missed.
            await self._try_relist()
            try:
                async for event in events:
                    delay_s = RECONNECT_S
                    await self._take(event)
            except RuntimeFailure as failure:
                if failure.code is grpc.StatusCode.UNIMPLEMENTED:
                    self._log.info("runtime.no_events", effect="it is listed now and then instead")
                    self.has_events = False
                    self._hurry.set()
                    return
                self._log.warning("runtime.events_broke", error=failure)
            await self._clock.sleep(delay_s)
            delay_s = min(delay_s * 2, LONGEST_RECONNECT_S)

    async def _take(self, event: criv1.ContainerEventResponse) -> None:
        """Tell one event. A runtime may leave out the details, or send none of a thing that is gone."""
        if event.container_event_type == criv1.CONTAINER_DELETED_EVENT:
            return
        if event.HasField("pod_sandbox_status") and event.pod_sandbox_status.metadata.uid:
            box = event.pod_sandbox_status
            facts: list[Fact] = [sandbox_of(box)]
            facts += [self._read(status, box.id) for status in event.containers_statuses]
            owner = PodIdentity(box.metadata.namespace, box.metadata.name, box.metadata.uid)
            self._on_facts(owner, tuple(facts))
        else:
            await self._try_relist()

    async def _relist_now_and_then(self) -> None:
        while True:
            if self.has_events:
                await self._wait_for_hurry(SLOW_RELIST_S)
            elif self._in_transition():
                await self._clock.sleep(FAST_POLL_S)
            else:
                await self._wait_for_hurry(EXPECTANT_POLL_S if self._expects_ends() else POLL_S)
            await self._try_relist()

    async def _wait_for_hurry(self, at_most_s: float) -> None:
        self._hurry.clear()
        waits = [asyncio.ensure_future(self._clock.sleep(at_most_s)), asyncio.ensure_future(self._hurry.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _try_relist(self) -> None:
        began = self._clock.monotonic()
        try:
            await self.relist()
            self.observe(began)
        except RuntimeFailure as failure:
            self._log.warning("runtime.relist_failed", error=failure)


def _identity(labels: Mapping[str, str]) -> PodIdentity:
    return PodIdentity(labels.get(NAMESPACE_LABEL, ""), labels.get(NAME_LABEL, ""), labels.get(UID_LABEL, ""))
