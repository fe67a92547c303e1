"""Server-side apply: what is applied, merged into what is there.

The applier owns what it applies, and only that. Fields it applied before and leaves out now go, unless another
applier has them. Where it changes what others own, that is a conflict, unless it forces.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api.errors import ApiError, BadRequest, Conflict
from navarch.services.api.managed_fields import walk
from navarch.services.api.managed_fields.managers import (
    APPLY,
    Managed,
    Manager,
    Owned,
    conflicts,
    settle,
)
from navarch.services.api.managed_fields.schema import Schema
from navarch.services.api.managed_fields.sets import (
    EMPTY,
    SELF,
    FieldSet,
    difference,
    of_paths,
    paths,
    show,
    union,
    without,
)
from navarch.services.api.managed_fields.walk import ABSENT, Changes, TypeMismatch
from navarch.services.api.patches import three_way

JsonObject = dict[str, Any]
KUBECTL: Final = "kubectl"
CAUSE: Final = "FieldManagerConflict"
_METADATA: Final = (
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
)
# What nobody owns.
UNOWNED: Final = of_paths(("f:apiVersion",), ("f:kind",), *(("f:metadata", f"f:{name}") for name in _METADATA))


class Conflicts(ApiError):
    """Others own what the applier would change."""

    def __init__(self, found: Mapping[Manager, FieldSet]) -> None:
        self.found = found
        rows = [(str(manager), show(path)) for manager, fields in found.items() for path in paths(fields)]
        details = metav1.StatusDetails()
        for manager, path in rows:
            details.causes.add(reason=CAUSE, message=f"conflict with {manager}", field=path)
        super().__init__(_message(rows), reason=Conflict.reason, code=Conflict.code, details=details)


def _message(rows: list[tuple[str, str]]) -> str:
    if len(rows) == 1:
        [(manager, path)] = rows
        return f"Apply failed with 1 conflict: conflict with {manager}: {path}"
    lines = []
    for manager in sorted({manager for manager, _ in rows}):
        lines.append(f"conflicts with {manager}:")
        lines += [f"- {path}" for owner, path in rows if owner == manager]
    return f"Apply failed with {len(rows)} conflicts: " + "\n".join(lines)


class Applied(NamedTuple):
    """The object and the owners of its fields after an apply."""

    document: JsonObject
    managed: Managed


class Request(NamedTuple):
    """What is applied, by whom. ignored: fields that this way of writing does not reach."""

    config: JsonObject
    schema: Schema
    manager: Manager
    api_version: str
    unix_s: int
    force: bool = False
    ignored: FieldSet = EMPTY


def apply(live: JsonObject, managed: Managed, request: Request) -> Applied:
    """Merge. live: JSON without managedFields; {} for an object that is not there. Raises Conflicts, TypeMismatch."""
    walk.check(request.config, request.schema)
    try:
        applied = _apply(live, managed, request)
    except Conflicts as refusal:
        # kubectl moves from client-side apply to this one, and what it applied before is its own.
        others = refusal.found
        if request.manager.name == KUBECTL:
            own = _applied_before(live, request.schema)
            left = {manager: difference(fields, own) for manager, fields in others.items()}
            others = {manager: fields for manager, fields in left.items() if fields}
        if others:
            raise Conflicts(others) from None
        applied = _apply(live, managed, request._replace(force=True))
    if request.manager.name == KUBECTL and not request.manager.subresource:
        return applied._replace(document=_noted(applied.document, request.config))
    return applied


def _apply(live: JsonObject, managed: Managed, request: Request) -> Applied:
    config, schema, manager = request.config, request.schema, request.manager
    out_of_reach = union(UNOWNED, request.ignored)
    mine = _cleaned(walk.fields_of(config, schema), out_of_reach)
    merged: JsonObject = walk.merge(live, config, schema)
    last = managed.get(manager)
    if last is not None:
        kept = mine
        for other, owned in managed.items():
            if other.operation == APPLY and other != manager:
                kept = union(kept, owned.fields)
        pruned = walk.prune(merged, schema, last.fields, kept)
        merged = {} if pruned is ABSENT else pruned
    changes = owned_changes(walk.compare(live, merged, schema), request.ignored)
    if not request.force and (found := conflicts(managed, changes, manager)):
        raise Conflicts(found)
    after = settle(managed, changes, manager)
    before = after.pop(manager, None)
    if mine:
        is_same = before is not None and before.fields == mine
        after[manager] = Owned(
            mine,
            request.api_version,
            before.unix_s if before is not None and is_same and not changes else request.unix_s,
            before.raw if before is not None and is_same else b"",
        )
    return Applied(merged, after)


def _applied_before(live: JsonObject, schema: Schema) -> FieldSet:
    """What kubectl's client-side apply has set and nobody has changed since."""
    try:
        before = three_way.last_applied(live)
        walk.check(before, schema)
    except (BadRequest, TypeMismatch):
        return EMPTY
    changes = walk.compare(live, before, schema)
    return difference(difference(walk.fields_of(before, schema), changes.modified), changes.added)


def _noted(document: JsonObject, config: JsonObject) -> JsonObject:
    """The object with the configuration in kubectl's annotation, where it has that from client-side applies."""
    metadata = document.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    if not annotations.get(three_way.LAST_APPLIED):
        return document
    text = three_way.annotated(config)["metadata"]["annotations"][three_way.LAST_APPLIED]
    return {**document, "metadata": {**metadata, "annotations": {**annotations, three_way.LAST_APPLIED: text}}}


def owned_changes(changes: Changes, ignored: FieldSet = EMPTY) -> Changes:
    """The changes without what nobody owns."""
    out_of_reach = union(UNOWNED, ignored)
    return Changes(*(_cleaned(found, out_of_reach) for found in changes))


def _cleaned(fields: FieldSet, out_of_reach: FieldSet) -> FieldSet:
    """A set without what nobody owns."""
    out = without(fields, out_of_reach)
    metadata = out.get("f:metadata")
    if metadata is not None:
        out["f:metadata"] = {key: child for key, child in metadata.items() if key != SELF}
        if not out["f:metadata"]:
            del out["f:metadata"]
    return out
