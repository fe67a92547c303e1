"""The shim's side of the log keeper: finds it, or starts it, and tells it whose pipes to keep.

Nobody waits for the keeper. A pipe is on its way to it, and thereby kept by the kernel, as soon as the packet is
sent; what can't be sent now, because there is no keeper or it is behind, is made up for by telling it everything
anew: all that is wanted, and that the rest is not. The same is done once after a start, when it is known which of the
predecessor's containers are still there, and when a keeper had to be replaced: it ended, or left a packet without
an answer for too long. (The shim has all the pipes open itself then.)
"""

import array
import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from navarch.runtime_shim.containerd import log_keeper
from navarch.runtime_shim.containerd.leftovers import keeper_processes
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.base.tasks import TaskOwner

LOG = get_logger("shim.log_keeper")
START_TIMEOUT_S = 20.0
ANSWER_TIMEOUT_S = 10.0
RETRY_S = 0.2
# Names in a packet: of each two pipes at the most.
BATCH = log_keeper.PACKET_HANDLES // 2


class LogKeeperClient:
    """Keeps the keeper of one state folder informed."""

    def __init__(
        self,
        state_dir: Path,
        clock: Clock,
        names: Callable[[], Iterable[str]],
        handles: Callable[[str], Sequence[int] | None],
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        """names: under which anything may be wanted. handles: the read ends now open for a name; () to leave it as
        it is, None for what is not wanted.
        """
        self._state_dir = state_dir
        self._clock = clock
        self._names = names
        self._handles = handles
        self._answer_timeout_s = answer_timeout_s
        self._owner = TaskOwner()
        self.connected = asyncio.Event()
        self._connection: socket.socket | None = None
        # Packets that have no answer yet, and when the first of them will be too late.
        self._unanswered = 0
        self._late: asyncio.TimerHandle | None = None
        # Whether `handles` tells the truth yet, and whether the keeper is to hear all of it.
        self._known = False
        self._behind = True
        # One complaint about the same thing is enough.
        self._complained = False
        # Something of all this has changed.
        self._wake = asyncio.Event()

    def start(self) -> None:
        """Find or start the keeper, and go on until `stop`."""
        self._owner.spawn(self._follow(), "shim-log-keeper")

    async def stop(self) -> None:
        """Leave the keeper to itself, with all that it has."""
        await self._owner.close()

    def hold(self, name: str, handles: Sequence[int]) -> None:
        """Keep these from now on."""
        self._tell(_hold(name, handles), handles)

    def drop(self, name: str) -> None:
        """Let go."""
        self._tell(f"drop {name}")

    def take_over(self) -> None:
        """From now on it is known what is wanted: what a predecessor wanted is no more."""
        self._known = self._behind = True
        self._wake.set()

    async def _follow(self) -> None:
        while True:
            try:
                connection = await self._connect()
            except (OSError, subprocess.SubprocessError) as failure:
                if not self._complained:
                    LOG.warning("log_keeper.absent", error=failure)
                self._complained = True
            else:
                self._complained = False
                with connection:
                    await self._serve(connection)
                LOG.warning("log_keeper.lost")
            await self._clock.sleep(RETRY_S)

    async def _connect(self) -> socket.socket:
        try:
            return self._open()
        except (FileNotFoundError, ConnectionRefusedError):
            await asyncio.to_thread(self._launch)
            return self._open()

    def _open(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        # Paths of sockets are limited.
        folder = os.open(self._state_dir, os.O_PATH | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{folder}/{log_keeper.SOCKET}")
        except OSError:
            connection.close()
            raise
        finally:
            os.close(folder)
        return connection

    def _launch(self) -> None:
        """Return when a keeper listens, unless another shim is just starting it."""
        command = [sys.executable, "-I", "-S", log_keeper.__file__, str(self._state_dir)]
        finished = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
            timeout=START_TIMEOUT_S,
            check=False,
        )
        if finished.returncode:
            raise OSError(f"the log keeper did not start: {finished.stderr.decode(errors='replace')[-500:]}")

    async def _serve(self, connection: socket.socket) -> None:
        """Until the connection ends."""
        loop = asyncio.get_running_loop()
        self._connection, self._unanswered, self._behind = connection, 0, True
        loop.add_reader(connection, self._read)
        self.connected.set()
        try:
            while self._connection is not None:
                if self._known and self._behind:
                    self._behind = False
                    await self._tell_all()
                else:
                    await self._woken()
        finally:
            self.connected.clear()
            self._end()
            loop.remove_reader(connection)

    async def _woken(self) -> None:
        await self._wake.wait()
        self._wake.clear()

    async def _tell_all(self) -> None:
        await self._send_in_time("round")
        names = iter(list(self._names()))
        while batch := list(itertools.islice(names, BATCH)):
            # Read at the last moment: descriptors are closed, and their numbers used again.
            while self._connection is not None and not self._send(*self._packet(batch)):
                await self._woken()
        await self._send_in_time("sweep")

    async def _send_in_time(self, orders: str) -> None:
        while self._connection is not None and not self._send(orders):
            await self._woken()

    def _packet(self, names: Iterable[str]) -> tuple[str, list[int]]:
        orders: list[str] = []
        all_handles: list[int] = []
        for name in names:
            if (handles := self._handles(name)) is not None:
                orders.append(_hold(name, handles) if handles else f"keep {name}")
                all_handles += handles
        return "\n".join(orders), all_handles

    def _tell(self, orders: str, handles: Sequence[int] = ()) -> None:
        if self._connection is not None and not self._send(orders, handles):
            self._behind = True
            self._wake.set()

    def _send(self, orders: str, handles: Sequence[int] = ()) -> bool:
        """Whether there was room for it. Not being sent because the connection ended is as good."""
        if self._connection is None or not orders:
            return True
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", handles))] if handles else []
        try:
            self._connection.sendmsg([orders.encode()], rights)
        except BlockingIOError:
            return False
        except OSError as failure:
            LOG.warning("log_keeper.send", error=failure)
            self._end()
            return True
        self._unanswered += 1
        if self._late is None:
            self._late = asyncio.get_running_loop().call_later(self._answer_timeout_s, self._give_up)
        return True

    def _read(self) -> None:
        """Take the answers that are there."""
        while self._connection is not None:
            try:
                answer = self._connection.recv(log_keeper.PACKET_BYTES)
            except BlockingIOError:
                break
            except OSError:
                answer = b""
            if not answer:
                self._end()
                break
            if answer.startswith(b"refused") and not self._complained:
                LOG.error("log_keeper.refused", answer=answer.decode(errors="replace"))
                self._complained = True
            self._unanswered -= 1
            self._cancel_timer()
        if self._unanswered and self._late is None:
            self._late = asyncio.get_running_loop().call_later(self._answer_timeout_s, self._give_up)
        self._wake.set()

    def _give_up(self) -> None:
        """Its time is over, unless it was us who did not look."""
        self._late = None
        unanswered = self._unanswered
        self._read()
        if self._connection is not None and self._unanswered == unanswered:
            LOG.error("log_keeper.hangs", packets=unanswered)
            for pid in keeper_processes(self._state_dir):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._end()

    def _cancel_timer(self) -> None:
        timer, self._late = self._late, None
        if timer is not None:
            timer.cancel()

    def _end(self) -> None:
        """Give the connection up; whoever opened it closes it."""
        self._connection, self._unanswered = None, 0
        self._cancel_timer()
        self._wake.set()


def _hold(name: str, handles: Sequence[int]) -> str:
    return f"hold {name} {len(handles)}"
