"""The log keeper keeps what nobody reads, whoever of those who speak with it dies or misbehaves."""

import asyncio
import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from navarch.runtime_shim.containerd import log_keeper
from navarch.runtime_shim.containerd.leftovers import keeper_processes
from navarch.runtime_shim.containerd.log_keeper import SOCKET, SPARE_FILES, Keeper
from navarch.runtime_shim.containerd.log_keeper_client import LogKeeperClient
from navarch.services.base.clock import SystemClock

Wanted = dict[str, tuple[int, ...]]
SAID = b"x" * 60_000
MANY = 500


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A state folder, whose path is longer than that of a socket may be."""
    made = tmp_path / ("state" * 20)
    made.mkdir()
    yield made
    for pid in keeper_processes(made):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[int]:
    """The read end of a pipe."""
    opened = make_pipe(tmp_path / "pipe")
    yield opened
    os.close(opened)


def make_pipe(path: Path) -> int:
    os.mkfifo(path)
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def say(path: Path, data: bytes) -> None:
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    assert os.write(writer, data) == len(data)
    os.close(writer)


def heard(path: Path) -> bytes:
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    data = os.read(reader, 1 << 20)
    os.close(reader)
    return data


def kept(folder: Path) -> list[str]:
    """The pipes that keepers of the folder have open."""
    found = []
    for pid in keeper_processes(folder):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISFIFO(entry.stat().st_mode):
                    found.append(os.readlink(entry))
    return sorted(found)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def client(folder: Path, wanted: Wanted, answer_timeout_s: float = 10.0) -> AsyncIterator[LogKeeperClient]:
    made = LogKeeperClient(folder, SystemClock(), lambda: wanted, wanted.get, answer_timeout_s)
    made.start()
    try:
        await asyncio.wait_for(made.connected.wait(), 30)
        yield made
    finally:
        await made.stop()


async def ended(folder: Path) -> None:
    await until(lambda: not list(keeper_processes(folder)))


async def test_what_nobody_reads_stays_until_it_is_dropped(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    reader = make_pipe(path)
    async with client(folder, {}) as shim:
        shim.hold("a", [reader])
    say(path, SAID)
    os.close(reader)
    # Somebody had to have it open for this.
    assert heard(path) == SAID
    say(path, SAID)
    async with client(folder, {"a": ()}) as successor:
        successor.take_over()
        assert heard(path) == SAID
        say(path, SAID)
        await until(lambda: kept(folder))
        successor.drop("a")
        await until(lambda: not kept(folder))
        assert heard(path) == b""
    await ended(folder)
    assert not (folder / SOCKET).exists()


async def test_a_successor_that_wants_nothing_frees_all_once_it_knows(folder: Path, handle: int) -> None:
    async with client(folder, {}) as shim:
        shim.hold("a", [handle])
        shim.hold("b", [handle, handle])
        await until(lambda: len(kept(folder)) == 3)
    async with client(folder, {"b": ()}) as successor:
        assert len(kept(folder)) == 3
        successor.take_over()
        await until(lambda: len(kept(folder)) == 2)


async def test_one_that_is_killed_is_replaced_and_told_all(folder: Path, handle: int) -> None:
    wanted: Wanted = {"a": (handle,), "b": (handle, handle), "c": ()}
    async with client(folder, wanted) as shim:
        shim.take_over()
        await until(lambda: len(kept(folder)) == 3)
        for _ in range(2):
            (old,) = keeper_processes(folder)
            os.kill(old, signal.SIGKILL)
            await until(lambda old=old: old not in set(keeper_processes(folder)) and len(kept(folder)) == 3)  # type: ignore[misc]


async def test_one_that_hangs_holds_nobody_up_and_is_replaced(folder: Path, handle: int) -> None:
    wanted: Wanted = {}
    async with client(folder, wanted, answer_timeout_s=0.1) as shim:
        shim.take_over()
        (old,) = keeper_processes(folder)
        os.kill(old, signal.SIGSTOP)
        # More than fits into the socket.
        for number in range(MANY):
            name = f"{number:064}"
            wanted[name] = (handle, handle)
            shim.hold(name, wanted[name])
        await until(lambda: old not in set(keeper_processes(folder)) and len(kept(folder)) == 2 * MANY)


async def test_two_that_start_at_once_have_one_keeper(folder: Path, handle: int) -> None:
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with contextlib.chdir(folder), stale:
        stale.bind(SOCKET)
    async with contextlib.AsyncExitStack() as stack:
        clients = await asyncio.gather(*(stack.enter_async_context(client(folder, {})) for _ in range(3)))
        for number, shim in enumerate(clients):
            shim.hold(str(number), [handle])
        await until(lambda: len(kept(folder)) == len(clients))
        assert len(list(keeper_processes(folder))) == 1


async def test_it_stands_alone(folder: Path) -> None:
    async with client(folder, {}):
        (pid,) = keeper_processes(folder)
        process = Path(f"/proc/{pid}")
        assert stat.S_IMODE((folder / SOCKET).stat().st_mode) == 0o600
        assert os.getsid(pid) not in {os.getsid(0), pid}
        assert {os.readlink(process / "fd" / str(number)) for number in range(3)} == {os.devnull}
        assert os.readlink(process / "cwd") == "/"
        assert (process / "comm").read_text() == "navarch-keeper\n"
        for inherited in ("oom_score_adj", "cgroup"):
            assert (process / inherited).read_text() == Path("/proc/self", inherited).read_text()
        memory = (process / "status").read_text().partition("RssAnon:")[2].split()[0]
        assert int(memory) < 6_000


@pytest.mark.parametrize("gone", ["folder", "socket"])
async def test_it_ends_when_its_place_is_gone(folder: Path, handle: int, gone: str) -> None:
    """Also while it keeps something: nobody could ask for it any more."""
    quick = "import sys; sys.path.append(sys.argv[1]); import log_keeper as k; k.LOOK_S = 0.01; k.main(sys.argv[3])"
    script = Path(log_keeper.__file__)
    command = [sys.executable, "-I", "-S", "-c", quick, str(script.parent), str(script), str(folder)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    async with client(folder, {}) as shim:
        shim.hold("a", [handle])
        await until(lambda: bool(kept(folder)))
    for path in folder.iterdir() if gone == "folder" else [folder / SOCKET]:
        path.unlink()
    if gone == "folder":
        folder.rmdir()
    await ended(folder)


def duplicates(handle: int, count: int) -> list[int]:
    return [os.dup(handle) for _ in range(count)]


def opened() -> set[tuple[str, str]]:
    """Each open file of this process and what it is. Those of earlier tests may be closed at any time."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            found.add((link.name, os.readlink(link)))
    return found


@pytest.mark.parametrize(
    ("orders", "count"),
    [
        ("", 0),
        ("hold", 0),
        ("hold a", 1),
        ("hold a 1", 0),
        ("hold a 2", 1),
        ("hold a 3", 3),
        ("hold a 0", 0),
        ("hold a -1", 1),
        ("hold a 1 b", 1),
        ("hold  1", 1),
        (f"hold {'a' * 256} 1", 1),
        ("hold a 1", 2),
        ("drop", 0),
        ("drop a\n", 0),
        ("read a", 0),
        ("hold \N{SNOWMAN} 1", 1),
        ("\0" * 1000, 0),
    ],
)
def test_bad_orders_are_refused_and_leak_nothing(handle: int, orders: str, count: int) -> None:
    before = opened()
    keeper = Keeper(1 << 16)
    answer = keeper.obey(orders.encode(), duplicates(handle, count))
    assert answer.startswith(b"refused: ")
    assert len(answer) < 500
    keeper.obey(b"drop a", [])
    assert opened() <= before


def test_only_read_ends_of_pipes_are_taken_and_only_so_many() -> None:
    reader, writer = os.pipe()
    with open(os.devnull) as other:
        for handle in (writer, other.fileno()):
            assert Keeper(1 << 16).obey(b"hold a 1", duplicates(handle, 1)).startswith(b"refused: ")
    full = Keeper(SPARE_FILES)
    assert full.obey(b"hold a 1", duplicates(reader, 1)).startswith(b"refused: ")
    assert len(full) == 0
    for handle in (reader, writer):
        os.close(handle)


def test_a_name_is_held_anew_and_rounds_sweep(handle: int) -> None:
    before = opened()
    keeper = Keeper(1 << 16)
    assert keeper.obey(b"hold a 2\nhold b 1\nhold c 1", duplicates(handle, 4)) == b"kept 3"
    assert keeper.obey(b"hold a 1\nround\nkeep a\nkeep unknown\nhold b 1", duplicates(handle, 2)) == b"kept 3"
    assert keeper.obey(b"sweep", []) == b"kept 2"
    assert keeper.obey(b"round\nsweep\ndrop a", []) == b"kept 0"
    assert opened() <= before


async def test_bad_packets_and_too_many_connections_harm_nobody(folder: Path, handle: int) -> None:
    async with client(folder, {}) as shim:
        shim.hold("a", [handle])
        with contextlib.chdir(folder), contextlib.ExitStack() as stack:
            strangers = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(20)]
            for stranger in strangers:
                stack.enter_context(stranger)
                stranger.connect(SOCKET)
            strangers[0].send(b"x" * (log_keeper.PACKET_BYTES + 1))
            assert strangers[0].recv(100) == b"refused: more than fits"
            assert strangers[-1].recv(100) == b""
        shim.hold("b", [handle])
        await until(lambda: len(kept(folder)) == 2)
