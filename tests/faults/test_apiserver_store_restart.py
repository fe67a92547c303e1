"""The store goes away and comes back: watches go on without a gap, requests fail cleanly or succeed."""

import asyncio
import itertools
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import pytest

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import ApiError
from navarch.services.apiserver.service import ApiServer, Config
from navarch.services.base.tls import CertificateAuthority
from navarch.services.client.client import Client
from navarch.services.store.config import Config as StoreConfig
from navarch.services.store.service import StoreService


class EtcdProcess:
    """etcd on a directory and port of its own."""

    def __init__(self, data: Path, port: int) -> None:
        self._data, self._port, self._peer = data, port, free_port()
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        client, peer = f"http://127.0.0.1:{self._port}", f"http://127.0.0.1:{self._peer}"
        arguments = ["--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer]
        arguments += ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"]
        quiet = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(
            "etcd", "--data-dir", str(self._data), *arguments, stdout=quiet, stderr=quiet
        )

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


class OurStore:
    """Our store on a directory and port of its own."""

    def __init__(self, data: Path, port: int) -> None:
        self._config = StoreConfig(data_dir=data, listen=f"127.0.0.1:{port}")
        self._service: StoreService | None = None

    async def start(self) -> None:
        self._service = StoreService(self._config)
        await self._service.start()

    async def stop(self) -> None:
        if self._service is not None:
            await self._service.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Setup:
    def __init__(self, store: Any, client: Client, address: str) -> None:
        self.store, self.client, self.address = store, client, address


@pytest.fixture(params=[OurStore, EtcdProcess], ids=["navarch", "etcd"])
async def setup(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Setup]:
    port = free_port()
    make: Callable[[Path, int], Any] = request.param
    store = make(tmp_path / "store", port)
    authority = CertificateAuthority.create("test", time.time())
    own = authority.issue("kube-apiserver", ["system:masters"], [], ["127.0.0.1"], now=time.time(), server=True)
    server = ApiServer(Config((f"127.0.0.1:{port}",), own, None, listen="127.0.0.1:0"))
    # The server waits for its store.
    starting = asyncio.ensure_future(server.start())
    await store.start()
    await starting
    admin = authority.issue("kubernetes-admin", ["system:masters"], now=time.time())
    client = Client.connect(f"127.0.0.1:{server.port}", admin)
    yield Setup(store, client, f"127.0.0.1:{port}")
    await client.close()
    await server.stop()
    await store.stop()


def config_map(name: str) -> corev1.ConfigMap:
    made = corev1.ConfigMap()
    made.metadata.name, made.metadata.namespace = name, "default"
    return made


async def test_watches_resume_without_loss(setup: Setup) -> None:
    client = setup.client
    version = (await client.list(corev1.ConfigMap)).resource_version
    async with aclosing(client.watch(corev1.ConfigMap, resource_version=version)) as stream:
        await client.create(config_map("before"))
        assert (await anext(stream)).object.metadata.name == "before"
        await setup.store.stop()
        await setup.store.start()
        # Written past the API server, so that only its resumed watch can tell.
        async with grpc.aio.insecure_channel(setup.address) as channel:
            request = rpc_pb2.DeleteRangeRequest(key=b"/registry/configmaps/default/before")
            await rpc_pb2_grpc.KVStub(channel).DeleteRange(request, wait_for_ready=True)
        await client.create(config_map("after"))
        events = [await anext(stream), await anext(stream)]
        assert [(event.type, event.object.metadata.name) for event in events] == [
            ("DELETED", "before"),
            ("ADDED", "after"),
        ]


async def test_requests_fail_cleanly_and_then_work(setup: Setup) -> None:
    client = setup.client
    acknowledged: asyncio.Queue[str] = asyncio.Queue()
    failures: set[str] = set()

    async def write() -> None:
        for index in itertools.count():
            try:
                await client.create(config_map(f"a{index}"))
                acknowledged.put_nowait(f"a{index}")
            except ApiError as failure:
                failures.add(failure.reason)

    writing = asyncio.ensure_future(write())
    async with asyncio.timeout(60):
        names = {await acknowledged.get() for _ in range(10)}
        await setup.store.stop()
        await setup.store.start()
        names |= {acknowledged.get_nowait() for _ in range(acknowledged.qsize())}
        names |= {await acknowledged.get() for _ in range(10)}
    writing.cancel()
    await asyncio.wait([writing])
    assert failures <= {"ServiceUnavailable"}
    found = {item.metadata.name for item in (await client.list(corev1.ConfigMap, "default")).items}
    assert names <= found
