"""Programs of others: they may hang, leave children behind, and say more than anybody wants to hear."""

import asyncio
import os
from pathlib import Path

import pytest

from navarch.runtime_shim.containerd import programs

ENVIRONMENT = {"PATH": os.environ["PATH"]}


def script(folder: Path, text: str) -> Path:
    path = folder / "program"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


async def test_an_answer(tmp_path: Path) -> None:
    program = script(tmp_path, "cat; echo error >&2; exit 3")
    assert await programs.run(program, ENVIRONMENT, b"asked", 60) == programs.Outcome(3, b"asked", b"error\n")


async def test_a_signal(tmp_path: Path) -> None:
    assert (await programs.run(script(tmp_path, "kill -9 $$"), ENVIRONMENT, b"", 60)).code == 137


async def test_too_much_is_not_read(tmp_path: Path) -> None:
    outcome = await programs.run(script(tmp_path, "head -c 9000000 /dev/zero"), ENVIRONMENT, b"", 60)
    assert len(outcome.stdout) == programs.OUTPUT_BYTES


@pytest.mark.parametrize("gives_up", ["program", "caller"])
async def test_who_takes_too_long_is_killed_with_its_children(tmp_path: Path, gives_up: str) -> None:
    pids = tmp_path / "pids"
    program = script(tmp_path, f"sleep 1000000 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait")
    running = asyncio.ensure_future(programs.run(program, ENVIRONMENT, b"", 2 if gives_up == "program" else 60))
    while not pids.exists():
        await asyncio.sleep(0.01)
    if gives_up == "caller":
        running.cancel()
    with pytest.raises((TimeoutError, asyncio.CancelledError)):
        await running
    parent, child = pids.read_text().split()
    async with asyncio.timeout(30):
        # The parent is reaped by us, the child by whoever adopts it.
        while Path(f"/proc/{parent}").exists() or is_alive(child):
            await asyncio.sleep(0.01)


def is_alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
