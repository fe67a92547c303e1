"""One HTTP/2 connection (RFC 9113), without I/O: bytes in, events to streams, bytes out.

What server and client have in common is here, what they have not in `server_connection` and `client_connection`.
`receive` parses frames and tells the streams' owners (`Owner`) what came; what is to be sent gathers in `take`.
Data that the peer's flow control holds back waits in its stream, in order. A peer that breaks the protocol gets
ProtocolError: GOAWAY is among the bytes to send then, and the connection is to be closed.

Inbound data is credited to the connection at once, to a stream only when its owner says so: that bounds what a
stream may buffer. Our header blocks use no dynamic table, so they can be prepared once.

What a frame costs does not depend on how many streams wait: those that the connection's window holds back are told
from those that their own does, and are served in turn.
"""

from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Protocol

import hpack

from navarch.services.base.http2 import frames
from navarch.services.base.http2.frames import Code, ProtocolError, frame, unpadded

STREAM_WINDOW_BYTES = 4 << 20
MAX_STREAMS = 4096
MAX_HEADER_BYTES = 512 << 10
# Of data that the peer does not take, in all streams of a connection.
MAX_QUEUED_BYTES = 256 << 20
_MAX_FRAME_BYTES = 16 << 10
_DEFAULT_WINDOW_BYTES = 65_535
_MAX_WINDOW_BYTES = (1 << 31) - 1
_CONNECTION_CREDIT_BYTES = 1 << 20
_CACHED_BLOCKS = 64
_CACHED_BLOCK_BYTES = 4 << 10
_DEFAULT_TABLE_BYTES = 4096
# The header table has no entries from now on (RFC 7541, 6.3).
_NO_TABLE = b"\x20"
# Frames of a header block; full ones hold more than MAX_HEADER_BYTES.
_MAX_PIECES = 64

Headers = list[tuple[bytes, bytes]]


class Owner(Protocol):
    """Whom a stream's events concern."""

    def received(self, data: bytes, ended: bool) -> None:
        """Data came; ended: the last."""
        ...

    def drained(self) -> None:
        """All that was queued is on its way."""
        ...

    def was_reset(self) -> None:
        """The stream is no more."""
        ...


class Stream:
    """One request and its answer."""

    __slots__ = ("blocked", "closed", "id", "owner", "queue", "remote_closed", "trailers", "uncredited", "window")

    def __init__(self, stream_id: int, window: int) -> None:
        self.id = stream_id
        self.owner: Owner
        self.window = window
        self.queue: deque[memoryview] = deque()
        self.trailers: bytes | None = None
        self.uncredited = 0
        # Whether its owner waits for `drained`.
        self.blocked = False
        self.remote_closed = False
        # Whether a client has ended its side.
        self.closed = False


class Connection(ABC):
    """See the module."""

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}
        self.closing = False
        # Whether the peer has said what it allows.
        self.settled = False
        self._decoder = hpack.Decoder(max_header_list_size=MAX_HEADER_BYTES)
        # A block means the same again until one has changed the decoder's table.
        self._blocks: dict[bytes, Headers] = {}
        self._rest = b""
        self._partial: tuple[int, int, bytes] | None = None
        self._pieces = 0
        self._last_id = 0
        self._uncredited = 0
        self._window = _DEFAULT_WINDOW_BYTES
        self._initial_window = _DEFAULT_WINDOW_BYTES
        self._max_frame = _MAX_FRAME_BYTES
        # Those that only the connection's window holds back, in turn.
        self._blocked: OrderedDict[int, Stream] = OrderedDict()
        self._queued = 0
        # Goes before the next header block.
        self._table_update = b""
        self._has_table = True
        self._on: dict[int, Callable[[int, int, bytes], None]] = {
            frames.DATA: self._on_data,
            frames.HEADERS: self._on_headers,
            frames.RESET: self._on_reset,
            frames.SETTINGS: self._on_settings,
            frames.PUSH: self._on_push,
            frames.GOAWAY: self._on_go_away,
            frames.PING: self._on_ping,
            frames.WINDOW: self._on_window,
            frames.CONTINUATION: self._on_continuation,
        }
        settings = (
            *self._settings(),
            (frames.INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES),
            (frames.MAX_HEADER_LIST_SIZE, MAX_HEADER_BYTES),
        )
        self._out: list[bytes] = [
            frame(frames.SETTINGS, 0, 0, b"".join(frames.SETTING.pack(*setting) for setting in settings)),
            frame(frames.WINDOW, 0, 0, frames.U32.pack(_MAX_WINDOW_BYTES - _DEFAULT_WINDOW_BYTES)),
        ]

    @staticmethod
    def _settings() -> tuple[tuple[int, int], ...]:
        """Settings of this side alone."""
        return ()

    def take(self) -> bytes:
        """What is to be sent now."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    # In.

    def receive(self, data: bytes) -> None:
        """Take what the peer sent. Raises ProtocolError."""
        try:
            self._receive(self._rest + data if self._rest else data)
        except ProtocolError as failure:
            self.go_away(failure.code, str(failure))
            raise

    def _receive(self, data: bytes) -> None:
        offset, end = 0, len(data)
        while end - offset >= frames.HEAD.size:
            high, low, kind, flags, stream_id = frames.HEAD.unpack_from(data, offset)
            length = high << 16 | low
            if length > _MAX_FRAME_BYTES:
                raise ProtocolError(Code.FRAME_SIZE_ERROR, "frame too large")
            stop = offset + frames.HEAD.size + length
            if stop > end:
                break
            if self._partial is not None and kind != frames.CONTINUATION:
                raise ProtocolError(Code.PROTOCOL_ERROR, "headers were not continued")
            handler = self._on.get(kind)
            if handler is not None:
                handler(flags, stream_id & _MAX_WINDOW_BYTES, data[stop - length : stop])
            offset = stop
        self._rest = data[offset:]

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._uncredited += len(payload)
        if self._uncredited >= _CONNECTION_CREDIT_BYTES:
            self._out.append(frame(frames.WINDOW, 0, 0, frames.U32.pack(self._uncredited)))
            self._uncredited = 0
        stream = self.streams.get(stream_id)
        if stream is None:
            if stream_id > self._last_id or stream_id % 2 == 0:
                raise ProtocolError(Code.PROTOCOL_ERROR, "data on an idle stream")
            return
        stream.uncredited += len(payload)
        if stream.remote_closed or stream.uncredited > STREAM_WINDOW_BYTES:
            self._fail(stream, Code.STREAM_CLOSED if stream.remote_closed else Code.FLOW_CONTROL_ERROR)
            return
        stream.remote_closed = bool(flags & frames.END_STREAM)
        stream.owner.received(unpadded(flags, payload), stream.remote_closed)

    def credit(self, stream: Stream) -> None:
        """The owner has room for more."""
        if stream.uncredited >= STREAM_WINDOW_BYTES // 2 and not stream.remote_closed and stream.id in self.streams:
            self._out.append(frame(frames.WINDOW, 0, stream.id, frames.U32.pack(stream.uncredited)))
            stream.uncredited = 0

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        block = unpadded(flags, payload)
        if flags & frames.PRIORITIZED:
            block = block[5:]
        if flags & frames.END_HEADERS:
            self._on_block(flags, stream_id, block)
        else:
            self._partial, self._pieces = (stream_id, flags, block), 1

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._partial is None or self._partial[0] != stream_id:
            raise ProtocolError(Code.PROTOCOL_ERROR, "nothing to continue")
        _, first_flags, block = self._partial
        block += payload
        self._pieces += 1
        if (
            self._pieces > _MAX_PIECES
            or len(block) > MAX_HEADER_BYTES
            or (not payload and not flags & frames.END_HEADERS)
        ):
            raise ProtocolError(Code.ENHANCE_YOUR_CALM, "headers too large")
        self._partial = None if flags & frames.END_HEADERS else (stream_id, first_flags, block)
        if self._partial is None:
            self._on_block(first_flags, stream_id, block)

    def _on_block(self, flags: int, stream_id: int, block: bytes) -> None:
        self._on_fields(stream_id, self._decoded(block), bool(flags & frames.END_STREAM))

    @abstractmethod
    def _on_fields(self, stream_id: int, headers: Headers, ended: bool) -> None:
        """A header block came. ended: nothing follows on its stream."""

    @abstractmethod
    def _close(self, stream: Stream) -> None:
        """All that was queued is on its way, and `finish` was called: end our side."""

    def _decoded(self, block: bytes) -> Headers:
        known = self._blocks.get(block)
        if known is not None:
            return known
        table = self._decoder.header_table.dynamic_entries
        size, newest = len(table), table[0] if table else None
        try:
            headers: Headers = [(name, value) for name, value in self._decoder.decode(block, raw=True)]
        except hpack.HPACKError as failure:
            raise ProtocolError(Code.COMPRESSION_ERROR, f"headers: {failure}") from failure
        if len(table) != size or (table and table[0] is not newest):
            self._blocks.clear()
        elif len(self._blocks) < _CACHED_BLOCKS and len(block) <= _CACHED_BLOCK_BYTES:
            self._blocks[block] = headers
        return headers

    def _on_reset(self, flags: int, stream_id: int, payload: bytes) -> None:
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            self._forget(stream)
            stream.owner.was_reset()

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & frames.ACK:
            return
        if len(payload) % frames.SETTING.size:
            raise ProtocolError(Code.FRAME_SIZE_ERROR, "settings")
        window = self._initial_window
        for setting, value in frames.SETTING.iter_unpack(payload):
            if setting == frames.MAX_FRAME_SIZE:
                if not _MAX_FRAME_BYTES <= value < 1 << 24:
                    raise ProtocolError(Code.PROTOCOL_ERROR, "frame size out of range")
                self._max_frame = value
            elif setting == frames.INITIAL_WINDOW_SIZE:
                if value > _MAX_WINDOW_BYTES:
                    raise ProtocolError(Code.FLOW_CONTROL_ERROR, "window out of range")
                window = value
            elif setting == frames.HEADER_TABLE_SIZE:
                if value < _DEFAULT_TABLE_BYTES and self._has_table:
                    self._has_table, self._table_update = False, _NO_TABLE
            else:
                self._on_setting(setting, value)
        self.settled = True
        self._out.append(frame(frames.SETTINGS, frames.ACK, 0, b""))
        if window != self._initial_window:
            self._change_windows(window - self._initial_window)
            self._initial_window = window

    def _change_windows(self, change: int) -> None:
        for stream in tuple(self.streams.values()):
            stream.window += change
            if stream.window > _MAX_WINDOW_BYTES:
                raise ProtocolError(Code.FLOW_CONTROL_ERROR, "window out of range")
            if stream.queue:
                self._pump(stream)

    @abstractmethod
    def _on_setting(self, setting: int, value: int) -> None:
        """Another setting of the peer."""

    def _on_push(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ProtocolError(Code.PROTOCOL_ERROR, "pushes are not accepted")

    @abstractmethod
    def _on_go_away(self, flags: int, stream_id: int, payload: bytes) -> None:
        """The peer begins no more streams, or takes no more of ours."""

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 8:
            raise ProtocolError(Code.FRAME_SIZE_ERROR, "ping")
        if not flags & frames.ACK:
            self._out.append(frame(frames.PING, frames.ACK, 0, payload))

    def _on_window(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != frames.U32.size:
            raise ProtocolError(Code.FRAME_SIZE_ERROR, "window update")
        (increment,) = frames.U32.unpack(payload)
        if not stream_id:
            self._window += increment
            if self._window > _MAX_WINDOW_BYTES:
                raise ProtocolError(Code.FLOW_CONTROL_ERROR, "window out of range")
            self._unblock()
        elif stream_id in self.streams:
            stream = self.streams[stream_id]
            stream.window += increment
            if stream.window > _MAX_WINDOW_BYTES:
                self._fail(stream, Code.FLOW_CONTROL_ERROR)
            elif stream.queue:
                self._pump(stream)

    # Out.

    def send_headers(self, stream: Stream, block: bytes) -> None:
        """Send a header block; the first thing on a stream."""
        self._send_block(stream.id, block, 0)

    def send(self, stream: Stream, data: bytes) -> bool:
        """Send data, or queue it; whether nothing of it waits. If some does, the owner's `drained` follows.

        Where too much waits already, the stream is reset.
        """
        stream.queue.append(memoryview(data))
        self._queued += len(data)
        if self._pump(stream):
            return True
        if self._queued <= MAX_QUEUED_BYTES:
            return False
        stream.owner.was_reset()
        self.reset(stream, Code.ENHANCE_YOUR_CALM)
        return True

    def finish(self, stream: Stream, trailers: bytes) -> None:
        """Send the closing header block after all that is queued."""
        stream.trailers = trailers
        self._pump(stream)

    def reset(self, stream: Stream, code: Code) -> None:
        """End a stream at once. Idempotent."""
        self._forget(stream)
        if self.streams.pop(stream.id, None) is not None:
            self._out.append(frame(frames.RESET, 0, stream.id, frames.U32.pack(code)))

    def _fail(self, stream: Stream, code: Code) -> None:
        """End a stream whose rules the peer has just broken."""
        stream.owner.was_reset()
        self.reset(stream, code)

    def _forget(self, stream: Stream) -> None:
        """Drop what waits in a stream that is over."""
        self._blocked.pop(stream.id, None)
        self._queued -= sum(map(len, stream.queue))
        stream.queue.clear()

    def ping(self) -> None:
        """Ask the peer for a sign of life."""
        self._out.append(frame(frames.PING, 0, 0, bytes(8)))

    def go_away(self, code: Code = Code.NO_ERROR, message: str = "") -> None:
        """Tell the peer to begin no more streams here."""
        self.closing = True
        self._out.append(
            frame(frames.GOAWAY, 0, 0, frames.U32.pack(self._last_id) + frames.U32.pack(code) + message.encode())
        )

    def _unblock(self) -> None:
        while self._window > 0 and self._blocked:
            _, stream = self._blocked.popitem(last=False)
            self._pump(stream)

    def _pump(self, stream: Stream) -> bool:
        """Send as much as the peer takes; whether nothing is left."""
        queue = stream.queue
        while queue:
            data = queue[0]
            size = min(len(data), self._window, stream.window, self._max_frame)
            if size <= 0 < len(data):
                stream.blocked = True
                if stream.window > 0:
                    self._blocked[stream.id] = stream
                else:
                    self._blocked.pop(stream.id, None)
                return False
            self._out += (frames.HEAD.pack(size >> 16, size & 0xFFFF, frames.DATA, 0, stream.id), bytes(data[:size]))
            self._window -= size
            stream.window -= size
            self._queued -= size
            if size == len(data):
                queue.popleft()
            else:
                queue[0] = data[size:]
        if stream.blocked:
            stream.blocked = False
            self._blocked.pop(stream.id, None)
            stream.owner.drained()
        if stream.trailers is not None:
            self._close(stream)
        return True

    def _send_block(self, stream_id: int, block: bytes, flags: int) -> None:
        kind = frames.HEADERS
        block, self._table_update = self._table_update + block, b""
        while len(block) > self._max_frame:
            self._out.append(frame(kind, flags, stream_id, block[: self._max_frame]))
            block, kind, flags = block[self._max_frame :], frames.CONTINUATION, 0
        self._out.append(frame(kind, flags | frames.END_HEADERS, stream_id, block))
