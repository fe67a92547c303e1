"""An API server on a real store, reached through its real door.

By default what the store has a part in runs on ours in memory and on etcd, all else on the first of them.
NAVARCH_TEST_STORE names others, with commas between: memory, navarch1 and navarch3 (members on disk, as processes),
etcd.
"""

import asyncio
import os
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.services.apiserver.auth.tokens import TokenConfig
from navarch.services.apiserver.service import ApiServer, Config
from navarch.services.base.tls import CertificateAuthority, Credentials, new_key
from navarch.services.client.client import Client
from navarch.services.store.config import Config as StoreConfig
from navarch.services.store.service import StoreService
from navarch.testing.store_cluster import StoreCluster

# Several servers of one cluster accept each other's tokens.
TOKEN_KEY = new_key()
STORES = os.environ.get("NAVARCH_TEST_STORE", "memory,etcd").split(",")
# Files whose subject is above the store.
ON_ONE_STORE = {
    "test_apiserver_aggregation",
    "test_apiserver_apply",
    "test_apiserver_auth",
    "test_apiserver_certificates",
    "test_apiserver_custom",
    "test_apiserver_kinds",
    "test_apiserver_node_rights",
    "test_apiserver_tokens",
    "test_rest_apply",
    "test_rest_bad_input",
    "test_rest_connections",
    "test_rest_custom",
    "test_rest_discovery",
    "test_rest_formats",
    "test_rest_openapi",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "store" in metafunc.fixturenames:
        is_above = Path(metafunc.module.__file__).stem in ON_ONE_STORE
        metafunc.parametrize("store", STORES[:1] if is_above else STORES, indirect=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Etcd:
    """Debian's etcd, which can be stopped and started again on the same data."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._ports = free_port(), free_port()
        self.address = f"127.0.0.1:{self._ports[0]}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in self._ports)
        arguments = ["--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer]
        arguments += ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"]
        self._process = subprocess.Popen(
            ["etcd", "--data-dir", str(self._data), "--unsafe-no-fsync", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Members:
    """Members of our store in processes of their own, looked after by a loop that outlives those of the tests."""

    def __init__(self, directory: Path, size: int) -> None:
        self._cluster = StoreCluster(directory, size)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="store-cluster")
        self._thread.start()
        self._run(self._cluster.__aenter__())
        self.address = ",".join(member.address for member in self._cluster.members.values())

    def _run(self, work: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    def kill(self) -> None:
        self._run(self._cluster.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def call_store(address: str, method: str, request: object) -> None:
    async with grpc.aio.insecure_channel(address.partition(",")[0]) as channel:
        await getattr(rpc_pb2_grpc.KVStub(channel), method)(request, wait_for_ready=True, timeout=30)


async def empty(address: str) -> None:
    """Delete all; again, where members on a busy machine have just changed their leader."""
    async with asyncio.timeout(30):
        while True:
            try:
                await call_store(address, "DeleteRange", rpc_pb2.DeleteRangeRequest(key=b"\0", range_end=b"\0"))
                return
            except grpc.aio.AioRpcError as failure:
                if failure.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise


@dataclass
class Cluster:
    """One API server on a store, its authority and an administrator's client. store: addresses, commas between."""

    authority: CertificateAuthority
    store: str
    server: ApiServer
    client: Client
    stack: AsyncExitStack = field(repr=False)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def credentials(self, user: str, *groups: str) -> Credentials:
        return self.authority.issue(user, groups, now=time.time())

    def connect(self, user: str, *groups: str) -> Client:
        client = Client.connect(self.address, self.credentials(user, *groups), wait_for_ready=False)
        self.stack.push_async_callback(client.close)
        return client

    async def compact(self, revision: str) -> None:
        await call_store(self.store, "Compact", rpc_pb2.CompactionRequest(revision=int(revision)))

    async def write(self, key: bytes, value: bytes) -> None:
        await call_store(self.store, "Put", rpc_pb2.PutRequest(key=key, value=value))

    async def another_server(self, **changes: Any) -> ApiServer:
        return await serve(self.stack, self.authority, self.store, **changes)


async def serve(stack: AsyncExitStack, authority: CertificateAuthority, store: str, **changes: Any) -> ApiServer:
    own = authority.issue(
        "kube-apiserver", ["system:masters"], ["localhost"], ["127.0.0.1"], now=time.time(), server=True
    )
    anywhere = "127.0.0.1:0"
    config = Config(
        tuple(store.split(",")),
        own,
        None,
        listen=anywhere,
        rest_listen=anywhere,
        advertise_address="192.0.2.7",
        tokens=TokenConfig(TOKEN_KEY),
    )
    server = ApiServer(replace(config, **changes))
    stack.push_async_callback(server.stop)
    await server.start()
    return server


@pytest.fixture(scope="session")
def authority() -> CertificateAuthority:
    return CertificateAuthority.create("test", time.time())


@pytest.fixture(scope="session")
def shared_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    etcd = Etcd(tmp_path_factory.mktemp("etcd"))
    yield etcd
    etcd.kill()


@pytest.fixture(scope="session")
def shared_navarch1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Members]:
    members = Members(tmp_path_factory.mktemp("navarch1"), 1)
    yield members
    members.kill()


@pytest.fixture(scope="session")
def shared_navarch3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Members]:
    members = Members(tmp_path_factory.mktemp("navarch3"), 3)
    yield members
    members.kill()


@pytest.fixture
async def store(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The address of an empty store."""
    if request.param == "memory":
        ours = StoreService(StoreConfig())
        await ours.start()
        yield ours.address
        await ours.stop()
        return
    shared: Etcd | Members = request.getfixturevalue(f"shared_{request.param}")
    await empty(shared.address)
    yield shared.address


async def cluster_on(stack: AsyncExitStack, authority: CertificateAuthority, store: str) -> Cluster:
    server = await serve(stack, authority, store)
    admin = authority.issue("kubernetes-admin", ["system:masters"], now=time.time())
    client = Client.connect(f"127.0.0.1:{server.port}", admin)
    stack.push_async_callback(client.close)
    return Cluster(authority, store, server, client, stack)


@pytest.fixture
async def cluster(store: str, authority: CertificateAuthority) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        yield await cluster_on(stack, authority, store)


@pytest.fixture
def client(cluster: Cluster) -> Client:
    return cluster.client
