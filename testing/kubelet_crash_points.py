"""A kubelet that is killed at a chosen step of its work: for tests of what is left behind then.

    python -m navarch.testing.kubelet_crash_points --at N --log FILE ARGUMENTS

The steps are what the kubelet does to the world for its Pods: calls of the runtime that change something, mounts,
folders removed, files and links put in place, statuses reported, Pods taken out of the API; each before and after.
They are counted from the first order on. The Nth kills, and is written to FILE; so a test that counts N up has been
everywhere when nothing is killed any more. The code under test knows nothing of this.
"""

import argparse
import os
import shutil
import signal
from pathlib import Path
from typing import Any

from navarch.services.base import mounting
from navarch.services.client.client import Client
from navarch.services.kubelet import main as kubelet
from navarch.services.kubelet.command_line import read
from navarch.services.kubelet.executor import Executor
from navarch.services.kubelet.runtime import Runtime
from navarch.services.kubelet.volumes import manager

READS = ("Status", "List", "Version", "Events", "Info", "ImageStatus", "RuntimeConfig", "ExecSync")


class KubeletCrashPoints:
    """Counts steps and kills at one of them. root: only what happens to files below it counts."""

    def __init__(self, at: int, log: Path, root: Path) -> None:
        self._at = at
        self._log = log
        self._root = str(root)
        self._count = 0
        self._is_counting = False

    def step(self, name: str) -> None:
        """A step is being done."""
        if not self._is_counting:
            return
        self._count += 1
        if self._count == self._at:
            self._log.write_text(name)
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Count in everything that is named above."""
        self._begin_with(Executor, "carry_out")
        self._wrap_calls()
        self._wrap_async(Client, "batch", "report")
        self._wrap_async(Client, "delete", "delete")
        for owner, names in ((mounting, ("mount", "unmount")), (shutil, ("rmtree",)), (manager, ("remove_tree",))):
            for name in names:
                self._wrap(owner, name)
        for name in ("rename", "replace", "symlink"):
            self._wrap(os, name)

    def _begin_with(self, owner: Any, attribute: str) -> None:
        original = getattr(owner, attribute)

        async def begin(*arguments: Any) -> Any:
            self._is_counting = True
            return await original(*arguments)

        setattr(owner, attribute, begin)

    def _wrap_calls(self) -> None:
        original = Runtime._call

        async def counted(runtime: Runtime, method: Any, request: Any, deadline_s: float) -> Any:
            name = type(request).__name__.removesuffix("Request")
            if any(read in name for read in READS):
                return await original(runtime, method, request, deadline_s)
            self.step(f"before {name}")
            answer = await original(runtime, method, request, deadline_s)
            self.step(f"after {name}")
            return answer

        setattr(Runtime, "_call", counted)  # noqa: B010 - for the type checker

    def _wrap_async(self, owner: Any, attribute: str, name: str) -> None:
        original = getattr(owner, attribute)

        async def wrapped(*arguments: Any, **options: Any) -> Any:
            self.step(f"before {name}")
            answer = await original(*arguments, **options)
            self.step(f"after {name}")
            return answer

        setattr(owner, attribute, wrapped)

    def _wrap(self, owner: Any, attribute: str) -> None:
        original = getattr(owner, attribute)

        def wrapped(*arguments: Any, **options: Any) -> Any:
            if not any(self._root in str(argument) for argument in arguments):
                return original(*arguments, **options)
            self.step(f"before {attribute}")
            answer = original(*arguments, **options)
            self.step(f"after {attribute}")
            return answer

        setattr(owner, attribute, wrapped)


def main() -> None:
    """Run the kubelet."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--at", type=int, required=True)
    options.add_argument("--log", type=Path, required=True)
    chosen, arguments = options.parse_known_args()
    root = read(arguments)[0].root_dir
    KubeletCrashPoints(chosen.at, chosen.log, root).install()
    kubelet.main(arguments)


if __name__ == "__main__":
    main()
