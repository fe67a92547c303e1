"""Objects, lists and watch events as bytes of a format.

What a stored object looks like in a format is worked out once per revision and kept with it (`StoredObject`
keeps its JSON, a `WatchEvent` its frames); here those bytes are only put together.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import orjson
from google.protobuf.message import Message

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import codec, envelope, yaml_text
from navarch.services.api.envelope import varint
from navarch.services.api.errors import NotAcceptable
from navarch.services.api.kinds import Kind
from navarch.services.apiserver.cacher.events import EventType, WatchEvent
from navarch.services.apiserver.doors.rest.media import JSON, PROTOBUF, YAML, Format
from navarch.services.apiserver.registry.list import ObjectList
from navarch.services.apiserver.stored import StoredObject

METADATA_VERSION = "meta.k8s.io/v1"
# Lists are sent in pieces of about this size.
CHUNK_BYTES = 1 << 20
_FIELD_1, _FIELD_2 = b"\x0a", b"\x12"


def document(value: Any, format: Format) -> bytes:
    """A JSON value in JSON or YAML. Raises NotAcceptable for protobuf."""
    if format.media == YAML:
        return yaml_text.dump(value).encode()
    if format.media == PROTOBUF:
        raise NotAcceptable(f"only the following media types are accepted: {JSON}, {YAML}")
    if format.pretty:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"
    return orjson.dumps(value)


def message(value: Message, format: Format, kind: Kind | None = None) -> bytes:
    """A message that is no stored object: a Status, a Scale, a list of groups."""
    if format.media == PROTOBUF:
        return envelope.encode(value, kind)
    if format.media == JSON and not format.pretty:
        return codec.to_json_bytes(value, kind)
    return document(codec.to_json(value, kind), format)


def stored(one: StoredObject, format: Format) -> bytes:
    """A whole object."""
    if format.media == PROTOBUF:
        if one.kind.is_custom:
            raise NotAcceptable(f"only the following media types are accepted: {JSON}, {YAML}")
        return envelope.around(one.raw, *one.kind.gvk)
    text = json_head(one.kind) + one.json_members
    return text if format.media == JSON and not format.pretty else document(orjson.loads(text), format)


@lru_cache(maxsize=4096)
def json_head(kind: Kind) -> bytes:
    """The beginning of an object's JSON, up to its members."""
    return orjson.dumps({"kind": kind.kind, "apiVersion": kind.api_version})[:-1] + b","


def partial_metadata(one: StoredObject) -> metav1.PartialObjectMetadata:
    """The metadata alone."""
    partial = metav1.PartialObjectMetadata.FromString(one.raw)
    partial.DiscardUnknownFields()
    return partial


def object_list(page: ObjectList, kind: Kind, format: Format) -> Iterator[bytes]:
    """A list of whole objects, in pieces."""
    if format.media == PROTOBUF:
        if kind.is_custom:
            raise NotAcceptable(f"only the following media types are accepted: {JSON}, {YAML}")
        return _protobuf_list(page, kind)
    pieces = _json_list(page, kind)
    if format.media == JSON and not format.pretty:
        return pieces
    return iter((document(orjson.loads(b"".join(pieces)), format),))


def metadata_list(page: ObjectList, format: Format) -> bytes:
    """A list of metadata."""
    partials = metav1.PartialObjectMetadataList(metadata=list_meta(page), items=map(partial_metadata, page.items))
    if format.media == PROTOBUF:
        return envelope.encode(partials)
    value = codec.to_json(partials)
    for item in value["items"]:
        item.update(kind="PartialObjectMetadata", apiVersion=METADATA_VERSION)
    return document(value, format)


def list_meta(page: ObjectList) -> metav1.ListMeta:
    """What a list says about itself."""
    meta = metav1.ListMeta(resource_version=str(page.revision))
    if page.continue_token:
        meta.continue_token = page.continue_token
    if page.remaining is not None:
        meta.remaining_item_count = page.remaining
    return meta


def _json_list(page: ObjectList, kind: Kind) -> Iterator[bytes]:
    head = {
        "kind": f"{kind.kind}List" if not kind.is_custom else kind.list_kind,
        "apiVersion": kind.api_version,
        "metadata": codec.to_json(list_meta(page)),
    }
    yield orjson.dumps(head)[:-1] + b',"items":['
    # Items of built-in kinds do not repeat what they are; those of custom resources do.
    before = json_head(kind) if kind.is_custom else b"{"
    yield from _joined((one.json_members for one in page.items), before)
    yield b"]}"


def _joined(items: Iterable[bytes], before: bytes) -> Iterator[bytes]:
    batch: list[bytes] = []
    size = 0
    separator = b"," + before
    for number, item in enumerate(items):
        batch += (separator if number else before, item)
        size += len(item)
        if size > CHUNK_BYTES:
            yield b"".join(batch)
            batch, size = [], 0
    yield b"".join(batch)


def _protobuf_list(page: ObjectList, kind: Kind) -> Iterator[bytes]:
    meta = list_meta(page).SerializeToString(deterministic=True)
    parts = [_FIELD_1, varint(len(meta)), meta]
    for one in page.items:
        parts += (_FIELD_2, varint(len(one.raw)), one.raw)
    yield envelope.around(b"".join(parts), kind.api_version, f"{kind.kind}List")


Encode = Callable[[StoredObject], bytes]


def framed(event: WatchEvent, key: str, encode: Encode, *, is_protobuf: bool) -> bytes:
    """A watch event; encoded once for all watchers of a format. encode: the object, enveloped or JSON."""
    frame = event.encodings.get(key)
    if frame is None:
        make = protobuf_frame if is_protobuf else json_frame
        frame = event.encodings[key] = make(event.type.name, encode(event.stored))
    return frame


def json_frame(type: str, data: bytes) -> bytes:
    """One line of a watch in JSON."""
    return b'{"type":"%b","object":%b}\n' % (type.encode(), data)


def protobuf_frame(type: str, data: bytes) -> bytes:
    """One length-prefixed message of a watch in protobuf."""
    raw = _FIELD_1 + varint(len(data)) + data
    name = type.encode()
    body = b"".join((_FIELD_1, varint(len(name)), name, _FIELD_2, varint(len(raw)), raw))
    return len(body).to_bytes(4, "big") + body


ERROR = "ERROR"
assert ERROR not in EventType.__members__
