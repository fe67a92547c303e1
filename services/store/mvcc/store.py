"""Keys at revisions: reads at any retained revision, writes in transactions, compaction.

A record is the serialized `mvccpb.KeyValue` of a write; a tombstone's holds only key and mod_revision. The
current revision is that of the last transaction that changed something; a fresh store is at 1, as etcd's.
"""

from collections.abc import Iterator
from typing import NamedTuple

from navarch.protos.etcd.kv_pb2 import KeyValue
from navarch.services.store.backend import Backend
from navarch.services.store.errors import COMPACTED, FUTURE_REVISION
from navarch.services.store.lease import Lessor
from navarch.services.store.mvcc.hashing import HistoryHash
from navarch.services.store.mvcc.key_index import KeyIndex
from navarch.services.store.mvcc.revision import TOMBSTONE, first_of, last_of, main_of, pack

COMPACTED_AT = b"compacted"
COLLECT_BATCH = 1000


class Change(NamedTuple):
    """One write of a transaction, as watchers see it."""

    packed: int
    kv: KeyValue

    @property
    def main(self) -> int:
        """The revision of its transaction."""
        return main_of(self.packed)

    @property
    def deleted(self) -> bool:
        """Whether the key was deleted."""
        return bool(self.packed & TOMBSTONE)


class MvccStore:
    """The keys. Writes go through `begin`; every read names the revision it wants or takes the current one."""

    def __init__(self, backend: Backend, lessor: Lessor) -> None:
        self._backend = backend
        self._lessor = lessor
        self.index = KeyIndex()
        self.revision = 1
        self.compact_revision = -1
        self._load()

    def _load(self) -> None:
        compacted_at = self._backend.get_value(COMPACTED_AT)
        if compacted_at is not None:
            self.compact_revision = int(compacted_at)
        leases: dict[bytes, int] = {}
        for packed, record in self._backend.scan(0, last_of(1 << 63)):
            # Not one message for all: it would keep the memory of all that was parsed into it.
            kv = KeyValue.FromString(record)
            self.index.restore(kv.key, packed, kv.create_revision, kv.version)
            leases[kv.key] = kv.lease
            self.revision = main_of(packed)
        self.revision = max(self.revision, self.compact_revision, 1)
        self.index.restored()
        for key, lease in leases.items():
            # A lease may have been revoked by an entry whose deletions are there, too; then it is unknown.
            if lease and self._lessor.get(lease) is not None:
                self._lessor.attach(key, lease)

    def become(self, other: "MvccStore", lessor: Lessor) -> None:
        """Take the place of a store loaded from what our backend holds by now."""
        self._lessor = lessor
        self.index, self.revision, self.compact_revision = other.index, other.revision, other.compact_revision

    def check_revision(self, asked: int, current: int) -> int:
        """The main revision to read at for one asked for (0 or less: the current). Raises EtcdError."""
        if asked <= 0:
            return current
        if asked > current:
            raise FUTURE_REVISION()
        if asked < self.compact_revision:
            raise COMPACTED()
        return asked

    def load(self, packed: int, into: KeyValue) -> None:
        """Fill a message with the record of a revision."""
        into.ParseFromString(self._backend.get(packed))

    def get(self, key: bytes) -> KeyValue | None:
        """A key as it is now."""
        return self._load_kv(self.index.current(key))

    def get_at(self, key: bytes, main: int) -> KeyValue | None:
        """A key as it was, or None where it did not exist or that is not known any more."""
        history = self.index.histories.get(key)
        if history is None or main < self.compact_revision:
            return None
        return self._load_kv(history.at(main))

    def _load_kv(self, packed: int) -> KeyValue | None:
        if not packed:
            return None
        kv = KeyValue()
        self.load(packed, kv)
        return kv

    def changes(self, first: int, last: int) -> Iterator[Change]:
        """What was written at main revisions first to last, in order. Not to be continued after a write."""
        for packed, record in self._backend.scan(first_of(first), last_of(last)):
            kv = KeyValue()
            kv.ParseFromString(record)
            yield Change(packed, kv)

    def begin(self) -> "WriteTxn":
        """A transaction; what it writes is visible at once, so nothing else may run until `commit`."""
        return WriteTxn(self, self._backend, self._lessor)

    def compact(self, main: int) -> None:
        """Refuse reads below `main` from now on. What they needed goes by `collect`. Raises EtcdError."""
        if main <= self.compact_revision:
            raise COMPACTED()
        if main > self.revision:
            raise FUTURE_REVISION()
        self.compact_revision = main
        self._backend.put_value(COMPACTED_AT, str(main).encode())

    def skip_revisions(self, number: int) -> None:
        """Begin anew that much later: nobody who has seen a revision beyond the current one meets another like it.

        History ends here, so that whoever watches from an earlier revision is told to read all anew.
        """
        self.revision += number
        self.compact(self.revision)

    @property
    def collectable(self) -> bool:
        """Whether compaction left something unreachable."""
        return self.index.collectable(self.compact_revision)

    def collect(self, limit: int = COLLECT_BATCH) -> None:
        """Drop a batch of what compaction left unreachable."""
        for packed in self.index.collect(self.compact_revision, limit):
            self._backend.delete(packed)

    def record(self, packed: int) -> bytes:
        """What is stored of a revision. Raises CorruptionError."""
        return self._backend.get(packed)

    def hash_at(self, main: int) -> int:
        """A checksum over all that is retained up to a revision, at once; see HistoryHash."""
        history = HistoryHash(self, main)
        while not history.advance():
            pass
        return history.value


class WriteTxn:
    """A transaction in progress: all its writes share one main revision."""

    def __init__(self, store: MvccStore, backend: Backend, lessor: Lessor) -> None:
        self._store = store
        self._backend = backend
        self._lessor = lessor
        self._main = store.revision + 1
        self.changes: list[Change] = []

    @property
    def revision(self) -> int:
        """The revision that reads in this transaction see."""
        return self._main if self.changes else self._store.revision

    def put(self, key: bytes, value: bytes, lease: int) -> None:
        """Set a key. The lease must exist."""
        packed = pack(self._main, len(self.changes))
        history = self._store.index.put(key, packed)
        kv = KeyValue(
            key=key,
            create_revision=history.created,
            mod_revision=self._main,
            version=history.version,
            value=value,
            lease=lease,
        )
        self._backend.put(packed, kv.SerializeToString())
        self._lessor.attach(key, lease)
        self.changes.append(Change(packed, kv))

    def delete(self, key: bytes) -> None:
        """Delete a key that exists."""
        packed = pack(self._main, len(self.changes), tombstone=True)
        self._store.index.delete(key, packed)
        kv = KeyValue(key=key, mod_revision=self._main)
        self._backend.put(packed, kv.SerializeToString())
        self._lessor.attach(key, 0)
        self.changes.append(Change(packed, kv))

    def commit(self) -> list[Change]:
        """Make the revision current; returns what changed."""
        if self.changes:
            self._store.revision = self._main
        return self.changes
