"""A checksum over history, by which members are compared. No I/O."""

import zlib
from typing import TYPE_CHECKING

from navarch.services.store.mvcc.revision import main_of, to_bytes

if TYPE_CHECKING:
    from navarch.services.store.mvcc.store import MvccStore

KEYS_PER_STEP = 500


class HistoryHash:
    """What is retained up to a revision, in steps between which the store may change.

    The same on every member with the same compact revision, however far each has come with dropping what a compaction
    left unreachable. Raises EtcdError for a revision that is compacted or in the future.
    """

    def __init__(self, mvcc: "MvccStore", revision: int) -> None:
        self.revision = mvcc.check_revision(revision, mvcc.revision)
        self._mvcc = mvcc
        self._begin()

    def _begin(self) -> None:
        self.compact_revision = self._mvcc.compact_revision
        self.value = 0
        self._after = b""

    def advance(self, keys: int = KEYS_PER_STEP) -> bool:
        """Look at that many keys more; returns whether `value` is complete. Raises EtcdError, CorruptionError."""
        mvcc = self._mvcc
        if mvcc.compact_revision != self.compact_revision:
            # What was not looked at yet may be gone.
            self.revision = mvcc.check_revision(self.revision, mvcc.revision)
            self._begin()
        for key, history in mvcc.index.ordered(self._after):
            if not keys:
                return False
            keys -= 1
            self._after = key
            visible = history.at(self.compact_revision)
            for packed in history.revisions:
                if main_of(packed) > self.revision:
                    break
                if main_of(packed) > self.compact_revision or packed == visible:
                    self.value = zlib.crc32(mvcc.record(packed), zlib.crc32(to_bytes(packed), self.value))
        return True
