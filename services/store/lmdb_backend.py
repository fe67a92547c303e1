"""The backend on LMDB, written behind the journal.

Writes go to a layer in memory. From time to time the layer is frozen and written to LMDB in one synchronous
transaction, in a thread, while new writes gather in the next layer. Reads look through the layers. LMDB's own
fsync order is left on, so its file is intact after any crash, as of its last transaction; with the records
goes the applied index, and what came after is in the journal, which is shortened only up to an index that such
a transaction has carried. Nothing acknowledged is ever in memory alone, and no commit of LMDB delays a write.

Each stored value ends with a checksum over its key and itself, which LMDB lacks.
"""

import os
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import lmdb

from navarch.services.store.errors import CorruptionError
from navarch.services.store.mvcc.revision import from_bytes, main_of, to_bytes

_CHECKSUM_BYTES = 4
# Room above the quota for what a refused write may already have taken and for LMDB's copies of pages.
_MAP_SLACK_BYTES = 1 << 30


@dataclass(slots=True)
class _Layer:
    """Writes not in LMDB yet; None marks a deletion. `puts` is in order of revisions."""

    records: dict[int, bytes | None] = field(default_factory=dict)
    puts: list[int] = field(default_factory=list)
    values: dict[bytes, bytes | None] = field(default_factory=dict)
    size: int = 0

    def __bool__(self) -> bool:
        return bool(self.records or self.values)


class LmdbBackend:
    """See Backend for reads and writes. `freeze`, `write`, `thaw` move a layer to disk; only `write` may block."""

    def __init__(self, path: Path, quota_bytes: int) -> None:
        self._path = path
        self._map_bytes = 2 * quota_bytes + _MAP_SLACK_BYTES
        self._active = _Layer()
        self._frozen = _Layer()
        self._open()

    def _open(self) -> None:
        try:
            self._env = lmdb.open(
                str(self._path), subdir=False, map_size=self._map_bytes, max_dbs=2, max_readers=16, mode=0o600
            )
            self._records = self._env.open_db(b"records")
            self._values = self._env.open_db(b"values")
        except lmdb.Error as failure:
            raise CorruptionError(f"{self._path}: {failure}") from failure
        self._reader = self._env.begin(buffers=False)
        self._measure()

    def _measure(self) -> None:
        info, page = self._env.info(), self._env.stat()["psize"]
        self._disk_bytes = (info["last_pgno"] + 1) * page
        pages = 0
        for database in (self._records, self._values):
            stat = self._reader.stat(database)
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        self._used_bytes = pages * page

    @property
    def pending_bytes(self) -> int:
        """What waits in memory for the next freeze."""
        return self._active.size

    def get(self, packed: int) -> bytes:
        """See Backend."""
        for layer in (self._active, self._frozen):
            record = layer.records.get(packed)
            if record is not None:
                return record
        return self._record(packed, self._reader.get(to_bytes(packed), db=self._records))

    def _record(self, packed: int, stored: bytes | None) -> bytes:
        if stored is None:
            raise CorruptionError(f"{self._path}: the record of revision {main_of(packed)} is missing")
        payload = _unsealed(to_bytes(packed), stored)
        if payload is None:
            raise CorruptionError(f"{self._path}: the record of revision {main_of(packed)} is damaged")
        return payload

    def _value(self, name: bytes, stored: bytes) -> bytes:
        payload = _unsealed(name, stored)
        if payload is None:
            raise CorruptionError(f"{self._path}: the value {name!r} is damaged")
        return payload

    def put(self, packed: int, record: bytes) -> None:
        """See Backend."""
        layer = self._active
        layer.records[packed] = record
        layer.puts.append(packed)
        layer.size += len(record)

    def delete(self, packed: int) -> None:
        """See Backend."""
        self._active.records[packed] = None

    def scan(self, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        """See Backend."""
        cursor = self._reader.cursor(self._records)
        if cursor.set_range(to_bytes(min(first, last))):
            for key, stored in cursor:
                packed = from_bytes(key)
                if packed > last:
                    break
                if packed not in self._frozen.records and packed not in self._active.records:
                    yield packed, self._record(packed, stored)
        for layer in (self._frozen, self._active):
            for packed in layer.puts[bisect_left(layer.puts, first) :]:
                if packed > last:
                    return
                record = layer.records[packed]
                if record is not None and self._active.records.get(packed, record) is not None:
                    yield packed, record

    def get_value(self, name: bytes) -> bytes | None:
        """See Backend."""
        for layer in (self._active, self._frozen):
            if name in layer.values:
                return layer.values[name]
        stored = self._reader.get(name, db=self._values)
        return None if stored is None else self._value(name, stored)

    def put_value(self, name: bytes, value: bytes) -> None:
        """See Backend."""
        self._active.values[name] = value

    def delete_value(self, name: bytes) -> None:
        """See Backend."""
        self._active.values[name] = None

    def values(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """See Backend."""
        found: dict[bytes, bytes | None] = {}
        cursor = self._reader.cursor(self._values)
        if cursor.set_range(prefix):
            for name, value in cursor:
                if not name.startswith(prefix):
                    break
                found[name] = self._value(name, value)
        for layer in (self._frozen, self._active):
            found.update((name, value) for name, value in layer.values.items() if name.startswith(prefix))
        return sorted((name, value) for name, value in found.items() if value is not None)

    def size_bytes(self) -> int:
        """See Backend."""
        return self._disk_bytes + self._frozen.size + self._active.size

    def size_in_use_bytes(self) -> int:
        """See Backend."""
        return self._used_bytes + self._frozen.size + self._active.size

    def freeze(self) -> bool:
        """Set what was written so far apart for `write`; returns whether there is anything. `thaw` must follow."""
        assert not self._frozen, "frozen twice"
        self._frozen, self._active = self._active, _Layer()
        return bool(self._frozen)

    def write(self) -> None:
        """Make the frozen layer durable. Blocks; for a thread. Raises lmdb.Error."""
        layer = self._frozen
        with self._env.begin(write=True) as txn:
            for packed in layer.puts:
                record = layer.records[packed]
                if record is not None:
                    key = to_bytes(packed)
                    txn.put(key, _sealed(key, record), append=True, db=self._records)
            for packed, record in layer.records.items():
                if record is None:
                    txn.delete(to_bytes(packed), db=self._records)
            for name, value in layer.values.items():
                if value is None:
                    txn.delete(name, db=self._values)
                else:
                    txn.put(name, _sealed(name, value), db=self._values)

    def thaw(self) -> None:
        """After `write`: read what it wrote from LMDB."""
        self._reader.abort()
        self._reader = self._env.begin(buffers=False)
        self._frozen = _Layer()
        self._measure()

    def flush(self) -> None:
        """Freeze, write and thaw in one, where blocking does not matter."""
        if self.freeze():
            self.write()
            self.thaw()

    def copy_to(self, path: Path) -> None:
        """Write a compacted copy of what is durable. Blocks; may run in a thread beside everything but `defragment`."""
        self._env.copy(str(path), compact=True)

    def defragment(self) -> None:
        """Rewrite the file without its free pages. Blocks, and nothing else may run meanwhile."""
        self.flush()
        staging = self._path.with_suffix(".defragmented")
        try:
            staging.unlink(missing_ok=True)
            self.copy_to(staging)
            _sync(staging)
        except (OSError, lmdb.Error):
            # A full disk, most likely: what there is stays in use.
            staging.unlink(missing_ok=True)
            raise
        self.close()
        staging.replace(self._path)
        _sync(self._path.parent)
        self._open()

    def close(self) -> None:
        """Release the file; what was not written stays in the journal. Idempotent."""
        self._reader.abort()
        self._env.close()


def _sealed(key: bytes, payload: bytes) -> bytes:
    return payload + zlib.crc32(payload, zlib.crc32(key)).to_bytes(_CHECKSUM_BYTES, "big")


def _unsealed(key: bytes, stored: bytes) -> bytes | None:
    """What was sealed under the key, or None when either is damaged."""
    payload = stored[:-_CHECKSUM_BYTES]
    return payload if _sealed(key, payload) == stored else None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
