"""Walks over values along their schema: what is in one, what differs between two, merging, taking away.

Values are JSON as the codec makes it and are never changed; results may share parts with them. What the walkers
say about paths follows the structured merge of Kubernetes (KEP-555): leaves are in a set; so are items of lists
and the members of maps as such; an object or list that appears or disappears is named beside what is in it.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from navarch.services.api.managed_fields.schema import Form, Schema
from navarch.services.api.managed_fields.sets import EMPTY, SELF, FieldSet, element, is_member, union
from navarch.services.api.patches.merge_patch import same

ABSENT: Final[Any] = object()


class TypeMismatch(ValueError):
    """A value that the schema does not allow, at a path such as .spec.containers."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(f"{path}: {detail}" if path else detail)
        self.path = path
        self.detail = detail

    def below(self, part: str) -> TypeMismatch:
        """The same, seen from one level up."""
        return TypeMismatch(part + self.path, self.detail)


class Changes(NamedTuple):
    """What differs between two values."""

    added: FieldSet
    modified: FieldSet
    removed: FieldSet

    @property
    def taken(self) -> FieldSet:
        """What the one who made the changes owns from now on."""
        return union(self.modified, self.added)

    def __bool__(self) -> bool:
        return any(self)


def _form(schema: Schema | None, *values: Any) -> Form:
    if schema is None:
        return Form.LEAF
    if schema.form is Form.DEDUCED:
        return Form.FIELDS if any(isinstance(value, dict) for value in values) else Form.LEAF
    return schema.form


# ---- items of lists ----------------------------------------------------------------------------


def item_key(item: Any, schema: Schema) -> str:
    """The path element of an item of a SET or KEYED list. Raises TypeMismatch."""
    if schema.form is Form.SET:
        if isinstance(item, (dict, list)) or item is None:
            raise TypeMismatch("", "an item of a set has to be a plain value")
        return element("v", item)
    if not isinstance(item, dict):
        raise TypeMismatch("", "associative list with keys may not have non-map elements")
    defaults = schema.key_defaults
    keys = {}
    for name in schema.keys:
        value = item.get(name)
        if value is None:
            value = defaults.get(name)
        if value is not None:
            keys[name] = value
    if not keys:
        names = ", ".join(f'"{name}"' for name in schema.keys)
        raise TypeMismatch("", f"associative list with keys has an element that omits all key fields {names}")
    return element("k", keys)


def _items(values: Any, schema: Schema) -> dict[str, Any]:
    """Items by their path element. Of items that nothing tells apart the first counts."""
    out: dict[str, Any] = {}
    for item in values if isinstance(values, list) else ():
        try:
            out.setdefault(item_key(item, schema), item)
        except TypeMismatch:
            continue
    return out


def check(value: Any, schema: Schema | None, name: str = "") -> None:
    """Raise TypeMismatch where a value breaks its schema: unknown members, wrong types, items that are twins."""
    form = _form(schema, value)
    if value is None or form is Form.LEAF or schema is None:
        return
    try:
        if form is Form.FIELDS:
            _check_members(value, schema)
        else:
            _check_items(value, schema)
    except TypeMismatch as error:
        raise error.below(name) from None


def _check_members(value: Any, schema: Schema) -> None:
    if not isinstance(value, dict):
        raise TypeMismatch("", f"expected map, got {_kind_of(value)}")
    for key, item in value.items():
        member = schema.member(key)
        if member is None:
            raise TypeMismatch(f".{key}", "field not declared in schema")
        check(item, member, f".{key}")


def _check_items(value: Any, schema: Schema) -> None:
    if not isinstance(value, list):
        raise TypeMismatch("", f"expected list, got {_kind_of(value)}")
    seen = set()
    for index, item in enumerate(value):
        try:
            key = item_key(item, schema)
        except TypeMismatch as error:
            raise TypeMismatch("", f"element {index}: {error.detail}") from None
        if key in seen:
            raise TypeMismatch("", f"duplicate entries for key [{key[2:]}]")
        seen.add(key)
        check(item, schema.item, f"[{key[2:]}]")


def _kind_of(value: Any) -> str:
    return {bool: "boolean", int: "number", float: "number", str: "string", list: "list"}.get(type(value), "map")


# ---- one value ---------------------------------------------------------------------------------


def fields_of(value: Any, schema: Schema | None) -> FieldSet:
    """What somebody who applies the value owns: the leaves, and items and map members as such."""
    form = _form(schema, value)
    out: FieldSet = {}
    if schema is None or form is Form.LEAF:
        return out
    if form is Form.FIELDS:
        for key, item in (value or {}).items():
            member = schema.member(key)
            child = fields_of(item, member)
            declared = key in schema.members
            if child and not declared:
                child = {SELF: EMPTY, **child}
            if child or not declared or item is None or item == {} or _form(member, item) is Form.LEAF:
                out["f:" + key] = child
    elif isinstance(value, list):
        for item in value:
            child = fields_of(item, schema.item)
            out[item_key(item, schema)] = {SELF: EMPTY, **child} if child else EMPTY
    return out


def all_of(value: Any, schema: Schema | None) -> FieldSet:
    """What appears with a value that was not there before: everything in it, and itself."""
    form = _form(schema, value)
    if not value or schema is None or form is Form.LEAF:
        return EMPTY
    out: FieldSet = {SELF: EMPTY}
    if form is Form.FIELDS:
        if type(value) is dict:
            for key, item in value.items():
                out["f:" + key] = all_of(item, schema.member(key))
    else:
        for key, item in _items(value, schema).items():
            out[key] = all_of(item, schema.item)
    return out


# ---- two values --------------------------------------------------------------------------------


def compare(old: Any, new: Any, schema: Schema) -> Changes:
    """What differs between two objects."""
    added: FieldSet = {}
    modified: FieldSet = {}
    removed: FieldSet = {}
    _compare(old, new, schema, added, modified, removed)
    return Changes(added, modified, removed)


def _compare(old: Any, new: Any, schema: Schema | None, added: FieldSet, modified: FieldSet, removed: FieldSet) -> bool:
    """Fill the three sets below one element; say whether the element itself was modified."""
    form = _form(schema, old, new)
    if schema is None or form is Form.LEAF or (not old and not new):
        return not same(old, new)
    if form is Form.FIELDS:
        if not isinstance(old or {}, dict) or not isinstance(new or {}, dict):
            # Of different types: only without a schema, where either may be anything.
            return True
        olds, news, prefix = old or {}, new or {}, "f:"
    else:
        olds, news, prefix = _items(old, schema), _items(new, schema), ""
    for key, after in news.items():
        before = olds.get(key, ABSENT)
        if before is after:
            continue
        member = schema.member(key) if prefix else schema.item
        if before is ABSENT:
            added[prefix + key] = all_of(after, member)
            continue
        more: tuple[FieldSet, FieldSet, FieldSet] = ({}, {}, {})
        if _compare(before, after, member, *more):
            modified[prefix + key] = EMPTY
        for found, into in zip(more, (added, modified, removed), strict=True):
            if found:
                into[prefix + key] = found
    for key, before in olds.items():
        if key not in news:
            removed[prefix + key] = all_of(before, schema.member(key) if prefix else schema.item)
    return False


def merge(live: Any, applied: Any, schema: Schema | None) -> Any:
    """The live value with what is applied on top of it. An empty object or list takes nothing away."""
    form = _form(schema, live, applied)
    if schema is None or form is Form.LEAF or not live:
        return applied
    if not applied:
        return live
    if form is Form.FIELDS:
        if not isinstance(live, dict) or not isinstance(applied, dict):
            return applied
        out = dict(live)
        for key, value in applied.items():
            out[key] = merge(live[key], value, schema.member(key)) if key in live else value
        return out
    ours, theirs = _items(live, schema), _items(applied, schema)
    return [
        merge(ours[key], theirs[key], schema.item) if key in ours and key in theirs else ours.get(key, theirs.get(key))
        for key in _merged_order(list(ours), list(theirs))
    ]


def _merged_order(ours: list[str], theirs: list[str]) -> list[str]:
    """The applied order; what only the live list has stays before the same neighbour."""
    places, applied = {key: place for place, key in enumerate(ours)}, set(theirs)
    out: list[str] = []
    done = 0
    for key in theirs:
        end = places.get(key)
        if end is None:
            # A new item goes behind what the live list has here.
            end = next((place for place in range(done, len(ours)) if ours[place] in applied), len(ours)) - 1
        out += [live for live in ours[done : end + 1] if live not in applied]
        done = max(done, end + 1)
        out.append(key)
    return [*out, *(key for key in ours[done:] if key not in applied)]


# ---- taking away -------------------------------------------------------------------------------


def prune(value: Any, schema: Schema | None, last: FieldSet, kept: FieldSet) -> Any:
    """The value without what was applied last time (`last`) and is applied by nobody now (`kept`).

    ABSENT where nothing is left. A declared object goes as a whole when nobody applies anything in it, also with
    what others, who do not apply, have put there.
    """
    form = _form(schema, value)
    if schema is None or form is Form.LEAF or not value:
        return value
    if form is Form.FIELDS:
        out: Any = {}
        for key, item in value.items():
            left = _pruned(item, schema.member(key), last.get("f:" + key), kept.get("f:" + key), key in schema.members)
            if left is not ABSENT:
                out[key] = left
    else:
        out = []
        for item in value:
            try:
                key = item_key(item, schema)
            except TypeMismatch:
                key = ""
            left = _pruned(item, schema.item, last.get(key), kept.get(key), False)
            if left is not ABSENT:
                out.append(left)
    return out if out else ABSENT


def _pruned(item: Any, schema: Schema | None, last: FieldSet | None, kept: FieldSet | None, declared: bool) -> Any:
    if last is None:
        return item
    if kept is None:
        if declared or is_member(last):
            return ABSENT
        return prune(item, schema, last, EMPTY)
    left = prune(item, schema, last, kept)
    return {} if left is ABSENT and isinstance(item, dict) and is_member(kept) else left
