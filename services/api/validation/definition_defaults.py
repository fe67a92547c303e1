"""Rules for the defaults in the schema of a custom resource: each is a value that the schema would accept."""

from copy import deepcopy
from typing import Any

from navarch.services.api.errors import FieldError
from navarch.services.api.validation.definition_structure import EMBEDDED
from navarch.services.api.validation.values import Errors

Schema = dict[str, Any]


def validate_defaults(schema: Schema, path: str) -> Errors:
    """Check the default of a part of a structural schema, and those of the parts in it."""
    if schema.get("default") is not None:
        yield from _validate_default(schema, f"{path}.default")
    if isinstance(schema.get("items"), dict):
        yield from validate_defaults(schema["items"], f"{path}.items")
    for name in sorted(schema.get("properties") or {}):
        yield from validate_defaults(schema["properties"][name], f"{path}.properties[{name}]")


def _validate_default(schema: Schema, path: str) -> Errors:
    # Only a server that is given definitions has to load what judges values by them.
    from navarch.services.api.custom.pruning import prune
    from navarch.services.api.custom.structural import compile_schema
    from navarch.services.api.custom.validation import same_json, validate_value

    default, compiled = schema["default"], compile_schema(schema)
    pruned = deepcopy(default)
    prune(pruned, compiled, is_root=bool(schema.get(EMBEDDED)))
    if not same_json(pruned, default):
        yield FieldError.invalid(path, default, "must not have unknown fields")
    yield from validate_value(default, compiled, path)
