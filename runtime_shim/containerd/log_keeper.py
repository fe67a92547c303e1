"""The log keeper: a process that has the pipes of containers' output open, so that none is lost while no shim runs.

    python -I -S log_keeper.py STATE_DIR

What is in a named pipe stays there for as long as anybody has it open. A container that ends without a shim has
nobody any more: containerd-shim closes its ends. So the shim hands its read ends to this process, which never reads
from them, and lives on when the shim is killed; the next shim opens the same pipes by their paths.

The shim speaks over a unix socket in its state folder, in packets of orders, one a line, with the read ends as
ancillary data in their order; each packet is answered with one:

    hold NAME COUNT     keep COUNT read ends under a name, in place of what was kept under it
    keep NAME           what is kept under this name is still wanted
    drop NAME           let go
    round, sweep        let go of everything that was neither held nor kept since the last "round"

A lock makes it the only one of its folder. It ends when it keeps nothing and nobody is connected, or when the folder
is gone. It runs by the bare interpreter and imports nothing of the project, nor the larger modules of the standard
library (`socket` alone would take 1.3 MB more): it is to cost next to nothing.
"""

import _socket
import fcntl
import os
import resource
import select
import stat
import sys

SOCKET, LOCK = "log-keeper.sock", "log-keeper.lock"
COMM = "navarch-keeper"
BACKLOG = 64
# Connections at once. A shim has one; that of its predecessor may not have ended yet.
MOST_CONNECTIONS = 8
PACKET_BYTES = 64 << 10
# The kernel's limit for one packet.
PACKET_HANDLES = 253
NAME_BYTES = 255
HANDLE_BYTES = 4
# What the limit on open files is raised to, where it is lower and that is permitted.
WANTED_FILES = 1 << 16
# Of these, so many are for other things than pipes.
SPARE_FILES = 32 + PACKET_HANDLES
# How often the folder is looked at.
LOOK_S = 10.0


class Keeper:
    """Read ends by name."""

    def __init__(self, most_files: int) -> None:
        """most_files: no descriptor has a number beyond this."""
        self._most_files = most_files
        self._kept: dict[str, tuple[int, list[int]]] = {}
        self._round = 0

    def __len__(self) -> int:
        return len(self._kept)

    def obey(self, orders: bytes, handles: list[int]) -> bytes:
        """Carry out the orders as far as they are well-formed, and answer. The handles are ours from now on."""
        try:
            for order in orders.decode("ascii").split("\n"):
                self._obey(order.split(" "), handles)
            if handles:
                raise ValueError(f"{len(handles)} files that no order speaks of")
        except ValueError as failure:
            return f"refused: {failure}".encode()
        finally:
            _close(handles)
        return f"kept {len(self._kept)}".encode()

    def _obey(self, words: list[str], handles: list[int]) -> None:
        match words:
            case ["hold", name, ("1" | "2") as count] if 0 < len(name) <= NAME_BYTES:
                mine = handles[: int(count)]
                if len(mine) < int(count) or not all(map(_is_read_end, mine)):
                    raise ValueError(f"{name} comes without {count} read ends of pipes")
                if max(mine) > self._most_files - SPARE_FILES:
                    raise ValueError(f"{name} exceeds the limit of {self._most_files} open files")
                del handles[: len(mine)]
                self._drop(name)
                self._kept[name] = (self._round, mine)
            case ["keep", name]:
                if name in self._kept:
                    self._kept[name] = (self._round, self._kept[name][1])
            case ["drop", name]:
                self._drop(name)
            case ["round"]:
                self._round += 1
            case ["sweep"]:
                for name in [name for name, (number, _) in self._kept.items() if number != self._round]:
                    self._drop(name)
            case _:
                raise ValueError(f"no such order: {' '.join(words)[:100]!r}")

    def _drop(self, name: str) -> None:
        _, handles = self._kept.pop(name, (0, []))
        _close(handles)


class Server:
    """Carries orders from connections to the keeper."""

    def __init__(self, listener: _socket.socket, keeper: Keeper) -> None:
        self._listener = listener
        self._keeper = keeper
        self._connections: dict[int, _socket.socket] = {}
        self._poll = select.epoll()
        self._poll.register(listener.fileno(), select.EPOLLIN)

    def serve(self, socket_inode: int, path: str) -> None:
        """Return when nobody needs us any more."""
        while True:
            ready = {handle for handle, _ in self._poll.poll(LOOK_S)}
            if self._listener.fileno() in ready:
                self._accept()
            # The eldest first and to the end: a shim's last words come before its successor's first.
            ended = [handle for handle in self._connections if handle in ready and not self._hear(handle)]
            for handle in ended:
                self._poll.unregister(handle)
                self._connections.pop(handle).close()
            if ready and not ended:
                continue
            is_there = _inode(path) == socket_inode
            if not is_there or not (self._connections or self._keeper or self._accept()):
                break
        if is_there:
            os.unlink(path)

    def _hear(self, handle: int) -> bool:
        """Carry out all that a connection has said. Whether it has not ended."""
        connection = self._connections[handle]
        space = _socket.CMSG_SPACE(PACKET_HANDLES * HANDLE_BYTES)
        while True:
            try:
                orders, ancillary, flags, _ = connection.recvmsg(PACKET_BYTES, space)
            except BlockingIOError:
                return True
            except OSError:
                return False
            handles = _handles(ancillary)
            if not orders:
                _close(handles)
                return False
            if flags & (_socket.MSG_TRUNC | _socket.MSG_CTRUNC):
                _close(handles)
                answer = b"refused: more than fits"
            else:
                answer = self._keeper.obey(orders, handles)
            try:
                connection.send(answer)
            except BlockingIOError:
                continue  # Who doesn't read answers isn't waiting for any.
            except OSError:
                return False

    def _accept(self) -> bool:
        """Whether there was somebody."""
        try:
            handle, _ = self._listener._accept()  # type: ignore[attr-defined]
        except OSError:
            return False
        if len(self._connections) == MOST_CONNECTIONS:
            os.close(handle)
            return True
        connection = _socket.socket(fileno=handle)
        connection.setblocking(False)
        self._connections[handle] = connection
        self._poll.register(handle, select.EPOLLIN)
        return True


def _handles(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found: list[int] = []
    for level, kind, data in ancillary:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            begins = range(0, len(data) - HANDLE_BYTES + 1, HANDLE_BYTES)
            found += [int.from_bytes(data[begin : begin + HANDLE_BYTES], sys.byteorder) for begin in begins]
    return found


def _is_read_end(handle: int) -> bool:
    """A write end would keep the pipe's end from ever being seen."""
    is_readable = fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    return is_readable and stat.S_ISFIFO(os.fstat(handle).st_mode)


def _close(handles: list[int]) -> None:
    for handle in handles:
        os.close(handle)
    handles.clear()


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def _raise_limit() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (max(hard, WANTED_FILES), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        except (ValueError, OSError):
            continue  # Not permitted.
        return limit
    return soft


def _detach() -> None:
    """Of the one who started us nothing is left but the control group and the OOM score, which are to be the same."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    os.close(null)


def main(state_dir: str) -> None:
    """Return, in the process that was started, when a keeper listens, here or elsewhere. Raises OSError."""
    # Paths of sockets are limited.
    os.chdir(state_dir)
    lock = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # There is one, or it is just starting.
    if _inode(SOCKET):
        os.unlink(SOCKET)
    os.umask(0o177)
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    listener.setblocking(False)
    listener.bind(SOCKET)
    listener.listen(BACKLOG)
    inode = _inode(SOCKET)
    path = f"{os.getcwd()}/{SOCKET}"
    os.chdir("/")
    with open("/proc/self/comm", "w") as comm:
        comm.write(COMM)
    if os.fork():
        os._exit(0)
    _detach()
    Server(listener, Keeper(_raise_limit())).serve(inode, path)


if __name__ == "__main__":
    main(sys.argv[1])
