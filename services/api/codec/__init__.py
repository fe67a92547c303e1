"""JSON of the API to protobuf messages and back.

All that the codec knows about a message comes from its descriptor and the ``traits`` option of its fields;
a plan per message type is compiled from them once, on first use (``plan``). Messages whose JSON is not an
object of their fields have a shape of their own (``shapes``). Writing follows Go's rules for the official
structs: a member without "omitempty" is always there, an unset list that is always written is null, a
member that is a struct is at least {}. Reading takes null as unset, refuses wrong types with the path of
the field, and reports members that no contract knows.
"""

from __future__ import annotations

from typing import Any

import orjson
from google.protobuf.message import Message

from navarch.services.api.codec import custom
from navarch.services.api.codec.errors import DecodeError, EncodeError, StrictError, describe
from navarch.services.api.codec.plan import plan_of, with_replacements
from navarch.services.api.codec.reading import Reading
from navarch.services.api.codec.text import parse_json
from navarch.services.api.codec.vetting import check_text
from navarch.services.api.errors import BadRequest
from navarch.services.api.kinds import Kind, message_class, type_of

__all__ = [
    "DecodeError",
    "EncodeError",
    "StrictError",
    "check_text",
    "describe",
    "from_json",
    "from_json_bytes",
    "parse_json",
    "to_json",
    "to_json_bytes",
    "to_json_members",
]

_META_PACKAGE = "k8s.io.apimachinery.pkg.apis.meta.v1"


def to_json(message: Message, kind: Kind | None = None) -> dict[str, Any]:
    """The JSON object of a message, owned by the caller. ``kind`` overrides the apiVersion and kind shown."""
    names = kind.gvk if kind else type_of(message.DESCRIPTOR.full_name)
    out: dict[str, Any] = {} if names is None else {"apiVersion": names[0], "kind": names[1]}
    try:
        _write(message, out)
    except RecursionError:
        raise EncodeError("the object is nested too deeply") from None
    except UnicodeDecodeError:
        raise EncodeError("a key is not UTF-8") from None
    return out


def to_json_bytes(message: Message, kind: Kind | None = None) -> bytes:
    """The JSON text of a message, compact UTF-8."""
    try:
        return orjson.dumps(to_json(message, kind), default=with_replacements)
    except orjson.JSONEncodeError as error:
        raise EncodeError(str(error)) from error


def to_json_members(message: Message) -> bytes:
    """The members of a message, without apiVersion and kind: `"metadata":{...},"spec":{...}}`, less the first brace."""
    out: dict[str, Any] = {}
    try:
        if message.DESCRIPTOR.full_name == custom.CUSTOM_OBJECT:
            custom.write(message, out)
        else:
            plan_of(message.DESCRIPTOR).write_for_text(message, out)
        for name in ("apiVersion", "kind"):
            out.pop(name, None)
        return orjson.dumps(out, default=with_replacements)[1:]
    except RecursionError:
        raise EncodeError("the object is nested too deeply") from None
    except (UnicodeDecodeError, orjson.JSONEncodeError) as error:
        raise EncodeError(str(error)) from error


def _write(message: Message, out: dict[str, Any]) -> None:
    if message.DESCRIPTOR.full_name == custom.CUSTOM_OBJECT:
        custom.write(message, out)
    else:
        plan_of(message.DESCRIPTOR).write_into(message, out)


def from_json(
    value: Any,
    target: type[Message] | None = None,
    *,
    strict: bool = False,
    warnings: list[str] | None = None,
) -> Message:
    """The message that a JSON object describes.

    Without ``target`` its apiVersion and kind decide; with it they may be missing but must not contradict.
    Unknown and duplicate members are dropped; they raise StrictError when ``strict``, and are appended to
    ``warnings`` where given. Raises DecodeError, UnknownKind.
    """
    if not isinstance(value, dict):
        raise DecodeError("", value, "object")
    cls = _class_for(value, target)
    message = cls()
    reading = Reading()
    try:
        if cls.DESCRIPTOR.full_name == custom.CUSTOM_OBJECT:
            custom.read(message, value, reading)
        else:
            plan_of(cls.DESCRIPTOR).read_into(message, value, reading)
    except RecursionError:
        raise DecodeError(reading.where(), "deeper nesting", "fewer levels") from None
    if reading.problems:
        if warnings is not None:
            warnings.extend(reading.problems)
        if strict:
            raise StrictError(reading.problems)
    return message


def from_json_bytes(
    data: bytes | str,
    target: type[Message] | None = None,
    *,
    strict: bool = False,
    warnings: list[str] | None = None,
) -> Message:
    """Like from_json, from text; sees duplicate members only when asked for problems."""
    value = parse_json(data, find_duplicates=strict or warnings is not None)
    return from_json(value, target, strict=strict, warnings=warnings)


def _class_for(value: dict[str, Any], target: type[Message] | None) -> type[Message]:
    expected = type_of(target.DESCRIPTOR.full_name) if target else None
    if target and expected is None:
        return target
    for name in ("apiVersion", "kind"):
        if not isinstance(value.get(name), str | None):
            raise DecodeError(name, value[name], "string")
    api_version, kind = value.get("apiVersion") or "", value.get("kind") or ""
    if target is None or expected is None:
        if not kind:
            raise BadRequest("Object 'Kind' is missing")
        if not api_version:
            raise BadRequest("Object 'apiVersion' is missing")
        return message_class(api_version, kind)
    if kind and kind != expected[1]:
        raise DecodeError("kind", kind, expected[1])
    # Options and Status belong to every group and version.
    if api_version in ("", expected[0]) or target.DESCRIPTOR.full_name.startswith(_META_PACKAGE):
        return target
    if message_class(api_version, kind or expected[1]) is not target:
        raise DecodeError("apiVersion", api_version, expected[0])
    return target
