"""The Pods that wait for a node.

A Pod is in one of three places: *active* (to be tried now, by priority, then age), *backoff* (tried,
worth another try after a pause) or *unschedulable* (no node fits until the cluster changes). A change
moves exactly those Pods back whose refusing filters it may satisfy. A Pod that was placed stays *in flight*
until its binding is written. Source: kube-scheduler's scheduling queue (KEP-4247).

An attempt is a single step between ``pop`` and ``park``: no change can come in between.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import key_of

INITIAL_BACKOFF_S = 1.0
MAX_BACKOFF_S = 10.0
# Safety net: what no event woke is tried again after this long.
UNSCHEDULABLE_FLUSH_S = 300.0


class Change(Enum):
    """What may make a refused Pod fit."""

    NODE_ADDED = auto()
    NODE_UPDATED = auto()
    NODE_REMOVED = auto()
    POD_PLACED = auto()
    POD_REMOVED = auto()


class Place(Enum):
    """Where a queued Pod is."""

    ACTIVE = "active"
    BACKOFF = "backoff"
    UNSCHEDULABLE = "unschedulable"
    IN_FLIGHT = "in flight"


@dataclass(slots=True)
class QueuedPod:
    """A Pod in the queue with the story of its attempts."""

    pod: corev1.Pod
    order: int
    place: Place = Place.ACTIVE
    attempts: int = 0
    message: str = ""
    refused_by: frozenset[str] = frozenset()
    attempted_at: float = 0.0
    # The clock when the Pod may be tried again (backoff) or is flushed (unschedulable).
    due: float = 0.0
    # Invalidates heap entries of an earlier place.
    ticket: int = field(default=0)

    @property
    def key(self) -> str:
        """namespace/name."""
        return key_of(self.pod)


class SchedulingQueue:
    """See the module. ``now`` is monotonic seconds."""

    def __init__(self, wakes: Callable[[str, Change], bool]) -> None:
        """``wakes`` says whether a change may satisfy a filter, by the filter's name."""
        self._wakes = wakes
        self._pods: dict[str, QueuedPod] = {}
        self._active: list[tuple[int, int, int, str]] = []
        self._backoff: list[tuple[float, int, str]] = []
        self._parked: dict[str, QueuedPod] = {}
        self._order = count()
        self._tickets = count(1)

    def __len__(self) -> int:
        return len(self._pods)

    def __contains__(self, key: str) -> bool:
        return key in self._pods

    def __iter__(self) -> Iterator[QueuedPod]:
        return iter(list(self._pods.values()))

    def add(self, pod: corev1.Pod) -> None:
        """A Pod without a node appeared or changed; a change of the Pod itself is worth a try."""
        key = key_of(pod)
        queued = self._pods.get(key)
        if queued is None:
            queued = self._pods[key] = QueuedPod(pod, next(self._order))
            self._activate(queued)
            return
        changed = queued.pod.spec != pod.spec or queued.pod.metadata.labels != pod.metadata.labels
        queued.pod = pod
        if changed and queued.place is Place.UNSCHEDULABLE:
            del self._parked[key]
            self._activate(queued)

    def remove(self, key: str) -> None:
        """The Pod is gone, or has a node."""
        self._pods.pop(key, None)
        self._parked.pop(key, None)

    def done(self, queued: QueuedPod) -> None:
        """The Pod is bound; another one that has taken its name meanwhile stays."""
        if self._pods.get(queued.key) is queued:
            self.remove(queued.key)

    def pop(self, now: float) -> QueuedPod | None:
        """The next Pod to try; it stays in flight until ``done``, ``park`` or ``retry``."""
        self._release_due(now)
        while self._active:
            _, _, ticket, key = heapq.heappop(self._active)
            queued = self._pods.get(key)
            if queued is None or queued.ticket != ticket:
                continue
            queued.place = Place.IN_FLIGHT
            queued.attempts += 1
            queued.attempted_at = now
            return queued
        return None

    def park(self, queued: QueuedPod, refused_by: Iterable[str], message: str, now: float) -> None:
        """No node fits: wait for a change that may help."""
        if self._pods.get(queued.key) is not queued:
            return
        queued.refused_by, queued.message = frozenset(refused_by), message
        queued.place, queued.due, queued.ticket = Place.UNSCHEDULABLE, now + UNSCHEDULABLE_FLUSH_S, next(self._tickets)
        self._parked[queued.key] = queued

    def retry(self, queued: QueuedPod, message: str, now: float) -> None:
        """The attempt failed for a reason that is not the cluster's: try again after a pause."""
        if self._pods.get(queued.key) is queued:
            queued.message = message
            self._back_off(queued, now)

    def change(self, change: Change, now: float) -> None:
        """Something happened in the cluster: wake whom it may help."""
        woken = [
            queued
            for queued in self._parked.values()
            if not queued.refused_by or any(self._wakes(name, change) for name in queued.refused_by)
        ]
        for queued in woken:
            del self._parked[queued.key]
            self._back_off(queued, now)

    def next_due(self) -> float | None:
        """When ``pop`` may have something that it has not now; None if only a change can tell."""
        due = [self._backoff[0][0]] if self._backoff else []
        if self._parked:
            due.append(next(iter(self._parked.values())).due)
        return min(due, default=None)

    def _activate(self, queued: QueuedPod) -> None:
        queued.place, queued.ticket = Place.ACTIVE, next(self._tickets)
        heapq.heappush(self._active, (-queued.pod.spec.priority, queued.order, queued.ticket, queued.key))

    def _back_off(self, queued: QueuedPod, now: float) -> None:
        pause = min(INITIAL_BACKOFF_S * 2 ** min(queued.attempts - 1, 10), MAX_BACKOFF_S)
        queued.due = queued.attempted_at + pause
        if queued.due <= now:
            self._activate(queued)
            return
        queued.place, queued.ticket = Place.BACKOFF, next(self._tickets)
        heapq.heappush(self._backoff, (queued.due, queued.ticket, queued.key))

    def _release_due(self, now: float) -> None:
        while self._backoff and self._backoff[0][0] <= now:
            _, ticket, key = heapq.heappop(self._backoff)
            queued = self._pods.get(key)
            if queued is not None and queued.ticket == ticket:
                self._activate(queued)
        # Parked Pods are in the order of their parking, so of their due time.
        while self._parked and (first := next(iter(self._parked.values()))).due <= now:
            del self._parked[first.key]
            self._activate(first)
