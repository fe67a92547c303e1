"""An HTTP/1.1 client that sends any bytes at all, and reads what comes back as strictly as it can."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any, Self

from google.protobuf.message import DecodeError

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import envelope
from navarch.services.api.errors import BadRequest
from navarch.testing.door_fuzz.subject import Subject
from navarch.testing.door_fuzz.tally import Tally

PATIENCE_S = 10.0
LIMIT_BYTES = 64 << 20
PROTOBUF = "application/vnd.kubernetes.protobuf"
# What a server that is well may say of others that are not: a group served elsewhere, a webhook, a store.
_ALLOWED_5XX = frozenset({503, 504})


class Gone(Exception):
    """The server closed the connection."""


@dataclass
class Answer:
    """A response."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    took_s: float = 0.0

    @property
    def is_stream(self) -> bool:
        """Whether it came piece by piece, as watches do."""
        return self.status == 200 and "chunked" in self.headers.get("transfer-encoding", "")

    @property
    def media(self) -> str:
        """The content type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0]


class Connection:
    """One connection to the REST door."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, subject: Subject) -> Self:
        """Connect."""
        async with asyncio.timeout(PATIENCE_S):
            return cls(
                *await asyncio.open_connection("127.0.0.1", subject.rest_port, ssl=subject.tls(), limit=LIMIT_BYTES)
            )

    def close(self) -> None:
        """Leave at once."""
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        """Send bytes. Raises Gone."""
        try:
            self.writer.write(data)
            async with asyncio.timeout(PATIENCE_S):
                await self.writer.drain()
        except (ConnectionError, OSError) as failure:
            raise Gone from failure

    async def answer(self, method: str = "GET", *, streams: bool = False) -> Answer:
        """The next response; of one that streams only the head. Raises Gone, TimeoutError."""
        begin = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_S):
                found = await self._head()
                if method != "HEAD" and not streams and found.status not in (101, 204, 304):
                    found.body = await self._body(found)
        except (asyncio.IncompleteReadError, ConnectionError, OSError) as failure:
            if isinstance(failure, TimeoutError):
                raise
            raise Gone from failure
        found.took_s = time.monotonic() - begin
        return found

    async def _head(self) -> Answer:
        line = await self.reader.readuntil(b"\r\n")
        version, status, *_ = line.split(b" ", 2)
        assert version.startswith(b"HTTP/"), line
        found = Answer(int(status))
        while (line := await self.reader.readuntil(b"\r\n")) != b"\r\n":
            name, _, text = line.decode("latin-1").partition(":")
            found.headers[name.strip().lower()] = text.strip()
        return await self._head() if found.status == 100 else found

    async def _body(self, found: Answer) -> bytes:
        if "chunked" in found.headers.get("transfer-encoding", ""):
            pieces = []
            while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                pieces.append(await self.reader.readexactly(size))
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
            return b"".join(pieces)
        if "content-length" in found.headers:
            return await self.reader.readexactly(int(found.headers["content-length"]))
        return await self.reader.read()


class Client:
    """Sends requests one after the other, over a connection that is made anew when it ends."""

    def __init__(self, subject: Subject, tally: Tally) -> None:
        self._subject = subject
        self._tally = tally
        self._connection: Connection | None = None

    async def ask(
        self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer | None:
        """The checked answer to a well-formed request; None for none (which is noted)."""
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {text}" for name, text in (headers or {}).items()]
        data = "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n" + body
        cause = (f"{method} {target}", headers, body)
        for attempt in range(2):
            connection = self._connection or await Connection.open(self._subject)
            self._connection = connection
            try:
                await connection.send(data)
                found = await connection.answer(method)
            except Gone:
                # One that was kept open may have been closed meanwhile; a new one not.
                self.close()
                if attempt:
                    self._tally.count("closed")
                    self._tally.find("closed without an answer", *cause)
                continue
            except TimeoutError:
                self.close()
                self._tally.count("late")
                self._tally.find(f"no answer within {PATIENCE_S:.0f} s", *cause)
                return None
            self._tally.count(found.status)
            if found.status in _ALLOWED_5XX:
                self._tally.unavailable[f"{found.status} {method} {target.partition('?')[0]}"] = found.body
            for fault in faults(found):
                self._tally.find(fault, *cause, found.body)
            if found.headers.get("connection", "") == "close":
                self.close()
            return found
        return None

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def faults(found: Answer) -> list[str]:
    """What is wrong with an answer, whatever the question was."""
    wrong = []
    if found.status >= 500 and found.status not in _ALLOWED_5XX:
        wrong.append(f"status {found.status}")
    if not found.body:
        return wrong
    if found.media == "application/json":
        try:
            document = _parsed(found)
        except ValueError:
            return [*wrong, "the body is not JSON"]
        if found.status >= 400 and (document.get("kind") != "Status" or document.get("code") != found.status):
            wrong.append("a refusal without its Status")
    elif found.media == PROTOBUF and found.status >= 400:
        try:
            envelope.decode(found.body, metav1.Status)
        except (BadRequest, DecodeError):
            wrong.append("a refusal without its Status")
    elif not found.media:
        wrong.append("a body without a type")
    return wrong


def _parsed(found: Answer) -> Any:
    """The JSON of an answer; of a watch, which is a line an event, the last one. Raises ValueError."""
    try:
        return json.loads(found.body)
    except ValueError:
        if not found.is_stream:
            raise
    return [json.loads(line) for line in found.body.splitlines()][-1]
