"""Work on a store's files while no member uses them: look whether they are intact; begin a new cluster from a snapshot.

A snapshot is a data file followed by its SHA-256, as etcd's are. A restored directory is that of a member of a new
cluster: with its own ids and members, and a journal that begins where the data ends, so that a member that joins later
is sent the data and not only what was written since. All members of the new cluster must be restored from one file.

Run as a module, for the command line imports no service.
"""

import argparse
import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lmdb

from navarch.protos.etcd import rpc_pb2
from navarch.protos.etcd.kv_pb2 import KeyValue
from navarch.services.store import commands
from navarch.services.store.bootstrap import Identity, adopt
from navarch.services.store.config import DEFAULT_QUOTA_BYTES
from navarch.services.store.errors import CorruptionError
from navarch.services.store.flags import cluster, urls
from navarch.services.store.lmdb_backend import LmdbBackend, check_pages, unsealed
from navarch.services.store.membership import new_cluster
from navarch.services.store.mvcc.revision import from_bytes, main_of
from navarch.services.store.mvcc.store import COMPACTED_AT
from navarch.services.store.replication.journal import Journal
from navarch.services.store.replication.log import Entry
from navarch.services.store.replication.node import NO_OP
from navarch.services.store.replication.segments import Segment, SegmentWriter, sync_directory
from navarch.services.store.state_machine import StateMachine, applied_of

_PAGE_BYTES = 512
_DIGEST_BYTES = 32
# More would only repeat that the disk is bad.
MAX_PROBLEMS = 20
# An entry that no cluster which began empty has at this index, so that nobody takes one for the other.
_FIRST_INDEX, _FIRST_TERM = 2, 1


@dataclass
class Report:
    """What was found: facts for people, and what is wrong, each with its file and place."""

    facts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    applied: tuple[int, int] = (0, 0)


class _Reader(SegmentWriter):
    """Segments that are looked at only."""

    def open(self, visit: Callable[[Segment, bytes], None]) -> None:
        self.read(visit)


def verify(path: Path) -> Report:
    """Look at a data directory or a snapshot. Raises OSError when it cannot be read or is in use."""
    report = Report()
    if not path.is_dir():
        _verify_digest(path, report)
        _verify_data(path, report)
        return report
    with _locked(path):
        if not (path / "data.mdb").exists():
            report.problems.append(f"{path / 'data.mdb'} is missing: {path} is no data directory of a store")
            return report
        _verify_data(path / "data.mdb", report)
        _verify_journal(path / "journal", report)
    return report


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep members from starting on a directory. Raises OSError when one runs."""
    try:
        descriptor = os.open(directory / "lock", os.O_RDWR)
    except FileNotFoundError:
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as failure:
            raise OSError(f"{directory} is in use by a running member: stop it first, or take a snapshot") from failure
        yield
    finally:
        os.close(descriptor)


def _verify_digest(path: Path, report: Report) -> None:
    size = path.stat().st_size
    if size % _PAGE_BYTES != _DIGEST_BYTES:
        report.facts.append(f"{path}: no checksum at its end: copied from a directory, or cut off")
        return
    digest = hashlib.sha256()
    with path.open("rb") as file:
        remaining = size - _DIGEST_BYTES
        while chunk := file.read(min(remaining, 1 << 20)):
            digest.update(chunk)
            remaining -= len(chunk)
        if file.read() != digest.digest():
            report.problems.append(f"{path}: its SHA-256 is not that of its {size - _DIGEST_BYTES} bytes")


def _verify_data(path: Path, report: Report) -> None:
    try:
        check_pages(path)
        with lmdb.open(str(path), subdir=False, max_dbs=2, readonly=True, lock=False) as env:
            names = [b"records", b"values"]
            records, values = (env.open_db(name, create=False) for name in names)
            with env.begin() as txn:
                _verify_contents(path, report, txn, records, values)
    except (CorruptionError, lmdb.Error) as damage:
        report.problems.append(str(damage) if isinstance(damage, CorruptionError) else f"{path}: {damage}")


def _verify_contents(path: Path, report: Report, txn: Any, records: object, values: object) -> None:
    damaged, count, revision = [], 0, 1
    for key, stored in txn.cursor(records):
        count, revision = count + 1, main_of(from_bytes(key))
        record = unsealed(key, stored)
        if record is None or KeyValue.FromString(record).mod_revision != revision:
            damaged.append(f"the record of revision {revision}")
    named: dict[bytes, bytes] = {}
    for name, stored in txn.cursor(values):
        value = unsealed(name, stored)
        if value is None:
            damaged.append(f"the value {name!r}")
        else:
            named[name] = value
    report.applied = applied_of(named.get)
    compacted = int(named.get(COMPACTED_AT, b"-1"))
    report.facts.append(
        f"{path}: revision {max(revision, compacted)}, {count} records"
        f"{f', compacted at {compacted}' if compacted > 0 else ''}, applied up to entry {report.applied[0]}"
    )
    report.problems += [f"{path}: {one} is damaged" for one in damaged[:MAX_PROBLEMS]]
    if len(damaged) > MAX_PROBLEMS:
        report.problems.append(f"{path}: {len(damaged) - MAX_PROBLEMS} more are damaged")


def _verify_journal(directory: Path, report: Report) -> None:
    reader = _Reader(directory)
    journal = Journal(directory, reader)
    try:
        journal.open()
    except CorruptionError as damage:
        report.problems.append(str(damage))
        return
    first, last = journal.first_index, journal.last_index
    report.facts.append(f"{directory}: {len(reader.segments)} segments, entries {first} to {last}, term {journal.term}")
    applied, term = report.applied
    if applied > last or first > applied + 1:
        report.problems.append(
            f"{directory}: entries {first} to {last} do not go with data that has entry {applied} applied"
        )
    elif journal.term_at(applied) not in (0, term):
        report.problems.append(
            f"{directory}: entry {applied} is of term {journal.term_at(applied)}, the data says {term}"
        )


@dataclass(frozen=True, slots=True)
class Restoration:
    """What a member of the new cluster is told. bump_revision: 0, or how far to go beyond the snapshot's revision."""

    snapshot: Path
    data_dir: Path
    name: str
    initial_cluster: dict[str, tuple[str, ...]]
    token: str
    peer_urls: tuple[str, ...]
    bump_revision: int = 0
    skip_hash_check: bool = False


def restore(wanted: Restoration) -> Identity:
    """Make the data directory of a member of a new cluster. Raises ValueError, CorruptionError, OSError."""
    if wanted.name not in wanted.initial_cluster:
        raise ValueError(f"--initial-cluster does not have {wanted.name}")
    if wanted.peer_urls and set(wanted.initial_cluster[wanted.name]) != set(wanted.peer_urls):
        raise ValueError(f"--initial-cluster does not have {wanted.name} at {','.join(wanted.peer_urls)}")
    if wanted.data_dir.exists() and any(wanted.data_dir.iterdir()):
        raise ValueError(f"{wanted.data_dir} is not empty")
    if wanted.snapshot.stat().st_size % _PAGE_BYTES != _DIGEST_BYTES and not wanted.skip_hash_check:
        raise ValueError(
            f"{wanted.snapshot} has no checksum at its end. If it was copied from a data directory: --skip-hash-check"
        )
    report = verify(wanted.snapshot)
    if report.problems:
        raise CorruptionError("\n".join(report.problems))
    staging = wanted.data_dir.with_name(f"{wanted.data_dir.name}.restoring")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True, mode=0o700)
    try:
        identity = _restore_into(staging, wanted)
    except BaseException:
        shutil.rmtree(staging)
        raise
    staging.replace(wanted.data_dir)
    sync_directory(wanted.data_dir.parent)
    return identity


def _restore_into(directory: Path, wanted: Restoration) -> Identity:
    data = directory / "data.mdb"
    shutil.copyfile(wanted.snapshot, data)
    os.truncate(data, data.stat().st_size // _PAGE_BYTES * _PAGE_BYTES)
    backend = LmdbBackend(data, max(DEFAULT_QUOTA_BYTES, data.stat().st_size))
    try:
        machine = StateMachine(backend, lambda: 0.0)
        if wanted.bump_revision:
            machine.mvcc.skip_revisions(wanted.bump_revision)
        # What the old members complained of does not hold for new ones.
        lifts = [
            rpc_pb2.AlarmRequest(action=rpc_pb2.AlarmRequest.DEACTIVATE, alarm=alarm)
            for alarm in (rpc_pb2.NOSPACE, rpc_pb2.CORRUPT)
        ]
        index = max(_FIRST_INDEX, machine.applied_index)
        machine.apply([Entry(index, _FIRST_TERM, commands.encode(lift)) for lift in lifts])
        cluster_id, members = new_cluster(wanted.initial_cluster, wanted.token)
        (member_id,) = (member.id for member in members.by_id.values() if member.name == wanted.name)
        identity = Identity(cluster_id, member_id)
        adopt(directory, backend, identity, replace(members, as_of=index), wanted.token)
    finally:
        backend.close()
    journal = Journal(directory / "journal")
    journal.open()
    journal.vote(_FIRST_TERM, "")
    journal.reset(NO_OP, index, _FIRST_TERM)
    journal.flush()
    journal.close()
    return identity


def main(argv: list[str]) -> int:
    """Returns the exit code: 1 for damage or a refusal, which is on stderr."""
    parser = argparse.ArgumentParser(prog="navarch-store-offline")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("verify").add_argument("path", type=Path)
    restoring = verbs.add_parser("restore")
    restoring.add_argument("snapshot", type=Path)
    restoring.add_argument("--data-dir", type=Path, required=True)
    restoring.add_argument("--name", default="default")
    restoring.add_argument("--initial-cluster", type=cluster, required=True)
    restoring.add_argument("--initial-cluster-token", default="", dest="token")
    restoring.add_argument("--initial-advertise-peer-urls", type=urls, default=(), dest="peer_urls")
    restoring.add_argument("--bump-revision", type=int, default=0)
    restoring.add_argument("--skip-hash-check", action="store_true")
    options = vars(parser.parse_args(argv))
    try:
        if options.pop("verb") == "verify":
            return _print(verify(options["path"]))
        identity = restore(Restoration(**options))
    except (OSError, ValueError, CorruptionError) as refusal:
        sys.stderr.write(f"error: {refusal}\n")
        return 1
    sys.stdout.write(
        f"Restored member {identity.member_id:x} of cluster {identity.cluster_id:x} to {options['data_dir']}\n"
    )
    return 0


def _print(report: Report) -> int:
    sys.stdout.writelines(f"{fact}\n" for fact in report.facts)
    sys.stderr.writelines(f"error: {problem}\n" for problem in report.problems)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
