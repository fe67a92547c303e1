"""Answers that are believed for some time: a bounded memory."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from navarch.services.base.clock import Clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
MOST = 4096


@dataclass(frozen=True, slots=True)
class Entry(Generic[V]):
    """An answer. until: monotonic seconds."""

    value: V
    until: float


class Remembered(Generic[K, V]):
    """Answers by question. The oldest go when there are too many."""

    def __init__(self, clock: Clock, most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        self._entries: dict[K, Entry[V]] = {}

    def get(self, key: K) -> Entry[V] | None:
        """What was answered, if it still holds."""
        entry = self._entries.get(key)
        return entry if entry is not None and self._clock.monotonic() < entry.until else None

    def put(self, key: K, value: V, seconds: float) -> None:
        """Remember an answer."""
        self._entries.pop(key, None)
        self._entries[key] = Entry(value, self._clock.monotonic() + seconds)
        while len(self._entries) > self._most:
            del self._entries[next(iter(self._entries))]
