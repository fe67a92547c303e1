"""Rules for each part of the schema of a custom resource, whatever the shape of the whole. Schemas are JSON."""

from dataclasses import dataclass, replace
from typing import Any

from navarch.services.api.errors import FieldError
from navarch.services.api.validation.definition_structure import EMBEDDED, PRESERVE, junctors
from navarch.services.api.validation.field_paths import FieldPathError, follow
from navarch.services.api.validation.values import Errors

Schema = dict[str, Any]

TYPES = ("array", "boolean", "integer", "number", "object", "string")
META_FIELDS = ("metadata", "kind", "apiVersion")
LIST_TYPE, LIST_KEYS = "x-kubernetes-list-type", "x-kubernetes-list-map-keys"
MAP_TYPE, RULES = "x-kubernetes-map-type", "x-kubernetes-validations"
_UNSUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in an object a part of a schema applies. no_defaults: why it may have no default."""

    is_root: bool = False
    in_meta: bool = False
    no_defaults: str = ""


def validate_schema(schema: Schema, path: str, place: Place) -> Errors:
    """Check a part of a schema and the parts in it."""
    yield from _validate_keywords(schema, path, place)
    yield from _validate_additional(schema, path, place)
    for name in sorted(schema.get("properties") or {}):
        inner = replace(place, is_root=False)
        if name in META_FIELDS and (place.is_root or schema.get(EMBEDDED)):
            reason = f"in top-level {name}" if place.is_root else place.no_defaults
            inner = Place(in_meta=True, no_defaults=reason)
        yield from validate_schema(schema["properties"][name], f"{path}.properties[{name}]", inner)
    inner = replace(place, is_root=False)
    for word, part in junctors(schema):
        yield from validate_schema(part, f"{path}.{word}", inner)
    items = schema.get("items")
    if isinstance(items, dict):
        yield from validate_schema(items, f"{path}.items", inner)
    yield from _validate_extensions(schema, path)
    for index, rule in enumerate(schema.get(RULES) or ()):
        yield from _validate_rule(rule, schema, f"{path}.{RULES}[{index}]")


def is_supported(schema: Schema) -> bool:
    """Whether a schema has none of the keywords that make the question of its structure pointless."""
    if any(schema.get(word) for word in _UNSUPPORTED) or isinstance(schema.get("items"), list):
        return False
    parts = [part for _, part in junctors(schema)]
    parts += (schema.get("properties") or {}).values()
    parts += [part for part in (schema.get("items"), schema.get("additionalProperties")) if isinstance(part, dict)]
    return all(map(is_supported, parts))


def _validate_keywords(schema: Schema, path: str, place: Place) -> Errors:
    type = schema.get("type", "")
    if type and type not in TYPES:
        yield FieldError.not_supported(f"{path}.type", type, TYPES)
    if "default" in schema and place.no_defaults:
        yield FieldError.forbidden(f"{path}.default", f"must not be set {place.no_defaults}")
    for word in _UNSUPPORTED:
        if schema.get(word):
            yield FieldError.forbidden(f"{path}.{word}", f"{word} is not supported")
    if type == "null":
        text = "type cannot be set to null, use nullable as an alternative"
        yield FieldError.forbidden(f"{path}.type", text)
    if isinstance(schema.get("items"), list):
        yield FieldError.forbidden(f"{path}.items", "items must be a schema object and not an array")
    if place.in_meta and schema.get(EMBEDDED):
        yield FieldError.forbidden(f"{path}.{EMBEDDED}", "must not be used inside of resource meta")
    if schema.get("uniqueItems"):
        text = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield FieldError.forbidden(f"{path}.uniqueItems", text)
    if schema.get(PRESERVE) is False:
        yield FieldError.invalid(f"{path}.{PRESERVE}", False, "must be true or undefined")


def _validate_additional(schema: Schema, path: str, place: Place) -> Errors:
    additional = schema.get("additionalProperties")
    if additional is None:
        return
    if schema.get("properties") and additional is not True:
        text = "additionalProperties and properties are mutual exclusive"
        yield FieldError.forbidden(f"{path}.additionalProperties", text)
    if isinstance(additional, dict):
        inner = replace(place, is_root=False)
        if place.in_meta:
            inner = replace(inner, no_defaults="inside additionalProperties applying to object metadata")
        yield from validate_schema(additional, f"{path}.additionalProperties", inner)


def _validate_extensions(schema: Schema, path: str) -> Errors:
    type, list_type, map_type = schema.get("type", ""), schema.get(LIST_TYPE), schema.get(MAP_TYPE)
    for extension, value, wanted in ((MAP_TYPE, map_type, "object"), (LIST_TYPE, list_type, "array")):
        text = f"must be {wanted} if {extension} is specified"
        if value is not None and not type:
            yield FieldError.required(f"{path}.type", text)
        elif value is not None and type != wanted:
            yield FieldError.invalid(f"{path}.type", type, text)
    if map_type not in (None, "atomic", "granular"):
        yield FieldError.not_supported(f"{path}.{MAP_TYPE}", map_type, ["atomic", "granular"])
    if list_type not in (None, "atomic", "set", "map"):
        yield FieldError.not_supported(f"{path}.{LIST_TYPE}", list_type, ["atomic", "set", "map"])
    text = f"must be map if {LIST_KEYS} is non-empty"
    if schema.get(LIST_KEYS) and list_type is None:
        yield FieldError.required(f"{path}.{LIST_TYPE}", text)
    elif schema.get(LIST_KEYS) and list_type != "map":
        yield FieldError.invalid(f"{path}.{LIST_TYPE}", list_type, text)
    if list_type == "set" and type == "array":
        yield from _validate_set(schema.get("items"), path)
    elif list_type == "map":
        yield from _validate_map(schema, path)


def _validate_set(items: Any, path: str) -> Errors:
    """Members of a set are compared as wholes."""
    if not isinstance(items, dict):
        return
    text = f"must be atomic as item of a list with {LIST_TYPE}=set"
    if items.get("type") == "array" and items.get(LIST_TYPE, "atomic") != "atomic":
        yield FieldError.invalid(f"{path}.items.{LIST_TYPE}", items[LIST_TYPE], text)
    elif items.get("type") == "object" and items.get(MAP_TYPE) != "atomic":
        yield FieldError.invalid(f"{path}.items.{MAP_TYPE}", items.get(MAP_TYPE), text)
    if items.get("nullable"):
        yield FieldError.forbidden(f"{path}.items.nullable", f"cannot be nullable when {LIST_TYPE} is set")


def _validate_map(schema: Schema, path: str) -> Errors:
    """Items of such a list are told apart by some of their fields, so these are there and have simple values."""
    keys, items = schema.get(LIST_KEYS) or [], schema.get("items")
    if not keys:
        yield FieldError.required(f"{path}.{LIST_KEYS}", f"must not be empty if {LIST_TYPE} is map")
    if items is None:
        yield FieldError.required(f"{path}.items", f"must have a schema if {LIST_TYPE} is map")
    if not isinstance(items, dict):
        return
    if items.get("type") != "object":
        text = f"must be object if parent array's {LIST_TYPE} is map"
        yield FieldError.invalid(f"{path}.items.type", items.get("type", ""), text)
    if items.get("nullable"):
        yield FieldError.forbidden(f"{path}.items.nullable", f"cannot be nullable when {LIST_TYPE} is map")
    for index, key in enumerate(keys):
        if key in keys[:index]:
            yield FieldError.invalid(f"{path}.{LIST_KEYS}", keys, "must not contain duplicate entries")
        field, here = (items.get("properties") or {}).get(key), f"{path}.items.properties[{key}]"
        if field is None:
            yield FieldError.invalid(f"{path}.{LIST_KEYS}", keys, "entries must all be names of item properties")
            continue
        if field.get("type") in ("array", "object"):
            text = f"must be a scalar type if parent array's {LIST_TYPE} is map"
            yield FieldError.invalid(f"{here}.type", field["type"], text)
        if key not in (items.get("required") or ()) and "default" not in field:
            text = f"this property is in {LIST_KEYS}, so it must have a default or be a required property"
            yield FieldError.required(f"{here}.default", text)
        if field.get("nullable"):
            text = f"this property is in {LIST_KEYS}, so it cannot be nullable"
            yield FieldError.forbidden(f"{here}.nullable", text)


def _validate_rule(rule: Schema, schema: Schema, path: str) -> Errors:
    """Check a CEL rule by its form; it is compiled elsewhere."""
    expression, message = rule.get("rule", "").strip(), rule.get("message", "")
    if not expression:
        yield FieldError.required(f"{path}.rule", "rule is not specified")
    elif message and not message.strip():
        yield FieldError.invalid(f"{path}.message", message, "must be non-empty if specified")
    elif _has_newlines(message.strip()):
        yield FieldError.invalid(f"{path}.message", message, "must not contain line breaks")
    elif _has_newlines(expression) and not message.strip():
        yield FieldError.required(f"{path}.message", "message must be specified if rule contains line breaks")
    if rule.get("messageExpression") and not rule["messageExpression"].strip():
        text = "messageExpression must be non-empty if specified"
        yield FieldError.required(f"{path}.messageExpression", text)
    if rule.get("reason") is not None and rule["reason"] not in _REASONS:
        yield FieldError.not_supported(f"{path}.reason", rule["reason"], _REASONS)
    if field_path := rule.get("fieldPath"):
        yield from _validate_field_path(field_path, schema, f"{path}.fieldPath")


def _validate_field_path(field_path: str, schema: Schema, path: str) -> Errors:
    if not field_path.strip():
        yield FieldError.invalid(path, field_path, "must be non-empty if specified")
    if _has_newlines(field_path):
        yield FieldError.invalid(path, field_path, "must not contain line breaks")
    try:
        follow(field_path, schema)
    except FieldPathError:
        yield FieldError.invalid(path, field_path, "must be a valid path")


def _has_newlines(text: str) -> bool:
    return "\n" in text or "\r" in text
