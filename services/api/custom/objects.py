"""Custom objects and their JSON: typed metadata, everything else as JSON text in canonical order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.navarch.objects_pb2 import CustomObject
from navarch.services.api import codec
from navarch.services.api.custom.defaulting import apply_defaults, drop_nulls
from navarch.services.api.custom.pruning import prune
from navarch.services.api.custom.versions import CustomVersion
from navarch.services.api.errors import BadRequest, InternalError
from navarch.services.api.kinds import Kind

JsonObject = dict[str, Any]
DEPTH_LIMIT = 200


def content_of(message: CustomObject) -> JsonObject:
    """All members but apiVersion, kind and metadata; the caller's own."""
    content: JsonObject = orjson.loads(message.content) if message.content else {}
    return content


def set_content(message: CustomObject, content: JsonObject) -> None:
    """Replace all members but apiVersion, kind and metadata."""
    message.content = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)


def to_json(message: CustomObject, _: Kind | None = None) -> JsonObject:
    """The JSON object; the caller's own."""
    return codec.to_json(message)


def decoded(value: JsonObject) -> CustomObject:
    """The object that JSON describes, as it is, of whichever kind. Raises DecodeError."""
    message: Any = codec.from_json(value, CustomObject)
    return message  # type: ignore[no-any-return]


def _check_depth(value: Any) -> None:
    """Refuse what the walkers, which go down with it, could not follow. Raises BadRequest."""
    level = [value]
    for _ in range(DEPTH_LIMIT):
        level = [
            part
            for one in level
            for part in (one.values() if isinstance(one, dict) else one)
            if isinstance(part, dict | list)
        ]
        if not level:
            return
    raise BadRequest(f"the object is nested too deeply: more than {DEPTH_LIMIT} levels")


def _duplicates(value: Any, path: str = "") -> Iterator[str]:
    """The paths of members that occur more than once in the text that a JSON value was read from."""
    if isinstance(value, dict):
        prefix = f"{path}." if path else ""
        for name in getattr(value, "duplicates", ()):
            yield f"{prefix}{name}"
        for name, item in value.items():
            if path or name != "metadata":
                yield from _duplicates(item, prefix + name)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _duplicates(item, f"{path}[{index}]")


def from_json(
    value: JsonObject, kind: Kind, *, strict: bool = False, warnings: list[str] | None = None
) -> CustomObject:
    """The object of a custom kind that JSON describes, pruned to its schema. value: changed.

    Unknown members raise StrictError when `strict`, and are appended to `warnings` where given. Raises
    BadRequest for another kind, DecodeError for metadata of wrong types.
    """
    _check_names(value, kind)
    _check_depth(value)
    custom: CustomVersion = kind.custom
    problems: list[str] = []
    metadata: Any = codec.from_json(value.get("metadata") or {}, metav1.ObjectMeta, warnings=problems)
    problems = [_below(problem, "metadata") for problem in problems]
    problems += [f'duplicate field "{path}"' for path in _duplicates(value)]
    content = {name: part for name, part in value.items() if name not in ("apiVersion", "kind", "metadata")}
    if custom.schema is not None:
        problems += [f'unknown field "{path}"' for path in prune(content, custom.schema)]
        drop_nulls(content, custom.schema)
    if problems and warnings is not None:
        warnings += problems
    if problems and strict:
        raise codec.StrictError(problems)
    message = CustomObject(metadata=metadata, api_version=kind.api_version, kind=kind.kind)
    set_content(message, content)
    return message


def _below(problem: str, name: str) -> str:
    """A problem with a part, told of the whole: 'unknown field "x"' -> 'unknown field "metadata.x"'."""
    return problem.replace(' "', f' "{name}.', 1)


def _check_names(value: JsonObject, kind: Kind) -> None:
    api_version, name = value.get("apiVersion") or kind.api_version, value.get("kind") or kind.kind
    if api_version != kind.api_version:
        raise BadRequest(
            f"the API version in the data ({api_version}) does not match the expected API version ({kind.api_version})"
        )
    if name != kind.kind:
        raise BadRequest(
            f"{name} in version {kind.version!r} cannot be handled as a {kind.kind}: the data is of another kind"
        )


def settle(message: CustomObject, kind: Kind) -> list[str]:
    """Make an object that did not come as JSON what `from_json` would have made of it. Raises BadRequest.

    Returns what is to be told about it: members that the schema does not know.
    """
    message.api_version = message.api_version or kind.api_version
    message.kind = message.kind or kind.kind
    _check_names({"apiVersion": message.api_version, "kind": message.kind}, kind)
    schema, unknown = kind.custom.schema, []
    try:
        content = content_of(message)
    except orjson.JSONDecodeError as failure:
        raise BadRequest(f"the content of the object is not JSON: {failure}") from failure
    if not isinstance(content, dict):
        raise BadRequest("the content of the object is no JSON object")
    for name in ("apiVersion", "kind", "metadata"):
        content.pop(name, None)
    _check_depth(content)
    if schema is not None:
        unknown = prune(content, schema)
        drop_nulls(content, schema)
    set_content(message, content)
    return [f'unknown field "{path}"' for path in unknown]


def fill_in(message: CustomObject, kind: Kind) -> None:
    """Apply the schema's defaults."""
    schema = kind.custom.schema
    if schema is not None and schema.has_defaults:
        content = content_of(message)
        apply_defaults(content, schema)
        set_content(message, content)


def to_stored(message: CustomObject) -> bytes:
    """What Kubernetes keeps: JSON with its members in order."""
    return orjson.dumps(codec.to_json(message), option=orjson.OPT_SORT_KEYS) + b"\n"


def from_stored(data: bytes, kind: Kind) -> CustomObject:
    """The object at rest, of whichever version it was written in; that version is what the message says."""
    try:
        value = orjson.loads(data)
        group, _, version = value["apiVersion"].rpartition("/")
        if (group, value["kind"]) != (kind.group, kind.kind):
            raise InternalError(f"the store holds a {group} {value['kind']} where a {kind.kind} was expected")
        message = decoded(value)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, codec.DecodeError) as failure:
        raise InternalError(f"a stored {kind.qualified_resource} is damaged: {failure}") from failure
    if version == kind.version or kind.custom.conversion.is_none:
        adopt(message, kind)
    return message


def adopt(message: CustomObject, kind: Kind) -> None:
    """Let an object, converted by now, be one of the kind: pruned and defaulted by its schema."""
    message.api_version = kind.api_version
    schema = kind.custom.schema
    if schema is not None:
        content = content_of(message)
        prune(content, schema)
        drop_nulls(content, schema)
        apply_defaults(content, schema)
        set_content(message, content)
