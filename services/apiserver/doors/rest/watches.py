"""Watch streams: one event a line in JSON, length-prefixed messages in protobuf.

Events that many watchers see are encoded once (they keep their frames), and go from the cache to each connection
without a task's turn in between (`_Pump`): with hundreds of watchers that is what a change costs. A watcher that reads
slowly is slowed by its own connection only: its subscription is bounded, and ends when it overflows.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from navarch.services.api.errors import ApiError, BadRequest
from navarch.services.apiserver.cacher.events import EventType, WatchEvent
from navarch.services.apiserver.doors.rest import encoding, tables
from navarch.services.apiserver.doors.rest.call import Call
from navarch.services.apiserver.doors.rest.media import JSON, PROTOBUF, YAML, Format, Shape
from navarch.services.apiserver.doors.rest.options import watch_options
from navarch.services.apiserver.doors.rest.responses import format_of
from navarch.services.apiserver.registry.core import Target
from navarch.services.apiserver.registry.watch import Watch, WatchOptions, watch
from navarch.services.apiserver.stored import StoredObject
from navarch.services.base.log import get_logger

LOG = get_logger("apiserver.rest")
# What is written to a connection at once.
CHUNK_BYTES = 256 * 1024
# A connection that holds more than this is left alone for a while.
BACKLOG_BYTES = 256 * 1024
BACKLOG_S = 0.05
Frame = Callable[[WatchEvent], bytes]


async def serve(call: Call, target: Target) -> web.StreamResponse:
    """Stream the changes that a call asks for, until it has had enough."""
    format = format_of(call.request, target.kind)
    if format.media == YAML:
        raise BadRequest(f"a watch is served in {JSON} and {PROTOBUF}")
    options = watch_options(call, target.name)
    stream = await watch(call.core, call.user, Target(target.kind, target.namespace), options)
    try:
        response = web.StreamResponse(
            headers={"Content-Type": _stream_type(format), "Cache-Control": "no-cache, private"}
        )
        response.enable_chunked_encoding()
        # Tells the client that the watch stands, however long the first event takes.
        await response.prepare(call.request)
        frame = _framer(call, format)
        pump = _Pump(stream, frame, call.request)
        async for chunk in _chunks(stream, options, frame, format):
            await response.write(chunk)
            # What the watch begins with was written at the client's pace; the rest comes one by one.
            stream.on_event = pump.mark
        await response.write_eof()
        return response
    finally:
        stream.close()


class _Pump:
    """Writes a watch's events to its connection as they come; all that came in one turn of the loop at once."""

    def __init__(self, stream: Watch, frame: Frame, request: web.BaseRequest) -> None:
        self._stream = stream
        self._frame = frame
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._is_marked = False

    def mark(self) -> None:
        """There is something to write."""
        if not self._is_marked:
            self._is_marked = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_marked = False
        transport = self._request.transport
        if transport is None or transport.is_closing():
            # The handler is being told.
            return
        if transport.get_write_buffer_size() > BACKLOG_BYTES:
            self._is_marked = True
            self._loop.call_later(BACKLOG_S, self._flush)
            return
        try:
            data = b"".join(map(self._frame, self._stream.take()))
        except ApiError as failure:
            LOG.error("watch.broken", path=self._request.path, error=failure.message)
            self._stream.fail()
            return
        if data:
            # One chunk, as `StreamResponse.write` makes it, without waiting.
            transport.write(b"%x\r\n%b\r\n" % (len(data), data))


def _stream_type(format: Format) -> str:
    return JSON if format.media == JSON else f"{format.media};stream=watch"


async def _chunks(stream: Watch, options: WatchOptions, frame: Frame, format: Format) -> AsyncIterator[bytes]:
    """Frames of events, many at a time; a refusal becomes the last one."""
    try:
        async for events in stream.events(options):
            frames: list[bytes] = []
            size = 0
            for event in events:
                frames.append(frame(event))
                size += len(frames[-1])
                if size > CHUNK_BYTES:
                    yield b"".join(frames)
                    frames, size = [], 0
            if frames:
                yield b"".join(frames)
    except ApiError as refusal:
        status = encoding.message(refusal.to_status(), Format(format.media))
        make = encoding.protobuf_frame if format.media == PROTOBUF else encoding.json_frame
        yield make(encoding.ERROR, status)


def _framer(call: Call, format: Format) -> Frame:
    """How one event becomes bytes."""
    is_protobuf = format.media == PROTOBUF
    match format.shape:
        case Shape.TABLE:
            return _table_framer(call, format)
        case Shape.METADATA:

            def encode(one: StoredObject) -> bytes:
                return encoding.message(encoding.partial_metadata(one), Format(format.media))
        case _:

            def encode(one: StoredObject) -> bytes:
                return encoding.stored(one, Format(format.media))

    key = format.key
    return lambda event: encoding.framed(event, key, encode, is_protobuf=is_protobuf)


def _table_framer(call: Call, format: Format) -> Frame:
    """Tables tell ages, so they are made anew for each watcher; only the first names its columns."""
    is_first = True

    def frame(event: WatchEvent) -> bytes:
        nonlocal is_first
        if event.type is EventType.BOOKMARK:
            table = tables.of_objects(call, event.stored.kind, [event.stored], with_columns=is_first)
        else:
            table = tables.of_objects(call, event.stored.kind, [event.stored], with_columns=is_first)
            is_first = False
        return encoding.json_frame(event.type.name, encoding.document(table, Format(format.media)))

    return frame
