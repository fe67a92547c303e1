"""The server's side of a connection: peers open streams, we answer."""

from collections.abc import Callable

from navarch.services.base.http2 import frames
from navarch.services.base.http2.connection import MAX_STREAMS, Connection, Headers, Owner, Stream
from navarch.services.base.http2.frames import Code, ProtocolError, frame

# What a peer may take back, break or change before `forgive`, which comes every 20 s: a thousand calls a second.
MAX_STRAIN = 20_000
# Settings concern every stream: ten times a second is more than any client has to say.
_SETTINGS_STRAIN = 100


class ServerConnection(Connection):
    """See the module. open_stream: makes the owner of a new stream from its request headers.

    A call that is begun and taken back costs the peer nothing and us much, and never counts as one of `MAX_STREAMS`;
    so do settings. They are counted, and a peer that goes on and on is disconnected.
    """

    def __init__(self, open_stream: Callable[[Stream, Headers], Owner]) -> None:
        super().__init__()
        self._open_stream = open_stream
        self._begun = False
        self._strain = 0

    def forgive(self) -> None:
        """Time has passed."""
        self._strain = 0

    def _strained(self, amount: int) -> None:
        self._strain += amount
        if self._strain > MAX_STRAIN:
            raise ProtocolError(Code.ENHANCE_YOUR_CALM, "too many resets or settings")

    def _on_reset(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._strained(1)
        super()._on_reset(flags, stream_id, payload)

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._strained(_SETTINGS_STRAIN)
        super()._on_settings(flags, stream_id, payload)

    def _fail(self, stream: Stream, code: Code) -> None:
        super()._fail(stream, code)
        self._strained(1)

    @staticmethod
    def _settings() -> tuple[tuple[int, int], ...]:
        return ((frames.MAX_CONCURRENT_STREAMS, MAX_STREAMS),)

    def _receive(self, data: bytes) -> None:
        if not self._begun:
            if not data.startswith(frames.PREFACE[: len(data)]):
                raise ProtocolError(Code.PROTOCOL_ERROR, "no HTTP/2 preface")
            if len(data) < len(frames.PREFACE):
                self._rest = data
                return
            self._begun, data = True, data[len(frames.PREFACE) :]
        super()._receive(data)

    def _on_fields(self, stream_id: int, headers: Headers, ended: bool) -> None:
        stream = self.streams.get(stream_id)
        if stream is None:
            if stream_id <= self._last_id and stream_id % 2:
                return  # trailers of a stream that we have reset
            if stream_id % 2 == 0:
                raise ProtocolError(Code.PROTOCOL_ERROR, "a client's stream has an odd number")
            self._last_id = stream_id
            if self.closing or len(self.streams) >= MAX_STREAMS:
                self._out.append(frame(frames.RESET, 0, stream_id, frames.U32.pack(Code.REFUSED_STREAM)))
                return
            stream = self.streams[stream_id] = Stream(stream_id, self._initial_window)
            stream.owner = self._open_stream(stream, headers)
        elif stream.remote_closed or not ended:
            raise ProtocolError(Code.PROTOCOL_ERROR, "headers in the midst of a stream")
        if ended:
            stream.remote_closed = True
            if stream_id in self.streams:
                stream.owner.received(b"", True)

    def _on_setting(self, setting: int, value: int) -> None:
        # Nothing else that a client may set concerns a server that does not push.
        return

    def _on_go_away(self, flags: int, stream_id: int, payload: bytes) -> None:
        # The client will close; until then its streams go on.
        return

    def _close(self, stream: Stream) -> None:
        if stream.trailers is not None and self.streams.pop(stream.id, None) is not None:
            self._send_block(stream.id, stream.trailers, frames.END_STREAM)
            if not stream.remote_closed:
                self._out.append(frame(frames.RESET, 0, stream.id, frames.U32.pack(Code.NO_ERROR)))

    def answer(self, stream: Stream, headers: bytes, data: bytes, trailers: bytes) -> None:
        """Headers, data and trailers at once: the usual end of a unary call."""
        size = len(data)
        if size > min(self._window, stream.window, self._max_frame) or not stream.remote_closed or self._table_update:
            self.send_headers(stream, headers)
            self.send(stream, data)
            self.finish(stream, trailers)
            return
        self._window -= size
        stream_id, high = stream.id, size >> 16
        del self.streams[stream_id]
        self._out += (
            frames.HEAD.pack(0, len(headers), frames.HEADERS, frames.END_HEADERS, stream_id),
            headers,
            frames.HEAD.pack(high, size & 0xFFFF, frames.DATA, 0, stream_id),
            data,
            frames.HEAD.pack(0, len(trailers), frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream_id),
            trailers,
        )
