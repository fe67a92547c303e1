"""Starts, stops and looks at the supervisor of a data directory; for the command line.

The supervisor itself (`daemon`) is a process of its own that outlives the command. Control needs no socket:
its state is a file, its commands are signals, and that it lives is a lock which the kernel gives back however
it ends.

    DIR/run/lock              held by the supervisor as long as it lives
    DIR/run/supervisor.json   pids and restarts, written at every change
    DIR/logs/NAME.log         what each child prints
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

DAEMON = "navarch.services.base.daemon"
START_TIMEOUT_S = 60.0
STOP_CHILD_S = 10.0

# Children are forked from one process image and are many: no library may start threads of its own before
# the fork, malloc keeps few arenas, and gRPC, which is only imported before the fork, needs no fork handlers.
ENVIRONMENT = {
    "GRPC_ENABLE_FORK_SUPPORT": "0",
    "MALLOC_ARENA_MAX": "2",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
}


# struct flock: type, whence, start, length, pid.
FLOCK = "hhqqi"


class SupervisorError(Exception):
    """What went wrong, for the user."""


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A service of ours: a function that the forked child calls. module: "package.module:function"."""

    name: str
    module: str
    argv: list[str]


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A program of somebody else's."""

    name: str
    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)


Spec = ServiceSpec | CommandSpec


@dataclass(frozen=True, slots=True)
class ChildStatus:
    """A child as the supervisor last wrote of it. pid: 0 while it waits to be started again."""

    name: str
    pid: int
    restarts: int
    last_exit: str


@dataclass(frozen=True, slots=True)
class Status:
    """The supervisor of a data directory. Children are in the order of their start."""

    running: bool
    pid: int
    children: tuple[ChildStatus, ...]


def start_daemon(specs: Sequence[Spec], data_dir: Path, *, stop_child_s: float = STOP_CHILD_S) -> Status:
    """Start a supervisor and return when every child has been started once.

    stop_child_s: how long a child may take to stop before it is killed.
    Raises SupervisorError when one already runs there, or when it could not start (with its reason).
    """
    data_dir = data_dir.resolve()
    (data_dir / "logs").mkdir(parents=True, exist_ok=True)
    (data_dir / "run").mkdir(exist_ok=True)
    ready, report = os.pipe()
    with os.fdopen(ready, "rb") as reader:
        try:
            with open(data_dir / "logs" / "supervisor.log", "ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", DAEMON, str(data_dir), str(report), str(stop_child_s)],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    pass_fds=(report,),
                    env={**os.environ, **ENVIRONMENT},
                    start_new_session=True,
                )
        finally:
            os.close(report)
        process.communicate(json.dumps([dump(spec) for spec in specs]).encode())
        answer = _read_answer(reader, START_TIMEOUT_S)
    if answer != "ok":
        raise SupervisorError(answer or f"the supervisor ended at its start: see {data_dir}/logs/supervisor.log")
    return status(data_dir)


def stop_daemon(data_dir: Path, timeout_s: float = 30.0) -> bool:
    """Stop the supervisor and its children, in reverse order of their start. Returns False if none ran.

    After the timeout the supervisor is killed, which ends its children.
    """
    now = status(data_dir)
    if not now.running:
        return False
    try:
        process = os.pidfd_open(now.pid)
    except ProcessLookupError:
        return False
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        if not _ended(process, timeout_s):
            signal.pidfd_send_signal(process, signal.SIGKILL)
            _ended(process, timeout_s)
    except ProcessLookupError:
        pass  # It ended between two of our steps: that is what we wanted.
    finally:
        os.close(process)
    return True


def status(data_dir: Path) -> Status:
    """Who runs in this data directory. Never raises: a directory without a cluster has nothing running."""
    try:
        state: Mapping[str, Any] = json.loads((data_dir / "run" / "supervisor.json").read_text())
    except (OSError, ValueError):
        return Status(False, 0, ())
    children = tuple(ChildStatus(**child) for child in state["children"])
    holder = _holder(data_dir)
    return Status(holder > 0, holder or int(state["pid"]), children)


@contextmanager
def lock(data_dir: Path) -> Iterator[None]:
    """Be the supervisor of this directory. Raises SupervisorError when another process is.

    A POSIX lock: it belongs to this process and not to forked children, its holder can be asked for, and it
    is lost when the process closes any descriptor of the file, so do not call `status` while holding it.
    """
    with open(data_dir / "run" / "lock", "ab") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SupervisorError(
                f"a cluster is already running in {data_dir} (supervisor pid {_holder(data_dir)}): stop it first"
            ) from None
        yield


def dump(spec: Spec) -> dict[str, Any]:
    """A spec as JSON."""
    return asdict(spec)


def load(raw: Mapping[str, Any]) -> Spec:
    """A spec from its JSON."""
    return ServiceSpec(**raw) if "module" in raw else CommandSpec(**raw)


def _holder(data_dir: Path) -> int:
    """The pid of the process that holds the lock, or 0."""
    wanted = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        with open(data_dir / "run" / "lock", "rb") as file:
            answer = struct.unpack(FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, wanted))
    except OSError:
        return 0
    return 0 if answer[0] == fcntl.F_UNLCK else int(answer[4])


def _ended(process: int, timeout_s: float) -> bool:
    """Wait for a process by its pidfd, which turns readable at its end."""
    return bool(select.select([process], [], [], timeout_s)[0])


def _read_answer(reader: IO[bytes], timeout_s: float) -> str:
    if not select.select([reader], [], [], timeout_s)[0]:
        raise SupervisorError(f"the supervisor did not start within {timeout_s:.0f} s")
    # Written at once; not read to its end, which waits for every process that has the pipe open.
    return os.read(reader.fileno(), 4096).decode().strip()
