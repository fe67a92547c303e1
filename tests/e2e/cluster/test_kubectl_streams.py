"""kubectl's streams into real containers: exec, cp, attach, run, port-forward, proxy, logs, debug."""

import asyncio
import contextlib
import os
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1

if TYPE_CHECKING:
    from tests.e2e.cluster.conftest import Space

pytestmark = pytest.mark.over_both

KUBECTL = Path(sys.executable).with_name("kubectl")
IMAGE = ("--image=navarch.dev/busybox:latest", "--image-pull-policy=IfNotPresent")
SERVE = "mkdir -p /www; echo hello > /www/index.html; exec httpd -f -p 8080 -h /www"
PATIENCE_S = 60.0


async def started(space: "Space", *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        str(KUBECTL),
        f"--kubeconfig={space.cluster.data_dir / 'admin.kubeconfig'}",
        f"--namespace={space.name}",
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def kubectl(space: "Space", *words: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    process = await started(space, *words)
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate(stdin)
    return process.returncode or 0, out, err


async def serving(space: "Space", name: str) -> None:
    await space.pod(name, SERVE, ports=[{"containerPort": 8080}])
    code, _, err = await kubectl(space, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
    assert code == 0, err


async def logged(space: "Space", text: bytes, *words: str) -> None:
    """Wait until a container has written this: an attachment may end before what it is attached to."""

    async def probe() -> bool:
        return text in (await kubectl(space, "logs", *words))[1]

    await space.eventually(probe, f"{words} says {text!r}")


async def test_commands(space: "Space") -> None:
    await serving(space, "web")
    assert await kubectl(space, "exec", "web", "--", "cat", "/www/index.html") == (0, b"hello\n", b"")
    big = os.urandom(2_000_000)
    assert await kubectl(space, "exec", "-i", "web", "--", "cat", stdin=big) == (0, big, b"")
    code, out, err = await kubectl(space, "exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 9")
    assert (code, out) == (9, b"out\n")
    assert err == b"err\ncommand terminated with exit code 9\n"


async def test_files(space: "Space", tmp_path: Path) -> None:
    await serving(space, "web")
    there, back = tmp_path / "there", tmp_path / "back"
    there.write_bytes(os.urandom(1_000_000))
    assert (await kubectl(space, "cp", str(there), "web:/tmp/file"))[0] == 0
    assert (await kubectl(space, "cp", "web:/tmp/file", str(back)))[0] == 0
    assert back.read_bytes() == there.read_bytes()


@contextlib.asynccontextmanager
async def forwarded(space: "Space", what: str, port: int) -> AsyncIterator[str]:
    process = await started(space, "port-forward", "--address=127.0.0.1", what, f":{port}")
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            line = (await process.stdout.readline()).decode()
        yield f"http://127.0.0.1:{line.split('127.0.0.1:')[1].split()[0]}/"
    finally:
        process.terminate()
        await process.wait()


def read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        return bytes(answer.read())


async def test_ports(space: "Space") -> None:
    await serving(space, "web")
    async with forwarded(space, "pod/web", 8080) as url:
        found = await asyncio.gather(*(asyncio.to_thread(read, url) for _ in range(5)))
    assert found == [b"hello\n"] * 5


async def test_the_proxy(space: "Space") -> None:
    await serving(space, "web")
    path = f"/api/v1/namespaces/{space.name}/pods/web:8080/proxy/index.html"
    assert await kubectl(space, "get", "--raw", path) == (0, b"hello\n", b"")


async def test_attach_and_run(space: "Space") -> None:
    words = ("run", "--rm", "-i", "once", *IMAGE, "--restart=Never", "--", "sh")
    code, out, _ = await kubectl(space, *words, stdin=b"echo from the inside; exit 0\n")
    assert code == 0
    assert out.startswith(b"from the inside\n")
    code, _, err = await kubectl(
        space,
        "run",
        "later",
        *IMAGE,
        "--restart=Never",
        "-i",
        "--attach=false",
        "--",
        "sh",
        "-c",
        "read x; echo got $x",
    )
    assert code == 0, err
    await kubectl(space, "wait", "--for=jsonpath={.status.phase}=Running", "pod/later", "--timeout=60s")
    code, out, _ = await kubectl(space, "attach", "-i", "later", stdin=b"word\n")
    assert (code, out) == (0, b"got word\n")


async def test_debug_of_a_pod(space: "Space") -> None:
    await serving(space, "web")
    words = ("debug", "web", *IMAGE, "--target=main", "-c", "look", "-i", "--", "sh")
    code, _, err = await kubectl(space, *words, stdin=b"sleep 1; ps; exit 0\n")
    assert code == 0, err
    await logged(space, b"1 root     httpd", "web", "-c", "look")
    pod = await space.client.get(corev1.Pod, "web", space.name)
    (entry,) = pod.status.ephemeral_container_statuses
    assert (entry.name, entry.restart_count) == ("look", 0)
    assert pod.status.container_statuses[0].restart_count == 0


async def test_debug_of_a_node(space: "Space") -> None:
    node = (await space.client.list(corev1.Node)).items[0].metadata.name
    words = ("debug", f"node/{node}", *IMAGE, "-i", "--", "sh")
    code, _, err = await kubectl(space, *words, stdin=b"sleep 1; cat /host/etc/os-release; exit 0\n")
    assert code == 0, err
    (pod,) = (await space.client.list(corev1.Pod, space.name)).items
    await logged(space, Path("/etc/os-release").read_bytes(), pod.metadata.name)
