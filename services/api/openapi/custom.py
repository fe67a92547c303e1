"""Schemas of custom resources: what their definition says, with what every object has."""

from __future__ import annotations

from typing import Any

from navarch.services.api.kinds import Kind
from navarch.services.api.openapi import docs, names
from navarch.services.api.openapi.schemas import REF

Json = dict[str, Any]


def definitions(kind: Kind) -> dict[str, Json]:
    """The schemas of a custom kind and of its list."""
    own = names.of_kind(kind)
    return {own: _object(kind), names.of_list(kind): _list(kind, own)}


def _type(kind: Kind, name: str) -> Json:
    return {"x-kubernetes-group-version-kind": [names.gvk(kind.group, kind.version, name)]}


def _object(kind: Kind) -> Json:
    # A definition may leave the schema out; its objects hold anything then.
    schema: Json = dict(kind.custom.openapi or {"x-kubernetes-preserve-unknown-fields": True})
    schema.setdefault("type", "object")
    properties: Json = dict(schema.get("properties") or {})
    properties["apiVersion"] = {"type": "string", "description": docs.API_VERSION}
    properties["kind"] = {"type": "string", "description": docs.KIND}
    properties["metadata"] = {"allOf": [{"$ref": REF + names.OBJECT_META}], "description": docs.METADATA}
    return {**schema, "properties": properties, **_type(kind, kind.kind)}


def _list(kind: Kind, own: str) -> Json:
    return {
        "description": f"A list of objects of kind {kind.kind}.",
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": docs.API_VERSION},
            "kind": {"type": "string", "description": docs.KIND},
            "metadata": {"allOf": [{"$ref": REF + names.LIST_META}], "description": docs.LIST_METADATA},
            "items": {"type": "array", "items": {"$ref": REF + own}, "description": docs.ITEMS},
        },
        **_type(kind, kind.list_kind),
    }
