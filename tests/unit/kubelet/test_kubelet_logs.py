"""CRI logs: reading, choosing, following; last words."""

import asyncio
import gzip
from pathlib import Path
from typing import cast

import grpc
import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.services.base.clock import SystemClock, VirtualClock
from navarch.services.kubelet.core.observed import EXITED, Container
from navarch.services.kubelet.log_lines import parse_line
from navarch.services.kubelet.log_reader import LogOptions, read_log
from navarch.services.kubelet.log_rotation import LogPolicy, LogRotation, all_files
from navarch.services.kubelet.runtime import Runtime, RuntimeFailure
from navarch.services.kubelet.termination import with_last_words

LINES = [
    b"2026-01-31T12:00:00.000000000Z stdout F one\n",
    b"2026-01-31T12:00:01.500000000Z stderr F two\n",
    b"2026-01-31T12:00:02.000000000Z stdout P thr\n",
    b"2026-01-31T12:00:02.000000001Z stdout F ee\n",
    b"2026-01-31T12:00:03.000000000Z stdout F \n",
]
FIRST = 1769860800.0


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    path.write_bytes(b"".join(LINES))
    return path


async def read(path: Path, options: LogOptions | None = None) -> bytes:
    chunks = [chunk async for chunk in read_log(path, options or LogOptions(), lambda: False, SystemClock())]
    return b"".join(chunks)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (LogOptions(), b"one\ntwo\nthree\n\n"),
        (LogOptions(stream="Stderr"), b"two\n"),
        (LogOptions(since=FIRST + 1), b"two\nthree\n\n"),
        (LogOptions(since=FIRST + 99), b""),
        (LogOptions(tail_lines=0), b""),
        (LogOptions(tail_lines=1), b"\n"),
        (LogOptions(tail_lines=2), b"three\n\n"),
        (LogOptions(tail_lines=99), b"one\ntwo\nthree\n\n"),
        (LogOptions(limit_bytes=5), b"one\nt"),
        (LogOptions(limit_bytes=0), b""),
        (LogOptions(tail_lines=4, timestamps=True, limit_bytes=34), LINES[0][:31] + b"one"),
    ],
)
async def test_parts_of_a_log(log: Path, options: LogOptions, expected: bytes) -> None:
    assert await read(log, options) == expected


@pytest.mark.parametrize("options", [LogOptions(), LogOptions(tail_lines=2)], ids=["all", "tail"])
async def test_only_a_newline_ends_a_line(tmp_path: Path, options: LogOptions) -> None:
    path = tmp_path / "0.log"
    stamp = b"2026-01-31T12:00:00Z stdout F "
    path.write_bytes(stamp + b"10%\r20%\r\n" + stamp + b"\x0b\x0c\x1c\x85\xff\r\n")
    assert await read(path, options) == b"10%\r20%\r\n\x0b\x0c\x1c\x85\xff\r\n"


async def test_no_log_is_an_empty_log(tmp_path: Path) -> None:
    assert await read(tmp_path / "none") == b""


@pytest.mark.parametrize("tail", [1, 7, 1000, 5000])
async def test_the_tail_of_a_long_log(tmp_path: Path, tail: int) -> None:
    path = tmp_path / "long.log"
    path.write_bytes(b"".join(b"2026-01-31T12:00:00Z stdout F line %d\n" % n for n in range(5000)))
    found = (await read(path, LogOptions(tail_lines=tail))).splitlines()
    assert found == [b"line %d" % n for n in range(5000 - tail, 5000)]


async def test_following_gives_new_lines_as_they_come_and_ends_with_the_container(log: Path) -> None:
    alive = True
    seen: asyncio.Queue[bytes] = asyncio.Queue()

    async def follow() -> None:
        async for chunk in read_log(log, LogOptions(follow=True, tail_lines=1), lambda: alive, SystemClock()):
            seen.put_nowait(chunk)

    task = asyncio.create_task(follow())
    assert await seen.get() == b"\n"
    with log.open("ab", buffering=0) as file:
        file.write(b"2026-01-31T12:00:04Z stdout F fo")
        file.write(b"ur\n")
        assert await seen.get() == b"four\n"
        alive = False
        file.write(b"2026-01-31T12:00:05Z stdout F last\n")
    await task
    assert seen.get_nowait() == b"last\n"


async def test_following_goes_on_in_the_new_file_after_a_rotation(log: Path) -> None:
    alive = True
    seen: asyncio.Queue[bytes] = asyncio.Queue()

    async def follow() -> None:
        async for chunk in read_log(log, LogOptions(follow=True, tail_lines=1), lambda: alive, SystemClock()):
            seen.put_nowait(chunk)

    task = asyncio.create_task(follow())
    assert await seen.get() == b"\n"
    with log.open("ab", buffering=0) as file:
        log.rename(log.with_name("0.log.1"))
        file.write(b"2026-01-31T12:00:04Z stdout F into the old file\n")
        assert await seen.get() == b"into the old file\n"
    log.write_bytes(b"2026-01-31T12:00:05Z stdout F new\n2026-01-31T12:00:06Z stdout F newer\n")
    assert await seen.get() == b"new\nnewer\n"
    alive = False
    await task


class Reopens:
    """A runtime that opens logs anew."""

    def __init__(self, log: Path) -> None:
        self.reopened: list[str] = []
        self.refuses = False
        self._log = log

    async def reopen_log(self, id_: str) -> None:
        if self.refuses:
            raise RuntimeFailure(grpc.StatusCode.UNAVAILABLE, "away")
        self.reopened.append(id_)
        self._log.touch()


async def test_a_log_that_has_grown_is_set_aside_and_the_oldest_removed(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    runtime, clock = Reopens(log), VirtualClock(FIRST)
    rotation = LogRotation(cast(Runtime, runtime), clock, lambda: [("c", log)], LogPolicy(10, max_files=3))
    log.write_bytes(b"short")
    await rotation.rotate()
    assert runtime.reopened == []
    for number in range(5):
        log.write_bytes(b"number %d is long enough" % number)
        await rotation.rotate()
        clock.advance(1)
    assert len(runtime.reopened) == 5
    compressed, newest, current = all_files(log)
    assert gzip.decompress(compressed.read_bytes()).startswith(b"number 3")
    assert (newest.read_bytes()[:8], current.read_bytes()) == (b"number 4", b"")


async def test_a_log_whose_rotation_was_interrupted_is_opened_anew(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    runtime = Reopens(log)
    rotation = LogRotation(cast(Runtime, runtime), VirtualClock(FIRST), lambda: [("c", log)], LogPolicy(10))
    log.write_bytes(b"long enough")
    runtime.refuses = True
    await rotation.rotate()
    assert not log.exists()
    runtime.refuses = False
    await rotation.rotate()
    assert (runtime.reopened, log.exists()) == (["c"], True)


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"garbage\n", b"2026 stdout F no end", b"2026 stdin F x\n", b"2026 stdout\n"],
)
def test_what_is_no_entry_is_skipped(line: bytes) -> None:
    assert parse_line(line) is None


@pytest.mark.parametrize(
    ("stamp", "unix"),
    [
        (b"2026-01-31T12:00:00Z", FIRST),
        (b"2026-01-31T12:00:00.5Z", FIRST + 0.5),
        (b"2026-01-31T12:00:00.123456789Z", FIRST + 0.123456),
        (b"2026-01-31T14:00:00.000000000+02:00", FIRST),
    ],
)
def test_times_of_entries(stamp: bytes, unix: float) -> None:
    entry = parse_line(stamp + b" stdout F x\n")
    assert entry is not None
    assert entry.unix() == unix


RUN = Container("c", "main", 2, "b", EXITED, 1.0, exit_code=1)


def a_status(policy: str, log_path: Path) -> criv1.ContainerStatus:
    status = criv1.ContainerStatus(log_path=str(log_path))
    status.labels["io.kubernetes.pod.uid"] = "u"
    status.annotations["io.kubernetes.container.terminationMessagePath"] = "/dev/termination-log"
    status.annotations["io.kubernetes.container.terminationMessagePolicy"] = policy
    return status


def test_last_words_come_from_the_file(tmp_path: Path, log: Path) -> None:
    words = tmp_path / "pods" / "u" / "containers" / "main" / "2"
    words.parent.mkdir(parents=True)
    words.write_text("y" * 904 + "x" * 4096)
    found = with_last_words(RUN, a_status("FallbackToLogsOnError", log), str(tmp_path))
    assert found.message == "x" * 4096


@pytest.mark.parametrize(("policy", "message"), [("File", ""), ("FallbackToLogsOnError", "one\ntwo\nthree\n\n")])
def test_last_words_from_the_log_only_when_asked(tmp_path: Path, log: Path, policy: str, message: str) -> None:
    assert with_last_words(RUN, a_status(policy, log), str(tmp_path)).message == message
