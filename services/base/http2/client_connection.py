"""The client's side of a connection: we open streams, the peer answers."""

from typing import Protocol

from navarch.services.base.http2 import frames
from navarch.services.base.http2.connection import Connection, Headers, Owner, Stream
from navarch.services.base.http2.frames import Code, ProtocolError, frame

_LAST_ID = (1 << 31) - 1
_NO_PUSH = 2


class Asker(Owner, Protocol):
    """Whom an answer concerns."""

    def headed(self, headers: Headers, ended: bool) -> None:
        """Headers or trailers came; ended: the last of the stream."""
        ...

    def was_refused(self) -> None:
        """The stream is no more, and the peer never looked at it."""
        ...


class ClientConnection(Connection):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self._next_id = 1
        self._askers: dict[int, Asker] = {}
        # As many streams as the peer allows at a time.
        self._allowed = _LAST_ID
        self._out.insert(0, frames.PREFACE)

    @staticmethod
    def _settings() -> tuple[tuple[int, int], ...]:
        return ((_NO_PUSH, 0),)

    @property
    def is_open(self) -> bool:
        """Whether it takes new streams at all."""
        return not self.closing and self._next_id < _LAST_ID

    @property
    def has_room(self) -> bool:
        """Whether the peer allows one more stream now."""
        return len(self.streams) < self._allowed

    def open(self, asker: Asker, block: bytes) -> Stream:
        """A new stream that begins with these headers. Only while it is open and has room."""
        stream = Stream(self._next_id, self._initial_window)
        stream.owner = asker
        self._last_id, self._next_id = self._next_id, self._next_id + 2
        self.streams[stream.id] = stream
        self._askers[stream.id] = asker
        self._send_block(stream.id, block, 0)
        return stream

    def ask(self, asker: Asker, block: bytes, data: bytes) -> Stream:
        """A new stream with all of its request."""
        stream = self.open(asker, block)
        size = len(data)
        if size > min(self._window, stream.window, self._max_frame):
            self.send(stream, data)
            self.finish(stream, b"")
            return stream
        self._window -= size
        self._out += (frames.HEAD.pack(size >> 16, size & 0xFFFF, frames.DATA, frames.END_STREAM, stream.id), data)
        stream.trailers = b""
        stream.closed = True
        return stream

    def reset(self, stream: Stream, code: Code) -> None:
        """See Connection."""
        self._askers.pop(stream.id, None)
        super().reset(stream, code)

    def _close(self, stream: Stream) -> None:
        if not stream.closed and stream.id in self.streams:
            stream.closed = True
            self._out.append(frame(frames.DATA, frames.END_STREAM, stream.id, b""))

    def _on_fields(self, stream_id: int, headers: Headers, ended: bool) -> None:
        asker = self._askers.get(stream_id)
        if asker is None:
            if stream_id > self._last_id or stream_id % 2 == 0:
                raise ProtocolError(Code.PROTOCOL_ERROR, "headers on an idle stream")
            return
        if ended:
            self._ended(self.streams[stream_id])
        asker.headed(headers, ended)

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        super()._on_data(flags, stream_id, payload)
        if flags & frames.END_STREAM and (stream := self.streams.get(stream_id)) is not None:
            self._ended(stream)

    def _ended(self, stream: Stream) -> None:
        """The answer is complete, whatever of the request is not."""
        stream.remote_closed = True
        if stream.closed:
            del self.streams[stream.id]
            self._forget(stream)
            del self._askers[stream.id]
        else:
            self.reset(stream, Code.NO_ERROR)

    def _on_reset(self, flags: int, stream_id: int, payload: bytes) -> None:
        asker = self._askers.pop(stream_id, None)
        if asker is not None and payload == frames.U32.pack(Code.REFUSED_STREAM):
            self._forget(self.streams.pop(stream_id))
            asker.was_refused()
            return
        super()._on_reset(flags, stream_id, payload)

    def _on_go_away(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) < 8:
            raise ProtocolError(Code.FRAME_SIZE_ERROR, "goaway")
        self.closing = True
        last = frames.U32.unpack_from(payload)[0] & _LAST_ID
        for refused in [one for one in self.streams if one > last]:
            self._forget(self.streams.pop(refused))
            self._askers.pop(refused).was_refused()

    def _on_setting(self, setting: int, value: int) -> None:
        if setting == frames.MAX_CONCURRENT_STREAMS:
            self._allowed = value
