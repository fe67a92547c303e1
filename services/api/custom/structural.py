"""Structural schemas: the schema of a custom resource as the walkers of this package read it.

Compiled from the JSON of an OpenAPI v3 schema. Parts below allOf, anyOf, oneOf and not only judge values; they
are schemas of the same class of which nothing but their checks is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

JsonObject = Mapping[str, Any]
ABSENT: Final = object()

# Members of every object with a type of its own, whether its schema names them or not.
RESOURCE_MEMBERS: Final = ("apiVersion", "kind", "metadata")


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL rule as it is written. optional_old_self: None where the rule does not say."""

    rule: str
    message: str = ""
    message_expression: str = ""
    reason: str = ""
    field_path: str = ""
    optional_old_self: bool = False


@dataclass(slots=True, eq=False)
class Structural:
    """One node of a schema."""

    type: str = ""
    nullable: bool = False
    properties: dict[str, Structural] = field(default_factory=dict)
    # What values under other keys are. None: other keys are not in the schema; False: they are refused.
    additional: Structural | bool | None = None
    items: Structural | None = None
    preserves_unknown: bool = False
    is_embedded: bool = False
    is_int_or_string: bool = False
    list_type: str = ""
    list_map_keys: tuple[str, ...] = ()
    map_type: str = ""
    default: Any = ABSENT
    rules: tuple[Rule, ...] = ()
    format: str = ""
    enum: tuple[Any, ...] = ()
    pattern: str = ""
    required: tuple[str, ...] = ()
    # maximum, minLength, uniqueItems and so on, by their names in JSON.
    limits: dict[str, Any] = field(default_factory=dict)
    all_of: tuple[Structural, ...] = ()
    any_of: tuple[Structural, ...] = ()
    one_of: tuple[Structural, ...] = ()
    not_: Structural | None = None
    # Whether rules stand anywhere at or below this node.
    has_rules: bool = False
    has_defaults: bool = False

    def member(self, name: str) -> Structural | None:
        """The schema under a key; None where the schema says nothing about it."""
        found = self.properties.get(name)
        if found is None and isinstance(self.additional, Structural):
            return self.additional
        return found

    def key_of(self, item: Any) -> tuple[Any, ...] | None:
        """What identifies an item of a list of type map; None for an item that has no key."""
        if not isinstance(item, dict) or self.items is None:
            return None
        key = []
        for name in self.list_map_keys:
            value = item.get(name, ABSENT)
            if value is ABSENT:
                part = self.items.properties.get(name)
                value = part.default if part is not None else ABSENT
            key.append(value if isinstance(value, str | int | float | bool) else repr(value))
        return tuple(key)


_LIMITS: Final = (
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "maxItems",
    "minItems",
    "uniqueItems",
    "multipleOf",
    "maxProperties",
    "minProperties",
)


def compile_schema(schema: JsonObject) -> Structural:
    """The structural schema of an OpenAPI v3 schema in JSON. What it does not know it ignores."""
    node = Structural(
        type=schema.get("type") or "",
        nullable=bool(schema.get("nullable")),
        properties={name: compile_schema(part) for name, part in (schema.get("properties") or {}).items()},
        additional=_additional(schema.get("additionalProperties")),
        items=compile_schema(schema["items"]) if isinstance(schema.get("items"), Mapping) else None,
        preserves_unknown=bool(schema.get("x-kubernetes-preserve-unknown-fields")),
        is_embedded=bool(schema.get("x-kubernetes-embedded-resource")),
        is_int_or_string=bool(schema.get("x-kubernetes-int-or-string")),
        list_type=schema.get("x-kubernetes-list-type") or "",
        list_map_keys=tuple(schema.get("x-kubernetes-list-map-keys") or ()),
        map_type=schema.get("x-kubernetes-map-type") or "",
        default=schema.get("default", ABSENT),
        rules=tuple(map(_rule, schema.get("x-kubernetes-validations") or ())),
        format=schema.get("format") or "",
        enum=tuple(schema.get("enum") or ()),
        pattern=schema.get("pattern") or "",
        required=tuple(schema.get("required") or ()),
        limits={name: schema[name] for name in _LIMITS if schema.get(name) not in (None, False)},
        all_of=_each(schema.get("allOf")),
        any_of=_each(schema.get("anyOf")),
        one_of=_each(schema.get("oneOf")),
        not_=compile_schema(schema["not"]) if schema.get("not") else None,
    )
    parts = [*node.properties.values()]
    parts += [part for part in (node.items, node.additional) if isinstance(part, Structural)]
    node.has_rules = bool(node.rules) or any(part.has_rules for part in parts)
    node.has_defaults = node.default is not ABSENT or any(part.has_defaults for part in parts)
    return node


def _additional(schema: Any) -> Structural | bool | None:
    return compile_schema(schema) if isinstance(schema, Mapping) else schema


def _each(schemas: Any) -> tuple[Structural, ...]:
    return tuple(map(compile_schema, schemas or ()))


def _rule(rule: JsonObject) -> Rule:
    return Rule(
        rule.get("rule") or "",
        rule.get("message") or "",
        rule.get("messageExpression") or "",
        rule.get("reason") or "",
        rule.get("fieldPath") or "",
        bool(rule.get("optionalOldSelf")),
    )
