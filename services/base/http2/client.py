"""A gRPC client over HTTP/2 on the event loop: what stubs need of a grpc.aio channel, at a fraction of its cost.

    channel = Http2Channel("127.0.0.1:2379", credentials)
    kv = rpc_pb2_grpc.KVStub(channel)

One connection a channel, dialled when a call needs it and again after it broke. A call that waits for readiness
tries until its deadline; any other fails at the first attempt with UNAVAILABLE and "failed to connect" in its details.
A call that was under way when the connection broke fails with UNAVAILABLE and is never sent twice.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import grpc

from navarch.services.base.credentials import Credentials
from navarch.services.base.http2.asking import Asking, framed, rpc_error, timeout_field
from navarch.services.base.http2.call import Metadata, encoded_metadata
from navarch.services.base.http2.client_connection import ClientConnection
from navarch.services.base.http2.frames import ProtocolError, literal
from navarch.services.base.log import get_logger
from navarch.services.base.tls_context import client_context

_log = get_logger("grpc")
CONNECT_S = 5.0
RETRY_MIN_S = 0.05
RETRY_MAX_S = 0.5
# A peer that vanished without closing is noticed within 30 s; at rest that is one small packet each way.
KEEPALIVE_S = 20.0
KEEPALIVE_TIMEOUT_S = 10.0
Serialize = Callable[[Any], bytes]
Deserialize = Callable[[bytes], Any]


class Http2Channel:
    """A channel to "host:port" or "unix:/path". credentials: None for plain text."""

    def __init__(self, address: str, credentials: Credentials | None, *, user_agent: str = "navarch") -> None:
        self._address = address
        self._context: ssl.SSLContext | None = None
        self._link: _Link | None = None
        self._dialling: asyncio.Task[_Link] | None = None
        self._closed = False
        scheme = b"\x86" if credentials is None else b"\x87"
        # HPACK's static table: 3 is ":method POST", 6 and 7 ":scheme http" and "https".
        self._pseudo = b"\x83" + scheme + literal(b":authority", self._host().encode())
        self._fields = b"".join(
            literal(name, value)
            for name, value in (
                (b"te", b"trailers"),
                (b"content-type", b"application/grpc"),
                (b"user-agent", user_agent.encode()),
            )
        )
        self._credentials = credentials

    def _host(self) -> str:
        return "localhost" if self._address.startswith("unix:") else self._address

    async def close(self, grace: float | None = None) -> None:
        """End all calls and the connection. Idempotent."""
        self._closed = True
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.gather(self._dialling, return_exceptions=True)
        if self._link is not None:
            self._link.abort()
            self._link = None

    def head(self, method: str) -> bytes:
        """The header block of every call of a method."""
        return self._pseudo + literal(b":path", method.encode()) + self._fields

    def unary_unary(
        self,
        method: str,
        request_serializer: Serialize | None = None,
        response_deserializer: Deserialize | None = None,
        _registered_method: bool | None = None,
    ) -> "_UnaryUnary":
        """See grpc.aio.Channel."""
        return _UnaryUnary(self, method, request_serializer or bytes, response_deserializer or bytes)

    def unary_stream(
        self,
        method: str,
        request_serializer: Serialize | None = None,
        response_deserializer: Deserialize | None = None,
        _registered_method: bool | None = None,
    ) -> "_Streaming":
        """See grpc.aio.Channel."""
        return _Streaming(self, method, request_serializer or bytes, response_deserializer or bytes, streams_in=False)

    def stream_stream(
        self,
        method: str,
        request_serializer: Serialize | None = None,
        response_deserializer: Deserialize | None = None,
        _registered_method: bool | None = None,
    ) -> "_Streaming":
        """See grpc.aio.Channel."""
        return _Streaming(self, method, request_serializer or bytes, response_deserializer or bytes, streams_in=True)

    def stream_unary(self, method: str, *_: object, **__: object) -> Any:
        """See grpc.aio.Channel; no contract of ours has such methods."""
        raise NotImplementedError(f"{method}: calls that stream to a single answer are not supported")

    def ready(self) -> "_Link | None":
        """The connection, if a call can begin on it at once."""
        link = self._link
        return link if link is not None and link.connection.is_open and link.connection.has_room else None

    async def connected(self, timeout: float | None, wait_for_ready: bool) -> "_Link":
        """The connection, dialled if need be. Raises AioRpcError."""
        try:
            async with asyncio.timeout(timeout):
                return await self._connected(wait_for_ready)
        except TimeoutError:
            raise rpc_error(
                grpc.StatusCode.DEADLINE_EXCEEDED, f"failed to connect to {self._address} in time"
            ) from None

    async def _connected(self, wait_for_ready: bool) -> "_Link":
        retry_s = RETRY_MIN_S
        while True:
            if self._closed:
                raise rpc_error(grpc.StatusCode.CANCELLED, "the channel is closed")
            link = self._link
            if link is not None and link.connection.is_open:
                if link.connection.has_room:
                    return link
                await link.change()
                continue
            if self._dialling is None:
                self._dialling = asyncio.get_running_loop().create_task(self._dial(), name=f"dial:{self._address}")
            try:
                self._link = await asyncio.shield(self._dialling)
                continue
            except (OSError, ssl.SSLError, TimeoutError) as failure:
                if not wait_for_ready:
                    details = f"failed to connect to {self._address}: {failure or type(failure).__name__}"
                    raise rpc_error(grpc.StatusCode.UNAVAILABLE, details) from failure
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, RETRY_MAX_S)

    async def _dial(self) -> "_Link":
        loop = asyncio.get_running_loop()
        try:
            if self._credentials is not None and self._context is None:
                self._context = client_context(self._credentials)
                self._context.set_alpn_protocols(["h2"])
            async with asyncio.timeout(CONNECT_S):
                if self._address.startswith("unix:"):
                    path = self._address[len("unix:") :].removeprefix("//")
                    _, link = await loop.create_unix_connection(lambda: _Link(self, loop), path, ssl=self._context)
                else:
                    host, _, port = self._address.rpartition(":")
                    _, link = await loop.create_connection(
                        lambda: _Link(self, loop), host.strip("[]"), int(port), ssl=self._context
                    )
                try:
                    # As gRPC has it: who does not begin with settings is no server.
                    while not link.connection.settled and not link.connection.closing:
                        await link.change()
                    if link.connection.closing:
                        raise ConnectionError("the server does not speak HTTP/2")
                except BaseException:
                    link.abort()
                    raise
            return link
        finally:
            self._dialling = None

    def lost(self, link: "_Link") -> None:
        """A connection is no more."""
        if self._link is link:
            self._link = None


class _Link(asyncio.Protocol):
    """The transport of a connection."""

    def __init__(self, channel: Http2Channel, loop: asyncio.AbstractEventLoop) -> None:
        self.connection = ClientConnection()
        self.loop = loop
        self._channel = channel
        self._transport: asyncio.Transport
        self._flushing = False
        self._room: asyncio.Future[None] | None = None
        self._changed: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard = True
        self._asked = False
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)
        self._timer = self.loop.call_later(KEEPALIVE_S, self._keep_alive)
        self._send()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._heard = True
        try:
            self.connection.receive(data)
        except ProtocolError as failure:
            _log.info("grpc.bad_server", error=failure)
            self._send()
            self._transport.close()
            return
        self._send()
        if self._changed is not None:
            self._changed.set_result(None)
            self._changed = None
        if self.connection.closing and not self.connection.streams:
            self._transport.close()

    def connection_lost(self, failure: Exception | None) -> None:
        """See asyncio.Protocol: all calls end."""
        self._lost = True
        if self._timer is not None:
            self._timer.cancel()
        self.connection.closing = True
        self._channel.lost(self)
        self.resume_writing()
        if self._changed is not None:
            self._changed.set_result(None)
            self._changed = None
        streams, self.connection.streams = self.connection.streams, {}
        for stream in streams.values():
            stream.owner.was_reset()

    async def change(self) -> None:
        """Until the peer has said something, or is gone."""
        if self._lost:
            return
        if self._changed is None:
            self._changed = self.loop.create_future()
        await asyncio.shield(self._changed)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._room = self.loop.create_future()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        if self._room is not None:
            self._room.set_result(None)
            self._room = None

    async def room(self) -> None:
        """See asking.Link."""
        if self._room is not None:
            await asyncio.shield(self._room)

    def flush(self) -> None:
        """See asking.Link: once for all calls of this turn of the loop."""
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

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()


class _UnaryUnary:
    """A method with one request and one answer."""

    def __init__(self, channel: Http2Channel, method: str, serialize: Serialize, deserialize: Deserialize) -> None:
        self._channel = channel
        self._block = channel.head(method)
        self._serialize = serialize
        self._deserialize = deserialize

    async def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
        wait_for_ready: bool | None = None,
        **_: object,
    ) -> Any:
        """The answer. Raises AioRpcError."""
        block = self._block + encoded_metadata(metadata) if metadata else self._block
        body = framed(self._serialize(request))
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while True:
            left = None if deadline is None else max(0.0, deadline - loop.time())
            link = self._channel.ready() or await self._channel.connected(left, bool(wait_for_ready))
            asking = Asking(link)
            await self._ask(asking, block, body, deadline)
            if asking.code is grpc.StatusCode.OK:
                break
            if not asking.refused:
                raise asking.failure()
            # The server counts streams a little longer than we do.
            await link.change()
        if len(asking.messages) != 1:
            raise rpc_error(grpc.StatusCode.INTERNAL, f"{len(asking.messages)} messages came where one was expected")
        return self._deserialize(asking.messages[0])

    @staticmethod
    async def _ask(asking: Asking, block: bytes, body: bytes, deadline: float | None) -> None:
        """Send a request and wait for its end."""
        link = asking.link
        timer: asyncio.TimerHandle | None = None
        if deadline is not None:
            block += timeout_field(max(0.0, deadline - link.loop.time()))
            timer = link.loop.call_at(deadline, asking.expire)
        asking.stream = link.connection.ask(asking, block, body)
        link.flush()
        try:
            while not asking.done:
                await asking.wait()
        except asyncio.CancelledError:
            asking.cancel()
            raise
        finally:
            if timer is not None:
                timer.cancel()


class _Streaming:
    """A method whose answers (and requests, with streams_in) are streams."""

    def __init__(
        self, channel: Http2Channel, method: str, serialize: Serialize, deserialize: Deserialize, *, streams_in: bool
    ) -> None:
        self._channel = channel
        self._block = channel.head(method)
        self._serialize = serialize
        self._deserialize = deserialize
        self._streams_in = streams_in

    def __call__(
        self,
        request: Any = None,
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
        wait_for_ready: bool | None = None,
        **_: object,
    ) -> "StreamCall":
        """Begin a call. request: the one request, or (optionally) an async iterable of them."""
        block = self._block + (encoded_metadata(metadata) if metadata else b"")
        call = StreamCall(self._channel, block, self._serialize, self._deserialize, timeout, bool(wait_for_ready))
        call.begin(request if self._streams_in else [request])
        return call


class StreamCall:
    """A call under way. Iterate it for answers; write to it where requests are a stream."""

    def __init__(
        self,
        channel: Http2Channel,
        block: bytes,
        serialize: Serialize,
        deserialize: Deserialize,
        timeout: float | None,
        wait_for_ready: bool,
    ) -> None:
        self._channel = channel
        self._block = block
        self._serialize = serialize
        self._deserialize = deserialize
        self._timeout = timeout
        self._wait_for_ready = wait_for_ready
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None
        self._opening: asyncio.Task[Asking]

    def begin(self, requests: Any) -> None:
        """Open the stream. requests: a list or async iterable to send, or None: they are written."""
        loop = asyncio.get_running_loop()
        self._opening = loop.create_task(self._open(), name="grpc-open")
        # A call that is given up before anybody asked for its outcome is no news.
        self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        if requests is not None:
            self._sending = loop.create_task(self._send_all(requests), name="grpc-send")
            self._sending.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _open(self) -> Asking:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        link = self._channel.ready() or await self._channel.connected(self._timeout, self._wait_for_ready)
        asking = Asking(link)
        block = self._block
        if self._timeout is not None:
            left = max(0.0, self._timeout - (loop.time() - begin))
            block += timeout_field(left)
            self._timer = loop.call_later(left, asking.expire)
        asking.stream = link.connection.open(asking, block)
        link.flush()
        return asking

    async def _opened(self) -> Asking:
        return self._opening.result() if self._opening.done() else await asyncio.shield(self._opening)

    async def _send_all(self, requests: Any) -> None:
        asking = await self._opened()
        if isinstance(requests, list):
            for request in requests:
                await asking.send(self._serialize(request))
        else:
            async for request in requests:
                await asking.send(self._serialize(request))
        asking.link.connection.finish(asking.stream, b"")
        asking.link.flush()

    async def write(self, request: Any) -> None:
        """Send one request. Raises AioRpcError when the call is over."""
        asking = await self._opened()
        await asking.send(self._serialize(request))

    async def done_writing(self) -> None:
        """No more requests."""
        asking = await self._opened()
        if not asking.done:
            asking.link.connection.finish(asking.stream, b"")
            asking.link.flush()

    async def initial_metadata(self) -> Metadata:
        """The headers of the answer, once they have come."""
        asking = await self._opened()
        while asking.initial is None and not asking.done:
            await asking.wait()
        if asking.initial is None and asking.code is not grpc.StatusCode.OK:
            raise asking.failure()
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in asking.initial or []]

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._answers()

    async def _answers(self) -> AsyncIterator[Any]:
        while (answer := await self.read()) is not grpc.aio.EOF:
            yield answer

    async def read(self) -> Any:
        """The next answer, or grpc.aio.EOF. Raises AioRpcError."""
        try:
            asking = await self._opened()
            message = await asking.next_message()
        except asyncio.CancelledError:
            self.cancel()
            raise
        if message is not None:
            return self._deserialize(message)
        self._stop()
        if asking.code is not grpc.StatusCode.OK:
            raise asking.failure()
        return grpc.aio.EOF

    def cancel(self) -> bool:
        """Give the call up. Idempotent."""
        self._stop()
        opening = self._opening
        if not opening.done():
            opening.cancel()
        elif not opening.cancelled() and opening.exception() is None:
            opening.result().cancel()
        return True

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._sending is not None:
            self._sending.cancel()
