"""DNS over TCP (RFC 7766): each message behind its length; many queries a connection, answered as they are ready.

Bounded: connections, queries under way on one, what is written to a client that does not read, and how long a
connection may be idle or take for the next message. Who meets a bound is disconnected.
"""

import asyncio
from typing import cast

from navarch.services.base.clock import Clock
from navarch.services.dns.responder import Responder
from navarch.services.dns.udp import Forward

MAX_CONNECTIONS = 256
MAX_UNDER_WAY = 64
MAX_UNSENT_BYTES = 1 << 20
IDLE_S = 10.0


class TcpServer:
    """Serves one address. Not restartable."""

    def __init__(
        self,
        responder: Responder,
        forward: Forward,
        clock: Clock,
        *,
        idle_s: float = IDLE_S,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self.responder = responder
        self.forward = forward
        self.clock = clock
        self.idle_s = idle_s
        self.max_connections = max_connections
        self.connections: set[_Connection] = set()
        self.refused = 0
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Bind and serve. Returns the port. Raises OSError."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Connection(self), host, port, backlog=128)
        except OSError as failure:
            raise OSError(failure.errno, f"cannot serve DNS on {host}:{port}/TCP: {failure.strerror}") from failure
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close the door and all connections. Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for connection in tuple(self.connections):
            connection.close()
        await server.wait_closed()


class _Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: TcpServer) -> None:
        self._server = server
        self._buffer = bytearray()
        self._under_way = 0
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one by its methods alone.
        self._transport = cast(asyncio.Transport, transport)
        if len(self._server.connections) >= self._server.max_connections:
            self._server.refused += 1
            self.close()
            return
        self._server.connections.add(self)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer all messages that are complete."""
        self._buffer += data
        if self._process():
            # Only whole messages count: who sends a byte now and then is idle.
            self._wait()

    def _process(self) -> bool:
        """Answer messages in the buffer while there is room for more under way. Returns whether there was one."""
        buffer, clock = self._buffer, self._server.clock
        begin = clock.monotonic()
        answered, at = 0, 0
        while len(buffer) - at >= 2 and self._transport is not None and self._under_way < MAX_UNDER_WAY:
            end = at + 2 + int.from_bytes(buffer[at : at + 2])
            if end > len(buffer):
                break
            answered += self._answer(bytes(buffer[at + 2 : end]))
            at = end
        del buffer[:at]
        if self._transport is not None and self._under_way >= MAX_UNDER_WAY:
            self._transport.pause_reading()
        if answered:
            self._server.responder.traffic.took((clock.monotonic() - begin) / answered, answered)
        return at > 0

    def _answer(self, query: bytes) -> int:
        """Returns how many responses were sent at once: one or none."""
        answer = self._server.responder.respond(query, udp=False)
        if answer is None:
            # What is no query has no business here.
            self.close()
            return 0
        if isinstance(answer, bytes):
            self._send(answer)
            return 1
        self._under_way += 1
        self._server.forward(answer, self._send_later)
        return 0

    def _send_later(self, response: bytes) -> None:
        self._under_way -= 1
        self._send(response)
        if self._under_way == MAX_UNDER_WAY - 1 and self._transport is not None:
            self._transport.resume_reading()
            asyncio.get_running_loop().call_soon(self._process)

    def _send(self, response: bytes) -> None:
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self.close()
            return
        self._transport.write(len(response).to_bytes(2) + response)

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._server.idle_s, self.close)

    def close(self) -> None:
        """Disconnect at once, whatever is still to be sent: a client that is slow on purpose must not hold it."""
        if self._transport is not None:
            self._transport.abort()
