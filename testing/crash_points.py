"""A runtime shim in which something is killed at a chosen step: for tests of what is left behind then.

    python -m navarch.testing.crash_points --at N --kill shim|containerd|containerd-shim|runc [--pid PID] ARGUMENTS

The steps are what the shim does to the world: calls of containerd, before they are sent and after they are answered,
runs of CNI's plugins, records written, namespaces pinned, folders removed, pieces of layers stored. They are counted
from the first RunPodSandbox or PullImage on. The Nth kills, and is written to the file `--log`; so a test that counts
N up has been everywhere when nothing is killed any more. The code under test knows nothing of this.
"""

import argparse
import asyncio
import os
import shutil
import signal
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from navarch.runtime_shim import main as shim
from navarch.runtime_shim import records
from navarch.runtime_shim.containerd import client, cni, leftovers, linux, ownership
from navarch.runtime_shim.containerd.images import content
from navarch.runtime_shim.containerd.images.registry import Repository
from navarch.runtime_shim.containerd.images.service import ImageService
from navarch.runtime_shim.containerd.sandboxes import Sandboxes

VICTIMS = ("shim", "containerd", "containerd-shim", "runc")
# How long a step may take to start the runc that is to be killed.
HUNT_S = 5.0


class CrashPoints:
    """Counts steps and kills at one of them."""

    def __init__(self, at: int, log: Path, kill: Callable[[], None]) -> None:
        self._at = at
        self._log = log
        self._kill = kill
        self._count = 0
        self.is_counting = False

    def step(self, name: str) -> None:
        """A step is being done."""
        if not self.is_counting:
            return
        self._count += 1
        if self._count == self._at:
            self._log.write_text(name)
            self._kill()

    def install(self) -> None:
        """Count in everything that is named above."""
        points = self
        invoke = client._Stub.__getattr__

        def counted(stub: Any, name: str) -> Any:
            call = invoke(stub, name)

            def wrapped(*arguments: Any, **options: Any) -> Any:
                answer = call(*arguments, **options)
                return points._around(name, answer) if asyncio.iscoroutine(answer) else answer

            setattr(stub, name, wrapped)
            return wrapped

        setattr(client._Stub, "__getattr__", counted)  # noqa: B010 - for the type checker
        self._wrap_async(cni.Executor, "_run", "CNI")
        self._wrap(records.StateDir, "save", "record")
        self._wrap(linux, "pin_namespaces", "namespaces")
        self._wrap(linux, "pin_owned_namespaces", "owned namespaces")
        self._wrap(linux, "_bind", "pin")
        self._wrap(ownership, "shift", "giving away")
        self._wrap(linux, "unpin_namespace", "unpin")
        self._wrap(shutil, "rmtree", "remove folder")
        self._wrap_async(content, "send", "content")
        self._wrap_pieces()
        self._begin_with(Sandboxes, "run_pod_sandbox")
        self._begin_with(ImageService, "pull_image")

    def _begin_with(self, owner: Any, attribute: str) -> None:
        original = getattr(owner, attribute)

        async def begin(*arguments: Any) -> Any:
            self.is_counting = True
            return await original(*arguments)

        setattr(owner, attribute, begin)

    def _wrap_pieces(self) -> None:
        original = Repository.blob

        async def pieces(*arguments: Any) -> AsyncGenerator[bytes]:
            async for piece in original(*arguments):
                self.step("before a piece")
                yield piece
                self.step("after a piece")

        setattr(Repository, "blob", pieces)  # noqa: B010 - for the type checker

    async def _around(self, name: str, answer: Awaitable[Any]) -> Any:
        self.step(f"before {name}")
        try:
            return await answer
        finally:
            self.step(f"after {name}")

    def _wrap(self, owner: Any, attribute: str, name: str) -> None:
        original = getattr(owner, attribute)

        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.step(f"before {name}")
            answer = original(*arguments, **options)
            self.step(f"after {name}")
            return answer

        setattr(owner, attribute, wrapped)

    def _wrap_async(self, owner: Any, attribute: str, name: str) -> None:
        original = getattr(owner, attribute)

        async def wrapped(*arguments: Any, **options: Any) -> Any:
            return await self._around(name, original(*arguments, **options))

        setattr(owner, attribute, wrapped)


def killer(victim: str, containerd_pid: int, containerd_socket: Path) -> Callable[[], None]:
    """What kills the victim."""
    if victim == "shim":
        return lambda: os.kill(os.getpid(), signal.SIGKILL)
    if victim == "containerd":
        return lambda: os.kill(containerd_pid, signal.SIGKILL)
    if victim == "containerd-shim":
        return lambda: _kill_all(leftovers.shim_processes(containerd_socket))
    # It lives for milliseconds: a thread looks for it while the step goes on.
    return lambda: threading.Thread(target=_hunt_runc, args=(containerd_socket.parent,), daemon=True).start()


def _kill_all(pids: Iterator[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _hunt_runc(data_dir: Path) -> None:
    deadline = time.monotonic() + HUNT_S
    while time.monotonic() < deadline:
        for folder in Path("/proc").iterdir():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0") if folder.name.isdecimal() else []
                if words and words[0].endswith(b"runc") and any(os.fsencode(data_dir) in word for word in words):
                    os.kill(int(folder.name), signal.SIGKILL)
                    return
            except OSError:
                continue


def main() -> None:
    """Run the shim."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--at", type=int, required=True)
    options.add_argument("--kill", choices=VICTIMS, required=True)
    options.add_argument("--log", type=Path, required=True)
    options.add_argument("--pid", type=int, default=0, help="of containerd")
    chosen, arguments = options.parse_known_args()
    socket = shim.parser().parse_args(arguments).containerd_address
    CrashPoints(chosen.at, chosen.log, killer(chosen.kill, chosen.pid, socket)).install()
    shim.main(arguments)


if __name__ == "__main__":
    main()
