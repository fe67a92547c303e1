"""`navarch up` to `navarch down` on the simulated runtime, as processes; needs neither root nor containers."""

import importlib.util
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from navarch.services.base import supervisor

ROOT = Path(__file__).parents[2]
HELLO = ROOT / "k8s-lab" / "manifests" / "hello.yaml"
PROGRAM = [sys.executable, "-m", "navarch.cli"]
PORTS = (7443, 2379, 10259, 10257, 10250, 10350)


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Host:
    """A data directory and ports of its own, and the command line with them."""

    directory: Path
    port_offset: int

    def __call__(self, *words: str, ok: bool = True) -> Result:
        finished = subprocess.run(
            [*PROGRAM, *words],
            env={**os.environ, "KUBECONFIG": str(self.directory / "admin.kubeconfig")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in finished.stderr
        assert not ok or finished.returncode == 0, f"{finished.stdout}\n{finished.stderr}"
        return Result(finished.returncode, finished.stdout, finished.stderr)

    def up(self, *words: str, ok: bool = True) -> Result:
        flags = ("--runtime", "simulated", "--port-offset", str(self.port_offset))
        return self("up", "--data-dir", str(self.directory), *flags, *words, ok=ok)

    def down(self, *words: str) -> Result:
        return self("down", "--data-dir", str(self.directory), *words)

    def processes(self) -> list[psutil.Process]:
        """The supervisor and its children."""
        status = supervisor.status(self.directory)
        assert status.running
        return [psutil.Process(pid) for pid in (status.pid, *(child.pid for child in status.children)) if pid]


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; where nobody collects orphans, one that ended stays as a zombie."""
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def free_offset() -> int:
    """Below the ports that the kernel hands out for a moment."""
    for offset in random.sample(range(2000, 20_000, 7), 200):
        if all(_is_free(port + offset) for port in PORTS):
            return offset
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.fixture
def host() -> Iterator[Host]:
    with tempfile.TemporaryDirectory(prefix="nv-") as directory:
        made = Host(Path(directory, "data"), free_offset())
        yield made
        made.down()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = ROOT / "k8s-lab" / "images" / "busybox_image.py"
    spec = importlib.util.spec_from_file_location("busybox_image", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    build: Callable[[Path, str], None] = module.build
    output = tmp_path / "hello.tar"
    build(output, "navarch.dev/busybox:latest")
    return output


def test_from_up_to_down(host: Host, archive: Path) -> None:
    up = host.up()
    assert "Containers are simulated: --runtime simulated was asked for." in up.out
    assert " is Ready after " in up.out
    assert f"export KUBECONFIG={host.directory}/admin.kubeconfig" in up.out

    assert host("image", "load", str(archive), "--data-dir", str(host.directory)).out == (
        "Loaded navarch.dev/busybox:latest\n"
    )
    assert "navarch.dev/busybox" in host("image", "ls", "--data-dir", str(host.directory)).out
    host("apply", "-f", str(HELLO))
    assert host("rollout", "status", "deployment/hello", "--timeout", "60s").out.endswith("successfully rolled out\n")
    rows = host("get", "pods", "-l", "app=hello", "--no-headers").out.splitlines()
    assert [row.split()[1:3] for row in rows] == [["1/1", "Running"]] * 3
    assert host("logs", "deploy/hello").out == "hello: simulated, no process runs\n"

    status = host("status", "--data-dir", str(host.directory)).out
    assert "running, simulated containers" in status
    for service in ("store", "apiserver", "runtime-shim", "kubelet", "controller-manager", "scheduler"):
        assert f"\n{service} " in status

    processes = host.processes()
    assert len(processes) == 7
    assert "Its objects are kept in" in host.down().out
    assert alive(processes) == []
    stopped = host("status", "--data-dir", str(host.directory), ok=False)
    assert (stopped.code, "stopped, simulated containers" in stopped.out) == (1, True)
    unreachable = host("get", "pods", ok=False)
    assert (unreachable.code, "does not answer" in unreachable.err) == (1, True)


def test_up_twice_and_again_after_down(host: Host) -> None:
    host.up()
    host("apply", "-f", str(HELLO))
    before = {process.pid for process in host.processes()}
    assert "is already running." in host.up().out
    assert {process.pid for process in host.processes()} == before
    other = host.up("--pod-cidr", "10.99.0.0/16", ok=False)
    assert other.code == 1
    assert "was made with --pod-cidr" in other.err
    host.down()
    host.up()
    assert host("get", "deployment", "hello", "-o", "name").out == "deployment.apps/hello\n"
    assert host("rollout", "status", "deployment/hello", "--timeout", "60s").out.endswith("successfully rolled out\n")


def test_up_after_the_supervisor_was_killed(host: Host) -> None:
    host.up()
    host("apply", "-f", str(HELLO))
    os.kill(supervisor.status(host.directory).pid, signal.SIGKILL)
    assert host("status", "--data-dir", str(host.directory), ok=False).code == 1
    assert " is Ready after " in host.up().out
    assert host("rollout", "status", "deployment/hello", "--timeout", "60s").out.endswith("successfully rolled out\n")


def test_down_can_forget_everything_but_what_is_not_its_own(host: Host) -> None:
    host.up()
    mine = host.directory / "notes.txt"
    mine.write_text("mine")
    assert "Its data is deleted." in host.down("--delete-data").out
    assert list(host.directory.iterdir()) == [mine]
    assert host.down().out == f"No cluster in {host.directory}.\n"


def test_foreground_ends_with_its_cluster(host: Host) -> None:
    flags = ["--runtime", "simulated", "--port-offset", str(host.port_offset), "--data-dir", str(host.directory)]
    command = [*PROGRAM, "up", "--foreground", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("Ctrl-C stops the cluster." in line for line in process.stdout)
        processes = host.processes()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert len(processes) == 7
    assert alive(processes) == []


def test_ports_that_are_taken(host: Host) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 7443 + host.port_offset))
        taken.listen()
        result = host.up(ok=False)
    assert result.code == 1
    assert f"apiserver cannot listen on 127.0.0.1:{7443 + host.port_offset}" in result.err
    assert "--port-offset" in result.err
    assert not host.directory.exists()


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--runtime", "docker"], 1, "accepted are containerd, simulated"),
        (["--pod-cidr", "somewhere"], 1, "--pod-cidr"),
        (["--pod-cidr", "10.1.2.0/28"], 1, "has no room for a node"),
        (["--node-name", "Not_A_Name"], 1, "--node-name 'Not_A_Name'"),
        (["--bind-address", "nowhere"], 1, "--bind-address"),
        (["--port-offset", "99999"], 2, "--port-offset"),
        (["--timeout", "soon"], 1, "is not a duration"),
        (["--data-dir", "/tmp/" + "x" * 120], 1, "too long a path"),
        (["--data-dir", "/dev/null/x"], 1, "Not a directory"),
    ],
)
def test_refused_options(host: Host, flags: list[str], code: int, message: str) -> None:
    result = host.up(*flags, ok=False)
    assert (result.code, message in result.err) == (code, True), result.err
    assert not host.directory.exists()


def test_damaged_settings(host: Host) -> None:
    host.directory.mkdir()
    (host.directory / "cluster.json").write_text("{")
    result = host.up(ok=False)
    assert (result.code, "cluster.json is damaged" in result.err) == (1, True)
    (host.directory / "cluster.json").unlink()


def test_not_ready_in_time_leaves_nothing_running(host: Host) -> None:
    result = host.up("--timeout", "10ms", ok=False)
    assert result.code == 1
    assert "the cluster is not ready after 0.01 s: still waiting for" in result.err
    assert not supervisor.status(host.directory).running
