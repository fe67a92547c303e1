"""Answers of `navarch.v1.Objects`, put together from stored bytes.

An answer is mostly objects that are encoded already. Building messages around them only to serialise those
again would copy every object twice; here the few bytes around them are written directly. The layout is that of
`protos/navarch/objects.proto`, and a contract test compares the two.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from google.protobuf.message import Message

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.envelope import varint
from navarch.services.api.kinds import TYPE_URL_PREFIX
from navarch.services.apiserver.cacher.events import WatchEvent
from navarch.services.apiserver.registry.history import Revision
from navarch.services.apiserver.registry.list import ObjectList
from navarch.services.apiserver.stored import StoredObject

# Tags of length-delimited fields: number << 3 | 2.
FIELD_1, FIELD_2, FIELD_3, FIELD_4 = b"\x0a", b"\x12", b"\x1a", b"\x22"
FORMAT = "navarch"
# A watch message ends here; with the largest object on top it stays below the 4 MiB that gRPC clients take.
RESPONSE_BYTES = 2 << 20


@lru_cache(maxsize=8192)
def any_prefix(tag: bytes, full_name: str, size_bytes: int) -> bytes:
    """Everything before the encoded message in a field that holds an Any; many objects are of one size."""
    url = f"{TYPE_URL_PREFIX}{full_name}".encode()
    head = FIELD_1 + varint(len(url)) + url + FIELD_2 + varint(size_bytes)
    return tag + varint(len(head) + size_bytes) + head


def any_parts(tag: bytes, full_name: str, raw: bytes) -> tuple[bytes, bytes]:
    """A field that holds an Any around encoded bytes: everything before them, and they."""
    return any_prefix(tag, full_name, len(raw)), raw


def object_response(result: StoredObject | Message, warnings: Sequence[str] = ()) -> bytes:
    """An ObjectResponse."""
    if isinstance(result, StoredObject):
        parts = any_parts(FIELD_1, result.kind.full_name, result.raw)
    else:
        parts = any_parts(FIELD_1, result.DESCRIPTOR.full_name, result.SerializeToString())
    texts = [warning.encode() for warning in warnings]
    return b"".join((*parts, *(FIELD_2 + varint(len(text)) + text for text in texts)))


def list_response(page: ObjectList) -> bytes:
    """A ListResponse."""
    version = str(page.revision).encode()
    token = page.continue_token.encode()
    parts: list[bytes] = [FIELD_1, varint(len(version)), version]
    if token:
        parts += [FIELD_2, varint(len(token)), token]
    if page.remaining is not None:
        parts += [b"\x18", varint(page.remaining)]
    full_name = page.items[0].kind.full_name if page.items else ""
    for stored in page.items:
        parts += any_parts(FIELD_4, full_name, stored.raw)
    return b"".join(parts)


def watch_responses(events: Iterable[WatchEvent]) -> Iterator[bytes]:
    """WatchResponses of a size that any client takes; each event's part is made once for all watchers."""
    frames: list[bytes] = []
    size = 0
    for event in events:
        frame = event.encodings.get(FORMAT) or _framed(event)
        if frames and size + len(frame) > RESPONSE_BYTES:
            yield b"".join(frames)
            frames, size = [], 0
        frames.append(frame)
        size += len(frame)
    if frames:
        yield b"".join(frames)


def history_responses(revisions: Iterable[Revision]) -> Iterator[bytes]:
    """HistoryResponses of a size that any client takes."""
    frames: list[bytes] = []
    size = 0
    for one in revisions:
        frame = b"\x08" + varint(one.revision) + b"\x10" + varint(int(one.unix_s))
        if one.stored is not None:
            frame += b"".join(any_parts(FIELD_3, one.stored.kind.full_name, one.stored.raw))
        if frames and size + len(frame) > RESPONSE_BYTES:
            yield b"".join(frames)
            frames, size = [], 0
        frames.append(FIELD_1 + varint(len(frame)) + frame)
        size += len(frame)
    if frames:
        yield b"".join(frames)


def error_response(status: metav1.Status) -> bytes:
    """A WatchResponse with the ERROR event that ends a stream."""
    return _frame(5, *any_parts(FIELD_2, status.DESCRIPTOR.full_name, status.SerializeToString()))


def _framed(event: WatchEvent) -> bytes:
    stored: Any = event.stored
    frame = _frame(int(event.type), *any_parts(FIELD_2, stored.kind.full_name, stored.raw))
    event.encodings[FORMAT] = frame
    return frame


def _frame(type_number: int, head: bytes, raw: bytes) -> bytes:
    kind_of_event = b"\x08" + varint(type_number)
    return b"".join((FIELD_1, varint(len(kind_of_event) + len(head) + len(raw)), kind_of_event, head, raw))
