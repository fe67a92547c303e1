"""One port for HTTP, and for connections that ask to be upgraded to SPDY/3.1.

Whoever accepts reads the head of the first request of a connection. One that asks for SPDY goes to its handler, which
gets the bytes that follow; any other goes to aiohttp, head and all, as if nobody had looked. aiohttp itself knows no
upgrade but WebSocket.
"""

import asyncio
import io
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from http.client import HTTPException, parse_headers
from typing import Final, cast

from aiohttp import web

from navarch.services.base.log import get_logger
from navarch.services.base.tasks import TaskOwner
from navarch.services.client.streams.spdy import SpdyError
from navarch.services.client.streams.wires import READ_BYTES, SocketWire

LOG = get_logger("streams")
HEAD_BYTES: Final = 64 << 10
HEAD_S: Final = 30.0
# How long a client may take to read what was sent last.
LINGER_S: Final = 5.0
END: Final = b"\r\n\r\n"
VERSION_HEADER: Final = "X-Stream-Protocol-Version"
ACCEPTED_HEADER: Final = "X-Accepted-Stream-Protocol-Versions"


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A connection whose client asks for SPDY. target: path and query, as sent."""

    method: str
    target: str
    headers: Message
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def accept(self, protocols: Sequence[str]) -> tuple[str, SocketWire] | None:
        """Speak the first of the client's protocols that is accepted, "" where it names none; None: refused."""
        offered = [name.strip() for line in self.headers.get_all(VERSION_HEADER, []) for name in line.split(",")]
        chosen = next((name for name in offered if name in protocols), None)
        if offered and chosen is None:
            accepted = [(ACCEPTED_HEADER, name) for name in protocols]
            await self.refuse(403, f"unable to negotiate protocol: client supports {offered}", accepted)
            return None
        named = [(VERSION_HEADER, chosen)] if chosen else []
        await self._head(101, [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), *named])
        return chosen or "", SocketWire(self.reader, self.writer)

    async def refuse(self, code: int, message: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Answer with an error."""
        body = message.encode()
        length = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        await self._head(code, [*headers, *length, ("Connection", "close")])
        self.writer.write(body)
        await self.writer.drain()

    async def linger(self) -> None:
        """Let the client read to the end: to close while its bytes wait would reset the connection under it."""
        if self.writer.is_closing():
            return
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(LINGER_S):
                # TLS has no half-closed connections: there the client sees the end in the protocol itself.
                if self.writer.can_write_eof():
                    self.writer.write_eof()
                while await self.reader.read(READ_BYTES):
                    pass

    async def _head(self, code: int, headers: Sequence[tuple[str, str]]) -> None:
        lines = [f"HTTP/1.1 {code} {HTTPStatus(code).phrase}", *(f"{name}: {value}" for name, value in headers), "", ""]
        self.writer.write("\r\n".join(lines).encode())
        await self.writer.drain()


class Front(asyncio.Protocol):
    """Reads the first head of a connection."""

    def __init__(self, http: Callable[[], asyncio.Protocol], upgraded: Callable[[Upgrade], None]) -> None:
        """http: the protocol for all but upgrades."""
        self._http = http
        self._upgraded = upgraded
        self._head = bytearray()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        # Of a loop of another make, too.
        self._transport = socket = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(HEAD_S, socket.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._end_wait()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._head += data
        if END not in self._head and len(self._head) <= HEAD_BYTES:
            return
        self._end_wait()
        transport, head = self._transport, bytes(self._head)
        assert transport is not None
        if (upgrade := self._upgrade_of(transport, head)) is not None:
            self._upgraded(upgrade)
            return
        protocol = self._http()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(head)

    def _upgrade_of(self, transport: asyncio.Transport, data: bytes) -> Upgrade | None:
        head, _, rest = data.partition(END)
        line, _, lines = head.partition(b"\r\n")
        words = line.decode("latin-1").split(" ")
        try:
            headers = parse_headers(io.BytesIO(lines + END))
        except HTTPException:
            return None
        if len(words) != 3 or not headers.get("Upgrade", "").upper().startswith("SPDY/3"):
            return None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if rest:
            protocol.data_received(rest)
        return Upgrade(words[0], words[1], headers, reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    def _end_wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class FrontServer:
    """Listens, and owns all connections. Not restartable."""

    def __init__(
        self,
        http: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        upgraded: Callable[[Upgrade], Awaitable[None]],
    ) -> None:
        """upgraded: serves a connection; it is closed afterwards."""
        self._http = web.Server(http, handler_cancellation=True, access_log=None)
        self._upgraded = upgraded
        self._tasks = TaskOwner()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int, context: ssl.SSLContext | None = None) -> int:
        """Listen; returns the port (0: any). context: None for plain text. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Front(self._http, self._begin), host, port, ssl=context)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """End all connections. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        await self._tasks.close()
        await self._http.shutdown(0)

    def _begin(self, upgrade: Upgrade) -> None:
        self._tasks.spawn(self._serve(upgrade), "spdy")

    async def _serve(self, upgrade: Upgrade) -> None:
        try:
            await self._upgraded(upgrade)
            await upgrade.linger()
        except ConnectionError:
            LOG.debug("stream.client_gone", target=upgrade.target)
        except (SpdyError, TimeoutError) as failure:
            LOG.info("stream.given_up", target=upgrade.target, error=str(failure))
        except Exception:
            LOG.exception("stream.failed", target=upgrade.target)
        finally:
            upgrade.writer.close()
