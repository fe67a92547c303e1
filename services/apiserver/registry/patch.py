"""Patch: change part of an object, as it is in the store at this moment.

The patch is applied to the newest object and applied again when somebody was faster, so that a patch only ever
conflicts if it names a resource version itself.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any

import orjson
from google.protobuf.message import Message

from navarch.protos.k8s.autoscaling import v1_pb2 as autoscalingv1
from navarch.services.api import codec
from navarch.services.api.errors import BadRequest, UnsupportedMediaType
from navarch.services.api.patches import json_patch, merge_patch, strategic
from navarch.services.api.scale import get_scale
from navarch.services.apiserver.admission.nodes import restrict_change
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.registry.core import Core, Target, WriteOptions
from navarch.services.apiserver.registry.modify import Order, modify
from navarch.services.apiserver.registry.update import named, replace, rescale
from navarch.services.apiserver.stored import StoredObject

JsonObject = dict[str, Any]
Engine = Callable[[JsonObject], JsonObject]


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
) -> StoredObject | Any:
    """Apply a patch to the object, its status or its scale. warnings: where to put what was ignored."""
    core.admit_user(user, "patch", target.named())
    is_scale = target.subresource == "scale"
    message_class = autoscalingv1.Scale if is_scale else target.kind.message
    engine = _engine(patch_type, body, message_class)
    strict = options.field_validation == "Strict"
    ignored = None if options.field_validation == "Ignore" else warnings

    async def decide(current: StoredObject) -> Order:
        restrict_change(user, target.subresource, current)
        document = codec.to_json(get_scale(current.message) if is_scale else current.message)
        current.forget()
        try:
            changed = engine(document)
        except RecursionError:
            raise BadRequest("error decoding patch: it is nested too deeply") from None
        new = _decoded(changed, message_class, strict, ignored)
        if is_scale:
            return await rescale(core, target, current, new)
        named(target, new)
        return await replace(core, target, current, new)

    modified = await modify(core, target, decide, guess=core.guess(target), dry_run=options.dry_run)
    return get_scale(modified.stored.decode()) if is_scale else modified.stored


def _engine(patch_type: PatchType, body: bytes, message_class: type[Message]) -> Engine:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as failure:
        raise BadRequest(f"error decoding patch: {failure}") from failure
    if patch_type is PatchType.JSON:
        return lambda document: json_patch.apply(document, content)
    if patch_type is PatchType.APPLY:
        raise UnsupportedMediaType("server-side apply is not served yet")
    if not isinstance(content, dict):
        raise BadRequest(f"error decoding patch: an object was expected, found {type(content).__name__}")
    if patch_type is PatchType.MERGE:
        return lambda document: merge_patch.apply(document, content)
    schema: Any = message_class.DESCRIPTOR
    return lambda document: strategic.apply(document, content, schema)


def _decoded(document: JsonObject, message_class: type[Message], strict: bool, ignored: list[str] | None) -> Any:
    if ignored is not None:
        ignored.clear()
    return codec.from_json(document, message_class, strict=strict, warnings=ignored)
