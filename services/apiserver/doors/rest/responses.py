"""Answers: objects, lists, tables and refusals, in the format that the client accepts."""

import asyncio
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from aiohttp import web
from google.protobuf.message import Message

from navarch.protos.k8s.autoscaling import v1_pb2 as autoscalingv1
from navarch.services.api.errors import ApiError, NotAcceptable
from navarch.services.api.kinds import Kind
from navarch.services.apiserver.doors.rest import encoding, tables
from navarch.services.apiserver.doors.rest.call import Call
from navarch.services.apiserver.doors.rest.media import ACCEPTED, JSON, YAML, Format, Shape, accepted
from navarch.services.apiserver.registry.list import ObjectList
from navarch.services.apiserver.stored import StoredObject

# Smaller answers are sent as they are, as in Kubernetes.
GZIP_BYTES = 128 * 1024
# Larger ones are sent in pieces, at the pace of the client.
STREAM_BYTES = 4 << 20
_BROWSER_LIKE = ("curl", "Wget", "Mozilla/5.0")


def format_of(request: web.BaseRequest, kind: Kind | None = None) -> Format:
    """The format of the answer. Raises NotAcceptable."""
    medias = (JSON, YAML) if kind is not None and kind.is_custom else ACCEPTED
    format = accepted(request.headers.get("Accept", ""), medias)
    return Format(format.media, format.shape, pretty=True) if _is_for_people(request) else format


def _is_for_people(request: web.BaseRequest) -> bool:
    if "pretty" in request.query:
        return request.query["pretty"] in ("1", "true")
    return request.headers.get("User-Agent", "").startswith(_BROWSER_LIKE)


async def respond(
    call: Call, result: StoredObject | Message | Any, status: int = 200, warnings: Sequence[str] = ()
) -> web.StreamResponse:
    """One object: stored, a message with a type of its own, or a JSON value."""
    kind = result.kind if isinstance(result, StoredObject) else None
    format = format_of(call.request, kind)
    if isinstance(result, StoredObject):
        data = _stored(call, result, format)
    elif isinstance(result, autoscalingv1.Scale) and format.shape is Shape.TABLE:
        data = encoding.document(tables.of_scale(call, result), format)
    elif isinstance(result, Message):
        data = encoding.message(result, format)
    else:
        data = encoding.document(result, format)
    return await send(call.request, data, content_type(format), status, warnings)


def _stored(call: Call, one: StoredObject, format: Format) -> bytes:
    if format.shape is Shape.TABLE:
        return encoding.document(tables.of_objects(call, one.kind, [one]), format)
    if format.shape is Shape.METADATA:
        return encoding.message(encoding.partial_metadata(one), format)
    return encoding.stored(one, format)


async def respond_list(call: Call, kind: Kind, page: ObjectList) -> web.StreamResponse:
    """A page of objects."""
    format = format_of(call.request, kind)
    if format.shape is Shape.TABLE:
        pieces: Iterable[bytes] = [encoding.document(tables.of_list(call, kind, page), format)]
    elif format.shape is Shape.METADATA:
        pieces = [encoding.metadata_list(page, format)]
    else:
        pieces = encoding.object_list(page, kind, format)
    size = sum(len(one.raw) for one in page.items)
    if size > STREAM_BYTES and "gzip" not in call.request.headers.get("Accept-Encoding", ""):
        return await _stream(call.request, pieces, content_type(format))
    return await send(call.request, b"".join(pieces), content_type(format))


def content_type(format: Format) -> str:
    """The Content-Type of an answer."""
    return format.media


async def send(
    request: web.BaseRequest, data: bytes, media: str, status: int = 200, warnings: Sequence[str] = ()
) -> web.Response:
    """Bytes, compressed where that pays and is accepted."""
    headers = [("Content-Type", media), ("Cache-Control", "no-cache, private")]
    headers += [("Warning", warning_header(text)) for text in warnings]
    if len(data) >= GZIP_BYTES and "gzip" in request.headers.get("Accept-Encoding", ""):
        data = await asyncio.to_thread(compressed, data)
        headers += [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
    return web.Response(body=data, status=status, headers=headers)


def compressed(data: bytes) -> bytes:
    """Bytes in gzip's format, quickly."""
    return zlib.compress(data, level=1, wbits=31)


async def _stream(request: web.BaseRequest, pieces: Iterable[bytes], media: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": media, "Cache-Control": "no-cache, private"})
    await response.prepare(request)
    for piece in pieces:
        await response.write(piece)
    await response.write_eof()
    return response


def warning_header(text: str) -> str:
    """The value of a Warning header (RFC 7234, 5.5) with the code that Kubernetes uses."""
    printable = "".join(char if char.isprintable() and ord(char) < 256 else " " for char in text)
    escaped = printable.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{escaped}"'


def refusal(request: web.BaseRequest, error: ApiError) -> web.Response:
    """A Status, in the format that the client accepts, or in JSON."""
    try:
        format = accepted(request.headers.get("Accept", ""))
    except NotAcceptable:
        format = Format(JSON)
    status = error.to_status()
    data = encoding.message(status, Format(format.media))
    headers = {"Content-Type": format.media, "Cache-Control": "no-cache, private"}
    if error.retry_after_s:
        headers["Retry-After"] = str(error.retry_after_s)
    if error.code == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="kubernetes"'
    return web.Response(body=data, status=error.code, headers=headers)


def plain_not_found() -> web.Response:
    """What Kubernetes answers at a path where nothing is."""
    return web.Response(text="404 page not found\n", status=404)
