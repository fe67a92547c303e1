"""A client's gRPC call on one HTTP/2 stream: messages out and in, status, deadline, cancellation."""

import asyncio
import base64
from collections import deque
from typing import Protocol
from urllib.parse import unquote

import grpc

from navarch.services.base.http2.call import MAX_MESSAGE_BYTES
from navarch.services.base.http2.client_connection import ClientConnection
from navarch.services.base.http2.connection import Headers, Stream
from navarch.services.base.http2.frames import Code, literal

_PREFIX_BYTES = 5
_CODES = {code.value[0]: code for code in grpc.StatusCode}
# What a proxy's HTTP status means where no gRPC status came (gRPC over HTTP/2, "HTTP2 transport mapping").
_CODE_OF_HTTP = {
    400: grpc.StatusCode.INTERNAL,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.UNIMPLEMENTED,
    429: grpc.StatusCode.UNAVAILABLE,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.UNAVAILABLE,
}
BROKEN = "the connection was lost"


class Link(Protocol):
    """The connection as its calls see it."""

    connection: ClientConnection
    loop: asyncio.AbstractEventLoop

    def flush(self) -> None:
        """Send what the connection has to send, soon."""
        ...

    async def room(self) -> None:
        """Wait until the transport takes more."""
        ...


class Asking:
    """One call from its first byte to its status; `client_connection.Asker`."""

    __slots__ = (
        "_chunks", "_drained", "_size", "_wake", "code", "details", "done", "initial", "link", "messages", "refused",
        "stream", "trailing",
    )  # fmt: skip

    def __init__(self, link: Link) -> None:
        self.link = link
        self.stream: Stream
        self.messages: deque[bytes] = deque()
        self.initial: Headers | None = None
        self.trailing: Headers = []
        self.code = grpc.StatusCode.UNKNOWN
        self.details = ""
        self.done = False
        # The server never looked at it: it may be sent again.
        self.refused = False
        self._chunks: list[bytes] = []
        self._size = 0
        self._wake: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None

    def headed(self, headers: Headers, ended: bool) -> None:
        """See Asker."""
        if self.initial is None and not ended:
            self.initial = headers
            self._notify()
        elif ended:
            self.trailing = headers
            self._end(*_status(headers))

    def received(self, data: bytes, ended: bool) -> None:
        """See Owner."""
        self._chunks.append(data)
        self._size += len(data)
        self._split()
        if ended:
            self._end(*_status(self.initial or []))
        elif self.messages:
            self._notify()
        else:
            # Part of a large message: the peer may send the rest.
            self.link.connection.credit(self.stream)

    def _split(self) -> None:
        while self._size >= _PREFIX_BYTES and not self.done:
            head = self._chunks[0]
            if len(head) < _PREFIX_BYTES:
                head = b"".join(self._chunks)
                self._chunks = [head]
            end = _PREFIX_BYTES + int.from_bytes(head[1:_PREFIX_BYTES], "big")
            if head[0] or end > MAX_MESSAGE_BYTES:
                details = f"the answer is compressed, or larger than max ({MAX_MESSAGE_BYTES} bytes)"
                self.cancel(grpc.StatusCode.RESOURCE_EXHAUSTED, details)
                return
            if self._size < end:
                return
            whole = head if len(head) == self._size else b"".join(self._chunks)
            self.messages.append(whole[_PREFIX_BYTES:end])
            self._chunks = [whole[end:]]
            self._size -= end

    def drained(self) -> None:
        """See Owner."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def was_reset(self) -> None:
        """See Owner."""
        self._end(grpc.StatusCode.UNAVAILABLE, BROKEN)

    def was_refused(self) -> None:
        """See Asker."""
        self.refused = True
        self._end(grpc.StatusCode.UNAVAILABLE, "failed to connect: the server takes no more calls here")

    def cancel(self, code: grpc.StatusCode = grpc.StatusCode.CANCELLED, details: str = "cancelled") -> None:
        """Give up; the peer is told. Idempotent."""
        if not self.done:
            self.link.connection.reset(self.stream, Code.CANCEL)
            self.link.flush()
            self._end(code, details)

    def expire(self) -> None:
        """The deadline has passed."""
        self.cancel(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    def _end(self, code: grpc.StatusCode, details: str) -> None:
        if not self.done:
            self.done, self.code, self.details = True, code, details
            self.drained()
            self._notify()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def wait(self) -> None:
        """Until there is something new: headers, a message, or the end."""
        self._wake = self.link.loop.create_future()
        await self._wake

    async def next_message(self) -> bytes | None:
        """The next message; None at the end."""
        while not self.messages:
            if self.done:
                return None
            self.link.connection.credit(self.stream)
            self.link.flush()
            await self.wait()
        return self.messages.popleft()

    async def send(self, body: bytes) -> None:
        """Send a message; returns when the peer's flow control has let it go. Raises AioRpcError when it is over."""
        if self.done:
            raise self.failure()
        if not self.link.connection.send(self.stream, framed(body)):
            self._drained = self.link.loop.create_future()
            self.link.flush()
            await self._drained
        self.link.flush()
        await self.link.room()

    def failure(self) -> grpc.aio.AioRpcError:
        """What the status is as an exception."""
        return rpc_error(self.code, self.details, self.initial or [], self.trailing)


def framed(body: bytes) -> bytes:
    """A message with its prefix."""
    return b"\0" + len(body).to_bytes(4, "big") + body


def rpc_error(
    code: grpc.StatusCode, details: str, initial: Headers | None = None, trailing: Headers | None = None
) -> grpc.aio.AioRpcError:
    """The exception that grpc.aio would raise."""
    return grpc.aio.AioRpcError(code, _metadata(initial or []), _metadata(trailing or []), details)


def _metadata(headers: Headers) -> grpc.aio.Metadata:
    return grpc.aio.Metadata(*(_pair(name, value) for name, value in headers if not name.startswith(b":")))


def _pair(name: bytes, value: bytes) -> tuple[str, str | bytes]:
    if name.endswith(b"-bin"):
        return name.decode("latin-1"), base64.b64decode(value + b"=" * (-len(value) % 4))
    return name.decode("latin-1"), value.decode("latin-1")


def _status(headers: Headers) -> tuple[grpc.StatusCode, str]:
    fields = dict(headers)
    number = fields.get(b"grpc-status")
    if number is not None and number.isdigit():
        details = unquote(fields.get(b"grpc-message", b"").decode("latin-1"))
        return _CODES.get(int(number), grpc.StatusCode.UNKNOWN), details
    http = fields.get(b":status", b"").decode("latin-1")
    code = _CODE_OF_HTTP.get(int(http) if http.isdigit() else 0, grpc.StatusCode.UNKNOWN)
    return code, f"the answer has no gRPC status (HTTP status {http or 'missing'})"


def timeout_field(seconds: float) -> bytes:
    """The header that tells the peer the deadline."""
    micros = max(1, int(seconds * 1_000_000))
    amount, unit = (micros, b"u") if micros < 100_000_000 else (min(int(seconds), 99_999_999), b"S")
    return literal(b"grpc-timeout", b"%d%b" % (amount, unit))
