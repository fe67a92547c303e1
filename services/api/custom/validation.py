"""A JSON value against its structural schema, in the words of Kubernetes.

With the stored object beside it, what an update leaves as it was is not held against it: a schema may have
become stricter since.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from navarch.services.api.custom.cel.engine import matches
from navarch.services.api.custom.correlation import old_item, old_member
from navarch.services.api.custom.formats import is_of_format
from navarch.services.api.custom.structural import ABSENT, RESOURCE_MEMBERS, Structural
from navarch.services.api.errors import FieldError

Errors = Iterator[FieldError]
# After one of these, rules could not say anything sensible about the object.
BLOCKING: Final = frozenset(
    {"FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"}
)
NOT_CHECKED: Final = FieldError.invalid(
    "<nil>",
    None,
    "some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)


def validate_value(value: Any, schema: Structural, path: str = "", old: Any = ABSENT) -> Errors:
    """Everything that is wrong with a value. old: the same value as it is stored."""
    if old is not ABSENT and same_json(value, old):
        return
    if value is None and schema.nullable:
        return
    wrong = _type_error(value, schema, path)
    if wrong is not None:
        yield wrong
        return
    yield from _check_value(value, schema, path)
    if isinstance(value, dict):
        yield from _check_members(value, schema, path, old)
    elif isinstance(value, list) and schema.items is not None:
        for index, item in enumerate(value):
            yield from validate_value(item, schema.items, f"{path}[{index}]", old_item(schema, item, old))


def same_json(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal; True is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same_json(item, right[name]) for name, item in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same_json, left, right))
    return bool(left == right)


def json_type(value: Any) -> str:
    """The name of a value's JSON type."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


def _type_error(value: Any, schema: Structural, path: str) -> FieldError | None:
    wanted = ("integer", "string") if schema.is_int_or_string else (schema.type,) if schema.type else ()
    found = json_type(value)
    if not wanted or found in wanted or (found == "integer" and "number" in wanted):
        return None
    named = "number" if isinstance(value, float) else found
    text = f'{_body(path)} must be of type {",".join(wanted)}: "{named}"'
    return FieldError("FieldValueTypeInvalid", path, named, text)


def _body(path: str) -> str:
    return f"{path} in body" if path else " in body"


def _child(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _check_value(value: Any, schema: Structural, path: str) -> Errors:
    """The checks of one node that look at the value as a whole."""
    if schema.enum and not any(same_json(value, allowed) for allowed in schema.enum):
        yield FieldError.not_supported(path, value, [_choice(allowed) for allowed in schema.enum])
    if isinstance(value, str):
        yield from _check_text(value, schema, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _check_number(value, schema, path)
    elif isinstance(value, list):
        yield from _check_length(value, schema, path, "Items")
        if schema.limits.get("uniqueItems") and _has_twins(value):
            yield FieldError.invalid(path, value, f"{_body(path)} shouldn't contain duplicates")
        yield from _check_list_type(value, schema, path)
    elif isinstance(value, dict):
        yield from _check_length(value, schema, path, "Properties")
    yield from _check_combined(value, schema, path)


def _choice(value: Any) -> str:
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def _check_text(value: str, schema: Structural, path: str) -> Errors:
    limits = schema.limits
    if "maxLength" in limits and len(value) > limits["maxLength"]:
        yield FieldError.too_long(path, value, limits["maxLength"])
    if len(value) < limits.get("minLength", 0):
        yield FieldError.invalid(path, value, f"{_body(path)} should be at least {limits['minLength']} chars long")
    if schema.pattern and not matches(schema.pattern, value):
        yield FieldError.invalid(path, value, f"{_body(path)} should match '{schema.pattern}'")
    if schema.format and not is_of_format(schema.format, value):
        text = f'{_body(path)} must be of type {schema.format}: "{value}"'
        yield FieldError.invalid(path, value, text)


def _check_number(value: float, schema: Structural, path: str) -> Errors:
    limits = schema.limits
    if (maximum := limits.get("maximum")) is not None:
        strict = limits.get("exclusiveMaximum", False)
        if value > maximum or (strict and value == maximum):
            text = "should be less than" if strict else "should be less than or equal to"
            yield FieldError.invalid(path, value, f"{_body(path)} {text} {_number(maximum)}")
    if (minimum := limits.get("minimum")) is not None:
        strict = limits.get("exclusiveMinimum", False)
        if value < minimum or (strict and value == minimum):
            text = "should be greater than" if strict else "should be greater than or equal to"
            yield FieldError.invalid(path, value, f"{_body(path)} {text} {_number(minimum)}")
    if (step := limits.get("multipleOf")) and not _is_multiple(value, step):
        yield FieldError.invalid(path, value, f"{_body(path)} should be a multiple of {_number(step)}")
    bits = {"int32": 31, "int64": 63}.get(schema.format)
    if bits is not None and not -(2**bits) <= value < 2**bits:
        kind = schema.type or "integer"
        text = f"Checked value must be of type {kind} with format {schema.format} in {path}"
        yield FieldError.invalid(path, value, text)


def _number(value: float) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _is_multiple(value: float, step: float) -> bool:
    if isinstance(value, int) and float(step).is_integer():
        return value % int(step) == 0
    return math.isclose(value / step, round(value / step), rel_tol=1e-12, abs_tol=1e-12)


def _check_length(value: list[Any] | dict[str, Any], schema: Structural, path: str, what: str) -> Errors:
    limits = schema.limits
    most, least = limits.get(f"max{what}"), limits.get(f"min{what}", 0)
    if most is not None and len(value) > most:
        yield FieldError.too_many(path, len(value), most)
    if len(value) < least:
        yield FieldError.invalid(path, len(value), f"{_body(path)} should have at least {least} {what.lower()}")


def _has_twins(items: list[Any]) -> bool:
    return any(same_json(item, other) for index, item in enumerate(items) for other in items[:index])


def _check_list_type(items: list[Any], schema: Structural, path: str) -> Errors:
    """Items of sets, and keys of items of list maps, appear once."""
    if schema.list_type not in ("set", "map"):
        return
    seen: set[Any] = set()
    for index, item in enumerate(items):
        if schema.list_type == "map":
            key: Any = schema.key_of(item)
            shown = {name: item.get(name) for name in schema.list_map_keys} if isinstance(item, dict) else item
        else:
            key, shown = (json_type(item), repr(item)), item
        if key in seen:
            yield FieldError.duplicate(f"{path}[{index}]", shown)
        seen.add(key)


def _check_combined(value: Any, schema: Structural, path: str) -> Errors:
    for part in schema.all_of:
        yield from validate_value(value, part, path)
    if schema.any_of and not any(_fits(value, part, path) for part in schema.any_of):
        yield FieldError.invalid(path, _shown(value), f"{_body(path)} must validate at least one schema (anyOf)")
        yield from _closest(value, schema.any_of, path)
    if schema.one_of:
        count = sum(_fits(value, part, path) for part in schema.one_of)
        if count != 1:
            found = "Found none valid" if count == 0 else f"Found {count} valid alternatives"
            text = f"{_body(path)} must validate one and only one schema (oneOf). {found}"
            yield FieldError.invalid(path, _shown(value), text)
    if schema.not_ is not None and _fits(value, schema.not_, path):
        yield FieldError.invalid(path, _shown(value), f"{_body(path)} must not validate the schema (not)")


def _shown(value: Any) -> Any:
    return json_type(value) if isinstance(value, dict | list) else value


def _fits(value: Any, schema: Structural, path: str) -> bool:
    return next(validate_value(value, schema, path), None) is None


def _closest(value: Any, schemas: tuple[Structural, ...], path: str) -> Errors:
    """What is wrong by the schema that comes nearest."""
    yield from min((list(validate_value(value, part, path)) for part in schemas), key=len)


def _check_members(value: Mapping[str, Any], schema: Structural, path: str, old: Any) -> Errors:
    for name in schema.required:
        if name not in value:
            yield FieldError.required(_child(path, name))
    if schema.is_embedded:
        yield from _check_resource(value, path)
    for name, item in value.items():
        if not path and name in RESOURCE_MEMBERS and name not in schema.properties:
            continue
        part = schema.member(name)
        if part is not None:
            yield from validate_value(item, part, _child(path, name), old_member(schema, name, old))
        elif schema.additional is False and name not in schema.properties:
            yield FieldError.invalid(path, "", f"{_child(path, name)} in body is a forbidden property")


def _check_resource(value: Mapping[str, Any], path: str) -> Errors:
    for name in ("apiVersion", "kind"):
        if not value.get(name):
            yield FieldError.required(_child(path, name), "must not be empty")
