"""The backend on LMDB, written behind the journal.

Writes go to a layer in memory. From time to time the layer is frozen and written to LMDB in one synchronous
transaction, in a thread, while new writes gather in the next layer. Reads look through the layers. LMDB's own
fsync order is left on, so its file is intact after any crash, as of its last transaction; with the records
goes the applied index, and what came after is in the journal, which is shortened only up to an index that such
a transaction has carried. Nothing acknowledged is ever in memory alone, and no commit of LMDB delays a write.

Each stored value ends with a checksum over its key and itself, which LMDB lacks.
"""

import errno
import mmap
import os
import time
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import lmdb

from navarch.services.store.errors import CorruptionError
from navarch.services.store.lmdb_pages import DamagedPage, check
from navarch.services.store.mvcc.revision import from_bytes, main_of, to_bytes

_CHECKSUM_BYTES = 4
# Room above the quota for what a refused write may already have taken and for LMDB's copies of pages.
_MAP_SLACK_BYTES = 1 << 30
# LMDB's lock file, mapped: if the disk is full when it is touched, the process is killed. Readers get what fits.
_LOCK_BYTES = 4096
# A disk is full when it has less room than a transaction of ours may take.
_FULL_BYTES = 16 << 20


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
        # Told how long each transaction took, in the thread that wrote it.
        self.committed: Callable[[float], None] = lambda seconds: None
        self._map_bytes = 2 * quota_bytes + _MAP_SLACK_BYTES
        self._active = _Layer()
        self._frozen = _Layer()
        check_pages(path)
        self._open()

    def _open(self) -> None:
        _allocate(Path(f"{self._path}-lock"), _LOCK_BYTES)
        try:
            self._env = lmdb.open(
                str(self._path), subdir=False, map_size=self._map_bytes, max_dbs=2, max_readers=16, mode=0o600
            )
            self._records = self._env.open_db(b"records")
            self._values = self._env.open_db(b"values")
        except lmdb.Error as failure:
            raise self._explained(failure) from failure
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
        key = to_bytes(packed)
        return self._record(key, self._reader.get(key, db=self._records))

    def _record(self, key: bytes, stored: bytes | None) -> bytes:
        payload = None if stored is None else unsealed(key, stored)
        if payload is None:
            what = "missing" if stored is None else "damaged"
            raise CorruptionError(f"{self._path}: the record of revision {main_of(from_bytes(key))} is {what}")
        return payload

    def _value(self, name: bytes, stored: bytes) -> bytes:
        payload = unsealed(name, stored)
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
                    yield packed, self._record(key, stored)
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

    def _explained(self, failure: lmdb.Error) -> Exception:
        """What LMDB could not do, as what it is: a disk that is full is not damaged data."""
        # A write that the disk took in part is reported as EIO, and so is one that it refused.
        if isinstance(failure, lmdb.DiskError) or (os.strerror(errno.EIO) in str(failure) and _is_full(self._path)):
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        if isinstance(failure, lmdb.MapFullError):
            return OSError(errno.EFBIG, f"no room for more than {self._map_bytes} bytes", str(self._path))
        return CorruptionError(f"{self._path}: {failure}")

    def write(self) -> None:
        """Make the frozen layer durable. Blocks; for a thread. Raises OSError, CorruptionError."""
        begin = time.perf_counter()
        try:
            self._write(self._frozen)
        except lmdb.Error as failure:
            raise self._explained(failure) from failure
        self.committed(time.perf_counter() - begin)

    def _write(self, layer: _Layer) -> None:
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
        """Write a compacted copy of what is durable. Blocks; may run in a thread beside everything but `exchange`.

        Raises OSError, CorruptionError.
        """
        try:
            self._env.copy(str(path), compact=True)
        except lmdb.Error as failure:
            raise self._explained(failure) from failure

    def defragment(self) -> None:
        """Rewrite the file without its free pages, in one, where blocking does not matter."""
        self.flush()
        self.rewrite()
        self.exchange()

    def rewrite(self) -> None:
        """Copy what is durable beside our file, for `exchange`. Blocks; may run beside everything but `write`.

        Raises OSError, CorruptionError.
        """
        staging = self._rewritten
        try:
            staging.unlink(missing_ok=True)
            self.copy_to(staging)
            _sync(staging)
            check_pages(staging)
        except BaseException:
            # A full disk, most likely: what there is stays in use.
            staging.unlink(missing_ok=True)
            raise

    def exchange(self) -> None:
        """Go on with what `rewrite` made; nothing was written since. What waits in memory stays there."""
        self.close()
        self._rewritten.replace(self._path)
        _sync(self._path.parent)
        self._open()

    @property
    def _rewritten(self) -> Path:
        return self._path.with_suffix(".defragmented")

    def become(self, other: "LmdbBackend") -> None:
        """Take the place of another backend, and its file ours. What was not written is dropped. Raises OSError."""
        # The data last: as long as it stands, nothing has happened.
        Path(f"{other._path}-lock").replace(f"{self._path}-lock")
        other._path.replace(self._path)
        self.close()
        self._env, self._records, self._values = other._env, other._records, other._values
        self._reader = other._reader
        self._active, self._frozen = _Layer(), _Layer()
        self._measure()

    def close(self) -> None:
        """Release the file; what was not written stays in the journal. Idempotent."""
        self._reader.abort()
        self._env.close()


def read_value(path: Path, name: bytes) -> bytes | None:
    """A named value of a file that nobody writes. Raises CorruptionError."""
    try:
        with (
            lmdb.open(str(path), subdir=False, readonly=True, lock=False, max_dbs=2, create=False) as env,
            env.begin(db=env.open_db(b"values", create=False)) as txn,
        ):
            stored = txn.get(name)
    except lmdb.Error as failure:
        raise CorruptionError(f"{path}: {failure}") from failure
    payload = unsealed(name, stored) if stored is not None else None
    if stored is not None and payload is None:
        raise CorruptionError(f"{path}: the value {name!r} is damaged")
    return payload


def check_pages(path: Path) -> None:
    """Raises CorruptionError when LMDB could not trust the file. One that is not there, or empty, will be made."""
    if not path.exists() or not path.stat().st_size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        view = memoryview(mapped)
        try:
            check(view)
        except DamagedPage as damage:
            raise CorruptionError(f"{path}: {damage}") from damage.with_traceback(None)
        finally:
            view.release()


def _allocate(path: Path, size: int) -> None:
    with path.open("ab") as file:
        os.posix_fallocate(file.fileno(), 0, size)


def _is_full(path: Path) -> bool:
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize < _FULL_BYTES


def _sealed(key: bytes, payload: bytes) -> bytes:
    return payload + zlib.crc32(payload, zlib.crc32(key)).to_bytes(_CHECKSUM_BYTES, "big")


def unsealed(key: bytes, stored: bytes) -> bytes | None:
    """What was sealed under the key, or None when either is damaged."""
    payload = stored[:-_CHECKSUM_BYTES]
    checksum = int.from_bytes(stored[-_CHECKSUM_BYTES:], "big")
    return payload if len(stored) >= _CHECKSUM_BYTES and zlib.crc32(payload, zlib.crc32(key)) == checksum else None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
