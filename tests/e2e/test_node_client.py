"""The example client in Node.js, which knows nothing but the .proto files, against a whole cluster."""

import asyncio
import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.testing.cluster import InProcessCluster

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "examples" / "node-client"
# As deep in the repository as the example, which finds protos/ from where it lies.
BUILD = REPOSITORY / "build" / "node-client"
FILES = ("client.js", "package.json", "package-lock.json")
# Generous: only what hangs meets it.
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def client_js() -> Path:
    """The example with its packages, installed once for each state of its lock file, outside of the source tree."""
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy(EXAMPLE / name, BUILD / name)
    installed = BUILD / "node_modules" / ".installed"
    wanted = hashlib.sha256((EXAMPLE / "package-lock.json").read_bytes()).hexdigest()
    if not installed.exists() or installed.read_text() != wanted:
        command = ["npm", "ci", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=BUILD, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        installed.write_text(wanted)
    return BUILD / "client.js"


@pytest.fixture
async def cluster() -> AsyncIterator[InProcessCluster]:
    with tempfile.TemporaryDirectory(prefix="nv-", dir="/tmp") as directory:
        async with InProcessCluster(Path(directory)) as made:
            yield made


class NodeClient:
    """The running example; it prints a JSON object a line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self, step: str) -> dict[str, Any]:
        """The next line of this kind; lines before it are passed over."""
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while text := await self._process.stdout.readline():
                line: dict[str, Any] = json.loads(text)
                if line["step"] == step:
                    return line
        raise AssertionError(f"the client ended without {step!r}: {await self.errors()}")

    async def errors(self) -> str:
        """All that it complained about."""
        assert self._process.stderr is not None
        return (await self._process.stderr.read()).decode()

    async def ended(self) -> int:
        """Its exit code."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._process.wait()


@asynccontextmanager
async def running(client_js: Path, cluster: InProcessCluster, *arguments: str) -> AsyncIterator[NodeClient]:
    """The example as an administrator of the cluster."""
    with tempfile.TemporaryDirectory() as directory:
        files = {name: Path(directory) / f"{name}.pem" for name in ("ca", "cert", "key")}
        cluster.credentials("kubernetes-admin", "system:masters").save(**files)
        flags = [word for name, path in files.items() for word in (f"--{name}", str(path))]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            "node", str(client_js), "--address", cluster.api_server, *flags, *arguments, stdout=pipe, stderr=pipe
        )
        try:
            yield NodeClient(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def a_pod(name: str) -> corev1.Pod:
    pod = corev1.Pod()
    pod.metadata.name, pod.metadata.namespace = name, "default"
    pod.spec.containers.add(name="main", image="example.org/web:1")
    return pod


async def test_it_lists_watches_creates_and_is_refused(client_js: Path, cluster: InProcessCluster) -> None:
    await cluster.client.create(a_pod("before"))
    async with running(client_js, cluster, "--watch-seconds", "6") as node:
        listed = await node.line("listed")
        assert listed["pods"] == ["before"]
        created = await node.line("created")
        assert created["configMap"].startswith("from-node-")
        refused = await node.line("refused")
        assert refused == {"step": "refused", "code": "NOT_FOUND", "message": 'configmaps "nobody" not found'}
        await cluster.client.create(a_pod("meanwhile"))
        event = await node.line("event")
        while event["pod"] != "meanwhile":
            event = await node.line("event")
        assert event == {"step": "event", "type": "ADDED", "pod": "meanwhile", "phase": "Pending"}
        while (event["pod"], event["phase"]) != ("meanwhile", "Running"):
            event = await node.line("event")
        await cluster.client.delete(corev1.Pod, "meanwhile", "default", grace_period_seconds=0)
        while (event["pod"], event["type"]) != ("meanwhile", "DELETED"):
            event = await node.line("event")
        assert await node.ended() == 0, await node.errors()
    stored = await cluster.client.get(corev1.ConfigMap, created["configMap"], "default")
    assert stored.metadata.uid == created["uid"]
    assert dict(stored.data) == created["data"] == {"greeting": "hello from Node.js"}


async def test_it_needs_a_certificate_of_the_cluster(client_js: Path, cluster: InProcessCluster) -> None:
    with tempfile.TemporaryDirectory(prefix="nv-", dir="/tmp") as directory:
        stranger = InProcessCluster(Path(directory))
        stranger.api_server = cluster.api_server
        async with running(client_js, stranger) as node:
            assert await node.ended() != 0
            assert "UNAVAILABLE" in await node.errors()
