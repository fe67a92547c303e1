"""Structural schemas: the shape of an object is said outside of allOf, anyOf, oneOf and not, which only judge values.

A schema is structural when every part that has a schema has a type, when what stands below a junctor (one of
those four) says nothing about shape, and when every field named there is named in the shape too. Schemas are JSON.
"""

from collections.abc import Iterator
from typing import Any

from navarch.services.api.errors import FieldError
from navarch.services.api.validation.values import Errors

Schema = dict[str, Any]

ROOT, ITEM, FIELD = "root", "item", "field"
_UNTYPED = {
    ROOT: "must not be empty at the root",
    ITEM: "must not be empty for specified array items",
    FIELD: "must not be empty for specified object fields",
}
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_X = "x-kubernetes-"
PRESERVE, EMBEDDED, INT_OR_STRING = f"{_X}preserve-unknown-fields", f"{_X}embedded-resource", f"{_X}int-or-string"
_BELOW_JUNCTORS = {
    "type": "must be empty to be structural",
    "additionalProperties": "must be undefined to be structural",
    "default": "must be undefined to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "nullable": "must be false to be structural",
    "externalDocs": "must be undefined to be structural",
    PRESERVE: "must be false to be structural",
    EMBEDDED: "must be false to be structural",
    INT_OR_STRING: "must be false to be structural",
    f"{_X}list-map-keys": "must be empty to be structural",
    f"{_X}list-type": "must be undefined to be structural",
    f"{_X}map-type": "must be undefined to be structural",
    f"{_X}validations": "must be empty to be structural",
}


def validate_structure(schema: Schema, path: str) -> list[FieldError]:
    """Check that a schema is structural; in the order of the messages."""
    return sorted([*_validate_part(schema, ROOT, path), *_validate_complete(schema, schema, path, path)], key=str)


def junctors(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """What only judges values: (place, schema)."""
    for word in ("allOf", "anyOf", "oneOf"):
        for index, part in enumerate(schema.get(word) or ()):
            yield f"{word}[{index}]", part
    if isinstance(schema.get("not"), dict):
        yield "not", schema["not"]


def _validate_part(schema: Schema, level: str, path: str) -> Errors:
    items, additional = schema.get("items"), schema.get("additionalProperties")
    if isinstance(items, dict):
        yield from _validate_part(items, ITEM, f"{path}.items")
    elif schema.get("type") == "array":
        yield FieldError.required(f"{path}.items", "must be specified")
    for name, part in (schema.get("properties") or {}).items():
        yield from _validate_part(part, FIELD, f"{path}.properties[{name}]")
    if additional is not None and level == ROOT:
        yield FieldError.forbidden(f"{path}.additionalProperties", "must not be used at the root")
    if isinstance(additional, dict):
        yield from _validate_part(additional, FIELD, f"{path}.additionalProperties")
    for extension in (PRESERVE, EMBEDDED):
        if schema.get(INT_OR_STRING) and schema.get(extension):
            text = f"must be false if {INT_OR_STRING} is true"
            yield FieldError.invalid(f"{path}.{extension}", True, text)
    yield from _validate_junctors(schema, path, _int_or_string_pattern(schema))
    yield from _validate_type(schema, level, path)
    yield from _validate_meta(schema, level, path)


def _validate_type(schema: Schema, level: str, path: str) -> Errors:
    type, here = schema.get("type", ""), f"{path}.type"
    if schema.get(EMBEDDED):
        text = f"must be object if {EMBEDDED} is true"
        if not type:
            yield FieldError.required(here, text)
        elif type != "object":
            yield FieldError.invalid(here, type, text)
        if schema.get("additionalProperties") is not None:
            text = f"must not be used if {EMBEDDED} is set"
            yield FieldError.forbidden(f"{path}.additionalProperties", text)
        if not schema.get(PRESERVE) and not schema.get("properties"):
            text = f"must not be empty if {EMBEDDED} is true without {PRESERVE}"
            yield FieldError.required(f"{path}.properties", text)
    elif not type and not schema.get(INT_OR_STRING) and not schema.get(PRESERVE):
        yield FieldError.required(here, _UNTYPED[level])
    if level == ROOT and type not in ("", "object"):
        yield FieldError.invalid(here, type, "must be object at the root")


def _validate_meta(schema: Schema, level: str, path: str) -> Errors:
    """Whatever is an object of the API has metadata, kind and apiVersion of known types."""
    if level != ROOT and not schema.get(EMBEDDED):
        return
    properties = schema.get("properties") or {}
    for name, type, text in (
        ("kind", "string", "must be string"),
        ("apiVersion", "string", "must be string"),
        ("metadata", "object", "must be object"),
    ):
        if name in properties and properties[name].get("type") != type:
            here = f"{path}.properties[{name}].type"
            yield FieldError.invalid(here, properties[name].get("type", ""), text)
    if level == ROOT and "metadata" in properties:
        metadata = properties["metadata"]
        rest = set(metadata) - {"type", "default", "properties"}
        rest |= set(metadata.get("properties") or {}) - {"name", "generateName"}
        if rest:
            text = "must not specify anything other than name and generateName, but metadata is implicitly specified"
            yield FieldError.forbidden(f"{path}.properties[metadata]", text)


def _int_or_string_pattern(schema: Schema) -> str:
    """Where a schema says "integer or string" in the way that is allowed: "anyOf", "allOf", or nowhere."""
    if schema.get("anyOf") == _INT_OR_STRING:
        return "anyOf"
    first = (schema.get("allOf") or [{}])[0]
    return "allOf" if first.get("anyOf") == _INT_OR_STRING else ""


def _validate_junctors(schema: Schema, path: str, int_or_string: str) -> Errors:
    for place, part in junctors(schema):
        if int_or_string == "anyOf" and place.startswith("anyOf"):
            continue
        inner = "anyOf" if int_or_string == "allOf" and place == "allOf[0]" else ""
        yield from _validate_nested(part, f"{path}.{place}", inner)
    if pattern := schema.get("pattern"):
        # Only a server that is given definitions has to load this.
        from navarch.services.api.custom.cel.engine import pattern_error

        if error := pattern_error(pattern):
            text = f"must be a valid regular expression, but isn't: {error}"
            yield FieldError.invalid(f"{path}.pattern", pattern, text)


def _validate_nested(schema: Schema, path: str, int_or_string: str) -> Errors:
    yield from _validate_junctors(schema, path, int_or_string)
    if isinstance(schema.get("items"), dict):
        yield from _validate_nested(schema["items"], f"{path}.items", "")
    for name, part in (schema.get("properties") or {}).items():
        yield from _validate_nested(part, f"{path}.properties[{name}]", "")
    for word, text in _BELOW_JUNCTORS.items():
        if schema.get(word) or (word in ("default", "additionalProperties") and word in schema):
            yield FieldError.forbidden(f"{path}.{word}", text)
    if "metadata" in (schema.get("properties") or {}):
        yield FieldError.forbidden(f"{path}.properties[metadata]", "must not be specified in a nested context")


def _validate_complete(judge: Schema, shape: Schema, path: str, judge_path: str) -> Errors:
    """Check that what junctors of `judge` speak of is in the shape."""
    for place, part in junctors(judge):
        yield from _validate_named(part, shape, path, f"{judge_path}.{place}")


def _validate_named(judge: Schema, shape: Schema, path: str, judge_path: str) -> Errors:
    yield from _validate_complete(judge, shape, path, judge_path)
    named = [("items", judge.get("items"), shape.get("items"))]
    properties = shape.get("properties") or {}
    for name, part in (judge.get("properties") or {}).items():
        named.append((f"properties[{name}]", part, properties.get(name)))
    for place, part, found in named:
        if not isinstance(part, dict):
            continue
        if isinstance(found, dict):
            yield from _validate_named(part, found, f"{path}.{place}", f"{judge_path}.{place}")
        else:
            yield FieldError.required(f"{path}.{place}", f"because it is defined in {judge_path}.{place}")
