"""A client of streams over SPDY/3.1, as kubectl and crictl are ones: for tests."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from navarch.services.client.streams import spdy

UPGRADE_HEADERS = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"


class SpdyRefused(Exception):
    """The server does not upgrade."""

    def __init__(self, code: int, headers: dict[str, list[str]], body: str) -> None:
        super().__init__(f"{code}: {body}")
        self.code = code
        self.headers = headers


class SpdyClient:
    """One upgraded connection. protocol: what the server chose."""

    def __init__(self, protocol: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.protocol = protocol
        self._reader = reader
        self._writer = writer
        self._spdy = spdy.Connection()
        self._next = 1
        self._replied: dict[int, asyncio.Future[None]] = {}
        # What has come on each stream, and whether it has ended.
        self.received: dict[int, bytearray] = {}
        self.ended: dict[int, asyncio.Event] = {}
        self._changed = asyncio.Event()
        self.closed = asyncio.Event()
        self._reading = asyncio.ensure_future(self._read())

    async def open(self, headers: dict[str, str]) -> int:
        """Open a stream; returns its number once the server has accepted it. Raises ConnectionError."""
        stream, self._next = self._next, self._next + 2
        self.received[stream], self.ended[stream] = bytearray(), asyncio.Event()
        self._replied[stream] = asyncio.get_running_loop().create_future()
        await self.send_raw(self._spdy.open(stream, headers))
        async with asyncio.timeout(30):
            await self._replied[stream]
        return stream

    async def streams(self, *kinds: str) -> dict[str, int]:
        """A stream of each type."""
        return {kind: await self.open({"streamType": kind}) for kind in kinds}

    async def send(self, stream: int, data: bytes, *, ends: bool = False) -> None:
        """Send bytes."""
        for begin in range(0, len(data), 32 << 10):
            await self.send_raw(spdy.data(stream, data[begin : begin + (32 << 10)]))
        if ends:
            await self.send_raw(spdy.data(stream, b"", ends=True))

    async def send_raw(self, data: bytes) -> None:
        """Send what may be no frame at all."""
        self._writer.write(data)
        await self._writer.drain()

    async def all(self, stream: int) -> bytes:
        """What comes on a stream until its end."""
        async with asyncio.timeout(60):
            await self.ended[stream].wait()
        return bytes(self.received[stream])

    async def until(self, stream: int, wanted: bytes) -> bytes:
        """What has come on a stream once that has come."""
        async with asyncio.timeout(60):
            while wanted not in self.received[stream]:
                assert not self.ended[stream].is_set(), bytes(self.received[stream])
                self._changed.clear()
                await self._changed.wait()
        return bytes(self.received[stream])

    async def close(self) -> None:
        """Leave without a word."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._writer.transport.abort()

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(1 << 16):
                for event in self._spdy.receive(data):
                    self._handle(event)
                self._changed.set()
        except ConnectionError:
            pass  # The end, as well.
        finally:
            for ended in self.ended.values():
                ended.set()
            for replied in self._replied.values():
                if not replied.done():
                    replied.set_exception(ConnectionError("the server has left"))
            self._changed.set()
            self.closed.set()

    def _handle(self, event: spdy.Event) -> None:
        match event:
            case spdy.Headers(stream) if not self._replied[stream].done():
                self._replied[stream].set_result(None)
            case spdy.Data(stream, content, ends):
                self.received[stream] += content
                if ends:
                    self.ended[stream].set()
            case spdy.WasReset(stream, status):
                self.ended[stream].set()
                if not self._replied[stream].done():
                    self._replied[stream].set_exception(ConnectionResetError(f"stream {stream} is refused: {status}"))


@asynccontextmanager
async def spdy_client(
    url: str, protocols: Sequence[str], context: ssl.SSLContext | None = None
) -> AsyncIterator[SpdyClient]:
    """An upgraded connection. context: for TLS. Raises SpdyRefused."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=context)
    try:
        offered = "".join(f"X-Stream-Protocol-Version: {name}\r\n" for name in protocols)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        head = f"POST {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 0\r\n{UPGRADE_HEADERS}{offered}\r\n"
        writer.write(head.encode())
        async with asyncio.timeout(30):
            answer = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        code = int(answer[0].split(" ")[1])
        headers: dict[str, list[str]] = {}
        for line in filter(None, answer[1:]):
            name, _, value = line.partition(": ")
            headers.setdefault(name.lower(), []).append(value)
        if code != 101:
            body = await reader.read(4096)
            raise SpdyRefused(code, headers, body.decode())
        client = SpdyClient(headers.get("x-stream-protocol-version", [""])[0], reader, writer)
        try:
            yield client
        finally:
            await client.close()
    finally:
        writer.close()
