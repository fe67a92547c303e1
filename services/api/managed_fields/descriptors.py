"""Schemas of messages, compiled from their descriptors and the traits in them; one a message type, made once.

The schema is about the JSON of a message. Where OpenAPI knows nothing of a message's inside (raw JSON) it is
deduced; where its JSON is a single value (quantities, times) it is a leaf.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

from navarch.protos.k8s import traits_pb2
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.codec.shapes import SHAPES
from navarch.services.api.managed_fields.schema import DEDUCED, LEAF, SET, Form, Schema
from navarch.services.api.traits import traits_of

_APIEXTENSIONS: Final = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1."
_ARBITRARY: Final = frozenset(
    {
        "k8s.io.apimachinery.pkg.runtime.RawExtension",
        "k8s.io.apimachinery.pkg.apis.meta.v1.FieldsV1",
        *(_APIEXTENSIONS + name for name in ("JSON", "CustomResourceSubresourceStatus")),
        *(_APIEXTENSIONS + "JSONSchemaPropsOr" + name for name in ("Array", "Bool", "StringArray")),
    }
)
# Keys of lists that the API fills in when they are left out.
_KEY_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "k8s.io.api.core.v1.ContainerPort": {"protocol": "TCP"},
    "k8s.io.api.core.v1.ServicePort": {"protocol": "TCP"},
}
_schemas: dict[str, Schema] = {}


def schema_of(descriptor: Any) -> Schema:
    """The schema of a message type, the same one every time."""
    found = _schemas.get(descriptor.full_name)
    if found is None:
        found = _schemas[descriptor.full_name] = _special(descriptor) or Schema(Form.FIELDS)
        if found.form is Form.FIELDS:
            _fill(found, descriptor)
    return found


def _special(descriptor: Any) -> Schema | None:
    if descriptor.full_name in _ARBITRARY:
        return DEDUCED
    return LEAF if descriptor.full_name in SHAPES else None


def _fill(schema: Schema, descriptor: Any) -> None:
    for field in descriptor.fields:
        if traits_of(field).inline:
            inner = schema_of(field.message_type)
            schema.members.update(inner.members)
        else:
            schema.members[field.json_name] = _field_schema(field)


def _field_schema(field: FieldDescriptor) -> Schema:
    traits, message = traits_of(field), field.message_type
    if message is not None and message.GetOptions().map_entry:
        value = message.fields_by_name["value"].message_type
        atomic = traits.map_type == "atomic"
        return LEAF if atomic else Schema(Form.FIELDS, rest=LEAF if value is None else _value_schema(value))
    if field.is_repeated:
        if traits.list_type == "set":
            return SET
        if traits.list_type != "map" or message is None:
            return LEAF
        defaults = _KEY_DEFAULTS.get(message.full_name, {})
        keys = tuple(sorted(traits.list_map_keys))
        return Schema(Form.KEYED, item=schema_of(message), keys=keys, key_defaults=defaults)
    if message is None or traits.map_type == "atomic":
        return LEAF
    return schema_of(message) if traits.map_type == "granular" else _value_schema(message)


def _value_schema(message: Any) -> Schema:
    is_atomic = message.GetOptions().Extensions[traits_pb2.type_traits].map_type == "atomic"
    return LEAF if is_atomic else schema_of(message)


def object_schema(members: Mapping[str, Schema]) -> Schema:
    """The schema of a whole object with these members beside apiVersion, kind and metadata."""
    metadata = schema_of(metav1.ObjectMeta.DESCRIPTOR)
    return Schema(Form.FIELDS, members={**members, "apiVersion": LEAF, "kind": LEAF, "metadata": metadata})


@cache
def root_schema(descriptor: Any) -> Schema:
    """The schema of the objects of a message type."""
    return object_schema(schema_of(descriptor).members)
