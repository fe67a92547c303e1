"""The Kubernetes door of an API server; what lies behind the doors is tested on every store elsewhere."""

import io
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
import pytest
from yarl import URL

from navarch.services.base.tls_context import client_context
from navarch.services.store.config import Config as StoreConfig
from navarch.services.store.service import StoreService


@pytest.fixture
async def store() -> AsyncIterator[str]:
    ours = StoreService(StoreConfig())
    await ours.start()
    yield ours.address
    await ours.stop()


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def reason(self) -> str:
        """Of a Status."""
        assert self.json["kind"] == "Status", self.body
        return str(self.json.get("reason", ""))


@dataclass
class Rest:
    """A client of the door, as one user."""

    session: aiohttp.ClientSession
    url: str
    context: ssl.SSLContext = field(repr=False)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send a request; a body that is no bytes is JSON. Header names with "_" for "-"."""
        named = {"Accept-Encoding": "identity"} | {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            named.setdefault("Content-Type", "application/json")
        data = body if isinstance(body, bytes | None) else orjson.dumps(body)
        sent = None if data is None else io.BytesIO(data)
        url = URL(self.url + path, encoded=True)
        async with self.session.request(method, url, data=sent, headers=named) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.ask("GET", path, **headers)

    async def make(self, path: str, name: str, **members: Any) -> Any:
        """Create an object of a name; what is stored."""
        answer = await self.ask("POST", path, {"metadata": {"name": name}, **members})
        assert answer.status == 201, answer.body
        return answer.json


Connect = Callable[..., Awaitable[Rest]]


@pytest.fixture
async def connect(cluster: Any) -> AsyncIterator[Connect]:
    """Makes clients: connect("jane", "group")."""
    sessions = []

    async def connect(user: str, *groups: str) -> Rest:
        context = client_context(cluster.credentials(user, *groups))
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context), auto_decompress=False, timeout=aiohttp.ClientTimeout(30)
        )
        sessions.append(session)
        return Rest(session, f"https://localhost:{cluster.server.rest_port}", context)

    yield connect
    for session in sessions:
        await session.close()


@pytest.fixture
async def rest(connect: Connect) -> Rest:
    """The administrator."""
    return await connect("kubernetes-admin", "system:masters")
