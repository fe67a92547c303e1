"""The schema of a value as far as ownership goes: owned as a whole, or by its parts.

A Schema is a node that the walkers read directly. Builders may make circles (a type that contains itself):
make the node, remember it, then fill in `members`, `rest` or `item`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final


class Form(Enum):
    """How the parts of a value are owned."""

    # A scalar, an atomic map or object, an atomic list: one owner for all of it.
    LEAF = "leaf"
    # An object or a granular map: each member has its owner.
    FIELDS = "fields"
    # A list of distinct scalars: each of them has its owner.
    SET = "set"
    # A list of objects that are told apart by some of their members.
    KEYED = "keyed"
    # No schema: objects are FIELDS all the way down, everything else is LEAF.
    DEDUCED = "deduced"


@dataclass(slots=True, eq=False)
class Schema:
    """One node. A value whose JSON type contradicts the form (a string where FIELDS are expected) is a type error."""

    form: Form
    # FIELDS: the declared members of an object.
    members: dict[str, Schema] = field(default_factory=dict)
    # FIELDS: what the values under all other keys are. None: other keys are not in the schema.
    rest: Schema | None = None
    # KEYED: the schema of an item, which is FIELDS, and the members that identify it.
    item: Schema | None = None
    keys: tuple[str, ...] = ()
    # KEYED: what a key that an item leaves out stands for.
    key_defaults: Mapping[str, Any] = field(default_factory=dict)

    def member(self, name: str) -> Schema | None:
        """The schema under a key of FIELDS or DEDUCED; None for a key that the schema does not have."""
        if self.form is Form.DEDUCED:
            return self
        return self.members.get(name, self.rest)


LEAF: Final = Schema(Form.LEAF)
SET: Final = Schema(Form.SET)
DEDUCED: Final = Schema(Form.DEDUCED)


def fields(**members: Schema) -> Schema:
    """An object with these members."""
    return Schema(Form.FIELDS, members=members)


def map_of(value: Schema) -> Schema:
    """A granular map."""
    return Schema(Form.FIELDS, rest=value)


def keyed(item: Schema, *keys: str, defaults: Mapping[str, Any] | None = None) -> Schema:
    """A list of objects told apart by the members `keys`."""
    return Schema(Form.KEYED, item=item, keys=tuple(sorted(keys)), key_defaults=defaults or {})
