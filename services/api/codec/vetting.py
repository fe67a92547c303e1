"""Can a message from outside be written as JSON?

The protobuf library lets strings in that are no UTF-8, and hands them out as bytes, which no reader expects;
and a special message can hold what its JSON form cannot (a time in the year 300000, raw bytes that are no
JSON). Stored once, such a value would spoil every later answer that contains it. Looking for it is one walk
over the fields that are set; only the special messages, which are small, are written on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from navarch.services.api.codec.errors import EncodeError
from navarch.services.api.codec.members import MESSAGE, Descriptor, Field, is_map
from navarch.services.api.codec.shapes import SHAPES
from navarch.services.api.errors import BadRequest

# The path, within a value, of what is wrong with it; None when nothing is.
Look = Callable[[Any], str | None]


def check_text(message: Message) -> None:
    """Raise BadRequest, naming the field, for a message that holds what JSON cannot express."""
    path = _in_fields(message)
    if path is not None:
        raise BadRequest(f"{path.lstrip('.')}: the object holds text that is not UTF-8, or a value beyond all limits")


def _in_fields(message: Any) -> str | None:
    looks = _looks(message.DESCRIPTOR)
    for field, value in message.ListFields():
        look = looks.get(field)
        if look is not None and (path := look(value)) is not None:
            return f".{field.json_name}{path}"
    return None


@cache
def _looks(descriptor: Descriptor) -> dict[Field, Look]:
    """How to look at each field in which something can be wrong."""
    return {field: look for field in descriptor.fields if (look := _look_at(field)) is not None}


def _look_at(field: Field) -> Look | None:
    if is_map(field):
        in_value = _look_at_item(field.message_type.fields_by_name["value"])
        return lambda entries: _in_map(entries, in_value)
    in_item = _look_at_item(field)
    if in_item is None or not field.is_repeated:
        return in_item
    return lambda items: _in_items(enumerate(items), in_item)


def _look_at_item(field: Field) -> Look | None:
    if field.type == FieldDescriptor.TYPE_STRING:
        return _at_text
    if field.type != MESSAGE:
        return None
    shape = SHAPES.get(field.message_type.full_name)
    return _in_fields if shape is None else _at_special(shape.write)


def _at_text(value: object) -> str | None:
    return None if type(value) is str else ""


def _at_special(write: Callable[[Any], Any]) -> Look:
    def look(message: Any) -> str | None:
        try:
            return "" if isinstance(write(message), bytes) else None
        except (EncodeError, UnicodeDecodeError):
            return ""

    return look


def _in_items(items: Iterable[tuple[object, Any]], look: Look) -> str | None:
    for place, item in items:
        if (path := look(item)) is not None:
            return f"[{place}]{path}"
    return None


def _in_map(entries: Any, look: Look | None) -> str | None:
    try:
        return _in_items(entries.items(), look or (lambda _: None))
    except UnicodeDecodeError:
        return ""
