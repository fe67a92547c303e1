"""The plan of a message type: its descriptor, compiled into what the hot paths need.

Writing walks the fields that are set (the protobuf library lists them in C) and then adds the members that
JSON always shows. Reading walks the members of the JSON object and calls one prepared function each. Plans
are made on first use and kept; they hold no state of any message, so threads may share them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from navarch.protos.k8s.traits_pb2 import FieldTraits
from navarch.services.api.codec.members import MESSAGE, Descriptor, Field, below, reader, type_name, writer
from navarch.services.api.codec.reading import Object, Reading
from navarch.services.api.codec.scalars import SCALARS
from navarch.services.api.codec.shapes import SCHEMA, SHAPES, Read, Shape, Write, schema_shapes
from navarch.services.api.kinds import type_of
from navarch.services.api.remembered import Remembered
from navarch.services.api.traits import traits_of

Make = Callable[[], object]
# Key, how the value is written, whether it is shown although it is empty.
Fields = dict[Field, tuple[str, Write | None, bool]]


class Plan:
    """How messages of one type are written to JSON and read from it."""

    __slots__ = ("_always", "_descriptor", "_empty", "_fields", "_readers", "_texts", "_with_texts", "read", "write")

    def __init__(self, descriptor: Descriptor) -> None:
        self._descriptor = descriptor
        self._empty: Message | None = None
        # Filled on first use: messages refer to one another, in circles too.
        self._fields: Fields = {}
        self._always: list[tuple[str, Make]] = []
        self._readers: dict[str, Read] | None = None
        # As _fields, with the text of the spec in place of its value.
        self._with_texts: Fields = {}
        self._texts: Remembered[orjson.Fragment] = Remembered()
        shape = _shape_of(descriptor)
        self.write: Write = shape.write if shape else self._write_object
        self.read: Read = shape.read if shape else self.read_into

    def write_into(self, message: Any, out: dict[str, Any]) -> None:
        """Add the members of a message to a JSON object."""
        if self._readers is None:
            self._compile()
        self._write(message, out, self._fields)

    def write_for_text(self, message: Any, out: dict[str, Any]) -> None:
        """As `write_into`, for what is to be dumped only: of equal specs the text is made once."""
        if self._readers is None:
            self._compile()
        self._write(message, out, self._with_texts)

    def _write(self, message: Any, out: dict[str, Any], fields: Fields) -> None:
        for descriptor, value in message.ListFields():
            key, convert, keep_empty = fields[descriptor]
            json: Any = value if convert is None else convert(value)
            if key == "":
                out.update(json)
            elif json or keep_empty:
                out[key] = json
        for key, make in self._always:
            if key not in out:
                out[key] = make()

    def _text(self, message: Any) -> Any:
        key = self._texts.key(message)
        found = self._texts.recall(key)
        if found is None:
            value = self.write(message)
            if not value:
                return value
            found = self._texts.keep(key, orjson.Fragment(orjson.dumps(value, default=with_replacements)))
        return found

    def _write_object(self, message: Any) -> dict[str, Any]:
        if self._readers is None:
            self._compile()
        out: dict[str, Any] = {}
        self._write(message, out, self._fields)
        return out

    def zero(self) -> Any:
        """The JSON of an unset member of this type that is not a pointer."""
        if self._empty is None:
            self._empty = GetMessageClass(self._descriptor)()
        return self.write(self._empty)

    def member(self, field: Field) -> tuple[str, Write | None, bool]:
        """Key of a field ("" for an inline one), how its value is written, whether it is shown set and empty."""
        if self._readers is None:
            self._compile()
        return self._fields[field]

    def always(self, key: str) -> Make | None:
        """Makes what JSON shows under a key whose field is not set; None where it shows nothing."""
        if self._readers is None:
            self._compile()
        return next((make for shown, make in self._always if shown == key), None)

    def read_into(self, message: Any, value: Any, reading: Reading) -> None:
        """Fill an empty message from a JSON object."""
        if type(value) is not dict:
            if value is None:
                return
            if not isinstance(value, dict):
                raise reading.error(value, "object")
            if isinstance(value, Object):
                reading.duplicates(value.duplicates)
        reading.descend()
        readers = self._readers
        if readers is None:
            readers = self._compile()
        for key, item in value.items():
            read = readers.get(key)
            if read is None:
                reading.unknown(key)
            elif item is not None:
                read(message, item, reading)
        reading.depth -= 1

    def _compile(self) -> dict[str, Read]:
        readers: dict[str, Read] = {}
        if type_of(self._descriptor.full_name):
            readers = {"apiVersion": type_name("apiVersion"), "kind": type_name("kind")}
        always: list[tuple[str, Make]] = []
        for field in self._descriptor.fields:
            marks = traits_of(field)
            if marks.inline:
                self._inline(field, readers, always)
                continue
            key = field.json_name
            self._fields[field] = (key, writer(field, plan_of), _keeps_empty(field, marks))
            readers[key] = reader(field, plan_of)
            always.extend(_when_missing(field, marks))
        self._with_texts = {field: self._with_text(field) for field in self._fields}
        self._always = always
        self._readers = readers
        return readers

    def _with_text(self, field: Field) -> tuple[str, Write | None, bool]:
        key, write, keep_empty = self._fields[field]
        is_spec = field.name == "spec" and field.type == MESSAGE and not field.is_repeated
        return key, plan_of(field.message_type)._text if is_spec else write, keep_empty

    def _inline(self, field: Field, readers: dict[str, Read], always: list[tuple[str, Make]]) -> None:
        plan = plan_of(field.message_type)
        for key, read in plan._compile().items():
            readers[key] = below(field.name, read)
        self._fields[field] = ("", plan.write, False)
        always.extend(plan._always)


def with_replacements(value: object) -> str:
    """What orjson writes for a value that is not JSON: a string that is not UTF-8."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    raise TypeError(f"{type(value).__name__} is not JSON")


_plans: dict[str, Plan] = {}


def plan_of(descriptor: Descriptor) -> Plan:
    """The plan of a message type, the same one every time."""
    plan = _plans.get(descriptor.full_name)
    if plan is None:
        plan = _plans.setdefault(descriptor.full_name, Plan(descriptor))
    return plan


def _shape_of(descriptor: Descriptor) -> Shape | None:
    shape = SHAPES.get(descriptor.full_name)
    if shape is None and descriptor.full_name.startswith(SCHEMA + "Or"):
        schema = plan_of(descriptor.fields_by_name["schema"].message_type)
        shape = schema_shapes(schema.write, schema.read)[descriptor.full_name]
    return shape


def _keeps_empty(field: Field, marks: FieldTraits) -> bool:
    """Whether JSON shows the member, once it is set, although it is empty."""
    if field.type == MESSAGE and not field.is_repeated:
        return not marks.omit_zero
    return marks.always or marks.pointer


def _when_missing(field: Field, marks: FieldTraits) -> list[tuple[str, Make]]:
    """What JSON shows when the field is not set: nothing, or [(key, maker of the value)]."""
    key = field.json_name
    if field.type == MESSAGE and not field.is_repeated and not marks.pointer:
        return [] if marks.omit_zero else [(key, plan_of(field.message_type).zero)]
    if not marks.always:
        return []
    if _is_list_items(field):
        # The server never answers a list with null items, though the struct would allow it.
        return [(key, list)]
    zero = None if marks.pointer or field.is_repeated else _zero(field)
    return [(key, lambda: zero)]


def _zero(field: Field) -> object:
    return None if field.type == MESSAGE else SCALARS[field.type].zero


def _is_list_items(field: Field) -> bool:
    return field.name == "items" and type_of(field.containing_type.full_name) is not None
