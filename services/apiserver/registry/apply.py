"""Server-side apply: merge what somebody wants to be so into the object, or create it."""

from collections.abc import Mapping
from typing import Any

from navarch.services.api import codec, yaml_text
from navarch.services.api.errors import AlreadyExists, BadRequest, Conflict, NotFound
from navarch.services.api.kinds import Kind
from navarch.services.api.managed_fields import apply as engine
from navarch.services.api.managed_fields import managers
from navarch.services.api.managed_fields.apply import Applied, Request
from navarch.services.api.managed_fields.sets import EMPTY, FieldSet, of_paths
from navarch.services.api.managed_fields.walk import TypeMismatch
from navarch.services.api.scale import get_scale
from navarch.services.apiserver.admission.content import restrict_content
from navarch.services.apiserver.admission.nodes import restrict_change
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.registry.core import Core, Target, WriteOptions
from navarch.services.apiserver.registry.create import create_for
from navarch.services.apiserver.registry.documents import document_of, message_of, ownership_schema
from navarch.services.apiserver.registry.modify import Order, modify
from navarch.services.apiserver.registry.ownership import managed_of
from navarch.services.apiserver.registry.update import named, replace, rescale
from navarch.services.apiserver.stored import StoredObject

JsonObject = dict[str, Any]
# Somebody else creating or deleting the object in the very moment makes the other way the right one.
ATTEMPTS = 8
STATUS = of_paths(("f:status",))


async def apply(
    core: Core, user: User, target: Target, body: bytes, options: WriteOptions, warnings: list[str]
) -> tuple[StoredObject | Any, bool]:
    """Carry out an apply patch. Returns the result, and whether the object was created."""
    config = _config(target, body)
    for _ in range(ATTEMPTS):
        try:
            return await _change(core, user, target, config, options, warnings), False
        except NotFound:
            if target.subresource:
                raise
        try:
            return await _create(core, user, target, config, options, warnings), True
        except AlreadyExists:
            continue
    raise Conflict(target.kind, target.name)


async def _change(
    core: Core, user: User, target: Target, config: JsonObject, options: WriteOptions, warnings: list[str]
) -> StoredObject | Any:
    kind, is_scale = target.kind, target.subresource == "scale"

    async def decide(current: StoredObject) -> Order:
        restrict_change(user, target.subresource, current)
        live = current.decode()
        managed = managed_of(core, kind, live)
        live.metadata.ClearField("managed_fields")
        document = document_of(kind, live)
        if is_scale:
            applied = _merged(core, target, document, managed, _replicas(kind, config), options)
            scale = get_scale(message_of(kind, applied.document, False, None), kind)
            return await rescale(core, target, current, scale, options, managers.encode(applied.managed))
        applied = _merged(core, target, document, managed, config, options)
        new = message_of(kind, applied.document, False, warnings)
        named(target, new)
        restrict_content(core, user, target, current, new)
        return await replace(core, target, current, new, options, managers.encode(applied.managed))

    modified = await modify(core, target, decide, guess=core.guess(target), dry_run=options.dry_run)
    return get_scale(modified.stored.decode(), kind) if is_scale else modified.stored


async def _create(
    core: Core, user: User, target: Target, config: JsonObject, options: WriteOptions, warnings: list[str]
) -> StoredObject:
    metadata = config.get("metadata") or {}
    if metadata.get("uid"):
        detail = f"the provided object specified uid {metadata['uid']}, and no existing object was found"
        raise Conflict(target.kind, target.name, f"uid mismatch: {detail}")
    if metadata.get("resourceVersion"):
        raise Conflict(target.kind, target.name)
    applied = _merged(core, target, {}, {}, config, options)
    message = message_of(target.kind, applied.document, False, warnings)
    named(target, message)
    message.metadata.name = target.name
    return await create_for(core, user, target, message, options, managers.encode(applied.managed))


def _replicas(kind: Kind, config: JsonObject) -> JsonObject:
    """What applying a Scale means for the object it is of."""
    spec = config.get("spec")
    if not isinstance(spec, Mapping) or "replicas" not in spec:
        return {}
    path = kind.custom.scale.spec_replicas if kind.is_custom else ".spec.replicas"
    value = spec["replicas"]
    for name in reversed(path.strip(".").split(".")):
        value = {name: value}
    found: JsonObject = value
    return found


def _merged(
    core: Core,
    target: Target,
    live: JsonObject,
    managed: managers.Managed,
    config: JsonObject,
    options: WriteOptions,
) -> Applied:
    kind = target.kind
    schema = ownership_schema(kind)
    request = Request(
        config,
        schema,
        managers.applier(options.field_manager, target.subresource),
        kind.api_version,
        int(core.clock.now()),
        bool(options.force),
        _ignored(target, config),
    )
    try:
        return engine.apply(live, managed, request)
    except TypeMismatch as mismatch:
        where = f"{target.namespace}/{target.name}" if target.namespace else f"/{target.name}"
        raise BadRequest(
            f"failed to create typed patch object ({where}; {kind.api_version}, Kind={kind.kind}): {mismatch}"
        ) from None


def _ignored(target: Target, config: JsonObject) -> FieldSet:
    """The fields that this way of writing does not reach, and so nobody gets to own by it."""
    if not target.subresource:
        return STATUS if target.kind.subresource("status") else EMPTY
    if target.subresource == "status":
        return {f"f:{name}": EMPTY for name in config if name not in ("status", "metadata")}
    return EMPTY


def _config(target: Target, body: bytes) -> JsonObject:
    """What is applied. Raises BadRequest for what is no configuration of the target."""
    try:
        text = body.decode()
        # JSON is YAML; its own parser is many times faster.
        is_json = text.lstrip().startswith("{")
        config = codec.parse_json(body) if is_json else yaml_text.parse(text).value
    except (BadRequest, ValueError, RecursionError) as failure:
        raise BadRequest(f"error decoding YAML: {failure}") from None
    if not isinstance(config, dict):
        raise BadRequest("error decoding YAML: an object was expected")
    _check_type(target, config)
    metadata = config.get("metadata")
    if metadata is not None and not isinstance(metadata, Mapping):
        raise BadRequest("error decoding YAML: metadata has to be an object")
    if (metadata or {}).get("managedFields") is not None:
        raise BadRequest("metadata.managedFields must be nil")
    return config


def _check_type(target: Target, config: JsonObject) -> None:
    part = target.kind.subresource(target.subresource) if target.subresource else None
    kind = part.kind if part else target.kind.kind
    api_version = (part.api_version if part else "") or target.kind.api_version
    for name in ("kind", "apiVersion"):
        if not isinstance(config.get(name), str) or not config[name]:
            raise BadRequest(f"Object '{name[0].upper()}{name[1:]}' is missing in the apply patch")
    if config["apiVersion"] != api_version or config["kind"] != kind:
        raise BadRequest(
            "incorrect version specified in apply patch. "
            f"Specified patch version: {config['apiVersion']}, Kind={config['kind']}, "
            f"expected: {api_version}, Kind={kind}"
        )
