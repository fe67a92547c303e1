"""Which revisions a key has had, for all keys, in memory.

Values live in the backend by revision; this index answers which revision of a key is visible at a given
main revision, and walks keys in order. `live` repeats the keys that exist now, so that the usual question
(the current revision) skips deleted keys and counts a range without walking it.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator

from sortedcontainers import SortedList

from navarch.services.store.mvcc.revision import TOMBSTONE, last_of, main_of

# The end of a range that has none; etcd writes it as one zero byte.
UNBOUNDED = b"\0"


def in_range(key: bytes, start: bytes, end: bytes) -> bool:
    """Whether a key is in an etcd range: end empty means the single key, a zero byte means no end."""
    if not end:
        return key == start
    return start <= key and (end == UNBOUNDED or key < end)


class KeyHistory:
    """The revisions of one key, oldest first. created and version are 0 while the key is deleted."""

    __slots__ = ("created", "revisions", "version")

    def __init__(self) -> None:
        self.revisions: list[int] = []
        self.created = 0
        self.version = 0

    def at(self, main: int) -> int:
        """The packed revision visible at a main revision, 0 when there is none."""
        position = bisect_right(self.revisions, last_of(main))
        if not position:
            return 0
        packed = self.revisions[position - 1]
        return 0 if packed & TOMBSTONE else packed

    def compact(self, main: int) -> list[int]:
        """Forget what is not visible at `main` or after. A tombstone of exactly `main` stays: watchers may ask."""
        keep = max(0, bisect_right(self.revisions, last_of(main)) - 1)
        if self.revisions and keep < len(self.revisions):
            kept = self.revisions[keep]
            if kept & TOMBSTONE and main_of(kept) < main:
                keep += 1
        dropped = self.revisions[:keep]
        del self.revisions[:keep]
        return dropped


class KeyIndex:
    """Histories of all keys."""

    def __init__(self) -> None:
        self.histories: dict[bytes, KeyHistory] = {}
        self._keys: SortedList[bytes] = SortedList()
        self._live: SortedList[bytes] = SortedList()
        # (main revision from which on a compaction finds something to drop, key), each ascending: what was before
        # a write, and, one revision later, a tombstone itself.
        self._superseded: deque[tuple[int, bytes]] = deque()
        self._buried: deque[tuple[int, bytes]] = deque()

    def put(self, key: bytes, packed: int) -> KeyHistory:
        """Record a put; returns the history with created and version brought up to date."""
        history = self.histories.get(key)
        if history is None:
            history = self.histories[key] = KeyHistory()
            self._keys.add(key)
        elif history.revisions:
            self._superseded.append((main_of(packed), key))
        if not history.version:
            history.created = main_of(packed)
            self._live.add(key)
        history.version += 1
        history.revisions.append(packed)
        return history

    def delete(self, key: bytes, packed: int) -> None:
        """Record the deletion of a live key; packed carries the tombstone bit."""
        history = self.histories[key]
        history.revisions.append(packed)
        history.created = history.version = 0
        self._live.remove(key)
        self._superseded.append((main_of(packed), key))
        self._buried.append((main_of(packed) + 1, key))

    def restore(self, key: bytes, packed: int, created: int, version: int) -> None:
        """Record a stored write while loading, in order of revisions. Finish with `restored`."""
        history = self.histories.get(key)
        if history is None:
            history = self.histories[key] = KeyHistory()
        if history.revisions:
            self._superseded.append((main_of(packed), key))
        if packed & TOMBSTONE:
            self._buried.append((main_of(packed) + 1, key))
        history.revisions.append(packed)
        history.created, history.version = created, version

    def restored(self) -> None:
        """Build the ordered views once all is loaded."""
        self._keys = SortedList(self.histories)
        self._live = SortedList(key for key, history in self.histories.items() if history.version)

    def __len__(self) -> int:
        return len(self._live)

    def current(self, key: bytes) -> int:
        """The packed revision of a key now, 0 when it does not exist."""
        history = self.histories.get(key)
        return history.revisions[-1] if history is not None and history.version else 0

    def live_keys(self, start: bytes, end: bytes) -> list[bytes]:
        """The existing keys of a range, in order."""
        if not end:
            return [start] if self.current(start) else []
        return list(self._walk(self._live, start, end))

    def visible(self, start: bytes, end: bytes, main: int, current: int, limit: int) -> tuple[list[int], int]:
        """Packed revisions visible at `main` in key order, at most limit (0: all), and the total count."""
        if main >= current:
            return self._visible_now(start, end, limit)
        found, total = [], 0
        for key in [start] if not end else self._walk(self._keys, start, end):
            history = self.histories.get(key)
            packed = history.at(main) if history is not None else 0
            if packed:
                total += 1
                if not limit or total <= limit:
                    found.append(packed)
        return found, total

    def _visible_now(self, start: bytes, end: bytes, limit: int) -> tuple[list[int], int]:
        if not end:
            packed = self.current(start)
            return ([packed], 1) if packed else ([], 0)
        total = self.count_live(start, end)
        found = []
        for key in self._walk(self._live, start, end):
            found.append(self.histories[key].revisions[-1])
            if limit and len(found) == limit:
                break
        return found, total

    def count_live(self, start: bytes, end: bytes) -> int:
        """How many keys of a range exist now."""
        if not end:
            return 1 if self.current(start) else 0
        low: int = self._live.bisect_left(start)
        high: int = len(self._live) if end == UNBOUNDED else self._live.bisect_left(end)
        return max(0, high - low)

    @staticmethod
    def _walk(keys: "SortedList[bytes]", start: bytes, end: bytes) -> Iterator[bytes]:
        if end == UNBOUNDED:
            yield from keys.irange(start)
        elif start < end:
            yield from keys.irange(start, end, (True, False))

    def collect(self, main: int, limit: int) -> list[int]:
        """Look after up to `limit` writes that a compaction made superfluous; returns what the backend may drop."""
        dropped: list[int] = []
        for due in (self._superseded, self._buried):
            while due and due[0][0] <= main and limit > 0:
                limit -= 1
                _, key = due.popleft()
                history = self.histories.get(key)
                if history is None:
                    continue
                dropped += history.compact(main)
                if not history.revisions:
                    del self.histories[key]
                    self._keys.remove(key)
        return dropped

    def collectable(self, main: int) -> bool:
        """Whether a compaction at `main` still has something to drop."""
        return any(due and due[0][0] <= main for due in (self._superseded, self._buried))

    def ordered(self, after: bytes = b"") -> Iterator[tuple[bytes, KeyHistory]]:
        """All keys behind one with their histories, in key order."""
        for key in self._keys.irange(after, None, (False, False)):
            yield key, self.histories[key]
