"""How the fields of custom objects are owned: the structural schema as `managed_fields` reads it."""

from __future__ import annotations

from navarch.services.api.custom.structural import ABSENT, Structural
from navarch.services.api.managed_fields.schema import DEDUCED, LEAF, SET, Form, Schema


def ownership_schema(schema: Structural | None, metadata: Schema) -> Schema:
    """The schema of a whole object. metadata: that of ObjectMeta."""
    if schema is None:
        return Schema(Form.FIELDS, members={"apiVersion": LEAF, "kind": LEAF, "metadata": metadata}, rest=DEDUCED)
    root = _of(schema, metadata)
    if root.form is not Form.FIELDS:
        root = Schema(Form.FIELDS, rest=DEDUCED)
    root.members.update({"apiVersion": LEAF, "kind": LEAF, "metadata": metadata})
    return root


def _of(schema: Structural, metadata: Schema) -> Schema:
    if schema.type == "array":
        return _list(schema, metadata)
    if schema.type == "object":
        return _object(schema, metadata)
    return DEDUCED if schema.preserves_unknown and not schema.type else LEAF


def _list(schema: Structural, metadata: Schema) -> Schema:
    if schema.list_type == "set":
        return SET
    if schema.list_type == "map" and schema.items is not None:
        defaults = {
            name: part.default
            for name in schema.list_map_keys
            if (part := schema.items.properties.get(name)) is not None and part.default is not ABSENT
        }
        item = _of(schema.items, metadata)
        keys = tuple(sorted(schema.list_map_keys))
        return Schema(Form.KEYED, item=item, keys=keys, key_defaults=defaults)
    return LEAF


def _object(schema: Structural, metadata: Schema) -> Schema:
    if schema.map_type == "atomic":
        return LEAF
    node = Schema(Form.FIELDS, members={name: _of(part, metadata) for name, part in schema.properties.items()})
    if schema.is_embedded:
        node.members.update({"apiVersion": LEAF, "kind": LEAF, "metadata": metadata})
    if isinstance(schema.additional, Structural):
        node.rest = _of(schema.additional, metadata)
    elif schema.preserves_unknown or schema.additional is True:
        node.rest = DEDUCED
    return node
