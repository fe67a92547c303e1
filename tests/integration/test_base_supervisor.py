"""Real forks, real signals. A service here is a Python file on the path that the test writes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from navarch.services.base.daemon import BACKOFF_MAX_S, HEALTHY_S, Child
from navarch.services.base.supervisor import (
    CommandSpec,
    ServiceSpec,
    Spec,
    SupervisorError,
    start_daemon,
    status,
    stop_daemon,
)

SERVICE = """
import asyncio, os, signal, sys, time
from pathlib import Path
from navarch.protos.navarch import objects_pb2, objects_pb2_grpc
from navarch.services.base import process, serving

class Servicer(objects_pb2_grpc.ObjectsServicer):
    async def Get(self, request, context):
        return objects_pb2.ObjectResponse(warnings=[str(os.getpid())])

class Service:
    def __init__(self, address):
        self.address = address
        self.server = serving.GrpcServer(None)
        self.server.add(objects_pb2_grpc.add_ObjectsServicer_to_server, Servicer())

    async def start(self):
        await self.server.start(self.address)
        print("serving", flush=True)

    async def stop(self):
        await self.server.stop()
        print("stopped", flush=True)

def main(argv):
    async def make():
        return Service(argv[0])
    process.run(make, "test")

def stubborn(argv):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready", flush=True)
    time.sleep(1000)

def broken(argv):
    sys.exit(3)
"""

ASK = """
import sys, grpc
from navarch.protos.navarch import objects_pb2, objects_pb2_grpc
with grpc.insecure_channel(sys.argv[1]) as channel:
    stub = objects_pb2_grpc.ObjectsStub(channel)
    print(stub.Get(objects_pb2.GetRequest(), timeout=20, wait_for_ready=True).warnings[0])
"""


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "supervised.py").write_text(SERVICE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    yield tmp_path / "data"
    stop_daemon(tmp_path / "data", 20)


def a_service(name: str, data_dir: Path, function: str = "main") -> ServiceSpec:
    return ServiceSpec(name, f"supervised:{function}", [f"unix:{data_dir}/{name}.sock"])


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for other processes; fails loudly rather than ever being too early."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


def ask(data_dir: Path, name: str) -> int:
    """The pid of who serves; from a process of its own, as gRPC must not be up where a test forks."""
    command = [sys.executable, "-c", ASK, f"unix:{data_dir}/{name}.sock"]
    return int(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def log_of(data_dir: Path, name: str) -> str:
    file = data_dir / "logs" / f"{name}.log"
    return file.read_text() if file.exists() else ""


def pid_of(data_dir: Path, name: str) -> int:
    return next(child.pid for child in status(data_dir).children if child.name == name)


def test_forked_services_serve_grpc_and_stop_in_reverse_order(data_dir: Path) -> None:
    specs: list[Spec] = [
        CommandSpec("command", ["sleep", "1000"]),
        a_service("one", data_dir),
        a_service("two", data_dir),
    ]
    started = start_daemon(specs, data_dir)
    assert started.running
    assert [child.name for child in started.children] == ["command", "one", "two"]
    assert ask(data_dir, "one") == pid_of(data_dir, "one")
    assert ask(data_dir, "two") == pid_of(data_dir, "two")
    assert stop_daemon(data_dir)
    assert not status(data_dir).running
    assert not any(alive(pid) for pid in (started.pid, *(child.pid for child in started.children)))
    assert log_of(data_dir, "one").splitlines().count("stopped") == 1
    stops = [line for line in log_of(data_dir, "supervisor").splitlines() if "child.stopping" in line]
    assert [line.split("child=")[1].split()[0] for line in stops] == ["two", "one", "command"]
    assert not stop_daemon(data_dir), "nothing runs any more"


def test_a_killed_child_is_started_again_at_once(data_dir: Path) -> None:
    start_daemon([a_service("one", data_dir)], data_dir)
    first = ask(data_dir, "one")
    os.kill(first, signal.SIGKILL)
    until(lambda: pid_of(data_dir, "one") not in (0, first), "a new child")
    assert ask(data_dir, "one") == pid_of(data_dir, "one")
    (child,) = status(data_dir).children
    assert (child.restarts, child.last_exit) == (1, "killed by SIGKILL")


def test_a_killed_supervisor_takes_its_children_along_and_can_be_started_again(data_dir: Path) -> None:
    specs: list[Spec] = [CommandSpec("command", ["sleep", "1000"]), a_service("one", data_dir)]
    first = start_daemon(specs, data_dir)
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not any(alive(child.pid) for child in first.children), "the children's end")
    assert not status(data_dir).running
    second = start_daemon(specs, data_dir)
    assert second.pid != first.pid
    assert ask(data_dir, "one") == pid_of(data_dir, "one")


def test_a_second_start_is_refused_and_harms_nothing(data_dir: Path) -> None:
    first = start_daemon([CommandSpec("command", ["sleep", "1000"])], data_dir)
    with pytest.raises(SupervisorError, match=f"already running in {data_dir} .supervisor pid {first.pid}"):
        start_daemon([CommandSpec("command", ["sleep", "1000"])], data_dir)
    assert status(data_dir) == first
    assert alive(first.children[0].pid)


def test_a_child_that_does_not_obey_is_killed(data_dir: Path) -> None:
    started = start_daemon([a_service("stubborn", data_dir, "stubborn")], data_dir, stop_child_s=0.2)
    until(lambda: "ready" in log_of(data_dir, "stubborn"), "the child's start")
    assert stop_daemon(data_dir)
    assert not alive(started.children[0].pid)
    assert "child.killed" in log_of(data_dir, "supervisor")


def test_a_child_that_keeps_failing_is_tried_again_and_says_why(data_dir: Path) -> None:
    start_daemon([a_service("broken", data_dir, "broken"), CommandSpec("none", ["/nonexistent"])], data_dir)
    until(lambda: all(child.restarts >= 2 for child in status(data_dir).children), "two restarts")
    assert {child.last_exit for child in status(data_dir).children} == {"exit code 3", "exit code 1"}
    assert "FileNotFoundError" in log_of(data_dir, "none")


def test_a_service_that_cannot_be_imported_fails_the_start(data_dir: Path) -> None:
    with pytest.raises(SupervisorError, match="No module named 'missing_module'"):
        start_daemon([CommandSpec("command", ["sleep", "1000"]), ServiceSpec("x", "missing_module:main", [])], data_dir)
    until(lambda: not status(data_dir).running, "the supervisor's end")
    assert all(not child.pid for child in status(data_dir).children)


def test_nothing_runs_where_nothing_was_started(tmp_path: Path) -> None:
    assert not status(tmp_path / "nowhere").running
    assert not stop_daemon(tmp_path / "nowhere")


def test_backoff_grows_and_begins_anew_after_a_healthy_time() -> None:
    child = Child(CommandSpec("x", ["x"]))
    now, waits = 0.0, []
    for _ in range(10):
        child.began = now
        child.ended("exit code 1", now)
        waits.append(child.due - now)
        now = child.due
    assert waits == [0, 0.5, 1, 2, 4, 8, 16, BACKOFF_MAX_S, BACKOFF_MAX_S, BACKOFF_MAX_S]
    child.began = now
    child.ended("exit code 1", now + HEALTHY_S)
    assert child.due == now + HEALTHY_S
