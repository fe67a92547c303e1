"""The streams, through Python's client libraries."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import kr8s.asyncio
import pytest
from kr8s.asyncio.objects import Pod
from kubernetes import client, config
from kubernetes.stream import portforward, stream

pytestmark = pytest.mark.asyncio(loop_scope="module")


@contextmanager
def official(lab: Any) -> Iterator[Any]:
    """The official client; its connections end with the block."""
    untyped: Any = config
    api = untyped.new_client_from_config(str(lab.kubeconfig))
    try:
        yield client.CoreV1Api(api)
    finally:
        api.close()
        api.rest_client.pool_manager.clear()


async def test_the_official_client(lab: Any) -> None:
    def talk(api: Any) -> None:
        exec_, attach = api.connect_get_namespaced_pod_exec, api.connect_get_namespaced_pod_attach
        words = ["echo", "hi"]
        assert stream(exec_, "web", "default", command=words, stdout=True, stderr=True) == "echo hi\n"
        socket = stream(
            exec_, "web", "default", command=["sh"], stdin=True, stdout=True, stderr=True, _preload_content=False
        )
        socket.write_stdin("typed")
        found = ""
        while "typed" not in found:
            socket.update(timeout=10)
            found += socket.read_stdout(timeout=1) if socket.peek_stdout() else ""
        socket.close()
        socket = stream(exec_, "web", "default", command=["sh", "-c", "exit 4"], stdout=True, _preload_content=False)
        socket.run_forever(timeout=30)
        assert socket.returncode == 4
        socket = stream(attach, "web", "default", stdin=True, stdout=True, _preload_content=False)
        assert socket.is_open()
        socket.close()
        assert api.read_namespaced_pod_log("web", "default", tail_lines=1) == "three\n"
        with pytest.raises(client.ApiException) as refused:
            stream(exec_, "none", "default", command=words, stdout=True)
        assert "404" in str(refused.value)

    with official(lab) as api:
        await asyncio.to_thread(talk, api)


async def test_the_official_client_forwards_ports(lab: Any) -> None:
    def talk(api: Any) -> None:
        forward = portforward(api.connect_get_namespaced_pod_portforward, "web", "default", ports="80")
        socket = forward.socket(80)
        socket.settimeout(30)
        socket.sendall(b"hello" * 1000)
        found = b""
        while len(found) < 5000:
            found += socket.recv(5000)
        assert found == b"hello" * 1000
        assert forward.error(80) is None
        socket.close()

    with official(lab) as api:
        await asyncio.to_thread(talk, api)


# It warns of versions that are newer than itself.
@pytest.mark.filterwarnings("ignore:Kubernetes version:UserWarning")
async def test_kr8s(lab: Any) -> None:
    api = await kr8s.asyncio.api(kubeconfig=str(lab.kubeconfig))
    pod = await Pod.get("web", namespace="default", api=api)
    found = await pod.exec(["echo", "hi"])
    assert (found.stdout, found.returncode) == (b"echo hi\n", 0)
    assert [line async for line in pod.logs(tail_lines=2)] == ["two", "three"]
    async with pod.portforward(remote_port=80) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello")
        async with asyncio.timeout(30):
            assert await reader.readexactly(5) == b"hello"
        writer.close()
        await writer.wait_closed()
