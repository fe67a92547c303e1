"""Changes of objects, and the events that watchers see of them.

A change is one revision of one object. Watchers with different selectors may see it differently (an object
that begins to match is ADDED, one that stops matching is DELETED), so a change has up to three events, each
made at most once. An event remembers its encodings, one a format, so that it is encoded once for all watchers.
"""

from enum import IntEnum

from navarch.services.apiserver.stored import StoredObject


class EventType(IntEnum):
    """Numbered as `navarch.v1.WatchEvent.Type`."""

    ADDED = 1
    MODIFIED = 2
    DELETED = 3
    BOOKMARK = 4


class WatchEvent:
    """What a watcher is told."""

    __slots__ = ("encodings", "stored", "type")

    def __init__(self, type: EventType, stored: StoredObject) -> None:
        self.type = type
        self.stored = stored
        # By format; doors keep here what they made of the event.
        self.encodings: dict[str, bytes] = {}


class Change:
    """One revision of one object. current: None when it was deleted; previous: None when it is new."""

    __slots__ = ("_events", "current", "previous", "revision")

    def __init__(self, revision: int, current: StoredObject | None, previous: StoredObject | None) -> None:
        self.revision = revision
        self.current = current
        self.previous = previous
        self._events: dict[EventType, WatchEvent] = {}

    @property
    def any(self) -> StoredObject:
        """One of the two, for what they have in common: namespace and name."""
        stored = self.current or self.previous
        assert stored is not None
        return stored

    @property
    def size_bytes(self) -> int:
        """The object that it brings, or takes away."""
        return len(self.any.raw)

    def forget(self) -> None:
        """Drop what was parsed for watchers to look at."""
        for version in (self.current, self.previous):
            if version is not None:
                version.forget()

    def event(self, type: EventType) -> WatchEvent:
        """The shared event of this type. DELETED shows the object as it was last, at this revision."""
        event = self._events.get(type)
        if event is None:
            if type is EventType.DELETED:
                assert self.previous is not None
                stored = self.previous.at(self.revision)
            else:
                assert self.current is not None
                stored = self.current
            event = self._events[type] = WatchEvent(type, stored)
        return event
