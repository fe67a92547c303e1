"""Messages of our own services as documents: members by their JSON names, times as RFC 3339."""

from collections.abc import Mapping
from typing import Any

import orjson
from google.protobuf.message import Message

from navarch.cli.errors import UsageError
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import yaml_text
from navarch.services.api.codec.times import format_seconds

TABLES = ("", "wide")
ACCEPTED = (*TABLES, "json", "yaml")


def checked_format(name: str) -> str:
    """What ``-o`` asks for. Raises UsageError."""
    if name not in ACCEPTED:
        raise UsageError(f"--output {name!r}: accepted are wide, json, yaml")
    return name


def document(message: Message) -> dict[str, Any]:
    """What is set in a message."""
    return {field.json_name: _value(value) for field, value in message.ListFields()}


def _value(value: Any) -> Any:
    match value:
        case metav1.Time():
            return format_seconds(value.seconds)
        case Message():
            return document(value)
        case str() | bytes() | int() | float():
            return value
        case Mapping():
            return {key: _value(one) for key, one in value.items()}
    return [_value(one) for one in value]


def rendered(found: Any, name: str) -> str:
    """A document as JSON or YAML."""
    if name == "yaml":
        return yaml_text.dump(found)
    return orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
