"""inotify(7): what the kernel tells of changes to files, as an asyncio.Event."""

import asyncio
import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE, IN_MOVED, IN_CREATE, IN_DELETE = 0x2, 0x4, 0x8, 0xC0, 0x100, 0x200
# That what is in a directory has become another: a file that is being written counts once it is closed.
OF_DIRECTORY = IN_CLOSE_WRITE | IN_MOVED | IN_DELETE | IN_ATTRIB
IN_CLOEXEC, IN_NONBLOCK = 0o2000000, 0o4000


@contextmanager
def changes(path: Path, mask: int = OF_DIRECTORY) -> Iterator[asyncio.Event]:
    """An event that is set when the file or directory changes; never, where inotify is not to be had."""
    changed = asyncio.Event()
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(IN_CLOEXEC | IN_NONBLOCK)
    if descriptor < 0:
        yield changed
        return

    def drain() -> None:
        os.read(descriptor, 65536)
        changed.set()

    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, drain)
    try:
        libc.inotify_add_watch(descriptor, os.fsencode(path), mask)
        yield changed
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
