"""The life of a process, seen from outside."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

PROGRAM = """
import asyncio, sys
from navarch.services.base import process
from navarch.services.base.tasks import TaskOwner

HOW = sys.argv[1]

class Service:
    def __init__(self):
        self.tasks = TaskOwner()

    async def start(self):
        if HOW == "start fails":
            raise OSError("port taken")
        if HOW == "start hangs":
            print("starting", flush=True)
            await asyncio.Event().wait()
        if HOW == "task fails":
            self.tasks.spawn(self.fail(), "worker")
        print("started", flush=True)

    async def fail(self):
        raise ValueError("oops")

    async def stop(self):
        await self.tasks.close()
        print("stopping", flush=True)
        if HOW == "stop hangs":
            await asyncio.Event().wait()
        print("stopped", flush=True)

async def make():
    if HOW == "make fails":
        raise ValueError("bad configuration")
    return Service()

process.run(make, "test")
"""


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for child in started:
        child.kill()
        child.communicate()


def start(how: str, children: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, how]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    children.append(child)
    return child


def read_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_order(signum: signal.Signals, children: list[subprocess.Popen[str]]) -> None:
    child = start("runs", children)
    assert read_line(child) == "started"
    child.send_signal(signum)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (0, "stopping\nstopped\n")
    assert f"process.stopping signal={signum.name}" in err


def test_a_signal_during_a_start_that_hangs_stops_it(children: list[subprocess.Popen[str]]) -> None:
    child = start("start hangs", children)
    assert read_line(child) == "starting"
    child.terminate()
    out, _ = child.communicate(timeout=60)
    assert (child.returncode, out) == (0, "stopping\nstopped\n")


def test_a_second_signal_ends_a_stop_that_hangs(children: list[subprocess.Popen[str]]) -> None:
    child = start("stop hangs", children)
    read_line(child)
    child.terminate()
    assert read_line(child) == "stopping"
    child.terminate()
    child.communicate(timeout=60)
    assert child.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("how", "out", "reason"),
    [
        ("start fails", "stopping\nstopped\n", "OSError: port taken"),
        ("task fails", "started\nstopping\nstopped\n", "ValueError: oops"),
        ("make fails", "", "ValueError: bad configuration"),
    ],
)
def test_a_failure_ends_it_with_code_1_and_its_reason(
    how: str, out: str, reason: str, children: list[subprocess.Popen[str]]
) -> None:
    child = start(how, children)
    printed, err = child.communicate(timeout=60)
    assert (child.returncode, printed) == (1, out)
    assert reason in err
