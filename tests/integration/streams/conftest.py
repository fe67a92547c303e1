"""A cluster of simulated containers whose streams are called as the world's clients call them."""

import asyncio
import base64
import json
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import codec
from navarch.services.api.meta import condition_is
from navarch.services.apiserver.kubelets import directory
from navarch.services.base.tls_context import client_context
from navarch.testing.cluster import InProcessCluster

KUBECTL = Path(sys.executable).with_name("kubectl")
PATIENCE_S = 60.0


@dataclass
class Lab:
    """A cluster, and ways to call its REST door."""

    cluster: InProcessCluster
    session: aiohttp.ClientSession
    kubeconfig: Path

    def url(self, path: str) -> str:
        return f"{self.cluster.rest_url}/api/v1/namespaces/default/{path}"

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        async with self.session.get(self.url(path), headers=headers) as answer:
            return answer.status, await answer.text()

    async def refusal(self, path: str, **headers: str) -> tuple[int, str, str]:
        status, text = await self.get(path, **headers)
        document = json.loads(text)
        assert (document["kind"], document["status"], document["code"]) == ("Status", "Failure", status)
        return status, document["reason"], document["message"]

    async def kubectl(self, *words: str, stdin: bytes | None = None) -> tuple[int, bytes, bytes]:
        process = await asyncio.create_subprocess_exec(
            str(KUBECTL),
            f"--kubeconfig={self.kubeconfig}",
            *words,
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE_S):
            out, err = await process.communicate(stdin)
        return process.returncode or 0, out, err

    async def run(self, name: str, log: str = "", **spec: Any) -> corev1.Pod:
        """A Pod, once it is ready."""
        spec.setdefault("containers", [{"name": "main", "image": "app:1", "stdin": True}])
        annotations = {"simulated.navarch.dev/log": log} if log else {}
        metadata = {"name": name, "namespace": "default", "annotations": annotations}
        await self.cluster.client.create(
            codec.from_json({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        )
        async with asyncio.timeout(PATIENCE_S):
            while True:
                pod = await self.cluster.client.get(corev1.Pod, name, "default")
                if condition_is(pod.status.conditions, "Ready"):
                    return pod
                await asyncio.sleep(0.01)


def write_kubeconfig(cluster: InProcessCluster, path: Path) -> None:
    own = cluster.credentials("kubernetes-admin", "system:masters")
    ca, cert, key = (base64.b64encode(part).decode() for part in (own.ca, own.cert, own.key))
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": cluster.rest_url, "certificate-authority-data": ca}}],
        "users": [{"name": "u", "user": {"client-certificate-data": cert, "client-key-data": key}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(json.dumps(document))


def context_of(cluster: InProcessCluster, user: str, *groups: str) -> ssl.SSLContext:
    return client_context(cluster.credentials(user, *groups))


async def make_lab(stack: AsyncExitStack, path: Path) -> Lab:
    cluster = await stack.enter_async_context(InProcessCluster(path))
    connector = aiohttp.TCPConnector(ssl=context_of(cluster, "admin", "system:masters"))
    session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
    write_kubeconfig(cluster, path / "kubeconfig")
    return Lab(cluster, session, path / "kubeconfig")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["grpc", "https"])
async def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    """Pods `web` and `two` run. Once with nodes that offer gRPC, once with nodes that have HTTPS endpoints only."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "https":
            patch.setattr(directory, "GRPC_PORT_ANNOTATION", "nobody.has/this")
        async with AsyncExitStack() as stack:
            made = await make_lab(stack, tmp_path_factory.mktemp("lab"))
            await made.run("web", log="one\ntwo\nthree")
            await made.run("two", containers=[{"name": "a", "image": "app:1"}, {"name": "b", "image": "app:1"}])
            yield made


@pytest.fixture
async def own_lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """A cluster that the test may break."""
    async with AsyncExitStack() as stack:
        yield await make_lab(stack, tmp_path)
