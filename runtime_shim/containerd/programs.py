"""Runs small programs to their end without forking this process.

A fork of a process with gRPC's threads is slow and full of traps; posix_spawn shares the memory until the exec
and runs no fork handlers. Input and output are files in memory rather than pipes: nobody has to pump them, and a
program that leaves a child behind does not keep us waiting.
"""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Python ignores these; programs expect the default.
RESET_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)
# What is said beyond is not read.
OUTPUT_BYTES = 4 << 20
# For SIGKILL to be seen.
DYING_S = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended. code: as a shell has it, 128 + n for signal n."""

    code: int
    stdout: bytes
    stderr: bytes


async def run(
    program: Path, environment: Mapping[str, str], stdin: bytes, timeout_s: float, *arguments: str
) -> Outcome:
    """Run to the end. Raises TimeoutError when it took too long and was killed; OSError when it can't run."""
    files = [os.memfd_create(name, os.MFD_CLOEXEC) for name in ("stdin", "stdout", "stderr")]
    try:
        os.write(files[0], stdin)
        os.lseek(files[0], 0, os.SEEK_SET)
        code = await _wait(_spawn(program, arguments, environment, files), timeout_s)
        return Outcome(code, _content(files[1]), _content(files[2]))
    finally:
        for handle in files:
            os.close(handle)


def _spawn(program: Path, arguments: Sequence[str], environment: Mapping[str, str], files: list[int]) -> int:
    # The copies made by dup2 stay open in the program; the originals close by themselves.
    actions = [(os.POSIX_SPAWN_DUP2, handle, number) for number, handle in enumerate(files)]
    return os.posix_spawn(
        program,
        [str(program), *arguments],
        dict(environment),
        file_actions=actions,
        setpgroup=0,
        setsigdef=RESET_SIGNALS,
        setsigmask=(),
    )


async def _wait(pid: int, timeout_s: float) -> int:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()
    handle = os.pidfd_open(pid)

    def bury() -> None:
        loop.remove_reader(handle)
        os.close(handle)
        ended.set_result(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    loop.add_reader(handle, bury)
    is_late = True
    try:
        await asyncio.wait((ended,), timeout=timeout_s)
        is_late = not ended.done()
    finally:
        if not ended.done():
            # With what it has started. In the midst of a call of the kernel it ends only when that does.
            os.killpg(pid, signal.SIGKILL)
            await asyncio.wait((ended,), timeout=DYING_S)
    if is_late:
        raise TimeoutError
    code = ended.result()
    return code if code >= 0 else 128 - code


def _content(handle: int) -> bytes:
    return os.pread(handle, min(os.fstat(handle).st_size, OUTPUT_BYTES), 0)
