"""LMDB behind its layers answers like a plain dictionary, and after a crash like that of its last write."""

from pathlib import Path

import lmdb
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from navarch.services.store.backend import MemoryBackend
from navarch.services.store.errors import CorruptionError
from navarch.services.store.lmdb_backend import LmdbBackend
from navarch.services.store.mvcc.revision import pack, to_bytes

QUOTA = 16 << 20


class LayersAgainstMemory(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "data.mdb"
        self.sut = LmdbBackend(self.path, QUOTA)
        self.now = MemoryBackend()
        self.frozen: list[tuple] = []
        self.written = MemoryBackend()
        self.main = 0
        self.is_frozen = False

    def teardown(self) -> None:
        self.sut.close()
        self.folder.cleanup()

    def note(self, *step) -> None:
        getattr(self.now, step[0])(*step[1:])
        getattr(self.sut, step[0])(*step[1:])
        self.steps.append(step)

    @property
    def steps(self) -> list[tuple]:
        if not hasattr(self, "_steps"):
            self._steps: list[tuple] = []
        return self._steps

    @rule(record=st.binary(max_size=8))
    def put(self, record: bytes) -> None:
        self.main += 1
        self.note("put", pack(self.main, 0), record)

    @precondition(lambda self: self.main)
    @rule(back=st.integers(0, 10))
    def delete(self, back: int) -> None:
        self.note("delete", pack(max(1, self.main - back), 0))

    @rule(name=st.sampled_from([b"a", b"ab", b"b"]), value=st.binary(max_size=4))
    def put_value(self, name: bytes, value: bytes) -> None:
        self.note("put_value", name, value)

    @rule(name=st.sampled_from([b"a", b"ab", b"b"]))
    def delete_value(self, name: bytes) -> None:
        self.note("delete_value", name)

    @precondition(lambda self: not self.is_frozen)
    @rule()
    def freeze(self) -> None:
        if self.sut.freeze():
            self.is_frozen = True
            self.frozen, self._steps = self.steps, []

    @precondition(lambda self: self.is_frozen)
    @rule()
    def write(self) -> None:
        self.sut.write()
        self.sut.thaw()
        self.is_frozen = False
        for step in self.frozen:
            getattr(self.written, step[0])(*step[1:])

    @precondition(lambda self: not self.is_frozen)
    @rule()
    def defragment(self) -> None:
        self.sut.defragment()
        self.written, self._steps = self._copy(self.now), []

    @rule()
    def crash(self) -> None:
        self.sut.close()
        self.sut = LmdbBackend(self.path, QUOTA)
        self.now, self._steps, self.is_frozen = self._copy(self.written), [], False
        self.main = max((packed >> 32 for packed, _ in self.now.scan(0, 1 << 90)), default=0)

    @staticmethod
    def _copy(backend: MemoryBackend) -> MemoryBackend:
        copy = MemoryBackend()
        for packed, record in backend.scan(0, 1 << 90):
            copy.put(packed, record)
        for name, value in backend.values(b""):
            copy.put_value(name, value)
        return copy

    @invariant()
    def agrees(self) -> None:
        records = list(self.now.scan(0, 1 << 90))
        assert list(self.sut.scan(0, 1 << 90)) == records
        for packed, record in records:
            assert self.sut.get(packed) == record
            assert list(self.sut.scan(packed, packed)) == [(packed, record)]
        for prefix in (b"", b"a", b"b"):
            assert self.sut.values(prefix) == self.now.values(prefix)
        assert self.sut.get_value(b"ab") == self.now.get_value(b"ab")


LayersAgainstMemory.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestLayersAgainstMemory = LayersAgainstMemory.TestCase


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    backend = LmdbBackend(tmp_path / "data.mdb", QUOTA)
    backend.put(pack(7, 0), b"record")
    backend.flush()
    backend.close()
    with lmdb.open(str(tmp_path / "data.mdb"), subdir=False, max_dbs=2, map_size=QUOTA) as env:
        records = env.open_db(b"records")
        with env.begin(write=True) as txn:
            stored = bytearray(txn.get(to_bytes(pack(7, 0)), db=records))
            stored[0] ^= 1
            txn.put(to_bytes(pack(7, 0)), bytes(stored), db=records)
    backend = LmdbBackend(tmp_path / "data.mdb", QUOTA)
    with pytest.raises(CorruptionError, match="revision 7 is damaged"):
        backend.get(pack(7, 0))
    with pytest.raises(CorruptionError, match="revision 8 is missing"):
        backend.get(pack(8, 0))
    backend.close()


@pytest.mark.parametrize("flipped", range(7))
def test_a_damaged_value_or_name_is_refused(tmp_path: Path, flipped: int) -> None:
    path = tmp_path / "data.mdb"
    backend = LmdbBackend(path, QUOTA)
    backend.put_value(b"app", b"1234")
    backend.flush()
    backend.close()
    content = bytearray(path.read_bytes())
    content[content.rindex(b"app1234") + flipped] ^= 1
    path.write_bytes(content)
    backend = LmdbBackend(path, QUOTA)
    with pytest.raises(CorruptionError, match=r"data\.mdb: the value .* is damaged"):
        backend.values(b"")
    backend.close()


def test_a_defragmentation_without_room_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = LmdbBackend(tmp_path / "data.mdb", QUOTA)
    backend.put(pack(1, 0), b"one")

    def full(path: Path) -> None:
        path.write_bytes(b"as much as there was room for")
        raise lmdb.DiskError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(backend, "copy_to", full)
        with pytest.raises(lmdb.DiskError):
            backend.defragment()
    assert [path.name for path in tmp_path.glob("*.defragmented")] == []
    backend.put(pack(2, 0), b"two")
    backend.defragment()
    assert [record for _, record in backend.scan(0, 1 << 90)] == [b"one", b"two"]
    backend.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"not LMDB" * 1000)
    with pytest.raises(CorruptionError, match="data"):
        LmdbBackend(tmp_path / "data.mdb", QUOTA)


def test_a_copy_is_what_was_written(tmp_path: Path) -> None:
    backend = LmdbBackend(tmp_path / "data.mdb", QUOTA)
    backend.put(pack(1, 0), b"one")
    backend.flush()
    backend.put(pack(2, 0), b"two")
    backend.copy_to(tmp_path / "copy.mdb")
    backend.close()
    copy = LmdbBackend(tmp_path / "copy.mdb", QUOTA)
    assert [record for _, record in copy.scan(0, 1 << 90)] == [b"one"]
    copy.close()
