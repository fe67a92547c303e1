"""Objects with every field set, made from descriptors alone."""

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

Fill = Callable[[type[Message]], Any]
_DEPTH = 12
_SCHEMA_DEPTH = 3


def _fill_special(message: Any, name: str) -> bool:
    """Set a message whose JSON is not an object of its fields; whether it is one."""
    match name.rpartition(".")[2]:
        case "Quantity" | "QuantityValue":
            message.string = "1500m"
        case "IntOrString":
            message.type, message.int_val, message.str_val = 1, 0, "30%"
        case "Time":
            message.seconds, message.nanos = 1136214245, 0
        case "MicroTime":
            message.seconds, message.nanos = 1136214245, 123456000
        case "Duration":
            message.duration = 5_430_500_000_000
        case "RawExtension":
            message.raw = b'{"apiVersion":"example.com/v1","kind":"Thing","list":[1,null,"x"]}'
        case "Unknown":
            message.raw, message.content_type = b'{"kind":"Thing"}', "application/json"
        case "FieldsV1":
            message.raw = b'{"f:metadata":{}}'
        case "JSON":
            message.raw = b'"a default"'
        case "JSONSchemaPropsOrBool":
            message.allows = True
        case "JSONSchemaPropsOrStringArray":
            message.property.append("other")
        case "JSONSchemaPropsOrArray":
            message.json_schemas.add(title="item")
        case _:
            return False
    return True


def _scalar(field: FieldDescriptor, tag: str = "") -> Any:
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return f"{field.name}{tag}-ü"
        case FieldDescriptor.TYPE_BOOL:
            return True
        case FieldDescriptor.TYPE_BYTES:
            return b"\x00\xff" + tag.encode()
        case FieldDescriptor.TYPE_DOUBLE:
            return 1.25
    return field.number


def _fill(message: Any, depth: int = 0, schemas: int = 0) -> None:
    descriptor = message.DESCRIPTOR
    if _fill_special(message, descriptor.full_name):
        return
    schemas += descriptor.name == "JSONSchemaProps"
    assert depth < _DEPTH + 2 * _SCHEMA_DEPTH, "a message that holds itself without end"
    for field in descriptor.fields:
        is_message = field.type == FieldDescriptor.TYPE_MESSAGE
        if is_message and schemas >= _SCHEMA_DEPTH:
            continue
        target = getattr(message, field.name)
        if is_message and field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            for key in ("b", "a"):
                if value.type == FieldDescriptor.TYPE_MESSAGE:
                    _fill(target[key], depth + 1, schemas)
                else:
                    target[key] = _scalar(value, key)
        elif is_message and field.is_repeated:
            for _ in range(2):
                _fill(target.add(), depth + 1, schemas)
        elif is_message:
            target.SetInParent()
            _fill(target, depth + 1, schemas)
        elif field.is_repeated:
            target.extend(_scalar(field, tag) for tag in ("1", "2"))
        else:
            setattr(message, field.name, _scalar(field))


@pytest.fixture(scope="session")
def filled() -> Fill:
    """A function that makes a message of a class with every field set."""

    def make(cls: type[Message]) -> Any:
        message = cls()
        _fill(message)
        return message

    return make
