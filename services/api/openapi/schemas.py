"""Schemas of messages, in the form of OpenAPI version 3.

A schema says what JSON the codec writes and reads for a message: its members with their types, what the field
traits say about merging and applying, and the documentation. Messages that are something else than an object in
JSON (times, quantities, "int or string") have their schemas in `special`.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

from navarch.protos.k8s import traits_pb2
from navarch.services.api.kinds import type_of
from navarch.services.api.openapi import docs, names, special
from navarch.services.api.traits import traits_of

Json = dict[str, Any]
# The type stubs know two unrelated families of descriptor classes.
Descriptor = Any
Field = Any

REF: Final = "#/components/schemas/"
_SCALARS: Final[dict[int, Json]] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_INT64: {"type": "integer", "format": "int64"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "format": "byte"},
}
_ZEROS: Final[dict[str, Any]] = {"string": "", "integer": 0, "boolean": False, "number": 0}
_TYPE_NAMES: Final[dict[str, Json]] = {
    "apiVersion": {"type": "string", "description": docs.API_VERSION},
    "kind": {"type": "string", "description": docs.KIND},
}


@cache
def of_message(descriptor: Descriptor) -> Json:
    """The schema of a message. Shared: not to be changed."""
    found = special.SCHEMAS.get(descriptor.full_name)
    if found is not None:
        return _described(dict(found), docs.of_message(descriptor.full_name))
    properties: Json = dict(_TYPE_NAMES) if type_of(descriptor.full_name) else {}
    required: list[str] = []
    _add_members(descriptor, properties, required)
    schema: Json = {"type": "object"}
    if properties:
        schema["properties"] = properties
    if required:
        schema["required"] = required
    if map_type := descriptor.GetOptions().Extensions[traits_pb2.type_traits].map_type:
        schema["x-kubernetes-map-type"] = map_type
    return _described(schema, docs.of_message(descriptor.full_name))


def _add_members(descriptor: Descriptor, properties: Json, required: list[str]) -> None:
    for field in descriptor.fields:
        traits = traits_of(field)
        if traits.inline:
            # Its text belongs to the message that it is a part of.
            _add_members(field.message_type, properties, required)
            continue
        properties[field.json_name] = member(field)
        if traits.required:
            required.append(field.json_name)


def member(field: Field) -> Json:
    """The schema of one member of a message."""
    traits = traits_of(field)
    schema = _value(field)
    text = docs.of_field(field.containing_type.full_name, field.json_name)
    default = _default(field, traits, schema)
    if "$ref" in schema and (text or default is not None):
        # Nothing may stand beside a reference.
        schema = {"allOf": [schema]}
    if default is not None:
        schema["default"] = default
    if traits.enum:
        (schema["items"] if schema.get("type") == "array" else schema)["enum"] = sorted(traits.enum)
    schema.update(_extensions(traits))
    return _described(schema, text)


def _value(field: Field) -> Json:
    if not field.is_repeated:
        return _type(field)
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return {"type": "object", "additionalProperties": _inner(message.fields_by_name["value"])}
    return {"type": "array", "items": _inner(field)}


def _inner(field: Field) -> Json:
    """The schema of an item of a list or map, which is never absent and so has a default."""
    schema = _type(field)
    if "$ref" in schema:
        if field.message_type.full_name in special.SCHEMAS:
            return schema
        return {"allOf": [schema], "default": {}}
    return schema if "type" not in schema or schema["type"] == "array" else _with_zero(schema)


def _with_zero(schema: Json) -> Json:
    return schema if schema.get("format") == "byte" else {**schema, "default": _ZEROS[schema["type"]]}


def _type(field: Field) -> Json:
    message = field.message_type
    if message is None:
        return dict(_SCALARS[field.type])
    if message.full_name in special.LISTS:
        return {"type": "array", "items": {"type": "string", "default": ""}}
    return {"$ref": REF + names.of_message(message.full_name)}


def _default(field: Field, traits: traits_pb2.FieldTraits, schema: Json) -> Any:
    place = field.containing_type.full_name, field.json_name
    if place in special.DEFAULTS:
        return special.DEFAULTS[place]
    if traits.pointer or field.is_repeated:
        return None
    if "$ref" in schema:
        return None if field.message_type.full_name in special.SCHEMAS else {}
    if not traits.required or schema["type"] == "array" or schema.get("format") == "byte":
        return None
    return _ZEROS[schema["type"]]


def _extensions(traits: traits_pb2.FieldTraits) -> Json:
    found: Json = {
        "x-kubernetes-patch-strategy": ",".join(traits.patch_strategy),
        "x-kubernetes-patch-merge-key": traits.patch_merge_key,
        "x-kubernetes-list-type": traits.list_type,
        "x-kubernetes-list-map-keys": list(traits.list_map_keys),
        "x-kubernetes-map-type": traits.map_type,
    }
    return {key: value for key, value in found.items() if value}


def _described(schema: Json, text: str) -> Json:
    return {"description": text, **schema} if text else schema


def closure(descriptors: list[Descriptor]) -> list[Descriptor]:
    """Messages and all that their schemas refer to, by name."""
    found: dict[str, Descriptor] = {}
    waiting = list(descriptors)
    while waiting:
        descriptor = waiting.pop()
        if descriptor.full_name not in found:
            found[descriptor.full_name] = descriptor
            waiting += _references(descriptor)
    return [found[name] for name in sorted(found)]


def _references(descriptor: Descriptor) -> list[Descriptor]:
    if descriptor.full_name in special.SCHEMAS:
        return []
    found: list[Descriptor] = []
    for field in descriptor.fields:
        message = field.message_type
        if message is None or message.full_name in special.LISTS:
            continue
        is_part = traits_of(field).inline or message.GetOptions().map_entry
        found += _references(message) if is_part else [message]
    return found
