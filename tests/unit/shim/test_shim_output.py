"""A container's output on its way into the log, over deaths of the shim at any step."""

import asyncio
import fcntl
import os
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from navarch.runtime_shim.containerd import output as output_module
from navarch.runtime_shim.containerd.journal import Journal
from navarch.runtime_shim.containerd.output import Output
from navarch.services.base.clock import SystemClock

PIECE = b"".join(b"line %d\n" % number for number in range(40)) + b"begun " + b"z" * 20_000 + b" ended\nhalf a "


class KilledError(BaseException):
    """Nothing after this point happens."""


class Death:
    """Comes in the `after`-th of the steps that touch log or journal, before, within or after it."""

    def __init__(self, after: int, when: str) -> None:
        self.left, self.when = after, when

    def step(self, begun: str) -> bool:
        """Whether it is time."""
        if begun == self.when:
            self.left -= 1
        return begun == self.when and self.left < 0


def texts(log: Path) -> dict[str, bytes]:
    """What each stream's records say, joined."""
    found = {"stdout": b"", "stderr": b""}
    for record in log.read_bytes().splitlines():
        _, stream, tag, text = record.split(b" ", 3)
        found[stream.decode()] += text + (b"\n" if tag == b"F" else b"")
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """With the pipes held open, as containerd-shim does."""
    handles = []
    for name in ("stdout", "stderr"):
        os.mkfifo(tmp_path / name)
        handles.append(os.open(tmp_path / name, os.O_RDWR | os.O_NONBLOCK))
    yield tmp_path
    for handle in handles:
        os.close(handle)


def say(folder: Path, stream: str, data: bytes) -> None:
    handle = os.open(folder / stream, os.O_WRONLY | os.O_NONBLOCK)
    assert os.write(handle, data) == len(data)
    os.close(handle)


def make(folder: Path) -> Output:
    made = Output(folder, str(folder / "0.log"), SystemClock(), stdin=False, tty=False)
    made.open()
    return made


def mortal(death: Death, monkeypatch: pytest.MonkeyPatch) -> None:
    write, commit = os.write, Journal.commit

    class Os:
        """The module, but for `write`."""

        def __getattr__(self, name: str) -> object:
            return getattr(os, name)

        def write(self, handle: int, data: bytes) -> int:
            if death.step("before write"):
                raise KilledError
            if death.step("in write"):
                write(handle, data[: len(data) // 2])
                raise KilledError
            count = write(handle, data)
            if death.step("after write"):
                raise KilledError
            return count

    def dying_commit(journal: Journal, inode: int, log_bytes: int, waiting: tuple[bytes, bytes]) -> None:
        commit(journal, inode, log_bytes, waiting)
        if death.step("after commit"):
            raise KilledError

    monkeypatch.setattr(output_module, "os", Os())
    monkeypatch.setattr(Journal, "commit", dying_commit)


@pytest.mark.parametrize("when", ["before write", "in write", "after write", "after commit"])
@pytest.mark.parametrize("after", range(6))
async def test_a_kill_loses_nothing_and_doubles_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, when: str, after: int
) -> None:
    dead = asyncio.Event()
    loop = asyncio.get_running_loop()

    def unfinished(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        raise AssertionError(context)

    loop.set_exception_handler(unfinished)
    with monkeypatch.context() as patch:
        mortal(Death(after, when), patch)
        # As an asyncio callback would die with its process, so here a callback just ends.
        taken = Output._on_data

        def until_death(self: Output, stream: str, data: bytes) -> None:
            try:
                if not dead.is_set():
                    taken(self, stream, data)
            except KilledError:
                dead.set()
                self.pipes.pause()

        patch.setattr(Output, "_on_data", until_death)
        try:
            victim = make(folder)
            for stream in ("stdout", "stderr", "stdout"):
                say(folder, stream, PIECE)
                await drained(folder, dead)
            dead.set()
        except KilledError:
            victim = None
    if victim is not None:
        victim.pipes.close()
    successor = make(folder)
    await drained(folder, asyncio.Event())
    successor.close(remove=True)
    said = texts(folder / "0.log")
    for stream, times in (("stdout", 2), ("stderr", 1)):
        # What was never said before the death is no loss.
        assert said[stream] in {PIECE * number for number in range(times + 1)}
    assert said["stdout"], "the first piece was said for sure"


async def drained(folder: Path, dead: asyncio.Event) -> None:
    """Return when the pipes are empty, or their reader is dead."""
    async with asyncio.timeout(10):
        for stream in ("stdout", "stderr"):
            handle = os.open(folder / stream, os.O_RDWR | os.O_NONBLOCK)
            while not dead.is_set() and any(fcntl.ioctl(handle, termios.FIONREAD, bytes(4))):
                await asyncio.sleep(0)
            os.close(handle)
        await asyncio.sleep(0)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_log_that_is_no_plain_file_is_refused(tmp_path: Path, kind: str) -> None:
    log, elsewhere = tmp_path / "0.log", tmp_path / "elsewhere"
    make = {"link": lambda: log.symlink_to(elsewhere), "pipe": lambda: os.mkfifo(log), "folder": log.mkdir}
    make[kind]()
    with pytest.raises(OSError, match="0.log"):
        Output(tmp_path, str(log), SystemClock(), stdin=False, tty=False).reopen()
    assert not elsewhere.exists()
