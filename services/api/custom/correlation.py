"""Which stored value a value of an update corresponds to: by key in objects, by identity in list maps, else none."""

from __future__ import annotations

from typing import Any

from navarch.services.api.custom.structural import ABSENT, Structural


def old_member(schema: Structural, name: str, old: Any) -> Any:
    """The stored value of a member; ABSENT where there is none to compare with."""
    if not isinstance(old, dict):
        return ABSENT
    return old.get(name, ABSENT)


def old_item(schema: Structural, item: Any, old: Any) -> Any:
    """The stored item of a list map with the same key; items of other lists have no counterpart."""
    if schema.list_type != "map" or not isinstance(old, list):
        return ABSENT
    key = schema.key_of(item)
    found = [each for each in old if schema.key_of(each) == key]
    return found[0] if key is not None and len(found) == 1 else ABSENT
