"""What SPDY's frames travel on: a connection of their own, or the messages of a WebSocket."""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from aiohttp import web

from navarch.services.client.streams.serving import messages

READ_BYTES = 64 << 10


class Wire(Protocol):
    """Bytes both ways. Sending waits for a peer that reads slowly, and raises ConnectionError for one that left."""

    async def send(self, frame: bytes) -> None:
        """Send a whole frame."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """What the peer sends, in pieces of any size, until it leaves."""
        ...


class SocketWire:
    """A connection that was upgraded to SPDY."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, frame: bytes) -> None:
        """See Wire."""
        self._writer.write(frame)
        await self._writer.drain()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """See Wire."""
        try:
            while data := await self._reader.read(READ_BYTES):
                yield data
        except OSError:
            return


class WebSocketWire:
    """A WebSocket, whose messages need not be whole frames."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def send(self, frame: bytes) -> None:
        """See Wire."""
        await self._socket.send_bytes(frame)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """See Wire."""
        async for message in messages(self._socket):
            yield message if isinstance(message, bytes) else message.encode()
