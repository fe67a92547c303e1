"""What comes in: the bytes of a body, and the object in them."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.web_exceptions import HTTPException
from google.protobuf.message import Message

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import codec, envelope, yaml_text
from navarch.services.api.codec import describe
from navarch.services.api.errors import BadRequest, RequestEntityTooLarge, Timeout, UnsupportedMediaType
from navarch.services.api.kinds import message_class
from navarch.services.apiserver.doors.rest.media import JSON, PROTOBUF, YAML, content_type
from navarch.services.apiserver.registry.core import Target

LIMIT_BYTES = 3 * 1024 * 1024
# How long a client may take to send it.
PATIENCE_S = 30.0
# A YAML text of the largest size takes seconds, which others shall not wait for; one at a time is enough.
LARGE_BYTES = 128 * 1024
_LARGE_ONES = ThreadPoolExecutor(1, "large-bodies")


async def read(request: web.BaseRequest, limit_bytes: int = LIMIT_BYTES) -> bytes:
    """The whole body. Raises RequestEntityTooLarge, Timeout, BadRequest, UnsupportedMediaType."""
    if not request.body_exists:
        return b""
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMediaType("compressed request bodies are not accepted")
    if (request.content_length or 0) > limit_bytes:
        raise RequestEntityTooLarge(f"limit is {limit_bytes}")
    if request.content.is_eof() and request.content.exception() is None:
        # As small ones mostly are: here already.
        return _within(request.content.read_nowait(), limit_bytes)
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for piece in request.content.iter_any():
                size += len(piece)
                if size > limit_bytes:
                    raise RequestEntityTooLarge(f"limit is {limit_bytes}")
                pieces.append(piece)
    except TimeoutError:
        raise Timeout(f"the body of the request did not arrive within {PATIENCE_S:.0f} s") from None
    except (HTTPException, ValueError) as failure:
        raise BadRequest(f"the body of the request cannot be read: {failure}") from failure
    return b"".join(pieces)


def _within(data: bytes, limit_bytes: int) -> bytes:
    if len(data) > limit_bytes:
        raise RequestEntityTooLarge(f"limit is {limit_bytes}")
    return data


async def decode(target: Target, header: str, data: bytes, field_validation: str, warnings: list[str]) -> Any:
    """The object in a body, for a target. warnings: where to put what was ignored. Raises ApiError."""
    if len(data) <= LARGE_BYTES:
        return decoded(target, header, data, field_validation, warnings)
    work = partial(decoded, target, header, data, field_validation, warnings)
    return await asyncio.get_running_loop().run_in_executor(_LARGE_ONES, work)


def decoded(target: Target, header: str, data: bytes, field_validation: str, warnings: list[str]) -> Any:
    """As `decode`, at once."""
    medias = (JSON, YAML) if target.kind.is_custom else (JSON, YAML, PROTOBUF)
    media = content_type(header, medias)
    if media == PROTOBUF:
        return from_protobuf(data, target.message_class)
    if field_validation not in ("", "Strict", "Warn", "Ignore"):
        raise BadRequest(
            f'fieldValidation: Unsupported value: "{field_validation}": supported: "Ignore", "Strict", "Warn"'
        )
    strict, noted = field_validation == "Strict", None if field_validation == "Ignore" else warnings
    value = parse(media, data, find_duplicates=noted is not None)
    return read_object(target, value, strict, noted)


def read_object(target: Target, value: Any, strict: bool, warnings: list[str] | None) -> Any:
    """The message that a JSON value describes, for a target."""
    check_type(target, value)
    try:
        if target.kind.is_custom and target.message_class is target.kind.message:
            from navarch.services.api.custom import objects

            return objects.from_json(value, target.kind, strict=strict, warnings=warnings)
        return codec.from_json(value, target.message_class, strict=strict, warnings=warnings)
    except (codec.DecodeError, codec.StrictError) as failure:
        version, name = target.kind.version, target.message_class.DESCRIPTOR.name
        name = target.kind.kind if target.message_class is target.kind.message else name
        raise BadRequest(f'{name} in version "{version}" cannot be handled as a {name}: {failure.message}') from None


def check_type(target: Target, value: Any) -> None:
    """Raise BadRequest for what is no object, or one of another type than the target."""
    if not isinstance(value, Mapping):
        raise BadRequest(f"couldn't get version/kind; json parse error: an object was expected, not {describe(value)}")
    part = target.kind.subresource(target.subresource) if target.subresource else None
    expected = (part.api_version if part else "") or target.kind.api_version
    api_version = value.get("apiVersion") or expected
    if api_version != expected:
        raise BadRequest(
            f"the API version in the data ({api_version}) does not match the expected API version ({expected})"
        )


def from_protobuf(data: bytes, expected: type[Message]) -> Any:
    """The message in an enveloped body. Raises BadRequest."""
    api_version, kind, raw = envelope.unwrap(data)
    found = message_class(api_version, kind) if kind else expected
    if found is not expected and not found.DESCRIPTOR.full_name == expected.DESCRIPTOR.full_name:
        raise BadRequest(f"the body holds a {api_version} {kind}; {expected.DESCRIPTOR.name} was expected")
    message: Any = envelope.parsed(raw, expected)
    # As in Kubernetes, fields of contracts that this server does not know are not kept.
    message.DiscardUnknownFields()
    codec.check_text(message)
    return message


def parse(media: str, data: bytes, *, find_duplicates: bool = False) -> Any:
    """The JSON value of a JSON or YAML text. Raises BadRequest."""
    if media == YAML:
        try:
            return yaml_text.parse(data.decode()).value
        except (ValueError, RecursionError) as failure:
            raise BadRequest(f"error decoding YAML: {failure}") from failure
    return codec.parse_json(data, find_duplicates=find_duplicates)


def delete_options(header: str, data: bytes) -> metav1.DeleteOptions:
    """The DeleteOptions in a body."""
    media = content_type(header)
    if media == PROTOBUF:
        return from_protobuf(data, metav1.DeleteOptions)  # type: ignore[no-any-return]
    value = parse(media, data)
    if isinstance(value, Mapping) and value.get("kind") not in (None, "", "DeleteOptions"):
        raise BadRequest(f"the body holds a {value.get('kind')}; DeleteOptions were expected")
    options: Any = codec.from_json(value, metav1.DeleteOptions)
    return options  # type: ignore[no-any-return]
