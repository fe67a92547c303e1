"""Objects as JSON documents, for patches: built-in kinds through the codec, custom ones through their schema."""

from typing import Any

from navarch.services.api import codec
from navarch.services.api.custom import objects
from navarch.services.api.kinds import Kind
from navarch.services.api.managed_fields.descriptors import root_schema
from navarch.services.api.managed_fields.schema import Schema

JsonObject = dict[str, Any]


def document_of(kind: Kind, message: Any) -> JsonObject:
    """The JSON of an object, the caller's own."""
    if not kind.is_custom:
        return codec.to_json(message)
    document: JsonObject = objects.to_json(message, kind)
    return document


def message_of(kind: Kind, document: JsonObject, strict: bool, ignored: list[str] | None) -> Any:
    """The object that a document describes. ignored: where to put what was dropped. Raises BadRequest."""
    if ignored is not None:
        ignored.clear()
    if not kind.is_custom:
        return codec.from_json(document, kind.message, strict=strict, warnings=ignored)
    return objects.from_json(document, kind, strict=strict, warnings=ignored)


def ownership_schema(kind: Kind) -> Schema:
    """How the fields of a kind's objects are owned."""
    if not kind.is_custom:
        return root_schema(kind.message.DESCRIPTOR)
    schema: Schema = kind.custom.ownership
    return schema
