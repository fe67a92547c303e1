"""One gRPC call on one HTTP/2 stream: messages in and out, status, deadline, cancellation.

A `Call` is what the stream's events go to and what the servicer gets as its context. Its task runs the behavior;
it ends with the stream and the stream with it, whichever is first.
"""

import asyncio
import base64
import binascii
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol
from urllib.parse import quote_from_bytes

import grpc

from navarch.services.base.http2.connection import Headers, Stream
from navarch.services.base.http2.frames import literal
from navarch.services.base.http2.server_connection import ServerConnection
from navarch.services.base.log import get_logger

Metadata = Sequence[tuple[str, str | bytes]]
MAX_MESSAGE_BYTES = 64 << 20
# Smaller pieces of a message are put together, for each costs more than it holds.
_SMALL_PIECE_BYTES = 4 << 10
_GATHERED_BYTES = 64 << 10

# Index 8 of HPACK's static table is ":status 200".
_HEADERS = b"\x88" + literal(b"content-type", b"application/grpc")
_OK = literal(b"grpc-status", b"0")
_PREFIX_BYTES = 5
# What a grpc-message may hold as it is: printable ASCII but the percent sign.
_UNQUOTED = bytes(set(range(0x20, 0x7F)) - {0x25})
_UNIT_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_log = get_logger("grpc")


class Method:
    """A registered method, ready to be called."""

    __slots__ = ("behavior", "deserialize", "serialize", "streams_in", "streams_out")

    def __init__(self, handler: "grpc.RpcMethodHandler[Any, Any]") -> None:
        behaviors: Any = handler
        self.streams_in: bool = behaviors.request_streaming
        self.streams_out: bool = behaviors.response_streaming
        name = f"{'stream' if self.streams_in else 'unary'}_{'stream' if self.streams_out else 'unary'}"
        self.behavior: Callable[[Any, Any], Any] = getattr(behaviors, name)
        self.deserialize: Callable[[bytes], Any] = behaviors.request_deserializer or bytes
        self.serialize: Callable[[Any], bytes] = behaviors.response_serializer or bytes


class Link(Protocol):
    """The connection as its calls see it."""

    connection: ServerConnection
    loop: asyncio.AbstractEventLoop
    methods: dict[bytes, Method]
    peer: str

    def flush(self) -> None:
        """Send what the connection has to send, soon."""
        ...

    async def room(self) -> None:
        """Wait until the transport takes more."""
        ...

    def began(self, call: "Call") -> None:
        """A call runs."""
        ...

    def ended(self, call: "Call") -> None:
        """A call is over."""
        ...

    def hold(self, change_bytes: int) -> bool:
        """A call holds so much more of what has come; whether all of them together do not hold too much."""
        ...

    def identity(self) -> dict[str, list[bytes]]:
        """Who the peer has proved to be."""
        ...


class Call:
    """See the module; as a context, grpc.aio's ServicerContext as far as servicers here use it."""

    __slots__ = (
        "_begun", "_chunks", "_code", "_deadline", "_details", "_drained", "_ended", "_headers", "_held", "_link",
        "_messages",
        "_method", "_over", "_size", "_stream", "_timer", "_trailing", "_wake", "task",
    )  # fmt: skip

    def __init__(self, link: Link, stream: Stream, headers: Headers) -> None:
        self._link = link
        self._stream = stream
        self._headers = headers
        self._chunks: list[bytes | bytearray] = []
        self._size = 0
        # Bytes that `Link.hold` knows of: those of messages that are not whole, or not taken yet.
        self._held = 0
        self._messages: deque[bytes] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline: float | None = None
        self._code: grpc.StatusCode | None = None
        self._details = ""
        self._trailing: Metadata = ()
        self._begun = self._ended = self._over = False
        self.task: asyncio.Task[None] | None = None
        self._method: Method | None = None
        fields = dict(headers)
        method = link.methods.get(fields.get(b":path", b""))
        if not fields.get(b"content-type", b"").startswith(b"application/grpc"):
            self._finish(grpc.StatusCode.INVALID_ARGUMENT, "not a gRPC request")
        elif method is None:
            self._finish(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        else:
            self._method = method
            timeout = fields.get(b"grpc-timeout")
            if timeout is not None:
                self._expire_in(timeout.decode("latin-1"))
            if method.streams_in and not self._over:
                self._start(method, _Requests(self, method))

    def _expire_in(self, timeout: str) -> None:
        digits, unit = timeout[:-1], _UNIT_S.get(timeout[-1:])
        if unit is None or not digits.isdecimal() or len(digits) > 8:
            self._finish(grpc.StatusCode.INVALID_ARGUMENT, f"bad grpc-timeout {timeout!r}")
            return
        self._deadline = self._link.loop.time() + int(digits) * unit
        self._timer = self._link.loop.call_at(self._deadline, self._expire)

    def _expire(self) -> None:
        self._finish(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        self._link.flush()
        self._cancel()

    # What comes in.

    def received(self, data: bytes, ended: bool) -> None:
        """See Owner."""
        method = self._method
        if method is None or self._over or not (data or ended):
            return
        self._gather(data)
        self._ended = ended
        if method.streams_in:
            self._hold(len(data))
            self._split()
            self._notify()
        elif not ended:
            self._link.connection.credit(self._stream)
            self._hold(len(data))
            if self._size > MAX_MESSAGE_BYTES:
                self._finish(grpc.StatusCode.RESOURCE_EXHAUSTED, f"message larger than {MAX_MESSAGE_BYTES} bytes")
        else:
            self._hold(-self._held)
            self._split()
            if len(self._messages) == 1 and not self._size:
                self._start(method, self._messages.popleft())
            elif not self._over:
                self._finish(grpc.StatusCode.INVALID_ARGUMENT, "one message was expected")

    def _gather(self, data: bytes) -> None:
        self._size += len(data)
        if len(data) < _SMALL_PIECE_BYTES and self._chunks:
            last = self._chunks[-1]
            if type(last) is bytearray and len(last) < _GATHERED_BYTES:
                last += data
                return
            self._chunks.append(bytearray(data))
        else:
            self._chunks.append(data)

    def _hold(self, change_bytes: int) -> None:
        if change_bytes:
            self._held += change_bytes
            if not self._link.hold(change_bytes) and change_bytes > 0:
                self._finish(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much has been sent that is not whole")

    def _let_go(self) -> None:
        """Nothing that has come is needed any more."""
        self._chunks.clear()
        self._messages.clear()
        self._hold(-self._held)

    def _split(self) -> None:
        """Cut whole messages from what has come; no more than the one of a unary call."""
        streams_in = self._method is not None and self._method.streams_in
        while self._size >= _PREFIX_BYTES and not self._over and (streams_in or not self._messages):
            head = self._chunks[0]
            if len(head) < _PREFIX_BYTES:
                head = b"".join(self._chunks)
                self._chunks = [head]
            end = _PREFIX_BYTES + int.from_bytes(head[1:_PREFIX_BYTES], "big")
            if head[0]:
                self._finish(grpc.StatusCode.UNIMPLEMENTED, "compressed messages are not supported")
            elif end > MAX_MESSAGE_BYTES:
                self._finish(grpc.StatusCode.RESOURCE_EXHAUSTED, f"message larger than {MAX_MESSAGE_BYTES} bytes")
            if self._over or self._size < end:
                return
            whole = head if len(head) == self._size else b"".join(self._chunks)
            self._messages.append(bytes(whole[_PREFIX_BYTES:end]))
            self._size -= end
            self._chunks = [whole[end:]] if self._size else []

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def drained(self) -> None:
        """See Owner."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def was_reset(self) -> None:
        """See Owner: the peer has given up."""
        self._over = True
        self._let_go()
        self._forget_timer()
        self._cancel()

    async def next_message(self) -> bytes | None:
        """The next message of a stream of requests, None at its end."""
        while not self._messages:
            if self._ended or self._over:
                return None
            if self._chunks:
                self._link.connection.credit(self._stream)
                self._link.flush()
            self._wake = self._link.loop.create_future()
            await self._wake
        message = self._messages.popleft()
        self._hold(-len(message) - _PREFIX_BYTES)
        return message

    # The behavior's task.

    def _start(self, method: Method, request: Any) -> None:
        self.task = self._link.loop.create_task(self._run(method, request))
        # One that is cancelled before its first step never comes to its own end.
        self.task.add_done_callback(lambda _: self._link.ended(self))
        self._link.began(self)

    async def _run(self, method: Method, request: Any) -> None:
        try:
            if not method.streams_in and (request := self._deserialized(method, request)) is None:
                return
            answer = await method.behavior(request, self)
            if self._over:
                return
            if method.streams_out:
                self._finish(self._code or grpc.StatusCode.OK, self._details)
            elif self._code is None and not self._trailing and not self._begun:
                self._finish_ok(method.serialize(answer))
            else:
                await self.write(answer)
                self._finish(self._code or grpc.StatusCode.OK, self._details)
        except asyncio.CancelledError:
            # Either the call is over already, or the server is being stopped.
            self._finish(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
        except grpc.aio.AbortError:
            self._finish(self._code or grpc.StatusCode.UNKNOWN, self._details)
        except Exception as failure:
            _log.exception("grpc.call_failed")
            self._finish(grpc.StatusCode.UNKNOWN, f"Unexpected {type(failure).__name__}: {failure}")
        finally:
            self._forget_timer()
            self._link.flush()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _deserialized(self, method: Method, message: bytes) -> Any:
        try:
            return method.deserialize(message)
        except Exception as failure:
            self._finish(grpc.StatusCode.INTERNAL, f"Exception deserializing request! {failure}")
            return None

    def _cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def _finish_ok(self, answer: bytes) -> None:
        self._over = True
        if self._held:
            self._let_go()
        data = b"\0" + len(answer).to_bytes(4, "big") + answer
        self._link.connection.answer(self._stream, _HEADERS, data, _OK)

    def _finish(self, code: grpc.StatusCode, details: str) -> None:
        """End the stream with a status, once."""
        if self._over:
            return
        self._over = True
        self._let_go()
        self._code = code
        trailers = _OK if code is grpc.StatusCode.OK else literal(b"grpc-status", b"%d" % code.value[0])
        if details:
            trailers += literal(
                b"grpc-message", quote_from_bytes(details.encode(), safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}").encode()
            )
        trailers += encoded_metadata(self._trailing)
        connection = self._link.connection
        connection.finish(self._stream, trailers if self._begun else _HEADERS + trailers)

    # As a context.

    async def write(self, message: Any) -> None:
        """Send a message; returns when the peer's flow control has let it go."""
        assert self._method is not None
        if self._over:
            raise asyncio.CancelledError
        await self.send_initial_metadata(())
        body = self._method.serialize(message)
        if not self._link.connection.send(self._stream, b"\0" + len(body).to_bytes(4, "big") + body):
            self._drained = self._link.loop.create_future()
            self._link.flush()
            await self._drained
        self._link.flush()
        await self._link.room()

    async def send_initial_metadata(self, metadata: Metadata) -> None:
        """Send the headers, once."""
        if not self._begun:
            self._begun = True
            self._link.connection.send_headers(self._stream, _HEADERS + encoded_metadata(metadata))
            self._link.flush()

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> None:
        """End the call with a status. Always raises."""
        self._code, self._details, self._trailing = code, details, trailing_metadata
        raise grpc.aio.AbortError

    def set_code(self, code: grpc.StatusCode) -> None:
        """The status to end with."""
        self._code = code

    def set_details(self, details: str) -> None:
        """The message to end with."""
        self._details = details

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Metadata to end with."""
        self._trailing = metadata

    def code(self) -> grpc.StatusCode | None:
        """What was set or aborted with."""
        return self._code

    def details(self) -> str:
        """What was set or aborted with."""
        return self._details

    def cancelled(self) -> bool:
        """Whether the call ended before its behavior did."""
        return self._over

    def time_remaining(self) -> float | None:
        """Seconds to the deadline."""
        return None if self._deadline is None else max(0.0, self._deadline - self._link.loop.time())

    def peer(self) -> str:
        """The peer's address."""
        return self._link.peer

    def auth_context(self) -> dict[str, list[bytes]]:
        """Who the peer has proved to be, under grpc's names."""
        return self._link.identity()

    def invocation_metadata(self) -> Metadata:
        """The client's own metadata."""
        return tuple(
            (name.decode("latin-1"), _decoded(name, value))
            for name, value in self._headers
            if not name.startswith((b":", b"grpc-")) and name not in (b"te", b"content-type")
        )


class _Requests:
    """A stream of requests, as servicers read it."""

    def __init__(self, call: Call, method: Method) -> None:
        self._call = call
        self._method = method

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        message = await self._call.next_message()
        if message is None:
            raise StopAsyncIteration
        return self._method.deserialize(message)


def encoded_metadata(metadata: Metadata) -> bytes:
    """Metadata as header fields."""
    block = b""
    for name, value in metadata:
        raw = value.encode() if isinstance(value, str) else value
        if name.endswith("-bin"):
            raw = base64.b64encode(raw).rstrip(b"=")
        block += literal(name.encode("ascii"), raw)
    return block


def _decoded(name: bytes, value: bytes) -> str | bytes:
    if not name.endswith(b"-bin"):
        return value.decode("latin-1")
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4))
    except binascii.Error:
        return b""
