"""Equality of objects as the API sees it: how a message spells its zero values does not matter.

Go writes every plain field, Python only those that were set; both mean the same. Only for pointer fields
does presence tell two objects apart. Quantities are compared as amounts.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from navarch.protos.k8s import quantity_pb2
from navarch.services.api.quantity import Quantity
from navarch.services.api.traits import traits_of


def same(left: Message, right: Message) -> bool:
    """Whether two messages of one type mean the same."""
    if left == right:
        return True
    if isinstance(left, quantity_pb2.Quantity):
        return _same_amount(left.string, getattr(right, "string", ""))
    return all(_same_field(left, right, field, pointer) for field, pointer in _fields(left.DESCRIPTOR))


def _same_amount(left: str, right: str) -> bool:
    try:
        return bool(Quantity.parse(left) == Quantity.parse(right))
    except ValueError:
        return False


def _same_field(left: Message, right: Message, field: FieldDescriptor, pointer: bool) -> bool:
    if pointer and left.HasField(field.name) != right.HasField(field.name):
        return False
    ours, theirs = getattr(left, field.name), getattr(right, field.name)
    if field.message_type is None:
        return bool(ours == theirs)
    if not field.is_repeated:
        return same(ours, theirs)
    if field.message_type.GetOptions().map_entry:
        return _same_map(ours, theirs)
    return len(ours) == len(theirs) and all(map(same, ours, theirs))


def _same_map(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    if left.keys() != right.keys():
        return False
    return all(
        same(value, right[key]) if isinstance(value, Message) else value == right[key] for key, value in left.items()
    )


@cache
def _fields(descriptor: Descriptor) -> tuple[tuple[FieldDescriptor, bool], ...]:
    return tuple((field, traits_of(field).pointer and not field.is_repeated) for field in descriptor.fields)
