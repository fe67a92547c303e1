"""The named pipes between a process in a container and the shim.

containerd-shim holds both ends of the output pipes open, so a process never sees its output closed while we are
away, and a pipe says "end" only when the process and all it left behind have ended. Opening for reading never
waits. Reading happens in the event loop's callbacks, one read a wake-up, so that no container starves another.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

READ_BYTES = 64 << 10
STDOUT, STDERR = "stdout", "stderr"


class Pipes:
    """Standard streams of one process. With a terminal there is no stderr: it is stdout."""

    def __init__(
        self,
        folder: Path,
        *,
        stdin: bool,
        tty: bool,
        on_data: Callable[[str, bytes], None],
        read: Callable[[str, int], bytes] | None = None,
    ) -> None:
        """on_data: called with the stream's name and what came; b"" once at each stream's end. read: in place of
        a plain read, from the descriptor that is given for the stream.
        """
        self._on_data = on_data
        self._take = read or _read_plainly
        self.stdin = str(folder / "stdin") if stdin else ""
        self.stdout = str(folder / STDOUT)
        self.stderr = "" if tty else str(folder / STDERR)
        # Set when all output has ended.
        self.drained = asyncio.Event()
        self._readers: dict[str, int] = {}
        self._writer = -1

    def open(self) -> None:
        """Make the pipes that are not there yet, and read from them until their end or `close`."""
        for path in filter(None, (self.stdin, self.stdout, self.stderr)):
            with contextlib.suppress(FileExistsError):
                os.mkfifo(path, 0o600)
        loop = asyncio.get_running_loop()
        for stream, path in ((STDOUT, self.stdout), (STDERR, self.stderr)):
            if path:
                handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                self._readers[stream] = handle
                loop.add_reader(handle, self._read, stream, handle)
        if self.stdin:
            # Read and write: then opening doesn't wait for the reader, and its absence is no error.
            self._writer = os.open(self.stdin, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    @property
    def handles(self) -> tuple[int, ...]:
        """The read ends of what has not ended."""
        return tuple(self._readers.values())

    async def drain(self) -> None:
        """Return when all output has ended. Only for a process that is over.

        An end that came before we opened a pipe wakes nobody; it is found by reading. (Before a process begins, its
        pipes look just the same.)
        """
        for stream, handle in list(self._readers.items()):
            while self._readers.get(stream) == handle and self._read(stream, handle):  # noqa: ASYNC110 - others' turn
                await asyncio.sleep(0)
        await self.drained.wait()

    def pause(self) -> None:
        """Leave output in the pipes: whoever takes it is behind. The process waits when they are full."""
        for handle in self._readers.values():
            asyncio.get_running_loop().remove_reader(handle)

    def resume(self) -> None:
        """Read on. Idempotent."""
        for stream, handle in self._readers.items():
            asyncio.get_running_loop().add_reader(handle, self._read, stream, handle)

    def forget(self) -> None:
        """Read on, but drop what comes: the process is being ended, and nobody is interested any more."""
        self._on_data = lambda stream, data: None
        self.resume()

    async def write(self, data: bytes) -> None:
        """Feed standard input; waits while the process doesn't read."""
        loop = asyncio.get_running_loop()
        rest = memoryview(data)
        while rest and self._writer >= 0:
            try:
                rest = rest[os.write(self._writer, rest) :]
            except BlockingIOError:
                writable = loop.create_future()
                handle = self._writer
                loop.add_writer(handle, _wake, writable)
                try:
                    await writable
                finally:
                    loop.remove_writer(handle)

    def close_stdin(self) -> None:
        """Give up our end of standard input; the process sees its end after Tasks.CloseIO."""
        handle, self._writer = self._writer, -1
        if handle >= 0:
            os.close(handle)

    def close(self, *, remove: bool = False) -> None:
        """Stop reading and writing. remove: the process is over, the pipes go too. Idempotent."""
        for stream, handle in list(self._readers.items()):
            self._end(stream, handle)
        self.close_stdin()
        if remove:
            for path in filter(None, (self.stdin, self.stdout, self.stderr)):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    def _read(self, stream: str, handle: int) -> bool:
        """Whether there was anything."""
        try:
            data = self._take(stream, handle)
        except BlockingIOError:
            return False
        if not data:
            self._end(stream, handle)
        self._on_data(stream, data)
        return bool(data)

    def _end(self, stream: str, handle: int) -> None:
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)
        self._readers.pop(stream, None)
        if not self._readers:
            self.drained.set()


def _read_plainly(stream: str, handle: int) -> bytes:
    return os.read(handle, READ_BYTES)


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
