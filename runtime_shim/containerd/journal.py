"""What has been read of a container's output but is not in its log yet, kept where a kill -9 does not reach.

Bytes leave a pipe for good when they are read. So they are read straight into a file that is mapped into memory: it
outlives the process (not the host, nor do the pipes). Two slots in it take turns. The one that is current holds the
beginnings of lines that wait for their ends, how long the log was when all before them was in it, and then the
window that the next bytes are read into. After these are in the log, the other slot is filled with what waits now,
and becomes the current one by a single store. Whoever comes after a kill cuts the log to the current slot's length
and takes what waits and what is in the window once more: nothing is lost, and nothing is there twice.

How much is in the window is told by its zeros: it is cleared before each use. (Output that ends in zero bytes could
lose those, were the kill to fall between the end of one read and the very next store.)
"""

import mmap
import os
from dataclasses import dataclass
from pathlib import Path

from navarch.runtime_shim.containerd.logformat import LINE_BYTES

STREAMS = 2
WINDOW_BYTES = 64 << 10
# The words of a slot by place. Behind them: the length of each stream's waiting bytes.
INODE, LOG_BYTES, STREAM, READ, WAITING = range(5)
HEADER_BYTES = 64
SLOT_BYTES = HEADER_BYTES + STREAMS * LINE_BYTES + WINDOW_BYTES
FILE_BYTES = mmap.PAGESIZE + 2 * SLOT_BYTES


@dataclass(frozen=True, slots=True)
class Unlogged:
    """inode, log_bytes: the log and its length when what follows was not in it. waiting: of each stream by number,
    the beginning of a line. read: what then came from a stream."""

    inode: int
    log_bytes: int
    waiting: tuple[bytes, bytes]
    stream: int
    read: bytes


class Journal:
    """The file. One at a time has it open."""

    def __init__(self, path: Path) -> None:
        """Open it or make it. Raises OSError, also where the disk has no room for all of it."""
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fresh = os.fstat(handle).st_size == 0
            # A page that the disk has no room for would be a signal, not an error.
            os.posix_fallocate(handle, 0, FILE_BYTES)
            self._map = mmap.mmap(handle, FILE_BYTES)
        finally:
            os.close(handle)
        self._bytes = memoryview(self._map)
        self._words = self._bytes.cast("Q")
        # Of each slot's window, how much is not zero.
        self._dirty = [0, 0] if fresh else [WINDOW_BYTES, WINDOW_BYTES]

    def unlogged(self) -> Unlogged:
        """What a predecessor left; before the first `read`."""
        first = self._first_word()
        inode, log_bytes, stream, read, *lengths = self._words[first : first + WAITING + STREAMS]
        begins = [self._begin() + HEADER_BYTES + number * LINE_BYTES for number in range(STREAMS)]
        one, two = (bytes(self._bytes[b : b + length]) for b, length in zip(begins, lengths, strict=True))
        window = bytes(self._window())
        return Unlogged(inode, log_bytes, (one, two), stream, window[: max(read, len(window.rstrip(b"\0")))])

    def read(self, stream: int, handle: int) -> bytes:
        """Read from a pipe, once. Raises BlockingIOError."""
        first, window = self._first_word(), self._window()
        self._words[first + STREAM] = stream
        count = os.readv(handle, [window])
        self._words[first + READ] = count
        self._dirty[self._words[0]] = count
        return bytes(window[:count])

    def commit(self, inode: int, log_bytes: int, waiting: tuple[bytes, bytes]) -> None:
        """All that was read is in the log, of this length now, but for what waits."""
        slot = 1 - self._words[0]
        begin = _slot_begin(slot)
        window = begin + SLOT_BYTES - WINDOW_BYTES
        self._bytes[window : window + self._dirty[slot]] = bytes(self._dirty[slot])
        self._dirty[slot] = 0
        for number, data in enumerate(waiting):
            place = begin + HEADER_BYTES + number * LINE_BYTES
            self._bytes[place : place + len(data)] = data
        first = begin // self._words.itemsize
        for position, value in enumerate((inode, log_bytes, 0, 0, *map(len, waiting))):
            self._words[first + position] = value
        self._words[0] = slot

    def close(self) -> None:
        """Let go of the file; it stays."""
        self._words.release()
        self._bytes.release()
        self._map.close()

    def _begin(self) -> int:
        return _slot_begin(self._words[0])

    def _first_word(self) -> int:
        return self._begin() // self._words.itemsize

    def _window(self) -> memoryview:
        end = self._begin() + SLOT_BYTES
        return self._bytes[end - WINDOW_BYTES : end]


def _slot_begin(slot: int) -> int:
    return mmap.PAGESIZE + slot * SLOT_BYTES
