"""The member's state as a file: made for followers that are far behind, installed where one comes from the leader.

A snapshot is a copy of the LMDB file, which has its index and term in it. Whatever is received is opened beside the
state, and all of it is read and verified, before anything is given up. Then a note is made durable, the file takes the
place of the data in one rename, and what was loaded from it that of the state in memory. The note tells the next start
that journal and data may not fit together yet: if the data is that snapshot, the journal has to begin anew after it.
"""

import asyncio
import hashlib
import itertools
import os
import re
import shutil
from pathlib import Path

from navarch.services.base.log import get_logger
from navarch.services.store.errors import CorruptionError
from navarch.services.store.lmdb_backend import LmdbBackend, check_pages, read_value
from navarch.services.store.member import StoreMember
from navarch.services.store.replication.segments import sync_directory
from navarch.services.store.replication.transport import SnapshotFile
from navarch.services.store.state_machine import StateMachine, applied_of

DATA = "data.mdb"
# Directories in which copies for clients are made.
SENDING = "navarch-snapshot-"
_NOTE = "installing"
_MADE = "made-{}.mdb"
_NOTE_FORMAT = "{} {}\n"
_log = get_logger("store")


class MemberSnapshots:
    """Snapshots of a member with a data directory."""

    def __init__(self, member: StoreMember, directory: Path) -> None:
        self._member = member
        self._directory = directory
        self._numbers = itertools.count(1)

    async def make(self) -> SnapshotFile:
        """See Snapshots. Writes go on meanwhile."""
        path = self._directory / _MADE.format(next(self._numbers))
        try:
            await self._member.copy_data(path)
            return await asyncio.to_thread(_described, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    async def install(self, snapshot: SnapshotFile) -> None:
        """See Snapshots. The file becomes that of the data. Must not be cancelled."""
        backend, machine = await asyncio.to_thread(self._load, snapshot)
        try:
            await asyncio.to_thread(_note, self._directory, snapshot)
            await self._member.become(machine, backend)
        except BaseException:
            backend.close()
            raise
        await asyncio.to_thread(sync_directory, self._directory)
        _log.info("store.snapshot_installed", index=snapshot.last_index, revision=machine.mvcc.revision)

    def _load(self, snapshot: SnapshotFile) -> tuple[LmdbBackend, StateMachine]:
        """Read all of a file; blocks. Raises CorruptionError, OSError."""
        backend = LmdbBackend(snapshot.path, self._member.quota_bytes)
        try:
            backend.values(b"")
            machine = StateMachine(backend, self._member.clock.monotonic)
            if (machine.applied_index, machine.applied_term) != (snapshot.last_index, snapshot.last_term):
                raise CorruptionError(
                    f"the snapshot ends with entry {machine.applied_index} of term {machine.applied_term}, "
                    f"not with {snapshot.last_index} of term {snapshot.last_term}"
                )
        except BaseException:
            backend.close()
            raise
        return backend, machine


def complete_installation(directory: Path) -> tuple[int, int] | None:
    """To be called before the journal is read: what an installation that was cut short has left.

    Returns index and term of the snapshot that the data is: the journal must begin anew there, unless it holds that
    very entry. None: there is nothing to do. Raises CorruptionError, OSError.
    """
    for pattern in (_MADE.format("*"), "*.part-lock", "*.defragmented"):
        for leftover in directory.glob(pattern):
            leftover.unlink()
    for sending in directory.glob(f"{SENDING}*"):
        shutil.rmtree(sending)
    note, data = directory / _NOTE, directory / DATA
    if not note.exists() or not data.exists():
        return None
    check_pages(data)
    applied = applied_of(lambda name: read_value(data, name))
    text = note.read_bytes()
    if text == _NOTE_FORMAT.format(*applied).encode():
        return applied
    if not re.fullmatch(rb"\d+ \d+\n", text):
        raise CorruptionError(f"{note} does not hold an index and a term")
    # The data is not that of the snapshot yet, or not any more.
    note.unlink()
    return None


def _note(directory: Path, snapshot: SnapshotFile) -> None:
    staging = directory / f"{_NOTE}.new"
    with staging.open("w") as file:
        file.write(_NOTE_FORMAT.format(snapshot.last_index, snapshot.last_term))
        file.flush()
        os.fsync(file.fileno())
    staging.replace(directory / _NOTE)
    sync_directory(directory)


def _described(path: Path) -> SnapshotFile:
    index, term = applied_of(lambda name: read_value(path, name))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    return SnapshotFile(path, index, term, path.stat().st_size, digest)
