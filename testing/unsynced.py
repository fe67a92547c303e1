"""A disk that forgets what was not synced, and a clock that jumps, for a process started with `environment()`.

`unsynced.c`, preloaded, notes how to undo each write and each change of a name; `lose` does so after a kill for what no
fsync covers: file contents by their inode, names by their directory.
"""

import os
import random
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).with_name("unsynced.c")
_RECORD = struct.Struct("<6Q")
_WRITTEN, _SYNCED, _CREATED, _RENAMED, _UNLINKED, _DIRECTORY_SYNCED = range(1, 7)
_NAMINGS = (_CREATED, _RENAMED, _UNLINKED)


def compile_library(directory: Path) -> Path:
    """The library, made with the C compiler."""
    library = directory / "unsynced.so"
    command = ["gcc", "-O2", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl", "-lpthread"]
    subprocess.run(command, check=True)
    return library


@dataclass(frozen=True, slots=True)
class _Record:
    position: int
    kind: int
    inode: int
    offset: int
    size_before: int
    upto: int
    data: bytes

    @property
    def paths(self) -> list[Path]:
        return [Path(os.fsdecode(path)) for path in self.data.split(b"\n")]


class Machine:
    """What a process takes for its disk and its clock. disk: a file system, where `data` is under watch."""

    def __init__(self, library: Path, disk: Path) -> None:
        self._library = library
        self.data = disk / "data"
        self._links = disk / "links"
        self._links.mkdir()
        self._undo = disk.with_name(f"{disk.name}.undo")
        self._clock = disk.with_name(f"{disk.name}.clock")
        self._clock.write_bytes(bytes(8))

    def environment(self) -> dict[str, str]:
        """What its process is to be started with."""
        return {
            "LD_PRELOAD": str(self._library),
            "NAVARCH_DISK": str(self.data),
            "NAVARCH_DISK_UNDO": str(self._undo),
            "NAVARCH_DISK_LINKS": str(self._links),
            "NAVARCH_CLOCK": str(self._clock),
        }

    def jump(self, seconds: float) -> None:
        """Set the wall clock off by so much from now on."""
        with self._clock.open("r+b") as file:
            file.write(struct.pack("<q", int(seconds * 1e9)))

    def forget(self) -> None:
        """Take all that was written for durable; the process does not run."""
        self._undo.unlink(missing_ok=True)
        shutil.rmtree(self._links)
        self._links.mkdir()

    def lose(self, rng: random.Random | None = None) -> int:
        """Undo what was not synced; the process does not run. With rng some writes got to the disk nevertheless.

        Returns how much was undone.
        """
        records = self._read()
        synced: dict[int, int] = {}
        named: dict[Path, int] = {}
        for record in records:
            if record.kind == _SYNCED:
                synced[record.inode] = max(record.upto, synced.get(record.inode, 0))
            elif record.kind == _DIRECTORY_SYNCED:
                named[record.paths[0]] = max(record.upto, named.get(record.paths[0], 0))
        undone = 0
        for record in reversed(records):
            if record.kind == _WRITTEN:
                if record.position >= synced.get(record.inode, 0) and (rng is None or rng.random() < 0.5):
                    undone += self._restore(record)
            elif record.kind in _NAMINGS and record.position >= named.get(record.paths[-1].parent, 0):
                undone += self._rename_back(record)
        self.forget()
        return undone

    def _read(self) -> list[_Record]:
        log = self._undo.read_bytes() if self._undo.exists() else b""
        records, position = [], 0
        while position + _RECORD.size <= len(log):
            kind, inode, offset, size_before, upto, length = _RECORD.unpack_from(log, position)
            data = log[position + _RECORD.size :][:length]
            # A record that the kill cut short stands for a write that did not begin.
            if len(data) == length:
                records.append(_Record(position, kind, inode, offset, size_before, upto, data))
            position += _RECORD.size + length
        return records

    def _restore(self, record: _Record) -> bool:
        try:
            file = (self._links / str(record.inode)).open("r+b")
        except FileNotFoundError:
            return False
        with file:
            file.seek(record.offset)
            file.write(record.data)
            file.truncate(record.size_before)
        return True

    def _rename_back(self, record: _Record) -> bool:
        path = record.paths[-1]
        kept = self._links / str(record.inode)
        if record.kind == _CREATED:
            was = path.exists()
            path.unlink(missing_ok=True)
            return was
        if record.kind == _RENAMED:
            if record.paths[0].exists() or not path.exists():
                return False
            path.rename(record.paths[0])
        if record.inode and kept.exists() and not path.exists():
            os.link(kept, path)
        return True
