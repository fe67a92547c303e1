"""The Kubernetes door as the genuine components use it: over public HTTPS, in protobuf, under their own names."""

import base64
import io
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import orjson
import pytest
import pytest_asyncio
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.message import Message
from yarl import URL

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import codec, envelope
from navarch.services.api.kinds import KINDS, Kind
from navarch.services.apiserver.auth.tokens import TokenConfig
from navarch.services.apiserver.service import ApiServer, Config
from navarch.services.base.tls import CertificateAuthority, new_key
from navarch.services.base.tls_context import client_context
from navarch.services.store.config import Config as StoreConfig
from navarch.services.store.service import StoreService

JSON = "application/json"
PROTOBUF = "application/vnd.kubernetes.protobuf"
PATIENCE_S = 30.0


def signing_request(name: str, *groups: str) -> bytes:
    """A request for a client certificate, as a kubelet makes one."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject = x509.Name([*names, x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


@cache
def documents() -> tuple[tuple[Kind, bytes], ...]:
    """Every kind with the JSON of its manifest."""
    text = (Path(__file__).parent / "every_kind.yaml").read_text()
    text = text.replace("{csr}", base64.b64encode(signing_request("someone")).decode())
    loaded = list(yaml.load_all(text, Loader=_Plain))
    return tuple((KINDS.by_gvk(one["apiVersion"], one["kind"]), orjson.dumps(one)) for one in loaded)


class _Plain(yaml.SafeLoader):
    """As Kubernetes reads YAML: the times are text."""


_Plain.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith(":timestamp")]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class Manifest:
    """A kind with a valid object of it, and where it lives."""

    kind: Kind
    document: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.document["metadata"]["name"])

    @property
    def collection(self) -> str:
        """The path that it is created at."""
        root = f"/apis/{self.kind.group}" if self.kind.group else "/api"
        place = "/namespaces/default" if self.kind.namespaced else ""
        return f"{root}/{self.kind.version}{place}/{self.kind.resource}"

    @property
    def path(self) -> str:
        return f"{self.collection}/{self.name}"

    @property
    def message(self) -> Any:
        return codec.from_json(self.document, self.kind.message)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "manifest" in metafunc.fixturenames:
        cases = [Manifest(kind, orjson.loads(text)) for kind, text in documents()]
        names = [f"{one.kind.kind}.{one.kind.api_version}" for one in cases]
        metafunc.parametrize("manifest", cases, ids=names)


@pytest.fixture(scope="session")
def described() -> set[tuple[str, str]]:
    """The kinds that there is a manifest of."""
    return {kind.gvk for kind, _ in documents()}


@pytest.fixture(scope="session")
def sign() -> Callable[..., bytes]:
    """Makes requests for certificates: sign("system:node:n1", "system:nodes")."""
    return signing_request


@pytest.fixture(scope="session")
def scalable() -> Callable[[str], Any]:
    """Makes an object called "sized" with one replica, for a path of a collection."""

    def make(path: str) -> Any:
        resource = path.rpartition("/")[2]
        kind = next(kind for kind in KINDS if kind.resource == resource)
        spec = {
            "replicas": 1,
            "selector": {"app": "web"} if not kind.group else {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "busybox"}]},
            },
        }
        return codec.from_json({"metadata": {"name": "sized"}, "spec": spec}, kind.message)

    return make


@pytest.fixture(scope="session")
def a_pod() -> Callable[..., Any]:
    """Makes Pods: a_pod("web", "n1")."""

    def make(name: str, node: str = "") -> corev1.Pod:
        made = corev1.Pod(metadata=metav1.ObjectMeta(name=name))
        made.spec.service_account_name, made.spec.node_name = "default", node
        made.spec.termination_grace_period_seconds = 0
        made.spec.containers.add(name="c", image="busybox")
        return made

    return make


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["Content-Type"] == JSON, self.headers
        return orjson.loads(self.body)

    @property
    def json_of_discovery(self) -> Any:
        """As aggregated discovery labels it."""
        assert "as=APIGroupDiscoveryList" in self.headers["Content-Type"], self.headers
        return orjson.loads(self.body)

    @property
    def message(self) -> Any:
        """The protobuf message, of the type that its envelope names."""
        assert self.headers["Content-Type"] == PROTOBUF, (self.headers, self.body[:500])
        return envelope.decode(self.body)

    @property
    def ok(self) -> Any:
        """The protobuf message of an answer that is no refusal."""
        assert self.status in (200, 201), (self.status, self.body)
        return self.message

    @property
    def refusal(self) -> tuple[int, str]:
        """Code and reason of the Status that refuses."""
        status = self.message
        assert isinstance(status, metav1.Status), status
        assert (status.status, status.code) == ("Failure", self.status)
        return status.code, status.reason


class Stream:
    """A watch in protobuf: frames of four bytes of length and a WatchEvent."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._content = response.content

    async def next(self) -> tuple[str, Any]:
        """(type, object) of the next event. Raises IncompleteReadError where the stream has ended."""
        size = int.from_bytes(await self._content.readexactly(4), "big")
        # The frame's event is bare, only the object in it is in an envelope.
        event = metav1.WatchEvent.FromString(await self._content.readexactly(size))
        return event.type, envelope.decode(event.object.raw)

    async def until(self, *types: str) -> list[tuple[str, Any]]:
        """Events up to the first of a type, with it."""
        found = [await self.next()]
        while found[-1][0] not in types:
            found.append(await self.next())
        return found

    async def at_end(self) -> bool:
        return await self._content.read() == b""


class Wire:
    """A client that sends and accepts only protobuf, unless it is told otherwise."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def ask(self, method: str, path: str, body: Any = None, media: str = PROTOBUF, accept: str = "") -> Answer:
        """Send a request. body: a message, bytes, or a JSON value. Header Accept: as the media type of the body."""
        headers = {"Accept": accept or (media if media == JSON else PROTOBUF)}
        data = body
        if isinstance(body, Message):
            data = envelope.encode(body) if media == PROTOBUF else codec.to_json_bytes(body)
        elif body is not None and not isinstance(body, bytes):
            data = orjson.dumps(body)
        if data is not None:
            headers["Content-Type"] = media
        sent = None if data is None else io.BytesIO(data)
        url = URL(self._url + path, encoded=True)
        async with self._session.request(method, url, data=sent, headers=headers) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str) -> Any:
        """The message at a path."""
        return (await self.ask("GET", path)).ok

    async def post(self, path: str, message: Message) -> Any:
        return (await self.ask("POST", path, message)).ok

    async def put(self, path: str, message: Message) -> Any:
        return (await self.ask("PUT", path, message)).ok

    async def delete(self, path: str, options: metav1.DeleteOptions | None = None) -> Any:
        return (await self.ask("DELETE", path, options)).ok

    async def patch(self, path: str, patch: Any, kind: str = "strategic-merge-patch+json") -> Any:
        """The outcome of a patch; its body is JSON whatever the answer is in."""
        return (await self.ask("PATCH", path, patch, f"application/{kind}")).ok

    @asynccontextmanager
    async def watch(self, path: str) -> AsyncIterator[Stream]:
        """The events that a path tells of, `watch=true` included in it."""
        headers = {"Accept": f"{PROTOBUF};stream=watch"}
        async with self._session.get(URL(self._url + path, encoded=True), headers=headers) as response:
            assert response.status == 200, await response.read()
            assert response.headers["Content-Type"] == f"{PROTOBUF};stream=watch"
            yield Stream(response)


class Door:
    """An API server on a store of its own, and the clients that know it."""

    def __init__(self, authority: CertificateAuthority, store: str, server: ApiServer) -> None:
        self._authority = authority
        self._store = store
        self._server = server
        self._sessions: list[aiohttp.ClientSession] = []

    def connect(self, user: str, *groups: str) -> Wire:
        """A client with a certificate of this user."""
        return self._wire(client_context(self._authority.issue(user, groups, now=time.time())), {})

    def with_token(self, token: str) -> Wire:
        """A client with a bearer token and no certificate."""
        return self._wire(
            ssl.create_default_context(cadata=self._authority.cert_pem.decode()), {"Authorization": f"Bearer {token}"}
        )

    def _wire(self, context: Any, headers: dict[str, str]) -> Wire:
        connector = aiohttp.TCPConnector(ssl=context)
        timeout = aiohttp.ClientTimeout(PATIENCE_S)
        session = aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers)
        self._sessions.append(session)
        return Wire(session, f"https://localhost:{self._server.rest_port}")

    async def compact(self, revision: str) -> None:
        """Forget history, as the server itself does with time."""
        async with key_values(self._store) as store:
            await store.Compact(rpc_pb2.CompactionRequest(revision=int(revision)), timeout=PATIENCE_S)

    async def close(self) -> None:
        for session in self._sessions:
            await session.close()


@asynccontextmanager
async def key_values(address: str) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(address) as channel:
        yield rpc_pb2_grpc.KVStub(channel)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door() -> AsyncIterator[Door]:
    """One for a whole module: each test has names of its own in it, or cleans up."""
    authority = CertificateAuthority.create("door", time.time())
    names = ["localhost"], ["127.0.0.1"]
    own = authority.issue("kube-apiserver", ["system:masters"], *names, now=time.time(), server=True)
    store = StoreService(StoreConfig())
    await store.start()
    anywhere = "127.0.0.1:0"
    tokens = TokenConfig(new_key())
    server = ApiServer(Config((store.address,), own, None, listen=anywhere, rest_listen=anywhere, tokens=tokens))
    await server.start()
    found = Door(authority, store.address, server)
    yield found
    await found.close()
    await server.stop()
    await store.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admin(door: Door) -> Wire:
    """Who may do everything."""
    return door.connect("kubernetes-admin", "system:masters")
