"""The envelope of Kubernetes' protobuf encoding: ``k8s\\0``, then runtime.Unknown with type and bytes.

Objects at rest and protobuf bodies of the REST door are in it. Encoding is deterministic (maps by key), so
equal messages have equal bytes. ``with_resource_version`` lets a server answer with stored bytes: the
resource version is not stored, and putting it in takes no parse of the object.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from google.protobuf.message import DecodeError as ProtobufError
from google.protobuf.message import Message

from navarch.protos.k8s import runtime_pb2
from navarch.services.api import codec
from navarch.services.api.errors import BadRequest, InternalError
from navarch.services.api.kinds import Kind, message_class, type_of

MAGIC: Final = b"k8s\x00"
# The official encoder writes contentEncoding and contentType though they are empty.
_TAIL: Final = b"\x1a\x00\x22\x00"
_RAW_TAG: Final = b"\x12"
_METADATA_TAG: Final = 0x0A
_RESOURCE_VERSION_TAG: Final = 0x32


class EnvelopeError(BadRequest):
    """The bytes are no envelope, or what is inside is no object."""


def encode(message: Message, kind: Kind | None = None) -> bytes:
    """The envelope around a message. ``kind`` overrides the type that is written."""
    names = kind.gvk if kind else type_of(message.DESCRIPTOR.full_name) or ("", "")
    return around(message.SerializeToString(deterministic=True), *names)


def around(raw: bytes, api_version: str, kind: str) -> bytes:
    """The envelope around an encoded message."""
    return b"".join((_head(api_version, kind), varint(len(raw)), raw, _TAIL))


def unwrap(data: bytes) -> tuple[str, str, bytes]:
    """(apiVersion, kind, object bytes) of an envelope, the object unparsed. Raises EnvelopeError."""
    if not data.startswith(MAGIC):
        raise EnvelopeError("the data is not in the envelope of Kubernetes' protobuf encoding")
    try:
        unknown = runtime_pb2.Unknown.FromString(data[len(MAGIC) :])
    except ProtobufError as error:
        raise EnvelopeError(f"the envelope is damaged: {error}") from None
    if not unknown.HasField("raw"):
        raise EnvelopeError("the envelope is cut off before the object")
    if unknown.content_encoding:
        raise EnvelopeError(f"unsupported content encoding {unknown.content_encoding!r}")
    if unknown.content_type not in ("", "application/vnd.kubernetes.protobuf"):
        raise EnvelopeError(f"unsupported content type {unknown.content_type!r}")
    return _text(unknown.type_meta.api_version), _text(unknown.type_meta.kind), unknown.raw


def decode(data: bytes, target: type[Message] | None = None) -> Message:
    """The message in an envelope, of the type it names, or of ``target``. Raises EnvelopeError, UnknownKind."""
    api_version, kind, raw = unwrap(data)
    return parsed(raw, target or message_class(api_version, kind))


def parsed(raw: bytes, cls: type[Message]) -> Message:
    """The message in the bytes out of an envelope. Raises EnvelopeError."""
    try:
        return cls.FromString(raw)
    except ProtobufError as error:
        raise EnvelopeError(f"the {cls.DESCRIPTOR.name} is damaged: {error}") from None


def to_stored(message: Message, kind: Kind) -> bytes:
    """The bytes that Kubernetes would keep for an object. Clear its resource version first."""
    if kind.encoding == "json":
        # Written in the version served: the older one named in the table has another form, and both can be read.
        return codec.to_json_bytes(message) + b"\n"
    if message_class(kind.stored_as, kind.kind).DESCRIPTOR is not message.DESCRIPTOR:
        raise InternalError(f"{kind.api_version} {kind.kind} has to be converted to {kind.stored_as} to be stored")
    return around(message.SerializeToString(deterministic=True), kind.stored_as, kind.kind)


def from_stored(data: bytes, kind: Kind) -> Message:
    """The object that storage holds, whichever encoding it is in. Raises EnvelopeError, DecodeError."""
    if data.startswith(MAGIC):
        return decode(data)
    return codec.from_json_bytes(data, kind.message)


def with_resource_version(raw: bytes, resource_version: str) -> bytes:
    """Object bytes (not an envelope) with metadata.resourceVersion set, by splicing. Raises EnvelopeError."""
    version = resource_version.encode()
    field = bytes((_RESOURCE_VERSION_TAG,)) + varint(len(version)) + version
    try:
        if not raw or raw[0] != _METADATA_TAG:
            return bytes((_METADATA_TAG,)) + varint(len(field)) + field + raw
        size, start = _read_varint(raw, 1)
        end = start + size
        if end > len(raw):
            raise EnvelopeError("the object is cut off within its metadata")
        before, after = _place(raw, start, end)
    except IndexError:
        raise EnvelopeError("the object is cut off within its metadata") from None
    metadata = b"".join((raw[start:before], field, raw[after:end]))
    return b"".join((raw[:1], varint(len(metadata)), metadata, raw[end:]))


def _place(raw: bytes, start: int, end: int) -> tuple[int, int]:
    """Where in the metadata the resource version belongs: (its start, the end of an old one)."""
    position = start
    # All members up to the resource version are strings, in the order of their numbers.
    while position < end and raw[position] <= _RESOURCE_VERSION_TAG:
        size, body = _read_varint(raw, position + 1)
        if body + size > end:
            raise EnvelopeError("the object is cut off within its metadata")
        if raw[position] == _RESOURCE_VERSION_TAG:
            return position, body + size
        position = body + size
    return position, position


@cache
def _head(api_version: str, kind: str) -> bytes:
    """Everything before the length of the object."""
    meta = runtime_pb2.TypeMeta(api_version=api_version, kind=kind).SerializeToString(deterministic=True)
    return MAGIC + b"\x0a" + varint(len(meta)) + meta + _RAW_TAG


def varint(number: int) -> bytes:
    """Base 128, as protobuf writes lengths."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    """(number, position after it). Raises IndexError at the end of the data."""
    number = shift = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7


def _text(value: str | bytes) -> str:
    # The protobuf library hands a string out as bytes where it is not UTF-8.
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
