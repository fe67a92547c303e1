"""Custom objects: metadata by its contract, the other members as they are."""

from __future__ import annotations

from typing import Any, Final

import orjson

from navarch.services.api.codec.errors import DecodeError, EncodeError
from navarch.services.api.codec.plan import plan_of
from navarch.services.api.codec.reading import Reading

CUSTOM_OBJECT: Final = "navarch.v1.CustomObject"


def write(message: Any, out: dict[str, Any]) -> None:
    """Add the members of an object to a JSON object, apiVersion and kind included."""
    out["apiVersion"], out["kind"] = message.api_version, message.kind
    metadata: dict[str, Any] = {}
    plan_of(message.metadata.DESCRIPTOR).write_into(message.metadata, metadata)
    out["metadata"] = metadata
    try:
        out.update(orjson.loads(message.content) if message.content else {})
    except (orjson.JSONDecodeError, TypeError, ValueError) as failure:
        raise EncodeError(f"the content of {message.kind} {message.metadata.name} is damaged: {failure}") from None


def read(message: Any, value: dict[str, Any], reading: Reading) -> None:
    """Fill an empty message from a JSON object."""
    for name in ("apiVersion", "kind"):
        if not isinstance(value.get(name), str | None):
            raise DecodeError(name, value[name], "string")
    message.api_version, message.kind = value.get("apiVersion") or "", value.get("kind") or ""
    message.metadata.SetInParent()
    reading.path.append("metadata")
    plan_of(message.metadata.DESCRIPTOR).read_into(message.metadata, value.get("metadata"), reading)
    reading.path.pop()
    content = {name: part for name, part in value.items() if name not in ("apiVersion", "kind", "metadata")}
    try:
        message.content = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise reading.error(f"a value that cannot be kept ({error})", "JSON") from None
