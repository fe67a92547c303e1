"""Fields: how the value of one becomes a member of a JSON object, and how a member is read into one.

Each function looks at a field descriptor once and gives a closure that does only what that field needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from google.protobuf.descriptor import FieldDescriptor

from navarch.services.api.codec.reading import Object, Reading
from navarch.services.api.codec.scalars import REFUSALS, SCALARS
from navarch.services.api.codec.shapes import Read, Write

# The type stubs know two unrelated families of descriptor classes, one a back end.
Descriptor = Any
Field = Any
MESSAGE: Final = FieldDescriptor.TYPE_MESSAGE


class MessagePlan(Protocol):
    """How messages of some type are written and read."""

    write: Write
    read: Read


PlanOf = Callable[[Descriptor], MessagePlan]


def is_map(field: Field) -> bool:
    """Whether a field is a map."""
    return bool(field.type == MESSAGE and field.is_repeated and field.message_type.GetOptions().map_entry)


def writer(field: Field, plan_of: PlanOf) -> Write | None:
    """How the value of a field becomes JSON; None when it is JSON already."""
    if is_map(field):
        value = _item_writer(field.message_type.fields_by_name["value"], plan_of)
        if value is None:
            return lambda entries: {key: entries[key] for key in sorted(entries)}
        return lambda entries: {key: value(entries[key]) for key in sorted(entries)}
    item = _item_writer(field, plan_of)
    if not field.is_repeated:
        return item
    if item is None:
        return list
    return lambda items: [item(value) for value in items]


def _item_writer(field: Field, plan_of: PlanOf) -> Write | None:
    if field.type == MESSAGE:
        return plan_of(field.message_type).write
    return SCALARS[field.type].write


def reader(field: Field, plan_of: PlanOf) -> Read:
    """How the JSON value of a member is read into its field. Null never gets here."""
    if is_map(field):
        return _map_reader(field, plan_of)
    if field.is_repeated:
        return _list_reader(field, plan_of)
    return _message_reader(field, plan_of) if field.type == MESSAGE else _scalar_reader(field)


def _scalar_reader(field: Field) -> Read:
    name, key, scalar = field.name, field.json_name, SCALARS[field.type]
    convert = scalar.read

    def read(message: Any, value: Any, reading: Reading) -> None:
        try:
            setattr(message, name, convert(value))
        except REFUSALS:
            raise reading.error(value, scalar.name, key) from None

    return read


def _message_reader(field: Field, plan_of: PlanOf) -> Read:
    name, key, plan = field.name, field.json_name, plan_of(field.message_type)

    def read(message: Any, value: Any, reading: Reading) -> None:
        child = getattr(message, name)
        child.SetInParent()
        reading.path.append(key)
        plan.read(child, value, reading)
        reading.path.pop()

    return read


def _list_reader(field: Field, plan_of: PlanOf) -> Read:
    name, key = field.name, field.json_name
    if field.type != MESSAGE:
        return _scalar_list_reader(field)
    plan = plan_of(field.message_type)

    def read(message: Any, value: Any, reading: Reading) -> None:
        path = reading.path
        path.append(key)
        if type(value) is not list:
            raise reading.error(value, "array")
        items = getattr(message, name)
        path.append(0)
        for index, item in enumerate(value):
            path[-1] = index
            plan.read(items.add(), item, reading)
        del path[-2:]

    return read


def _scalar_list_reader(field: Field) -> Read:
    name, key, scalar = field.name, field.json_name, SCALARS[field.type]

    def read(message: Any, value: Any, reading: Reading) -> None:
        if type(value) is not list:
            raise reading.error(value, f"array of {scalar.name}", key)
        items = getattr(message, name)
        for index, item in enumerate(value):
            try:
                items.append(scalar.null if item is None else scalar.read(item))
            except REFUSALS:
                raise reading.error(item, scalar.name, key, index) from None

    return read


def _map_reader(field: Field, plan_of: PlanOf) -> Read:
    name, key = field.name, field.json_name
    value_field = field.message_type.fields_by_name["value"]
    if value_field.type != MESSAGE:
        return _scalar_map_reader(field, value_field)
    plan = plan_of(value_field.message_type)

    def read(message: Any, value: Any, reading: Reading) -> None:
        path = reading.path
        path.append(key)
        _check_map(value, reading)
        entries = getattr(message, name)
        path.append("")
        # Each entry of a map is a message around its value.
        reading.descend()
        for entry, item in value.items():
            path[-1] = entry
            try:
                target = entries[entry]
            except ValueError:
                raise reading.error(entry, "a key of Unicode text") from None
            plan.read(target, item, reading)
        reading.depth -= 1
        del path[-2:]

    return read


def _scalar_map_reader(field: Field, value_field: Field) -> Read:
    name, key, scalar = field.name, field.json_name, SCALARS[value_field.type]

    def read(message: Any, value: Any, reading: Reading) -> None:
        reading.path.append(key)
        _check_map(value, reading)
        entries = getattr(message, name)
        for entry, item in value.items():
            try:
                entries[entry] = scalar.null if item is None else scalar.read(item)
            except REFUSALS:
                raise reading.error(item, scalar.name, entry) from None
        reading.path.pop()

    return read


def _check_map(value: Any, reading: Reading) -> None:
    if type(value) is not dict:
        if not isinstance(value, dict):
            raise reading.error(value, "object")
        if isinstance(value, Object):
            reading.duplicates(value.duplicates)


def below(name: str, read: Read) -> Read:
    """Read a member of an inline message, whose JSON belongs to the parent's object."""

    def read_inline(message: Any, value: Any, reading: Reading) -> None:
        read(getattr(message, name), value, reading)

    return read_inline


def type_name(key: str) -> Read:
    """ApiVersion and kind name the type; the message has no place for them."""

    def read(_message: Any, value: Any, reading: Reading) -> None:
        if type(value) is not str:
            raise reading.error(value, "string", key)

    return read
