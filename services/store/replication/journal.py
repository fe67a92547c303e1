"""The log's memory: entries, term and vote; appended in memory, durable after a flush.

`add`, `reset` and `vote` only note records. `take` hands the noted ones out as one payload, `write` makes it
durable (blocking: called in a thread), `done` tells how far the log is durable now. Nothing may be
acknowledged, applied or sent that lies beyond `durable_index`. A write that failed once fails for ever: what
an operating system says about a later fsync of the same pages is worth nothing.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from navarch.services.store.errors import CorruptionError
from navarch.services.store.replication.segments import Segment, SegmentWriter

_RECORD = struct.Struct("<BxxxIQQ")
_ENTRY, _VOTE, _CUT, _RESET = 1, 2, 3, 4

# A command with its index and term.
LogEntry = tuple[bytes, int, int]


class Batch(NamedTuple):
    """Records on their way to the disk, and the last index of the log once they are there."""

    payload: bytes
    last_index: int


class Journal:
    """Entries with consecutive indexes, kept in memory and in segments."""

    def __init__(self, directory: Path, writer: SegmentWriter | None = None) -> None:
        self._writer = writer or SegmentWriter(directory)
        self._entries: list[LogEntry] = []
        self._noted: list[bytes] = []
        self._failure: OSError | None = None
        self.term = 0
        self.voted_for = ""
        self.durable_index = 0
        self.durable_term = self._taken_term = 0
        # How much of what the batch under way carries will still be in the log once it is written.
        self._taken_index = 0

    def open(self) -> None:
        """Recover from the files. Raises CorruptionError, OSError."""
        self._writer.open(self._restore)
        self.durable_index = self.last_index
        self.durable_term = self.term

    def _restore(self, segment: Segment, payload: bytes) -> None:
        for kind, index, term, body in _records(payload):
            if kind == _VOTE:
                self.term, self.voted_for = term, body.decode()
            elif kind == _CUT:
                self._cut(index)
            elif kind == _RESET:
                self._entries = [(body, index, term)]
                segment.last_index = index
            elif self._entries and index != self.last_index + 1:
                raise CorruptionError(f"{segment.path}: entry {index} follows entry {self.last_index}")
            else:
                self._entries.append((body, index, term))
                segment.last_index = index

    @property
    def entries(self) -> list[LogEntry]:
        """The entries in memory, oldest first. Not to be changed."""
        return self._entries

    @property
    def first_index(self) -> int:
        """Index of the oldest entry, 0 when empty."""
        return self._entries[0][1] if self._entries else 0

    @property
    def last_index(self) -> int:
        """Index of the newest entry, durable or not; 0 when empty."""
        return self._entries[-1][1] if self._entries else 0

    @property
    def dirty(self) -> bool:
        """Whether something waits for a flush."""
        return bool(self._noted)

    def add(self, command: bytes, index: int, term: int) -> None:
        """Append an entry. One that is there already stays, with all that follows; another in its place goes, likewise.

        That is Raft's rule for followers: only a conflict cuts the log (figure 2, AppendEntries 3 and 4).
        """
        if index <= self.last_index:
            if self.term_at(index) == term:
                return
            self.cut(index)
        self._entries.append((command, index, term))
        self._noted.append(_RECORD.pack(_ENTRY, len(command), index, term))
        self._noted.append(command)

    def term_at(self, index: int) -> int:
        """The term of an entry, 0 when it is not (or no longer) here."""
        position = index - self.first_index
        return self._entries[position][2] if self._entries and 0 <= position < len(self._entries) else 0

    def between(self, begin: int, end: int) -> list[LogEntry]:
        """The entries with begin <= index < end that are here."""
        first = self.first_index
        return self._entries[max(0, begin - first) : max(0, end - first)]

    def read(self, begin: int, limit_bytes: int) -> list[LogEntry]:
        """Entries from an index on, at least one if there is one, as many as fit."""
        size = 0
        for end in range(begin, self.last_index + 1):
            size += len(self._entries[end - self.first_index][0])
            if size > limit_bytes and end > begin:
                return self.between(begin, end)
        return self.between(begin, self.last_index + 1)

    def cut(self, index: int) -> None:
        """Drop the entries from an index on: they conflict with the leader's."""
        self._cut(index)
        self._lower(index - 1)
        self._noted.append(_RECORD.pack(_CUT, 0, index, 0))

    def reset(self, command: bytes, index: int, term: int) -> None:
        """Begin anew with one entry: what came before it is in a snapshot."""
        self._entries = [(command, index, term)]
        self._lower(0)
        self._noted += (_RECORD.pack(_RESET, len(command), index, term), command)

    def _lower(self, index: int) -> None:
        """Nothing above an index is durable any more, whatever the batch under way carries."""
        self.durable_index = min(self.durable_index, index)
        self._taken_index = min(self._taken_index, index)

    def _cut(self, index: int) -> None:
        if self._entries:
            del self._entries[max(0, index - self.first_index) :]

    def vote(self, term: int, voted_for: str) -> None:
        """Note term and vote."""
        self.term, self.voted_for = term, voted_for
        self._noted.append(self._vote_record())

    def _vote_record(self) -> bytes:
        voted_for = self.voted_for.encode()
        return _RECORD.pack(_VOTE, len(voted_for), 0, self.term) + voted_for

    def take(self) -> Batch:
        """All noted records, to be written next."""
        # Each segment begins with term and vote, so that older segments can go.
        header = self._vote_record() if self._writer.needs_segment else b""
        batch = Batch(header + b"".join(self._noted), self.last_index)
        self._noted.clear()
        self._taken_index, self._taken_term = batch.last_index, self.term
        return batch

    def write(self, batch: Batch) -> None:
        """Make a batch durable; blocks. Raises OSError, and from then on always."""
        if self._failure is not None:
            raise self._failure
        try:
            self._writer.append(batch.payload, batch.last_index)
        except OSError as failure:
            self._failure = failure
            raise

    def done(self, batch: Batch) -> None:
        """A batch was written."""
        self.durable_index = max(self.durable_index, self._taken_index)
        self.durable_term = self._taken_term

    def flush(self) -> None:
        """Take, write and done in one, where blocking does not matter."""
        if self.dirty:
            batch = self.take()
            self.write(batch)
            self.done(batch)

    def release(self, index: int, keep: int, keep_bytes: int) -> None:
        """Forget entries up to an index, except the last `keep` of them or as many as fit into `keep_bytes`.

        Not while a write is under way.
        """
        first = index + 1
        while first > self.first_index and index - first < keep and keep_bytes > 0:
            first -= 1
            keep_bytes -= len(self._entries[first - self.first_index][0])
        if first > self.first_index:
            del self._entries[: min(first, self.last_index) - self.first_index]
            self._writer.drop_before(self.first_index)

    def close(self) -> None:
        """Release the file; what was not flushed is lost. Idempotent."""
        self._writer.close()


def _records(payload: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    offset = 0
    while offset < len(payload):
        kind, length, index, term = _RECORD.unpack_from(payload, offset)
        offset += _RECORD.size
        yield kind, index, term, payload[offset : offset + length]
        offset += length
