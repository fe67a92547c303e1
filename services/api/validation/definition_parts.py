"""Rules for what a version of a custom resource has beside its schema: subresources, columns, selectable fields."""

from collections.abc import Sequence
from typing import Any

from navarch.protos.k8s.apiextensions import v1_pb2 as apiextensionsv1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation.field_paths import FieldPathError, follow
from navarch.services.api.validation.values import Errors

_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_SELECTABLE_MAX = 8


def validate_subresources(parts: apiextensionsv1.CustomResourceSubresources, path: str) -> Errors:
    """Check where the scale subresource finds its numbers."""
    if not parts.HasField("scale"):
        return
    scale = parts.scale
    for field, value, place in (
        ("specReplicasPath", scale.spec_replicas_path, "spec"),
        ("statusReplicasPath", scale.status_replicas_path, "status"),
    ):
        here = f"{path}.scale.{field}"
        if not value:
            yield FieldError.required(here)
        elif not value.startswith("."):
            yield FieldError.invalid(here, value, "must be a simple json path starting with .")
        elif not value.startswith(f".{place}."):
            yield FieldError.invalid(here, value, f"should be a json path under .{place}")
    if selector := scale.label_selector_path:
        here = f"{path}.scale.labelSelectorPath"
        if not selector.startswith("."):
            yield FieldError.invalid(here, selector, "must be a simple json path starting with .")
        elif not selector.startswith((".spec.", ".status.")):
            yield FieldError.invalid(here, selector, "should be a json path under either .spec or .status")


def validate_columns(columns: Sequence[apiextensionsv1.CustomResourceColumnDefinition], path: str) -> Errors:
    """Check printer columns."""
    for index, column in enumerate(columns):
        here = f"{path}[{index}]"
        types, formats = f"must be one of {','.join(_COLUMN_TYPES)}", f"must be one of {','.join(_COLUMN_FORMATS)}"
        if not column.name:
            yield FieldError.required(f"{here}.name")
        if not column.type:
            yield FieldError.required(f"{here}.type", types)
        elif column.type not in _COLUMN_TYPES:
            yield FieldError.invalid(f"{here}.type", column.type, types)
        if column.format and column.format not in _COLUMN_FORMATS:
            yield FieldError.invalid(f"{here}.format", column.format, formats)
        if not column.json_path:
            yield FieldError.required(f"{here}.JSONPath")
        elif not column.json_path.startswith("."):
            text = "must be a simple json path starting with ."
            yield FieldError.invalid(f"{here}.JSONPath", column.json_path, text)


def validate_selectable_fields(
    fields: Sequence[apiextensionsv1.SelectableField], schema: dict[str, Any] | None, path: str
) -> Errors:
    """Check the fields that lists can be narrowed by: few, different, and of simple types."""
    if not fields:
        return
    if schema is None:
        text = "may only be set when `version.schema.openAPIV3Schema` is not included"
        yield FieldError.invalid(path, "", text)
        return
    seen: set[tuple[str, ...]] = set()
    for index, field in enumerate(fields):
        here = f"{path}[{index}].jsonPath"
        if not field.json_path:
            yield FieldError.required(here)
            continue
        try:
            steps, found = follow(field.json_path, schema, brackets=False)
        except FieldPathError as error:
            yield FieldError.invalid(here, field.json_path, f"is an invalid path: {error}")
            continue
        if steps[0] == "metadata":
            yield FieldError.invalid(here, field.json_path, "must not point to fields in metadata")
        if found.get("type") not in ("string", "boolean", "integer"):
            text = (
                "must point to a field of type string, boolean or integer. "
                "Enum string fields and strings with formats are allowed."
            )
            yield FieldError.invalid(here, field.json_path, text)
        if tuple(steps) in seen:
            yield FieldError.duplicate(here, field.json_path)
        seen.add(tuple(steps))
    if len(seen) > _SELECTABLE_MAX:
        yield FieldError.too_many(path, len(seen), _SELECTABLE_MAX)
