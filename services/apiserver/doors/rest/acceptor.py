"""Takes connections in, up to a number.

A connection costs memory and a descriptor from the moment it is accepted, long before it has said who it is. So the
bound is here, before TLS: above it a connection is closed at once, which tells its client more than waiting in the
kernel's queue would. A handshake that is not over in `HANDSHAKE_S` gives its place up.
"""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from typing import Any

from navarch.services.apiserver.doors.rest.connections import Connection, Connections
from navarch.services.base.log import get_logger
from navarch.services.base.tasks import TaskOwner

LOG = get_logger("apiserver.rest")
BACKLOG = 1024
HANDSHAKE_S = 10.0
# Accepted in one turn of the loop, so that a flood leaves turns for those who are in.
A_TURN = 64
# When the process has no descriptor left, one may be free after this long.
RETRY_S = 1.0


class Acceptor:
    """Accepts for a server's connections."""

    def __init__(self, connections: Connections, context: ssl.SSLContext | None, limit: int) -> None:
        """limit: of connections at a time, those in a handshake included."""
        self._connections = connections
        self._context = context
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._tasks = TaskOwner()
        self._sockets: list[socket.socket] = []
        self._is_told = False

    async def start(self, hosts: Sequence[str], port: int, *, reuse_port: bool) -> int:
        """Listen (host "": on all addresses; port 0: any, the same everywhere); returns the port. Raises OSError."""
        found = [each for host in hosts for each in await self._addresses(host, port)]
        for family, _, _, _, address in dict.fromkeys(found):
            # All addresses have the port that the first one got.
            bound = (address[0], port, *address[2:])
            listening = socket.create_server(bound, family=family, backlog=BACKLOG, reuse_port=reuse_port)
            self._sockets.append(listening)
            listening.setblocking(False)
            port = listening.getsockname()[1]
        for listening in self._sockets:
            self._listen(listening)
        return port

    async def _addresses(self, host: str, port: int) -> list[Any]:
        return await self._loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)

    async def stop(self) -> None:
        """Accept no more, and give handshakes up. Idempotent."""
        for listening in self._sockets:
            self._loop.remove_reader(listening)
            listening.close()
        self._sockets.clear()
        await self._tasks.close()

    def _listen(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(A_TURN):
            try:
                accepted, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as failure:
                LOG.error("accept.failed", error=str(failure))
                self._loop.remove_reader(listening)
                self._loop.call_later(RETRY_S, self._listen, listening)
                return
            if len(self._connections.held) >= self._limit:
                accepted.close()
                self._tell_once()
                continue
            accepted.setblocking(False)
            connection = self._connections()
            self._connections.held.add(connection)
            self._tasks.spawn(self._open(accepted, connection), "handshake")

    async def _open(self, accepted: socket.socket, connection: Connection) -> None:
        timeout_s = None if self._context is None else HANDSHAKE_S
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection, accepted, ssl=self._context, ssl_handshake_timeout=timeout_s
            )
        except OSError as failure:
            # Its client's affair: no TLS, no certificate of ours, or gone.
            LOG.debug("handshake.failed", error=str(failure))
            self._connections.held.discard(connection)
        else:
            self._is_told = self._is_told and len(self._connections.held) > self._limit * 0.9

    def _tell_once(self) -> None:
        """Say that it is full; again only after it was not."""
        if not self._is_told:
            self._is_told = True
            LOG.warning("connections.full", limit=self._limit)
