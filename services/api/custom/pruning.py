"""Pruning: what the schema does not know is not kept.

Kept all the same: what is below a node that preserves unknown fields (until a property below it has a schema of
its own), and apiVersion, kind and metadata of the object itself and of embedded resources.
"""

from __future__ import annotations

from typing import Any

from navarch.services.api.custom.structural import RESOURCE_MEMBERS, Structural


def prune(value: Any, schema: Structural | None, *, is_root: bool = True) -> list[str]:
    """Remove what is unknown from a JSON value, in place. Returns the paths of what was removed."""
    removed: list[str] = []
    _prune(value, schema, "", removed, is_resource=is_root, keeps=False)
    return removed


def _prune(
    value: Any, schema: Structural | None, path: str, removed: list[str], *, is_resource: bool, keeps: bool
) -> None:
    # keeps: a node above preserves unknown fields and no schema has been found for this value since.
    if schema is not None:
        keeps = schema.preserves_unknown or (keeps and _says_nothing(schema))
        is_resource = is_resource or schema.is_embedded
    if isinstance(value, list):
        items = schema.items if schema is not None else None
        for index, item in enumerate(value):
            _prune(item, items, f"{path}[{index}]", removed, is_resource=False, keeps=keeps)
    elif isinstance(value, dict):
        for name in sorted(value):
            child = f"{path}.{name}" if path else name
            if is_resource and name in RESOURCE_MEMBERS:
                continue
            part = schema.member(name) if schema is not None else None
            if part is None and schema is not None and schema.additional is True:
                continue
            if part is None and not keeps:
                del value[name]
                removed.append(child)
            else:
                _prune(value[name], part, child, removed, is_resource=False, keeps=keeps)


def _says_nothing(schema: Structural) -> bool:
    return not (schema.properties or schema.items or isinstance(schema.additional, Structural))
