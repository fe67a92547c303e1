"""The journal's files: frames of bytes, each durable before the next is written.

A journal is a directory of segments, numbered without gaps. A segment is a row of frames; a frame is one group flush:
header (magic, length, checksum, sequence number, checksum of these) and payload, padded to 8 bytes. Since a frame is
only begun when the one before it is on disk, only the last one can be torn, which was never acknowledged. A disk
writes whole sectors, over zeros laid out before: a torn frame lacks its end or a sector of it is still zero.
Any other invalid frame is damage to acknowledged data and refused with its place.

Opening rewrites the last segment: that cuts a torn tail, and makes sure that what is served from now on is on
the disk and not merely in a cache whose write-back may once have failed.
"""

import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from navarch.services.store.errors import CorruptionError

_FIELDS = struct.Struct("<4sIIQ")
_CHECKSUM = struct.Struct("<I")
_HEADER_BYTES = _FIELDS.size + _CHECKSUM.size
_MAGIC = b"nvJ2"
_ALIGN = 8
_SECTOR_BYTES = 512
_SUFFIX = ".journal"
SEGMENT_BYTES = 4 << 20
# Named so that tests can make it fail.
Sync = Callable[[int], None]


@dataclass(slots=True)
class Segment:
    """A file of the journal and the highest entry index it holds, 0 when none."""

    number: int
    path: Path
    last_index: int = 0


def _frame(sequence: int, payload: bytes) -> bytes:
    fields = _FIELDS.pack(_MAGIC, len(payload), zlib.crc32(payload), sequence)
    frame = fields + _CHECKSUM.pack(zlib.crc32(fields)) + payload
    return frame + bytes(-len(frame) % _ALIGN)


def _read_header(data: bytes, offset: int) -> tuple[int, int, int] | None:
    """(length, checksum, sequence) of the frame at an offset, or None when its header is not intact."""
    header = data[offset : offset + _HEADER_BYTES]
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        return None
    if (zlib.crc32(header[: _FIELDS.size]),) != _CHECKSUM.unpack_from(header, _FIELDS.size):
        return None
    _, length, checksum, sequence = _FIELDS.unpack_from(header)
    return length, checksum, sequence


def _read_frame(data: bytes, offset: int) -> tuple[int, bytes, int] | None:
    """(sequence, payload, end) of the frame at an offset, or None when there is no intact one."""
    header = _read_header(data, offset)
    if header is None:
        return None
    length, checksum, sequence = header
    end = offset + _HEADER_BYTES + length
    payload = data[offset + _HEADER_BYTES : end]
    if len(payload) < length or zlib.crc32(payload) != checksum:
        return None
    return sequence, payload, end + -end % _ALIGN


def _is_torn(data: bytes, offset: int) -> bool:
    """Whether what stands in the place of a frame was written in part, or not at all; if not, it is damaged."""
    header = _read_header(data, offset)
    end = offset + _HEADER_BYTES + (header[0] if header else 0)
    if end > len(data):
        return True
    bounds = [offset, *range(offset - offset % _SECTOR_BYTES + _SECTOR_BYTES, end, _SECTOR_BYTES), end]
    return any(not data[begin:stop].strip(b"\0") for begin, stop in pairwise(bounds))


def _later_frame(data: bytes, offset: int, sequence: int) -> int:
    """Offset of an intact frame behind a broken one, or -1."""
    position = data.find(_MAGIC, offset + 1)
    while position >= 0:
        frame = _read_frame(data, position) if position % _ALIGN == 0 else None
        if frame is not None and frame[0] > sequence:
            return position
        position = data.find(_MAGIC, position + 1)
    return -1


def sync_directory(path: Path, sync: Sync = os.fsync) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


class SegmentWriter:
    """Appends frames. One thread at a time. After an error nothing may be written any more."""

    def __init__(self, directory: Path, sync: Sync = os.fdatasync, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._directory = directory
        self._sync = sync
        self._segment_bytes = segment_bytes
        self._descriptor = -1
        self._offset = 0
        self._sequence = 0
        self.segments: list[Segment] = []
        self._leftovers: list[Segment] = []

    def open(self, visit: Callable[[Segment, bytes], None]) -> None:
        """Recover: hand every payload to `visit`, oldest first. Raises CorruptionError, OSError."""
        self._directory.mkdir(parents=True, exist_ok=True)
        sync_directory(self._directory.parent, self._sync)
        for leftover in self._directory.glob("*.tmp"):
            leftover.unlink()
        intact = self.read(visit)
        if self.segments:
            self._rewrite(self.segments[-1], intact)

    def read(self, visit: Callable[[Segment, bytes], None]) -> bytes:
        """Hand every payload to `visit` and change nothing; returns what is intact of the last segment.

        Raises CorruptionError, OSError.
        """
        intact = b""
        self.segments = self._list()
        for position, segment in enumerate(self.segments):
            data = segment.path.read_bytes()
            intact = data[: self._recover(segment, data, visit, last=position == len(self.segments) - 1)]
        return intact

    def _list(self) -> list[Segment]:
        segments = sorted(
            (Segment(int(path.stem), path) for path in self._directory.glob(f"*{_SUFFIX}")),
            key=lambda segment: segment.number,
        )
        # Deletions of old segments need not reach the disk in order: what lies before a gap is such a leftover.
        # Whether anything needed is missing shows when the log is matched with the applied index; until then it stays.
        for position in range(len(segments) - 1, 0, -1):
            if segments[position - 1].number != segments[position].number - 1:
                self._leftovers = segments[:position]
                return segments[position:]
        return segments

    def _recover(self, segment: Segment, data: bytes, visit: Callable[[Segment, bytes], None], last: bool) -> int:
        offset = 0
        while (frame := _read_frame(data, offset)) is not None:
            sequence, payload, end = frame
            if self._sequence and sequence != self._sequence + 1:
                raise CorruptionError(
                    f"{segment.path}: frame {sequence} at byte {offset} follows frame {self._sequence}"
                )
            visit(segment, payload)
            self._sequence, offset = sequence, end
        follower = _later_frame(data, offset, self._sequence)
        if follower >= 0:
            raise CorruptionError(f"{segment.path}: damaged at byte {offset}, intact again at byte {follower}")
        if not last and data[offset:].strip(b"\0"):
            raise CorruptionError(f"{segment.path}: damaged at byte {offset}, and a later segment exists")
        if not _is_torn(data, offset):
            raise CorruptionError(f"{segment.path}: damaged at byte {offset}, in the last frame")
        return offset

    def _rewrite(self, segment: Segment, data: bytes) -> None:
        if not data:
            segment.path.unlink()
            self.segments.pop()
            sync_directory(self._directory, self._sync)
            return
        staging = segment.path.with_suffix(".tmp")
        self._descriptor = _create(staging)
        _write_all(self._descriptor, data, 0)
        os.posix_fallocate(self._descriptor, 0, max(self._segment_bytes, len(data)))
        self._sync(self._descriptor)
        staging.replace(segment.path)
        sync_directory(self._directory, self._sync)
        self._offset = len(data)

    @property
    def needs_segment(self) -> bool:
        """Whether the next append begins a new segment."""
        return self._descriptor < 0 or self._offset >= self._segment_bytes

    def append(self, payload: bytes, last_index: int) -> None:
        """Write one frame and wait until it is durable. last_index: the highest entry in it, 0 for none.

        Raises OSError that names the file.
        """
        try:
            self._append(payload)
        except OSError as failure:
            failure.filename = failure.filename or str(self.segments[-1].path if self.segments else self._directory)
            raise
        self.segments[-1].last_index = max(self.segments[-1].last_index, last_index)

    def _append(self, payload: bytes) -> None:
        fresh = self.needs_segment
        if fresh:
            self._begin_segment()
        frame = _frame(self._sequence + 1, payload)
        _write_all(self._descriptor, frame, self._offset)
        self._sync(self._descriptor)
        if fresh:
            sync_directory(self._directory, self._sync)
        self._sequence += 1
        self._offset += len(frame)

    def _begin_segment(self) -> None:
        self.close()
        number = self.segments[-1].number + 1 if self.segments else 1
        path = self._directory / f"{number:016d}{_SUFFIX}"
        self._descriptor = _create(path)
        # Blocks taken beforehand make each flush cheaper: the file's size does not change with it.
        os.posix_fallocate(self._descriptor, 0, self._segment_bytes)
        self._offset = 0
        self.segments.append(Segment(number, path))

    def drop_before(self, index: int) -> None:
        """Remove segments that hold only entries below an index. The current one always stays."""
        while self._leftovers:
            self._leftovers.pop().path.unlink()
        while len(self.segments) > 1 and self.segments[0].last_index < index:
            self.segments.pop(0).path.unlink()

    def close(self) -> None:
        """Release the file. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _create(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
