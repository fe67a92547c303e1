"""One cluster for all tests of the command line, a namespace for each test, and ways to run commands."""

import asyncio
import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from navarch.cli import session
from navarch.cli.main import run

SERVE = Path(__file__).with_name("serve_cluster.py")
PROGRAM = [sys.executable, "-m", "navarch.cli"]


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    def ok(self) -> "Result":
        assert self.code == 0, f"exit code {self.code}\n{self.out}\n{self.err}"
        return self


@dataclass
class Cli:
    """Runs command lines in this process, in a namespace of the test's own."""

    kubeconfig: Path
    namespace: str
    directory: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str, stdin: str | bytes = "", namespace: str | None = None) -> Result:
        space = self.namespace if namespace is None else namespace
        data = stdin.encode() if isinstance(stdin, str) else stdin
        self.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        self.capsys.readouterr()
        code = run([*(["-n", space] if space else []), "--kubeconfig", str(self.kubeconfig), *words])
        captured = self.capsys.readouterr()
        assert "Traceback" not in captured.err
        assert "this is a bug" not in captured.err
        return Result(code, captured.out, captured.err)

    def file(self, content: str, name: str = "manifest.yaml") -> str:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return str(path)

    def apply(self, content: str) -> Result:
        return self("apply", "-f", self.file(content)).ok()

    def json(self, *words: str) -> dict[str, object]:
        found: dict[str, object] = orjson.loads(self("get", *words, "-o", "json").ok().out)
        return found

    def process(self, *words: str, input: str | None = None, environment: dict[str, str] | None = None) -> Result:
        """The same as a process of its own."""
        finished = subprocess.run(
            [*PROGRAM, *(["-n", self.namespace] if environment is None else []), *words],
            env={"KUBECONFIG": str(self.kubeconfig), "PATH": "/usr/bin:/bin"} if environment is None else environment,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in finished.stderr
        return Result(finished.returncode, finished.stdout, finished.stderr)

    def start(self, *words: str) -> "Following":
        return Following([*PROGRAM, "-n", self.namespace, *words], self.kubeconfig)


class Following:
    """A command that goes on: its lines as they come."""

    def __init__(self, command: list[str], kubeconfig: Path) -> None:
        self.process = subprocess.Popen(
            command,
            env={"KUBECONFIG": str(kubeconfig), "PATH": "/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def until(self, wanted: Callable[[str], bool]) -> list[str]:
        """The lines up to the first that is wanted."""
        lines: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            lines.append(line.rstrip("\n"))
            if wanted(lines[-1]):
                return lines
        raise AssertionError(f"ended with {self.process.wait()} after {lines}")

    def __enter__(self) -> "Following":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=20)


@pytest.fixture(scope="session")
def cluster_kubeconfig() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nv-") as directory:
        server = subprocess.Popen(
            [sys.executable, str(SERVE), directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            yield Path(directory, "kubeconfig")
        finally:
            server.communicate("", timeout=30)


@pytest.fixture(scope="session")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """gRPC does not bear it well when each of many commands in one process has its own loop."""
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def cli(
    cluster_kubeconfig: Path,
    loop: asyncio.AbstractEventLoop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> Cli:
    monkeypatch.setattr(session, "run", loop.run_until_complete)
    name = "".join(c if c.isalnum() else "-" for c in request.node.name.lower())[:50].strip("-")
    made = Cli(cluster_kubeconfig, f"{name}-{time.time_ns() % 10**9}", tmp_path, monkeypatch, capsys)
    namespace = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {made.namespace}}}\n"
    made("create", "-f", "-", stdin=namespace, namespace="").ok()
    return made
