"""One watcher's queue of events.

Bounded: a watcher that does not keep up is ended, never waited for. It resumes from the last revision it saw,
out of the ring of recent changes.
"""

from collections.abc import Callable

from navarch.services.api.errors import ApiError
from navarch.services.apiserver.cacher.events import Change, EventType, WatchEvent
from navarch.services.apiserver.cacher.selection import Selection

QUEUE_EVENTS = 4096
QUEUE_BYTES = 32 << 20


class Subscription:
    """Events for one watcher, in order.

    after: changes up to this revision are not shown; it may lie ahead of the cache.
    wake: called when there is something new to take.
    """

    def __init__(self, selection: Selection, after: int, wake: Callable[[], None], limit: int = QUEUE_EVENTS) -> None:
        self.selection = selection
        self.after = after
        self.bucket = selection.bucket()
        # Why there will be no more events: "slow" or "reset". Empty while it goes on.
        self.ended = ""
        self._wake = wake
        self._limit = limit
        self._pending: list[WatchEvent] = []
        self._pending_bytes = 0

    def offer(self, change: Change) -> None:
        """Queue what this change means to the watcher, if anything."""
        if self.ended or change.revision <= self.after:
            return
        try:
            event = self._translate(change)
        except ApiError:
            # A damaged object: whoever has to look inside lists again, and is told.
            self.end("reset")
            return
        if event is None:
            return
        self._pending_bytes += len(event.stored.raw)
        if len(self._pending) >= self._limit or self._pending_bytes > QUEUE_BYTES:
            self.end("slow")
            return
        self._pending.append(event)
        if len(self._pending) == 1:
            self._wake()

    def push(self, events: list[WatchEvent]) -> None:
        """Queue the objects that a watch begins with; not bounded, they are in memory anyway."""
        self._pending.extend(events)
        self._limit += len(events)

    def take(self) -> list[WatchEvent]:
        """All queued events."""
        events, self._pending, self._pending_bytes = self._pending, [], 0
        return events

    def end(self, reason: str) -> None:
        """No more events; what is queued can still be taken."""
        self.ended = self.ended or reason
        self._wake()

    def _translate(self, change: Change) -> WatchEvent | None:
        matches = self.selection.matches
        now = change.current is not None and matches(change.current)
        before = change.previous is not None and matches(change.previous)
        if now:
            return change.event(EventType.MODIFIED if before else EventType.ADDED)
        return change.event(EventType.DELETED) if before else None
