"""Field sets: which paths of an object somebody owns.

A set is kept as its FieldsV1 JSON, a tree of dicts: {"f:spec": {"f:replicas": {}}}. An element's own path is in
the set when its dict is empty or has a "." member. So reading and writing a set is reading and writing JSON, and
nothing here ever changes a set: results share parts with their operands.

Path elements: "f:name" a member, 'k:{"name":"web"}' an item by its keys, 'v:"x"' an item by its value, "i:0" an
item by its index.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import orjson

FieldSet = dict[str, Any]
Path = tuple[str, ...]

SELF: Final = "."
EMPTY: Final[FieldSet] = {}
# As deep as an object can be, and some.
DEPTH_LIMIT: Final = 200


class FieldSetError(ValueError):
    """Text that is no FieldsV1."""


def element(prefix: str, value: object) -> str:
    """The path element of an item: its keys ("k") or its value ("v")."""
    return f"{prefix}:{orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()}"


@lru_cache(maxsize=512)
def parse(raw: bytes) -> FieldSet:
    """The set in FieldsV1 JSON; elements of unknown types are dropped. Raises FieldSetError."""
    try:
        value = orjson.loads(raw) if raw else {}
    except orjson.JSONDecodeError as error:
        raise FieldSetError(f"no JSON: {error}") from None
    return _checked(value, 0)


def _checked(value: Any, depth: int) -> FieldSet:
    if not isinstance(value, dict):
        raise FieldSetError("an object was expected at every level")
    if depth > DEPTH_LIMIT:
        raise FieldSetError("nested too deeply")
    out: FieldSet = {}
    for key, child in value.items():
        if key == SELF:
            out[SELF] = EMPTY
        elif key[1:2] != ":":
            raise FieldSetError("missing colon")
        elif key[0] == "f":
            out[key] = _checked(child, depth + 1)
        elif key[0] in "kvi":
            out[_canonical(key)] = _checked(child, depth + 1)
    return out


def _canonical(key: str) -> str:
    try:
        value = orjson.loads(key[2:])
    except orjson.JSONDecodeError as error:
        raise FieldSetError(f"the element {key[:60]} holds no JSON: {error}") from None
    if key[0] == "k" and not (isinstance(value, dict) and value):
        raise FieldSetError(f"the element {key[:60]} has no keys")
    if key[0] == "i" and type(value) is not int:
        raise FieldSetError(f"the element {key[:60]} is no index")
    return element(key[0], value)


def serialize(fields: FieldSet) -> bytes:
    """FieldsV1 JSON: compact, elements in order."""
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)


def is_member(child: FieldSet | None) -> bool:
    """Whether the element with these children is in the set itself."""
    return child is not None and (not child or SELF in child)


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    """What is in either."""
    if not left or not right or left is right:
        return left or right
    out = dict(left)
    for key, theirs in right.items():
        ours = left.get(key)
        out[key] = theirs if ours is None else _united(ours, theirs)
    return out


def _united(ours: FieldSet, theirs: FieldSet) -> FieldSet:
    both = union(ours, theirs)
    # An empty side is a leaf, which stays in the set beside the children of the other.
    return both if not both or SELF in both or (ours and theirs) else {SELF: EMPTY, **both}


def difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """What is in left and not in right. A path that is in right does not take the paths below with it."""
    if not left or not right:
        return left
    out: FieldSet = {}
    for key, ours in left.items():
        theirs = right.get(key)
        rest = ours if theirs is None else _less(ours, theirs)
        if rest is not None:
            out[key] = rest
    return out


def _less(ours: FieldSet, theirs: FieldSet) -> FieldSet | None:
    """One element without what the other has of it; None where nothing is left."""
    if not ours:
        return None if is_member(theirs) else ours
    if not theirs:
        rest = {key: child for key, child in ours.items() if key != SELF}
    else:
        rest = difference(ours, theirs)
    if not rest:
        return None
    # Only "." is left: the element is a leaf now.
    return EMPTY if len(rest) == 1 and SELF in rest else rest


def without(left: FieldSet, right: FieldSet) -> FieldSet:
    """What is in left and neither in right nor below a path of right."""
    out: FieldSet = {}
    for key, ours in left.items():
        theirs = right.get(key)
        if theirs is None:
            out[key] = ours
        elif not is_member(theirs):
            rest = without(ours, theirs)
            if rest or not ours:
                out[key] = EMPTY if rest == {SELF: EMPTY} else rest
    return out


def intersection(left: FieldSet, right: FieldSet) -> FieldSet:
    """What is in both."""
    out: FieldSet = {}
    for key, ours in left.items():
        theirs = right.get(key)
        if theirs is None:
            continue
        inner = {} if key == SELF else intersection(ours, theirs)
        if is_member(ours) and is_member(theirs):
            inner.pop(SELF, None)
            out[key] = {SELF: EMPTY, **inner} if inner else EMPTY
        elif inner:
            out[key] = inner
    return out


def paths(fields: FieldSet, prefix: Path = ()) -> Iterator[Path]:
    """Every path in the set, in order."""
    for key in sorted(fields):
        if key == SELF:
            continue
        child = fields[key]
        if is_member(child):
            yield (*prefix, key)
        yield from paths(child, (*prefix, key))


def has(fields: FieldSet, path: Path) -> bool:
    """Whether the path is in the set."""
    for key in path[:-1]:
        fields = fields.get(key, EMPTY)
    return is_member(fields.get(path[-1]))


def of_paths(*many: Path) -> FieldSet:
    """The set of these paths."""
    out: FieldSet = {}
    for path in many:
        one: FieldSet = {}
        for key in reversed(path):
            one = {key: one}
        out = union(out, one)
    return out


def show(path: Path) -> str:
    """A path as messages show it: .spec.containers[name="web"].image."""
    return "".join(_show(part) for part in path)


def _show(part: str) -> str:
    kind, text = part[0], part[2:]
    if kind == "f":
        return f".{text}"
    if kind == "v":
        return f"[={text}]"
    if kind == "i":
        return f"[{text}]"
    keys = orjson.loads(text)
    return "[" + ",".join(f"{name}={orjson.dumps(value).decode()}" for name, value in sorted(keys.items())) + "]"
