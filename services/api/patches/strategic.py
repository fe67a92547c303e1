"""Strategic merge patch: a merge patch that knows which lists are keyed, sets or atomic.

`apply` carries out a patch, `diff` computes one. Directives, all of them keys of a patch object:

    $patch: replace | delete           this object (or, as an item of a merged list, that list or item)
    $retainKeys: [k, ...]              every other key of the patched object goes
    $deleteFromPrimitiveList/f: [...]  values that leave the merged list of scalars f
    $setElementOrder/f: [...]          order of the merged list f: scalars, or objects with the merge key

`diff` takes three documents, as `kubectl apply` does: what `modified` sets is compared with `current`,
and a key (or item) goes only if `original` had it. With original = current it is a two-way diff.
"""

from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor import Descriptor

from navarch.services.api.errors import BadRequest
from navarch.services.api.patches.merge_patch import JsonObject, same
from navarch.services.api.patches.schema import MergeRule, rule_for

PATCH = "$patch"
RETAIN_KEYS = "$retainKeys"
DELETE_PREFIX = "$deleteFromPrimitiveList/"
ORDER_PREFIX = "$setElementOrder/"

# ---- apply -------------------------------------------------------------------------------------


def apply(original: JsonObject, patch: JsonObject, schema: Descriptor | None) -> JsonObject:
    """Return `original` changed by `patch`; raises BadRequest for a malformed patch."""
    if PATCH in patch:
        return _apply_directive(patch)
    result = _retained(original, patch)
    for key, value in patch.items():
        if key.startswith(DELETE_PREFIX):
            _delete_scalars(result, key.removeprefix(DELETE_PREFIX), value)
    for key, value in patch.items():
        if key == RETAIN_KEYS or key.startswith((DELETE_PREFIX, ORDER_PREFIX)):
            continue
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _apply_value(result.get(key), value, rule_for(schema, key))
    for key, order in patch.items():
        if key.startswith(ORDER_PREFIX):
            _set_order(original, result, patch, key.removeprefix(ORDER_PREFIX), order, schema)
    return result


def _apply_directive(patch: JsonObject) -> JsonObject:
    match patch[PATCH]:
        case "replace":
            return {key: value for key, value in patch.items() if key != PATCH}
        case "delete":
            return {}
        case other:
            raise BadRequest(f"unknown patch type: {other!r} in {_excerpt(patch)}")


def _retained(original: JsonObject, patch: JsonObject) -> JsonObject:
    if RETAIN_KEYS not in patch:
        return dict(original)
    keep = set(_scalars(patch[RETAIN_KEYS], RETAIN_KEYS))
    strays = {key for key, value in patch.items() if value is not None and not key.startswith("$")} - keep
    if strays:
        raise BadRequest(f"the patch sets keys that its {RETAIN_KEYS} does not list: {', '.join(sorted(strays))}")
    return {key: value for key, value in original.items() if key in keep}


def _delete_scalars(result: JsonObject, key: str, values: Any) -> None:
    doomed = _scalars(values, DELETE_PREFIX + key)
    if isinstance(result.get(key), list):
        result[key] = [item for item in result[key] if item not in doomed]


def _apply_value(before: Any, value: Any, rule: MergeRule) -> Any:
    if isinstance(value, dict):
        if rule.replace:
            return {key: item for key, item in value.items() if key != PATCH}
        return apply(before if isinstance(before, dict) else {}, value, rule.schema)
    if isinstance(value, list) and rule.merge:
        return _apply_list(before if isinstance(before, list) else [], value, rule)
    return value


def _apply_list(before: list[Any], items: list[Any], rule: MergeRule) -> list[Any]:
    if not rule.merge_key:
        both = list(dict.fromkeys([*before, *_scalars(items, "list")]))
        return _ordered(both, rule, list(dict.fromkeys(items)), before)
    result = [_object(item) for item in before]
    additions = [item for item in map(_object, items) if PATCH not in item]
    for item in items:
        directive = item.get(PATCH)
        if directive == "replace":
            return additions
        if directive == "delete":
            doomed = _identity(item, rule)
            result = [entry for entry in result if entry.get(rule.merge_key) != doomed]
        elif directive == "merge":
            raise BadRequest("merging lists cannot yet be specified in the patch")
        elif directive is not None:
            raise BadRequest(f"unknown patch type: {directive!r} in {_excerpt(item)}")
    present = [entry.get(rule.merge_key) for entry in result]
    for item in additions:
        identity = _identity(item, rule)
        index = present.index(identity) if identity in present else None
        if index is None:
            result.append(apply({}, item, rule.schema))
        else:
            result[index] = apply(result[index], item, rule.schema)
    if not additions:
        return result
    return _ordered(
        result, rule, [_identity(item, rule) for item in additions], [item.get(rule.merge_key) for item in before]
    )


def _set_order(
    original: JsonObject, result: JsonObject, patch: JsonObject, key: str, order: Any, schema: Descriptor | None
) -> None:
    """Bring the list `key` of the result into the order asked for; unnamed items keep their neighbourhood."""
    rule = rule_for(schema, key)
    if not rule.merge or not isinstance(order, list):
        raise BadRequest(f"{ORDER_PREFIX}{key} does not name a list that is merged")
    if not isinstance(result.get(key), list):
        return
    wanted = [_order_identity(item, rule) for item in order]
    for item in patch.get(key) or ():
        deleted = isinstance(item, dict) and PATCH in item
        if not deleted and _order_identity(item, rule) not in wanted:
            raise BadRequest(f"{ORDER_PREFIX}{key} does not name every item of the patch's list {key}")
    before = original.get(key)
    server_order = [_order_identity(item, rule) for item in before] if isinstance(before, list) else []
    result[key] = _ordered(result[key], rule, wanted, server_order)


def _ordered(items: list[Any], rule: MergeRule, wanted: list[Any], server_order: list[Any]) -> list[Any]:
    """The named items in their order, among the others; new ones go before what the server has, as in Kubernetes."""

    def rank(item: Any) -> int:
        return server_order.index(_order_identity(item, rule))

    named = [item for item in items if _order_identity(item, rule) in wanted]
    named.sort(key=lambda item: wanted.index(_order_identity(item, rule)))
    others = [item for item in items if _order_identity(item, rule) not in wanted]
    merged: list[Any] = []
    while named and others:
        # A named item the server does not have yet goes first; else whichever the server had first.
        new = _order_identity(named[0], rule) not in server_order
        merged.append((named if new or rank(named[0]) < rank(others[0]) else others).pop(0))
    return [*merged, *named, *others]


# ---- diff --------------------------------------------------------------------------------------


def diff(
    current: JsonObject, modified: JsonObject, schema: Descriptor | None, *, original: JsonObject | None = None
) -> JsonObject:
    """Return the patch that brings `modified` into `current`; empty if there is nothing to do.

    Keys that are neither in `modified` nor in `original` (default: `current`) belong to others and stay.
    """
    return _diff_object(current, modified, current if original is None else original, MergeRule(schema=schema))


def _diff_object(current: JsonObject, modified: JsonObject, original: JsonObject, rule: MergeRule) -> JsonObject:
    patch: JsonObject = {key: None for key in original if key not in modified and key in current}
    for key, value in modified.items():
        if value is None:
            if key in current:
                patch[key] = None
            continue
        before, first, field = current.get(key), original.get(key), rule_for(rule.schema, key)
        if isinstance(value, dict) and isinstance(before, dict) and not field.replace:
            part = _diff_object(before, value, first if isinstance(first, dict) else {}, field)
            if part:
                patch[key] = part
        elif isinstance(value, list) and isinstance(before, list) and field.merge:
            patch.update(_diff_list(key, before, value, first if isinstance(first, list) else [], field))
        elif key not in current or not same(before, value):
            patch[key] = value
    if patch and rule.retain_keys:
        patch[RETAIN_KEYS] = sorted(modified)
    return patch


def _diff_list(key: str, current: list[Any], modified: list[Any], original: list[Any], rule: MergeRule) -> JsonObject:
    if rule.merge_key and (_repeats(current, rule) or _repeats(modified, rule)):
        return _diff_repeating(key, current, modified, original, rule)
    patch: JsonObject = {}
    if rule.merge_key:
        changes = _diff_items(current, modified, original, rule)
        deletions: list[Any] = []
    else:
        changes = [item for item in modified if item not in current]
        deletions = [item for item in original if item not in modified and item in current]
    if changes:
        patch[key] = changes
    if deletions:
        patch[DELETE_PREFIX + key] = deletions
    order = [_order_identity(item, rule) for item in modified]
    present = [name for name in (_order_identity(item, rule) for item in current) if name in order]
    if order and (patch or present != order):
        patch[ORDER_PREFIX + key] = [{rule.merge_key: name} for name in order] if rule.merge_key else order
    return patch


def _diff_repeating(
    key: str, current: list[Any], modified: list[Any], original: list[Any], rule: MergeRule
) -> JsonObject:
    """Replace a list in which the merge key identifies no item: port 53 over UDP and over TCP."""
    firsts = original if len(original) == len(modified) else [{}] * len(modified)
    if len(current) == len(modified) and not any(
        _diff_object(before, after, first, rule) for before, after, first in zip(current, modified, firsts, strict=True)
    ):
        return {}
    return {key: [{PATCH: "replace"}, *modified]}


def _diff_items(current: list[Any], modified: list[Any], original: list[Any], rule: MergeRule) -> list[Any]:
    before, first, after = (_by_identity(items, rule) for items in (current, original, modified))
    changes: list[Any] = []
    for identity, item in after.items():
        if identity not in before:
            changes.append(item)
            continue
        part = _diff_object(before[identity], item, first.get(identity, {}), rule)
        if part:
            changes.append({**part, rule.merge_key: identity})
    gone = [identity for identity in first if identity in before and identity not in after]
    return [*changes, *({PATCH: "delete", rule.merge_key: identity} for identity in gone)]


# ---- items of merged lists ---------------------------------------------------------------------


def _by_identity(items: Iterable[Any], rule: MergeRule) -> dict[Any, JsonObject]:
    return {_identity(item, rule): item for item in map(_object, items)}


def _repeats(items: list[Any], rule: MergeRule) -> bool:
    return len(_by_identity(items, rule)) < len(items)


def _order_identity(item: Any, rule: MergeRule) -> Any:
    return _identity(_object(item), rule) if rule.merge_key else item


def _identity(item: JsonObject, rule: MergeRule) -> Any:
    identity = item.get(rule.merge_key)
    if identity is None or isinstance(identity, (dict, list)):
        raise BadRequest(f"map: {_excerpt(item)} does not contain declared merge key: {rule.merge_key}")
    return identity


def _object(item: Any) -> JsonObject:
    if not isinstance(item, dict):
        raise BadRequest(f"an item of a list merged by key must be an object, found {_excerpt(item)}")
    return item


def _scalars(values: Any, where: str) -> list[Any]:
    if not isinstance(values, list) or any(isinstance(item, (dict, list)) for item in values):
        raise BadRequest(f"{where} must be a list of plain values, found {_excerpt(values)}")
    return values


def _excerpt(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:197] + "..."
