"""The user's terminal, as a program in a container needs it: raw, its input as it is typed, its size."""

import asyncio
import os
import shutil
import stat
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from navarch.protos.navarch import node_pb2

CHUNK_BYTES = 32 << 10


@contextmanager
def raw(wanted: bool) -> Iterator[None]:
    """Pass every key on as it is, Ctrl-C too; restored at the end."""
    if not wanted:
        yield
        return
    saved = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)


def size() -> node_pb2.ExecRequest:
    """The present size."""
    now = shutil.get_terminal_size()
    return node_pb2.ExecRequest(resize=node_pb2.TerminalSize(width=now.columns, height=now.lines))


async def stdin_chunks() -> AsyncIterator[bytes]:
    """Standard input until its end; never a thread that would be left waiting for a key."""
    descriptor = sys.stdin.fileno()
    # Files are always readable and cannot be watched; neither can some devices, /dev/null among them.
    watchable = not stat.S_ISREG(os.fstat(descriptor).st_mode)
    while True:
        if watchable:
            watchable = await _readable(descriptor)
        data = os.read(descriptor, CHUNK_BYTES)
        if not data:
            return
        yield data


async def _readable(descriptor: int) -> bool:
    """Wait for input. Returns False where the system cannot tell."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except PermissionError:
        return False
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
    return True
