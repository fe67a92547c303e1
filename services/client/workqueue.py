"""A queue of keys to reconcile.

What goes in is a name, never an event: a key that is added many times before somebody takes it is handed out
once, and a key that is added while somebody works on it is handed out again when that work is done, never to
two workers at once. Failures come back later, exponentially; a second cap on all retries together keeps a
controller whose every key fails from storming the API server.

Bounded by the number of distinct keys that exist. No task of its own: delays are one timer on the loop's
heap through the clock, armed for the earliest key only.
"""

import asyncio
import heapq
import itertools
from collections import deque
from typing import Generic, TypeVar

from navarch.services.base.clock import Clock
from navarch.services.base.tasks import TaskOwner

K = TypeVar("K")

# A key's n-th failure in a row waits BASE * 2^(n-1), at most MAX.
RETRY_BASE_S = 0.005
RETRY_MAX_S = 1000.0
# All retries of one queue together: this many a second, with a burst.
RETRIES_PER_S = 10.0
RETRY_BURST = 100
NEVER = (float("inf"), 0)


class QueueClosed(Exception):
    """The queue was shut down and has no more keys."""


class WorkQueue(Generic[K]):
    """Keys in the order of their arrival, deduplicated, with delays and per-key backoff."""

    def __init__(
        self,
        clock: Clock,
        *,
        retry_base_s: float = RETRY_BASE_S,
        retry_max_s: float = RETRY_MAX_S,
        retries_per_s: float = RETRIES_PER_S,
    ) -> None:
        self._clock = clock
        self._retry_base_s = retry_base_s
        self._retry_max_s = retry_max_s
        self._bucket = _Bucket(retries_per_s, RETRY_BURST)
        self._ready: deque[K] = deque()
        self._dirty: set[K] = set()
        self._processing: set[K] = set()
        self._failures: dict[K, int] = {}
        self._due: dict[K, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = itertools.count()
        self._getters: deque[asyncio.Future[None]] = deque()
        self._tasks = TaskOwner()
        self._timer: tuple[float, asyncio.Task[None]] | None = None
        self._closed = False

    def __len__(self) -> int:
        """Keys that can be taken now."""
        return len(self._ready)

    @property
    def waiting(self) -> int:
        """Keys that wait for their time."""
        return len(self._due)

    def add(self, key: K) -> None:
        """Have this key handed out as soon as possible. Overtakes a pending delay of the same key."""
        if self._closed or key in self._dirty:
            return
        self._due.pop(key, None)
        self._dirty.add(key)
        if key not in self._processing:
            self._ready.append(key)
            self._wake()

    def add_after(self, key: K, seconds: float) -> None:
        """Have this key handed out after a delay; the earliest of several delays counts."""
        if self._closed or key in self._dirty:
            return
        if seconds <= 0:
            self.add(key)
            return
        planned = (self._clock.monotonic() + seconds, next(self._order))
        if planned < self._due.get(key, NEVER):
            self._due[key] = planned
            heapq.heappush(self._heap, (*planned, key))
            self._drop_overtaken()
            self._arm()

    def add_rate_limited(self, key: K) -> None:
        """Have this key handed out after its backoff, which doubles with every failure until `forget`."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # Capped before the power, which would overflow after a thousand failures.
        own = min(self._retry_base_s * 2.0 ** min(failures, 64), self._retry_max_s)
        self.add_after(key, max(own, self._bucket.reserve(self._clock.monotonic())))

    def forget(self, key: K) -> None:
        """The key succeeded: its next failure is again its first."""
        self._failures.pop(key, None)

    def num_requeues(self, key: K) -> int:
        """Failures in a row of this key."""
        return self._failures.get(key, 0)

    @property
    def retrying(self) -> int:
        """Keys whose last attempt failed."""
        return len(self._failures)

    async def get(self) -> K:
        """The next key, waiting for one. Must be followed by `done`. Raises QueueClosed after close."""
        while not self._ready:
            if self._closed:
                raise QueueClosed
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                self._pass_on(getter)
                raise
        key = self._ready.popleft()
        self._dirty.discard(key)
        self._processing.add(key)
        return key

    def done(self, key: K) -> None:
        """Work on the key has ended; it is handed out again if it was added meanwhile."""
        self._processing.discard(key)
        if key in self._dirty:
            self._ready.append(key)
            self._wake()

    async def close(self) -> None:
        """Drop what waits, and end those who wait in `get`."""
        self._closed = True
        self._ready.clear()
        self._due.clear()
        self._heap.clear()
        while self._getters:
            self._wake()
        await self._tasks.close()

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _pass_on(self, getter: "asyncio.Future[None]") -> None:
        """A cancelled getter must not swallow the wake-up that it may have been given."""
        if getter in self._getters:
            self._getters.remove(getter)
        elif self._ready:
            self._wake()

    def _arm(self) -> None:
        """Keep one timer, for the earliest due key."""
        while self._heap and not self._is_planned(self._heap[0]):
            heapq.heappop(self._heap)
        if not self._heap or (self._timer and self._timer[0] <= self._heap[0][0]):
            return
        if self._timer:
            self._timer[1].cancel()
        due = self._heap[0][0]
        self._timer = (due, self._tasks.spawn(self._fire(due), "workqueue-timer"))

    def _drop_overtaken(self) -> None:
        """Entries whose key was added earlier than planned must not pile up until their time."""
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [entry for entry in self._heap if self._is_planned(entry)]
            heapq.heapify(self._heap)

    def _is_planned(self, entry: tuple[float, int, K]) -> bool:
        """Whether this is the present plan for its key, not one that was overtaken."""
        return self._due.get(entry[2]) == entry[:2]

    async def _fire(self, due: float) -> None:
        await self._clock.sleep(due - self._clock.monotonic())
        self._timer = None
        now = self._clock.monotonic()
        # A timer may end a hair early by the clock it measures with.
        while self._heap and self._heap[0][0] <= max(now, due):
            if self._is_planned(entry := heapq.heappop(self._heap)):
                self.add(entry[2])
        self._arm()


class _Bucket:
    """Spaces retries of a whole queue: how long the next one has to wait."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._gap_s = 1.0 / per_s
        self._burst_s = burst * self._gap_s
        self._next = float("-inf")

    def reserve(self, now: float) -> float:
        self._next = max(self._next, now - self._burst_s) + self._gap_s
        return max(0.0, self._next - now)
