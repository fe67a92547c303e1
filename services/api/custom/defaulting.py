"""Defaulting: members that are missing get what the schema says, from the outside in.

A null where the schema does not allow one counts as missing, if there is a default for it; then it is replaced.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from navarch.services.api.custom.structural import ABSENT, Structural


def apply_defaults(value: Any, schema: Structural | None) -> None:
    """Fill in what is missing in a JSON value, in place; idempotent."""
    if schema is None or not schema.has_defaults:
        return
    if isinstance(value, dict):
        for name, part in schema.properties.items():
            if part.default is ABSENT:
                continue
            if name not in value or (value[name] is None and not part.nullable):
                value[name] = deepcopy(part.default)
        for name, item in value.items():
            apply_defaults(item, schema.member(name))
    elif isinstance(value, list):
        for item in value:
            apply_defaults(item, schema.items)


def drop_nulls(value: Any, schema: Structural | None) -> None:
    """Remove members that are null, may not be, and have a default: as if they had not been sent."""
    if schema is None or not schema.has_defaults:
        return
    if isinstance(value, dict):
        for name in list(value):
            part = schema.member(name)
            if value[name] is None and part is not None and not part.nullable and part.default is not ABSENT:
                del value[name]
            else:
                drop_nulls(value[name], part)
    elif isinstance(value, list):
        for item in value:
            drop_nulls(item, schema.items)
