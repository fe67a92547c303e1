"""Files of a store while no member runs: damage is named with its place, a restored member begins a new cluster."""

import fcntl
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from navarch.protos.etcd import rpc_pb2
from navarch.protos.navarch import store_pb2
from navarch.services.store import commands
from navarch.services.store.bootstrap import Identity, adopt
from navarch.services.store.errors import CorruptionError
from navarch.services.store.lmdb_backend import LmdbBackend
from navarch.services.store.membership import Members, new_cluster
from navarch.services.store.offline import Restoration, main, restore, verify
from navarch.services.store.replication.journal import Journal
from navarch.services.store.replication.log import Entry, Member
from navarch.services.store.replication.node import NO_OP
from navarch.services.store.state_machine import StateMachine

QUOTA_BYTES = 1 << 30
CLUSTER = {name: (f"http://127.0.0.1:{port}",) for name, port in (("a", 1001), ("b", 1002), ("c", 1003))}


def written(directory: Path, keys: int = 50) -> Path:
    """The data directory of a lone member that has stopped."""
    directory.mkdir()
    backend = LmdbBackend(directory / "data.mdb", QUOTA_BYTES)
    adopt(directory, backend, Identity(1, 2), Members.of([Member(2, "old")], removed=[7]), "old token")
    machine = StateMachine(backend, lambda: 0.0)
    journal = Journal(directory / "journal")
    journal.open()
    journal.add(NO_OP, 1, 0)
    requests = [
        rpc_pb2.LeaseGrantRequest(ID=5, TTL=600),
        *(rpc_pb2.PutRequest(key=b"/%d" % number, value=b"x" * 3000, lease=5) for number in range(keys)),
        rpc_pb2.AlarmRequest(action=rpc_pb2.AlarmRequest.ACTIVATE, memberID=2, alarm=rpc_pb2.NOSPACE),
    ]
    for index, request in enumerate(requests, 2):
        command = commands.encode(request)
        journal.add(NO_OP[:0] + b"\0" + command, index, 1)
        machine.apply([Entry(index, 1, command)])
    journal.flush()
    journal.close()
    backend.flush()
    backend.close()
    (directory / "lock").touch()
    return directory


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return written(tmp_path / "store")


@pytest.fixture
def snapshot(data_dir: Path, tmp_path: Path) -> Path:
    content = (data_dir / "data.mdb").read_bytes()
    path = tmp_path / "snapshot"
    path.write_bytes(content + hashlib.sha256(content).digest())
    return path


def wanted(snapshot: Path, name: str = "a", **more: object) -> Restoration:
    return Restoration(snapshot, snapshot.parent / name, name, CLUSTER, "new", CLUSTER[name], **more)  # type: ignore[arg-type]


def damage(path: Path, change: Callable[[bytearray], None]) -> None:
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)


def flip(place: int) -> Callable[[bytearray], None]:
    def change(content: bytearray) -> None:
        content[place] ^= 0xFF

    return change


def test_an_intact_directory_is_described(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in data_dir.rglob("*") if path.is_file()}
    assert main(["verify", str(data_dir)]) == 0
    told = capsys.readouterr()
    assert "data.mdb: revision 51, 50 records, applied up to entry 53" in told.out
    assert "journal: 1 segments, entries 1 to 53, term 0" in told.out
    assert told.err == ""
    assert before == {path: path.read_bytes() for path in data_dir.rglob("*") if path.is_file()}


def test_a_directory_in_use_is_left_alone(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (data_dir / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["verify", str(data_dir)]) == 1
    assert "is in use by a running member" in capsys.readouterr().err


def test_what_is_no_store_is_said_so(tmp_path: Path) -> None:
    assert "is no data directory of a store" in verify(tmp_path).problems[0]
    (tmp_path / "file").write_bytes(b"a letter")
    assert "cut off at byte 8" in verify(tmp_path / "file").problems[0]
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "nothing")


def test_damaged_records_are_named(data_dir: Path) -> None:
    content = (data_dir / "data.mdb").read_bytes()
    places = [content.index(b"x" * 3000), content.rindex(b"x" * 3000)]
    for place in places:
        damage(data_dir / "data.mdb", flip(place + 1500))
    report = verify(data_dir)
    assert len(report.problems) == 2
    assert all("data.mdb: the record of revision" in problem for problem in report.problems)


def test_a_damaged_journal_is_named(data_dir: Path) -> None:
    (segment,) = (data_dir / "journal").iterdir()
    damage(segment, flip(5000))
    assert verify(data_dir).problems == [f"{segment}: damaged at byte 0, in the last frame"]


def test_a_lost_journal_is_named(data_dir: Path) -> None:
    (segment,) = (data_dir / "journal").iterdir()
    segment.unlink()
    assert "entries 0 to 0 do not go with data that has entry 53 applied" in verify(data_dir).problems[0]


@pytest.mark.parametrize("place", [2 * 4096, 100_000, -40, -1])
def test_a_damaged_snapshot_is_named_and_not_restored(snapshot: Path, place: int) -> None:
    damage(snapshot, flip(place))
    assert any("SHA-256" in problem for problem in verify(snapshot).problems)
    with pytest.raises(CorruptionError, match="SHA-256"):
        restore(wanted(snapshot))
    assert not list(snapshot.parent.glob("a*"))


def opened(directory: Path) -> tuple[LmdbBackend, StateMachine]:
    backend = LmdbBackend(directory / "data.mdb", QUOTA_BYTES)
    return backend, StateMachine(backend, lambda: 0.0)


def test_restored_members_belong_together_and_to_nobody_else(snapshot: Path) -> None:
    identities = [restore(wanted(snapshot, name)) for name in CLUSTER]
    cluster_id, members = new_cluster(CLUSTER, "new")
    assert identities == [Identity(cluster_id, member.id) for member in members.by_id.values()]
    states = []
    for name, identity in zip(CLUSTER, identities, strict=True):
        directory = snapshot.parent / name
        assert (directory / "identity").read_text() == f"{cluster_id:x} {identity.member_id:x}\n"
        assert verify(directory).problems == []
        backend, machine = opened(directory)
        assert machine.members == members.by_id
        assert not machine.removed
        assert not machine.alarms
        assert (machine.applied_index, machine.applied_term) == (53, 1)
        assert machine.lessor.get(5) is not None
        states.append((machine.mvcc.revision, machine.mvcc.hash_at(machine.mvcc.revision)))
        backend.close()
    assert states == [(51, states[0][1])] * 3


def test_a_member_that_joins_later_must_be_sent_the_data(snapshot: Path) -> None:
    restore(wanted(snapshot))
    journal = Journal(snapshot.parent / "a" / "journal")
    journal.open()
    # A new member's log has entry 1 only: what precedes this one it can only have from the data.
    assert (journal.first_index, journal.last_index, journal.term) == (53, 53, 1)
    journal.close()
    backend, machine = opened(snapshot.parent / "a")
    change = store_pb2.MembershipChange(add=store_pb2.Member(id=9, peer_urls=["http://127.0.0.1:1009"]))
    machine.apply([Entry(54, 1, commands.encode(change))])
    assert 9 in machine.members
    backend.close()


def test_a_bumped_revision_ends_history(snapshot: Path) -> None:
    restore(wanted(snapshot, bump_revision=1000))
    backend, machine = opened(snapshot.parent / "a")
    assert (machine.mvcc.revision, machine.mvcc.compact_revision) == (1051, 1051)
    kv = machine.mvcc.get(b"/7")
    assert kv is not None
    assert kv.mod_revision == 9
    backend.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "z"}, "--initial-cluster does not have z"),
        ({"peer_urls": ("http://127.0.0.1:9",)}, "--initial-cluster does not have a at http://127.0.0.1:9"),
        ({"data_dir": Path("/usr")}, "/usr is not empty"),
    ],
)
def test_a_restoration_that_cannot_be(snapshot: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        restore(replace(wanted(snapshot), **change))  # type: ignore[arg-type]


def test_a_plain_copy_is_restored_on_request_only(data_dir: Path, snapshot: Path) -> None:
    copy = replace(wanted(snapshot), snapshot=data_dir / "data.mdb")
    with pytest.raises(ValueError, match="--skip-hash-check"):
        restore(copy)
    restore(replace(copy, skip_hash_check=True))
    assert verify(copy.data_dir).problems == []
