"""A host in namespaces of its own: network, and on demand mounts and processes too. Needs root.

The namespaces belong to a process that does nothing and dies with this one; with it dies all that was started in them,
containers too, and their mounts and links go. So nothing is left after a crash but files and empty control groups.
What is started in a thread dies with the thread: that is how Linux counts parents.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
# Ignored signals of children are inherited by what the shell becomes, and spare it to collect them.
IDLE = ("sh", "-c", "trap '' CHLD; echo; exec sleep infinity")
END_TIMEOUT_S = 30.0
POLL_S = 0.01


class NamespacedHost:
    """whole: with mount and process namespaces, as a host that runs containers has them; else a network only."""

    def __init__(self, *, whole: bool = True) -> None:
        more = ["--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"] if whole else []
        command = [*DIE_WITH_PARENT, "unshare", "--net", *more, *IDLE]
        self._holder = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"\n":
            raise AssertionError(f"no namespaces: {command} ended with {self._holder.wait()}")
        self.pid = _children(self._holder.pid)[0] if whole else self._holder.pid
        spaces = ["--net", "--mount", "--pid"] if whole else ["--net"]
        self._started: list[NamespacedProcess] = []
        self.entrance = ("nsenter", f"--target={self.pid}", *spaces, "--", *DIE_WITH_PARENT)

    def run(self, *command: str, given: str = "") -> str:
        """Run a command to its end; what it writes. Fails as it does."""
        done = subprocess.run([*self.entrance, *command], input=given, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{command} {given!r}: ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def ip(self, *commands: str) -> None:
        """Several commands of ip(8), each without its "ip"."""
        self.run("ip", "-batch", "-", given="\n".join(commands) + "\n")

    def start(self, command: Sequence[str], log: Path) -> "NamespacedProcess":
        """Start a program that is to run on."""
        with log.open("ab") as written:
            entrance = subprocess.Popen(
                [*self.entrance, *command], stdin=subprocess.DEVNULL, stdout=written, stderr=written
            )
        self._started.append(NamespacedProcess(entrance))
        return self._started[-1]

    def end(self) -> None:
        """Begin to end all that runs in it, and with it the namespaces."""
        self._holder.kill()

    def remove(self) -> None:
        """End it, and wait until nothing runs any more. Idempotent."""
        self.end()
        self._holder.wait()
        if self._holder.stdout is not None:
            self._holder.stdout.close()
        for process in self._started:
            process.kill()
        deadline = time.monotonic() + END_TIMEOUT_S
        while Path(f"/proc/{self.pid}").exists() and time.monotonic() < deadline:
            time.sleep(POLL_S)


class NamespacedProcess:
    """A program in a namespace."""

    def __init__(self, entrance: "subprocess.Popen[bytes]") -> None:
        self._entrance = entrance

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._entrance.poll() is None

    def kill(self) -> None:
        """End it by SIGKILL, if it runs, and wait until it has ended."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end by SIGTERM, and wait until it has."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        # Into a namespace of processes one enters by a child; elsewhere the entrance becomes the program.
        for pid in _children(self._entrance.pid) or [self._entrance.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        self._entrance.wait(END_TIMEOUT_S)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def module(name: str) -> list[str]:
    """The command line of a service's module."""
    return [sys.executable, "-c", f"import sys; from {name} import main; main(sys.argv[1:])"]
