"""A container's output: from its pipes into the log file that the kubelet named, and to whoever is attached.

What is on the way between the two outlives the shim in a journal. A log that can't be written (disk full) loses
records, is complained about once, and never blocks the container.
"""

import asyncio
import errno
import os
import stat
from pathlib import Path

from navarch.runtime_shim.containerd.journal import Journal
from navarch.runtime_shim.containerd.logformat import LineFormatter
from navarch.runtime_shim.containerd.pipes import READ_BYTES, STDERR, STDOUT, Pipes
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger

LOG = get_logger("shim.output")
# An attached client this many pieces behind is cut off rather than fed without end.
ATTACH_QUEUE = 256
STREAMS = (STDOUT, STDERR)
# Pieces for an attached client: (stream, data); None when the output has ended.
Piece = tuple[str, bytes] | None


class Output:
    """Reads one container's output for as long as the shim and the container live."""

    def __init__(self, folder: Path, log_path: str, clock: Clock, *, stdin: bool, tty: bool) -> None:
        """log_path: "" for a container whose output nobody asked for."""
        self.pipes = Pipes(folder, stdin=stdin, tty=tty, on_data=self._on_data, read=self._read)
        self._log_path = log_path
        self._clock = clock
        self._formatters = {stream: LineFormatter(stream) for stream in STREAMS}
        self._journal_path = folder / "journal"
        self._journal: Journal | None = None
        self._attached: set[asyncio.Queue[Piece]] = set()
        # The log's.
        self._handle, self._inode, self._bytes = -1, 0, 0
        self._complained = False

    def open(self) -> None:
        """Open log and pipes. Raises OSError."""
        self.reopen()
        if self._log_path and self._journal_path.exists():
            try:
                self._recover()
            except OSError as failure:
                self._complain(failure)
        self.pipes.open()

    def reopen(self) -> None:
        """Go on in a new file at the log's path; the old one was renamed. Raises OSError."""
        if not self._log_path:
            return
        os.makedirs(os.path.dirname(self._log_path), exist_ok=True)
        # Neither led elsewhere by a link nor held up by a pipe.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        handle = os.open(self._log_path, flags, 0o640)
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            os.close(handle)
            raise OSError(errno.EINVAL, "a log must be a plain file", self._log_path)
        self._close_log()
        self._handle = handle
        self._inode, self._bytes = status.st_ino, status.st_size
        self._commit()

    def attach(self) -> "asyncio.Queue[Piece]":
        """A queue of all output from now on; hand it to `detach` in the end."""
        queue: asyncio.Queue[Piece] = asyncio.Queue(ATTACH_QUEUE + 1)
        if self.pipes.drained.is_set():
            queue.put_nowait(None)
        self._attached.add(queue)
        return queue

    def detach(self, queue: "asyncio.Queue[Piece]") -> None:
        """Stop feeding a queue."""
        self._attached.discard(queue)

    def close(self, *, remove: bool) -> None:
        """Write what waits for its line end, and let go. remove: the container is over."""
        self.pipes.close(remove=remove)
        for formatter in self._formatters.values():
            self._write(formatter.flush(self._now()))
        self._commit()
        self._close_journal(remove=remove)
        self._close_log()
        self._tell(None)

    def _recover(self) -> None:
        """Bring the log to where a killed predecessor's would be."""
        self._journal = Journal(self._journal_path)
        left = self._journal.unlogged()
        if left.inode == self._inode and left.log_bytes < self._bytes:
            os.ftruncate(self._handle, left.log_bytes)
            self._bytes = left.log_bytes
        for stream, rest in zip(STREAMS, left.waiting, strict=True):
            self._formatters[stream].rest = rest
        self._write(self._formatters[STREAMS[left.stream]].feed(left.read, self._now()))
        self._commit()

    def _read(self, stream: str, handle: int) -> bytes:
        if self._journal is None and self._handle >= 0:
            try:
                self._journal = Journal(self._journal_path)
                self._commit()
            except OSError as failure:
                self._complain(failure)
        if self._journal is None:
            return os.read(handle, READ_BYTES)
        return self._journal.read(STREAMS.index(stream), handle)

    def _commit(self) -> None:
        if self._journal is not None:
            stdout, stderr = (self._formatters[stream].rest for stream in STREAMS)
            self._journal.commit(self._inode, self._bytes, (stdout, stderr))

    def _on_data(self, stream: str, data: bytes) -> None:
        if data:
            self._write(self._formatters[stream].feed(data, self._now()))
            self._commit()
            self._tell((stream, data))
        elif self.pipes.drained.is_set():
            self._tell(None)

    def _tell(self, piece: Piece) -> None:
        for queue in list(self._attached):
            if piece is not None and queue.qsize() >= ATTACH_QUEUE:
                self._attached.discard(queue)
                piece = None
            if not queue.full():
                queue.put_nowait(piece)

    def _write(self, records: bytes) -> None:
        rest = memoryview(records)
        try:
            while rest and self._handle >= 0:
                written = os.write(self._handle, rest)
                self._bytes += written
                rest = rest[written:]
        except OSError as failure:
            self._complain(failure)
        else:
            self._complained = self._complained and not records

    def _complain(self, failure: OSError) -> None:
        if not self._complained:
            LOG.error("log.lost", path=self._log_path, error=failure)
        self._complained = True

    def _close_journal(self, *, remove: bool) -> None:
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()
            if remove:
                self._journal_path.unlink(missing_ok=True)

    def _close_log(self) -> None:
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def _now(self) -> int:
        return int(self._clock.now() * 1e9)
