"""The static Pods of one node: from each source what it says, and of all of them those that run.

A Pod whose manifest has changed ends before its successor, which has the same name, begins.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.kubelet.sources.source import Found, Source

# While a Pod has to end before the one that takes its place.
TURN_S = 0.1


class Pods(Protocol):
    """Where static Pods are lived."""

    def get(self, uid: str) -> object | None:
        """The worker of a Pod."""
        ...

    def changed(self, old: corev1.Pod | None, new: corev1.Pod | None) -> None:
        """A Pod has come, or has to go."""
        ...


class StaticPods:
    """sources: where two have a Pod of one name, the first one's runs. on_change: other Pods are wanted than before."""

    def __init__(self, sources: Sequence[Source], pods: Pods, clock: Clock, on_change: Callable[[], None]) -> None:
        self._sources = sources
        self._pods = pods
        self._clock = clock
        self._on_change = on_change
        self._log = get_logger("kubelet.static")
        # Of each source: what it said last, by namespace/name.
        self._said: dict[int, dict[str, corev1.Pod]] = {}
        self._told: dict[int, dict[str, str]] = {}
        # What is to run, and what runs.
        self._wanted: dict[str, corev1.Pod] = {}
        self._running: dict[str, corev1.Pod] = {}
        self._due = asyncio.Event()
        # Whether each source has said what it has: before, nobody knows which Pods are no longer wanted.
        self.heard = asyncio.Event()
        if not sources:
            self.heard.set()

    def wanted(self) -> Iterable[corev1.Pod]:
        """Those that are to run."""
        return list(self._wanted.values())

    async def run(self) -> None:
        """Keep looking, for ever."""
        async with asyncio.TaskGroup() as group:
            for number, source in enumerate(self._sources):
                group.create_task(self._follow(number, source))
            group.create_task(self._keep_turning())

    async def look(self) -> None:
        """Have exactly the Pods that the sources say now, as far as their predecessors are gone."""
        await asyncio.gather(*(self._look_at(number, source) for number, source in enumerate(self._sources)))

    async def _look_at(self, number: int, source: Source) -> None:
        self._take(number, await source.read())
        self._turn()

    async def _follow(self, number: int, source: Source) -> None:
        with source.changes() as changed:
            while True:
                # Forgotten before looking: what comes from now on is looked at again.
                changed.clear()
                await self._look_at(number, source)
                waits = [
                    asyncio.ensure_future(changed.wait()),
                    asyncio.ensure_future(self._clock.sleep(source.check_s)),
                ]
                try:
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for wait in waits:
                        wait.cancel()

    def _take(self, number: int, found: Found) -> None:
        for place, fault in found.faults.items():
            if self._told.get(number, {}).get(place) != fault:
                self._log.warning("static.unfit", manifest=place, error=fault)
        self._told[number] = found.faults
        if found.pods is None:
            return
        self._said[number] = found.pods
        if len(self._said) == len(self._sources):
            self.heard.set()
        wanted: dict[str, corev1.Pod] = {}
        for pods in (self._said.get(number, {}) for number in range(len(self._sources))):
            wanted = {**pods, **wanted}
        if wanted != self._wanted:
            self._wanted = wanted
            self._on_change()
            self._due.set()

    async def _keep_turning(self) -> None:
        while True:
            self._due.clear()
            self._turn()
            await (self._due.wait() if self._running == self._wanted else self._clock.sleep(TURN_S))

    def _turn(self) -> None:
        """End the Pods that are no longer wanted, and begin those that nothing is in the way of."""
        for name, pod in list(self._running.items()):
            successor = self._wanted.get(name)
            if successor is None or successor.metadata.uid != pod.metadata.uid:
                if self._pods.get(pod.metadata.uid) is None:
                    del self._running[name]
                else:
                    self._pods.changed(pod, None)
        for name, pod in self._wanted.items():
            if name not in self._running:
                self._running[name] = pod
                self._pods.changed(None, pod)
