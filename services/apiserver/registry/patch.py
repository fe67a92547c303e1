"""Patch: change part of an object, as it is in the store at this moment.

The patch is applied to the newest object and applied again when somebody was faster, so that a patch only ever
conflicts if it names a resource version itself. Server-side apply also creates the object (`apply`).
"""

from collections.abc import Callable
from enum import Enum
from typing import Any

import orjson

from navarch.protos.k8s.autoscaling import v1_pb2 as autoscalingv1
from navarch.services.api import codec
from navarch.services.api.errors import BadRequest, FieldError, Invalid, UnsupportedMediaType
from navarch.services.api.patches import json_patch, merge_patch, strategic
from navarch.services.api.scale import get_scale
from navarch.services.apiserver.admission.content import restrict_content
from navarch.services.apiserver.admission.nodes import restrict_change
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.registry.apply import apply
from navarch.services.apiserver.registry.core import Core, Target, WriteOptions
from navarch.services.apiserver.registry.documents import document_of, message_of
from navarch.services.apiserver.registry.modify import Order, modify
from navarch.services.apiserver.registry.ownership import settled
from navarch.services.apiserver.registry.update import named, replace, rescale
from navarch.services.apiserver.stored import StoredObject

JsonObject = dict[str, Any]
Engine = Callable[[JsonObject], JsonObject]
# So much of a patch is repeated in what is said about it.
SHOWN = 512


class PatchType(Enum):
    """How the patch is written."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


async def patch(
    core: Core,
    user: User,
    target: Target,
    patch_type: PatchType,
    body: bytes,
    options: WriteOptions,
    warnings: list[str],
) -> tuple[StoredObject | Any, bool]:
    """Apply a patch to the object, its status or its scale.

    warnings: where to put what was ignored. Returns the result, and whether the object was created.
    """
    core.admit_user(user, "patch", target.named())
    options = settled(user, options, "Patch", is_apply=patch_type is PatchType.APPLY)
    if patch_type is PatchType.APPLY:
        return await apply(core, user, target, body, options, warnings)
    is_scale = target.subresource == "scale"
    engine = _engine(patch_type, body, target, is_scale)
    strict = options.field_validation == "Strict"
    ignored = None if options.field_validation == "Ignore" else warnings
    # Mostly the patch is about something else, and they are the larger part of an object.
    keeps_owners = b"managedFields" not in body

    async def decide(current: StoredObject) -> Order:
        restrict_change(user, target.subresource, current)
        document = _document(target, current, is_scale, keeps_owners)
        try:
            changed = engine(document)
        except RecursionError:
            raise BadRequest("error decoding patch: it is nested too deeply") from None
        try:
            if is_scale:
                if ignored is not None:
                    ignored.clear()
                new = codec.from_json(changed, autoscalingv1.Scale, strict=strict, warnings=ignored)
            else:
                new = message_of(target.kind, changed, strict, ignored)
        except (codec.DecodeError, codec.StrictError) as failure:
            raise Invalid("", "", [FieldError.invalid("patch", _shown(patch_type, body), failure.message)]) from None
        if is_scale:
            return await rescale(core, target, current, new, options)
        named(target, new)
        restrict_content(core, user, target, current, new)
        return await replace(core, target, current, new, options)

    modified = await modify(core, target, decide, guess=core.guess(target), dry_run=options.dry_run)
    return get_scale(modified.stored.decode(), target.kind) if is_scale else modified.stored, False


def _shown(patch_type: PatchType, body: bytes) -> str:
    content = orjson.loads(body)
    try:
        shown = _as_go(content) if patch_type is PatchType.STRATEGIC else orjson.dumps(content).decode()
    except (RecursionError, orjson.JSONEncodeError):
        # It can be read, but not written: deeper than anything that is meant.
        raise BadRequest("error decoding patch: it is nested too deeply") from None
    return shown[:SHOWN]


def _as_go(value: Any) -> str:
    """A JSON value as Go prints what it reads it into."""
    match value:
        case dict():
            return f"map[{' '.join(f'{key}:{_as_go(value[key])}' for key in sorted(value))}]"
        case list():
            return f"[{' '.join(map(_as_go, value))}]"
        case None:
            return "<nil>"
        case bool():
            return str(value).lower()
    return str(value)


def _document(target: Target, current: StoredObject, is_scale: bool, keeps_owners: bool) -> JsonObject:
    message = current.decode()
    if is_scale:
        return codec.to_json(get_scale(message, target.kind))
    if keeps_owners:
        message.metadata.ClearField("managed_fields")
    return document_of(target.kind, message)


def _engine(patch_type: PatchType, body: bytes, target: Target, is_scale: bool) -> Engine:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as failure:
        raise BadRequest(f"error decoding patch: {failure}") from failure
    if patch_type is PatchType.JSON:
        return lambda document: json_patch.apply(document, content)
    if not isinstance(content, dict):
        raise BadRequest(f"error decoding patch: an object was expected, found {type(content).__name__}")
    if patch_type is PatchType.MERGE:
        return lambda document: merge_patch.apply(document, content)
    if target.kind.is_custom and not is_scale:
        raise UnsupportedMediaType(
            "the body of the request was in an unknown format - accepted media types include: "
            f"{PatchType.JSON.value}, {PatchType.MERGE.value}, {PatchType.APPLY.value}"
        )
    schema: Any = (autoscalingv1.Scale if is_scale else target.kind.message).DESCRIPTOR
    return lambda document: strategic.apply(document, content, schema)
