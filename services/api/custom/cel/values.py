"""JSON values as rules see them: typed by their schema, under names that CEL can spell."""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from navarch.services.api.codec.times import parse_duration
from navarch.services.api.custom.correlation import old_item
from navarch.services.api.custom.structural import ABSENT, RESOURCE_MEMBERS, Structural

# Words that CEL keeps for itself.
RESERVED: Final = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_ESCAPES: Final = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_METADATA: Final = ("name", "generateName")


@lru_cache(maxsize=8192)
def escaped(name: str) -> str:
    """The name under which a rule finds a property; "" for one that no rule can name."""
    if name in RESERVED:
        return f"__{name}__"
    text = re.sub(r"__|[./-]", lambda found: _ESCAPES[found[0]], name)
    return text if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text) else ""


def to_cel(value: Any, schema: Structural | None, *, like: Any = ABSENT, is_resource: bool = False) -> Any:
    """A value for CEL.

    like: a value to follow in the order of items, where order means nothing (sets, list maps), so that lists
    with the same items are equal.
    """
    if schema is None or value is None:
        return value
    if isinstance(value, dict):
        return _object(value, schema, like, is_resource or schema.is_embedded)
    if isinstance(value, list):
        return [to_cel(item, schema.items, like=old_item(schema, item, like)) for item in _ordered(value, schema, like)]
    if isinstance(value, str):
        return _text(value, schema.format) if schema.format else value
    if schema.type == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if schema.type == "integer" and isinstance(value, float):
        return int(value)
    return value


def _object(value: dict[str, Any], schema: Structural, like: Any, is_resource: bool) -> dict[str, Any]:
    out: dict[str, Any] = {}
    others = like if isinstance(like, dict) else {}
    for name, item in value.items():
        if is_resource and name in RESOURCE_MEMBERS:
            out[name] = {key: item[key] for key in _METADATA if key in item} if name == "metadata" and item else item
        elif name in schema.properties:
            key = escaped(name)
            if key:
                out[key] = to_cel(item, schema.properties[name], like=others.get(name, ABSENT))
        elif not schema.properties:
            out[name] = to_cel(item, schema.member(name), like=others.get(name, ABSENT))
    return out


def _ordered(items: list[Any], schema: Structural, like: Any) -> list[Any]:
    if not isinstance(like, list) or schema.list_type not in ("set", "map"):
        return items
    identity = schema.key_of if schema.list_type == "map" else repr
    place = {identity(item): index for index, item in enumerate(like)}
    return sorted(items, key=lambda item: place.get(identity(item), len(like)))


def _text(value: str, format: str) -> Any:
    """A string of a format that CEL has a type for; what is not of its format stays text."""
    try:
        match format:
            case "date-time":
                moment = Timestamp()
                moment.FromJsonString(value)
                return moment
            case "date":
                moment = Timestamp()
                moment.FromJsonString(f"{value}T00:00:00Z")
                return moment
            case "duration":
                span = Duration()
                span.FromNanoseconds(parse_duration(value))
                return span
            case "byte":
                return base64.b64decode(value, validate=True)
    except ValueError:
        return value
    return value
