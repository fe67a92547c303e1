"""Reads and follows the log of a container.

Following waits for the kernel to say that the file grew (inotify), so an idle follower costs nothing; where
inotify is not to be had it looks ten times a second. After a rotation it goes on in the new file. The end of the
container ends the following.
"""

import asyncio
import ctypes
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from navarch.services.base.clock import Clock
from navarch.services.kubelet.log_lines import LogEntry, parse_line, split_lines

CHUNK_BYTES = 64 * 1024
LOOK_S = 0.1
# Also with inotify: the end of a container writes nothing to its log.
LOOK_WITH_INOTIFY_S = 1.0
IN_MODIFY, IN_CLOEXEC, IN_NONBLOCK = 0x2, 0o2000000, 0o4000


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Which part of a log. since: Unix seconds; tail_lines and limit_bytes: None for all; stream: "" for both."""

    follow: bool = False
    since: float | None = None
    tail_lines: int | None = None
    limit_bytes: int | None = None
    timestamps: bool = False
    stream: str = ""


async def read_log(path: Path, options: LogOptions, is_alive: Callable[[], bool], clock: Clock) -> AsyncIterator[bytes]:
    """The chosen part of a log in chunks, as the container wrote it. A log that is not there is empty."""
    left = options.limit_bytes
    async for chunk in _chunks(path, options, is_alive, clock):
        if left is None:
            yield chunk
            continue
        yield chunk[:left]
        left -= len(chunk)
        if left <= 0:
            return


async def _chunks(path: Path, options: LogOptions, is_alive: Callable[[], bool], clock: Clock) -> AsyncIterator[bytes]:
    if options.tail_lines == 0 and not options.follow:
        return
    tail_lines = options.tail_lines
    while True:
        try:
            file = await asyncio.to_thread(path.open, "rb")
        except FileNotFoundError:
            return
        with file, _growth(path) as grown:
            if tail_lines is not None:
                await asyncio.to_thread(_seek_tail, file, tail_lines)
            rest = b""
            while True:
                # Asked before reading: what came until then is in the file.
                replaced = options.follow and _is_replaced(file, path)
                goes_on = options.follow and is_alive() and not replaced
                data = await asyncio.to_thread(file.read, CHUNK_BYTES)
                if data:
                    lines, rest = _split(rest + data)
                    if out := b"".join(_select(lines, options)):
                        yield out
                elif goes_on:
                    await _wait(grown, clock)
                else:
                    break
        if not replaced:
            return
        tail_lines = None


def _is_replaced(file: BinaryIO, path: Path) -> bool:
    """Whether another file has the log's name by now; while none has it, the old one may still grow."""
    try:
        return not os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    """Whole lines, and what is left of the last."""
    end = data.rfind(b"\n") + 1
    return split_lines(data[:end]), data[end:]


def _select(lines: list[bytes], options: LogOptions) -> Iterator[bytes]:
    for line in lines:
        entry = parse_line(line)
        if entry is None or not _chosen(entry, options):
            continue
        if options.timestamps:
            yield entry.timestamp + b" "
        yield entry.content


def _chosen(entry: LogEntry, options: LogOptions) -> bool:
    if options.stream and entry.stream != options.stream.lower():
        return False
    return options.since is None or entry.unix() >= options.since


def _seek_tail(file: BinaryIO, lines: int) -> None:
    """Go to the start of the last `lines` whole lines, reading backwards. Parts count with their line."""
    end = position = file.seek(0, os.SEEK_END)
    data = b""
    while position > 0:
        step = min(CHUNK_BYTES, position)
        position -= step
        file.seek(position)
        data = file.read(step) + data
        starts = _line_starts(data, whole_file=position == 0)
        if len(starts) > lines:
            file.seek(position + starts[-lines] if lines else end)
            return
    starts = _line_starts(data, whole_file=True)
    file.seek(starts[-lines] if 0 < lines <= len(starts) else (end if not lines else 0))


def _line_starts(data: bytes, *, whole_file: bool) -> list[int]:
    """Where lines of the container begin in `data`; the first may be torn unless it is the whole file."""
    starts: list[int] = []
    offset, begins = 0, whole_file
    for line in split_lines(data):
        entry = parse_line(line)
        if entry is not None:
            if begins:
                starts.append(offset)
            begins = not entry.partial
        elif offset == 0 and not whole_file:
            begins = False
        offset += len(line)
    return starts


@contextmanager
def _growth(path: Path) -> Iterator[asyncio.Event | None]:
    """An event that is set when the file grows; None without inotify."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(IN_CLOEXEC | IN_NONBLOCK)
    if descriptor < 0:
        yield None
        return
    grown = asyncio.Event()

    def drain() -> None:
        os.read(descriptor, 4096)
        grown.set()

    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, drain)
    try:
        watched = libc.inotify_add_watch(descriptor, os.fsencode(path), IN_MODIFY) >= 0
        yield grown if watched else None
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def _wait(grown: asyncio.Event | None, clock: Clock) -> None:
    if grown is None:
        await clock.sleep(LOOK_S)
        return
    try:
        await asyncio.wait_for(grown.wait(), LOOK_WITH_INOTIFY_S)
    except TimeoutError:
        return
    grown.clear()
