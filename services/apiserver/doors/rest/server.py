"""HTTPS: connections in, requests to the door."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from navarch.services.apiserver.doors.rest.acceptor import Acceptor
from navarch.services.apiserver.doors.rest.connections import Connections
from navarch.services.base.addresses import split_address
from navarch.services.base.tls import Credentials
from navarch.services.base.tls_context import server_context

# Tokens are long, and so are selectors.
LINE_BYTES = 64 * 1024
HEADERS = 256
KEEP_ALIVE_S = 180.0
STOP_S = 2.0
# At a time, in one process.
CONNECTIONS = 10_000
Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class RestServer:
    """Listens for the REST door. Not restartable."""

    def __init__(self, handle: Handle, credentials: Credentials | None, *, connections: int = CONNECTIONS) -> None:
        """credentials: None serves plain text, for tests. connections: how many there may be at a time."""
        self._handle = handle
        self._credentials = credentials
        self._limit = connections
        self._acceptor: Acceptor | None = None
        self._runner: web.ServerRunner | None = None
        self.port = 0

    async def start(self, address: str, *, reuse_port: bool = False) -> int:
        """Listen on "host[,host...]:port" (port 0: any); returns the port. Raises OSError."""
        server = Connections(
            self._handle,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_S,
            max_line_size=LINE_BYTES,
            max_field_size=LINE_BYTES,
            max_headers=HEADERS,
            auto_decompress=False,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=STOP_S)
        await self._runner.setup()
        hosts, port = split_address(address)
        context = (
            None if self._credentials is None else server_context(self._credentials, "http/1.1", need_certificate=False)
        )
        self._acceptor = Acceptor(server, context, self._limit)
        self.port = await self._acceptor.start(hosts, port, reuse_port=reuse_port)
        return self.port

    async def stop(self) -> None:
        """End all connections. Idempotent."""
        if self._acceptor is not None:
            await self._acceptor.stop()
        if self._runner is not None:
            await self._runner.cleanup()
