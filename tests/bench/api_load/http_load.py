"""An HTTP/1.1 client for load: one request at a time on a connection, answers cut out of the bytes, nothing else.

The generator shares two processors with what it measures, so what it spends is taken from the server.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

_END = b"\r\n\r\n"


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._body_end = 0
        self._body_start = 0
        self._answer: asyncio.Future[bytes] | None = None
        self.on_chunk: Callable[[bytes], None] | None = None

    @classmethod
    async def open(cls, port: int, context: ssl.SSLContext | None) -> "Connection":
        """Connect to the loopback address."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, "127.0.0.1", port, ssl=context)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        # uvloop's transports are of classes of their own.
        self._transport = cast(asyncio.Transport, transport)

    async def ask(self, request: bytes) -> bytes:
        """Send a whole request; the whole answer, head and body. Raises RuntimeError for a status of 300 or more."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        answer = await self._answer
        if answer[9:10] != b"2":
            raise RuntimeError(answer[:1000].decode())
        return answer

    def follow(self, request: bytes, on_chunk: Callable[[bytes], None]) -> None:
        """Send a request and be handed whatever comes."""
        assert self._transport is not None
        self.on_chunk = on_chunk
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self.on_chunk is not None:
            self.on_chunk(data)
            return
        buffer = self._buffer
        buffer += data
        if not self._body_end:
            head_end = buffer.find(_END)
            if head_end < 0:
                return
            head = bytes(buffer[:head_end]).lower()
            at = head.find(b"content-length:")
            if at < 0:
                self._fail(f"an answer without a length: {head[:300]!r}")
                return
            line_end = head.find(b"\r", at)
            length = int(head[at + 15 : line_end if line_end > 0 else len(head)])
            self._body_start = head_end + 4
            self._body_end = self._body_start + length
        if len(buffer) >= self._body_end:
            answer = bytes(buffer[: self._body_end])
            del buffer[: self._body_end]
            self._body_end = 0
            assert self._answer is not None
            self._answer.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._fail(f"the server closed the connection: {exc}")

    def _fail(self, text: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(RuntimeError(text))

    def close(self) -> None:
        """Close."""
        if self._transport is not None:
            self._transport.close()


def request(method: str, path: str, body: bytes = b"", media: str = "application/json", accept: str = "") -> bytes:
    """The bytes of a request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept or media}\r\nUser-Agent: bench/1\r\n"
    if body:
        head += f"Content-Type: {media}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body
