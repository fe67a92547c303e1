"""Listening, transports and the end of it all, for gRPC over HTTP/2."""

import asyncio
import ssl
from typing import Any, cast

import grpc

from navarch.services.base.addresses import split_address
from navarch.services.base.credentials import Credentials
from navarch.services.base.http2.call import Call, Method
from navarch.services.base.http2.connection import Headers, Stream
from navarch.services.base.http2.frames import ProtocolError
from navarch.services.base.http2.server_connection import ServerConnection
from navarch.services.base.log import get_logger
from navarch.services.base.tls_context import server_context

_log = get_logger("grpc")
# A peer that vanished without closing is noticed within 30 s; at rest that is one small packet each way.
KEEPALIVE_S = 20.0
KEEPALIVE_TIMEOUT_S = 10.0
# For the last bytes of answers and TLS's farewell.
CLOSE_TIMEOUT_S = 0.5
BACKLOG = 1024
MAX_LINKS = 8192
# Of messages that are not whole or not taken yet, in all calls.
MAX_HELD_BYTES = 256 << 20


class Http2Server:
    """Serves registered methods. Start once, stop once."""

    def __init__(self) -> None:
        self.methods: dict[bytes, Method] = {}
        self.links: set[_Link] = set()
        self.calls: set[Call] = set()
        self.held_bytes = 0
        self._server: asyncio.Server | None = None

    def add_registered_method_handlers(
        self, service: str, handlers: "dict[str, grpc.RpcMethodHandler[Any, Any]]"
    ) -> None:
        """Serve the methods of a service."""
        for name, handler in handlers.items():
            self.methods[f"/{service}/{name}".encode()] = Method(handler)

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """What generated registrations offer as a second way; the first is enough."""

    async def start(
        self,
        address: str,
        credentials: Credentials | None,
        *,
        need_certificate: bool = True,
        reuse_port: bool = False,
    ) -> int:
        """Listen on "host[,host...]:port" (port 0: any) or "unix:/path"; returns the port. Raises OSError.

        need_certificate: refuse clients that show none. reuse_port: let other processes listen there, too.
        """
        loop = asyncio.get_running_loop()
        context = None if credentials is None else server_context(credentials, "h2", need_certificate=need_certificate)

        def link() -> _Link:
            return _Link(self, loop)

        if address.startswith("unix:"):
            self._server = await loop.create_unix_server(link, address[len("unix:") :], ssl=context, backlog=BACKLOG)
            return 0
        hosts, port = split_address(address)
        self._server = await loop.create_server(
            link, hosts if any(hosts) else None, port, ssl=context, backlog=BACKLOG, reuse_port=reuse_port
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self, grace_s: float) -> None:
        """Accept nothing more, give running calls this long, then end them. Idempotent."""
        if self._server is None:
            return
        self._server.close()
        for link in tuple(self.links):
            link.connection.go_away()
            link.flush()
        tasks = [call.task for call in self.calls if call.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        links = tuple(self.links)
        for link in links:
            link.close()
        if links:
            await asyncio.wait([link.closed for link in links], timeout=CLOSE_TIMEOUT_S)
        for link in tuple(self.links):
            link.abort()
            await link.closed
        self._server = None


class _Link(asyncio.Protocol):
    """A connection's transport; see call.Link."""

    def __init__(self, server: Http2Server, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.methods = server.methods
        self.peer = ""
        self.closed: asyncio.Future[None] = loop.create_future()
        self.connection = ServerConnection(self._open)
        self._server = server
        self._transport: asyncio.Transport
        self._flushing = False
        self._room: asyncio.Future[None] | None = None
        self._heard = True
        self._asked = False
        self._timer: asyncio.TimerHandle | None = None
        self._identity: dict[str, list[bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")
        self.peer = f"ipv{6 if len(name) > 2 else 4}:{name[0]}:{name[1]}" if isinstance(name, tuple) else "unix:"
        self._server.links.add(self)
        if len(self._server.links) > MAX_LINKS:
            _log.warning("grpc.too_many_connections", peer=self.peer, connections=len(self._server.links))
            self._transport.abort()
            return
        self._timer = self.loop.call_later(KEEPALIVE_S, self._keep_alive)
        self._send()

    def _open(self, stream: Stream, headers: Headers) -> Call:
        return Call(self, stream, headers)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._heard = True
        try:
            self.connection.receive(data)
        except ProtocolError as failure:
            _log.info("grpc.bad_peer", peer=self.peer, error=failure)
            self._send()
            self.close()
            return
        self._send()

    def eof_received(self) -> None:
        """See asyncio.Protocol: the transport closes."""

    def connection_lost(self, failure: Exception | None) -> None:
        """See asyncio.Protocol: all calls end."""
        self._server.links.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self.resume_writing()
        streams, self.connection.streams = self.connection.streams, {}
        for stream in streams.values():
            stream.owner.was_reset()
        self.closed.set_result(None)

    def pause_writing(self) -> None:
        """See asyncio.Protocol: the peer takes nothing, so nothing is taken from it either."""
        self._room = self.loop.create_future()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        if self._room is not None:
            self._room.set_result(None)
            self._room = None
            if not self._transport.is_closing():
                self._transport.resume_reading()

    async def room(self) -> None:
        """See Link."""
        if self._room is not None:
            await asyncio.shield(self._room)

    def flush(self) -> None:
        """See Link: once for all calls of this turn of the loop."""
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self._send)

    def _send(self) -> None:
        self._flushing = False
        data = self.connection.take()
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def _keep_alive(self) -> None:
        """Every period: a peer that was not heard is asked; if it still is not heard then, it is gone."""
        self.connection.forgive()
        if self._heard:
            self._heard = self._asked = False
            self._timer = self.loop.call_later(KEEPALIVE_S, self._keep_alive)
        elif self._asked:
            self._transport.abort()
        else:
            self._asked = True
            self.connection.ping()
            self._send()
            self._timer = self.loop.call_later(KEEPALIVE_TIMEOUT_S, self._keep_alive)

    def began(self, call: Call) -> None:
        """See Link."""
        self._server.calls.add(call)

    def ended(self, call: Call) -> None:
        """See Link."""
        self._server.calls.discard(call)

    def hold(self, change_bytes: int) -> bool:
        """See Link."""
        self._server.held_bytes += change_bytes
        return self._server.held_bytes <= MAX_HELD_BYTES

    def identity(self) -> dict[str, list[bytes]]:
        """See Link."""
        if self._identity is None:
            tls: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
            certificate = tls.getpeercert(binary_form=True) if tls is not None else None
            self._identity = (
                {} if certificate is None else {"x509_pem_cert": [ssl.DER_cert_to_PEM_cert(certificate).encode()]}
            )
        return self._identity

    def close(self) -> None:
        """Close after what is under way."""
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()
