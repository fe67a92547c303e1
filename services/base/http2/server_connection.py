"""The server's side of a connection: peers open streams, we answer."""

from collections.abc import Callable

from navarch.services.base.http2 import frames
from navarch.services.base.http2.connection import MAX_STREAMS, Connection, Headers, Owner, Stream
from navarch.services.base.http2.frames import Code, ProtocolError, frame


class ServerConnection(Connection):
    """See the module. open_stream: makes the owner of a new stream from its request headers."""

    def __init__(self, open_stream: Callable[[Stream, Headers], Owner]) -> None:
        super().__init__()
        self._open_stream = open_stream
        self._begun = False

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
        if size > min(self._window, stream.window, self._max_frame) or not stream.remote_closed:
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
