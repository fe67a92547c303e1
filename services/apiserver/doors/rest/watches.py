"""Watch streams: one event a line in JSON, length-prefixed messages in protobuf.

Events that many watchers see are encoded once (they keep their frames). A watcher that reads slowly is slowed by
its own connection only: its subscription is bounded, and ends when it overflows.
"""

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

# What is written to a connection at once.
CHUNK_BYTES = 256 * 1024
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
        async for chunk in _chunks(stream, options, _framer(call, format), format):
            await response.write(chunk)
        await response.write_eof()
        return response
    finally:
        stream.close()


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
