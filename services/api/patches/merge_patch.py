"""JSON merge patch (RFC 7386): null removes, objects merge, everything else replaces."""

from typing import Any

JsonObject = dict[str, Any]


def apply(target: Any, patch: Any) -> Any:
    """Return `target` changed by `patch` as RFC 7386 section 2 defines it."""
    if not isinstance(patch, dict):
        return patch
    result: JsonObject = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply(result.get(key), value)
    return result


def diff(original: JsonObject, modified: JsonObject) -> JsonObject:
    """Return the smallest merge patch that turns `original` into `modified`.

    `modified` must hold no nulls outside lists: a merge patch cannot write one.
    """
    patch: JsonObject = {key: None for key in original if key not in modified}
    for key, value in modified.items():
        before = original.get(key)
        if key in original and same(before, value):
            continue
        if isinstance(value, dict) and isinstance(before, dict):
            patch[key] = diff(before, value)
        else:
            patch[key] = value
    return patch


def same(left: Any, right: Any) -> bool:
    """Equality of JSON values: unlike Python's, true is not 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)
