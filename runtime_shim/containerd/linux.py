"""The few system calls about namespaces that Python lacks; and what this process may do.

All functions are synchronous and quick. `pin_namespaces` changes the namespaces of the calling thread for good:
call it through `in_doomed_thread`, whose thread ends right after, so that nothing else ever runs in there.
"""

import asyncio
import ctypes
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from navarch.runtime_shim.containerd import namespaces
from navarch.runtime_shim.containerd.user_namespaces import Mapping as IdMapping
from navarch.runtime_shim.errors import RuntimeFailure
from navarch.services.base import mounting

T = TypeVar("T")

CAP_SYS_RESOURCE = 24
# It makes a few calls of the kernel; the host may be busy.
PROGRAM_TIMEOUT_S = 30.0

CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)


def is_pinned(path: Path) -> bool:
    """Whether a namespace is bound to this file: it then lies on another file system than its folder."""
    try:
        return path.stat().st_dev != path.parent.stat().st_dev
    except FileNotFoundError:
        return False


def pin_namespaces(directory: Path, kinds: tuple[str, ...], hostname: str, sysctls: Mapping[str, str]) -> None:
    """Make new namespaces and bind each to the file `directory`/kind. The calling thread stays in them.

    See `namespaces.make`. Raises RuntimeFailure, OSError.
    """
    try:
        namespaces.make(kinds, hostname, sysctls)
    except OSError as failure:
        raise RuntimeFailure(str(failure.strerror)) from None
    for kind in kinds:
        _bind(f"/proc/thread-self/ns/{kind}", directory / kind)


def pin_owned_namespaces(
    directory: Path, mapping: IdMapping, kinds: tuple[str, ...], hostname: str, sysctls: Mapping[str, str]
) -> None:
    """Make a user namespace and others that belong to it, and bind each to the file `directory`/kind.

    Takes as long as a Python takes to start; wherever it ends, nothing but files is left. Raises RuntimeFailure,
    OSError.
    """
    settings = [f"{name}={value}" for name, value in sysctls.items()]
    command = [sys.executable, "-I", "-S", namespaces.__file__, " ".join(kinds), hostname, *settings]
    ours, theirs = socket.socketpair()
    with ours:
        ours.settimeout(PROGRAM_TIMEOUT_S)
        with theirs:
            actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)]
            pid = os.posix_spawn(sys.executable, command, {}, file_actions=actions, setsigmask=())
        try:
            _expect(ours, namespaces.OWNER_MADE)
            for file in ("uid_map", "gid_map"):
                Path(f"/proc/{pid}/{file}").write_text(f"0 {mapping.host_id} {mapping.length}")
            _bind(f"/proc/{pid}/ns/user", directory / "user")
            ours.send(namespaces.GO_ON)
            _expect(ours, namespaces.ALL_MADE)
            for kind in kinds:
                _bind(f"/proc/{pid}/ns/{kind}", directory / kind)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _expect(program: socket.socket, wanted: bytes) -> None:
    """Wait for what the program says next. Raises RuntimeFailure."""
    answer = program.recv(4096)
    if answer != wanted:
        raise RuntimeFailure(answer.decode() or "the program that makes user namespaces has ended")


def _bind(source: str, path: Path) -> None:
    path.touch()
    mounting.mount(source, path, flags=mounting.MS_BIND)


def pin_pid_namespace(pid: int, path: Path) -> None:
    """Bind the PID namespace of a process to a file. Raises OSError; RuntimeFailure where it has just ended."""
    path.touch()
    try:
        mounting.mount(f"/proc/{pid}/ns/pid", path, flags=mounting.MS_BIND)
    except FileNotFoundError:
        raise RuntimeFailure(f"process {pid} has ended") from None
    if os.path.samefile(path, "/proc/self/ns/pid"):
        unpin_namespace(path)
        raise RuntimeFailure(f"process {pid} is in no PID namespace of its own")


def enter_network(netns: Path) -> None:
    """Move the calling thread into a pinned network namespace. Raises OSError."""
    handle = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        namespaces.check(_libc.setns(handle, namespaces.CLONE_FLAGS["net"]), f"enter {netns}")
    finally:
        os.close(handle)


def socket_in(netns: Path | None, family: socket.AddressFamily) -> socket.socket:
    """A TCP socket of a pinned network namespace, None: of this one. The calling thread stays in there."""
    if netns is not None:
        enter_network(netns)
    return socket.socket(family, socket.SOCK_STREAM)


def unpin_namespace(path: Path) -> None:
    """Let go of a pinned namespace: it ends with the last process in it. Absent is fine."""
    mounting.unmount(path)
    path.unlink(missing_ok=True)


async def in_doomed_thread(work: Callable[[], T]) -> T:
    """Run `work` in a thread of its own, which then ends, and with it what it did to itself."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, failure: BaseException | None) -> None:
        if done.cancelled():
            return
        if failure is not None:
            done.set_exception(failure)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        try:
            result, failure = work(), None
        except BaseException as caught:
            result, failure = None, caught
        loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="namespaces").start()
    # The thread can't be stopped: a cancelled caller must still find its work done before it cleans up.
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        await asyncio.wait((done,))
        raise


def permitted_capabilities() -> frozenset[str]:
    """Names, with CAP_, of what this process may hand to a container."""
    fields = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    mask = int(fields["CapPrm"], 16) & int(fields["CapBnd"], 16)
    return frozenset(f"CAP_{name}" for bit, name in enumerate(CAPABILITIES) if mask >> bit & 1)


def oom_score_floor() -> int:
    """The lowest oom_score_adj that we may give: without CAP_SYS_RESOURCE no lower than our own."""
    if f"CAP_{CAPABILITIES[CAP_SYS_RESOURCE]}" in permitted_capabilities():
        return -1000
    return max(0, int(Path("/proc/self/oom_score_adj").read_text()))
