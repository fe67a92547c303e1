"""Update: replace an object, its status, its scale, or a namespace's finalizers."""

from typing import Any

from navarch.services.api.equality import same
from navarch.services.api.errors import BadRequest, Conflict, FieldError, Invalid, MethodNotSupported, NotFound
from navarch.services.api.scale import get_scale, set_scale, validate_scale
from navarch.services.api.strategy import strategy_for
from navarch.services.apiserver.admission.content import restrict_content
from navarch.services.apiserver.admission.dates import add_dates
from navarch.services.apiserver.admission.nodes import restrict_change
from navarch.services.apiserver.allocation.services import is_service_kind
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.registry import create as creation
from navarch.services.apiserver.registry.core import AS_ALWAYS, Core, Target, WriteOptions
from navarch.services.apiserver.registry.lifecycle import is_over
from navarch.services.apiserver.registry.modify import Keep, Order, Remove, Write, modify
from navarch.services.apiserver.registry.ownership import Entries, keep_times, own_changed, put, settled
from navarch.services.apiserver.stored import StoredObject

# Kinds that Kubernetes lets an update create.
CREATED_BY_UPDATE = {
    *(("", kind) for kind in ("Endpoints", "Event", "LimitRange", "Service")),
    *(("rbac.authorization.k8s.io", kind) for kind in ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")),
}

# Subresources whose rules are among the parts of the kind's hooks.
CHANGING_PARTS = frozenset({"approval", "ephemeralcontainers", "resize"})
SERVED_PARTS = frozenset({"", "status", "finalize"}) | CHANGING_PARTS


async def update(
    core: Core,
    user: User,
    target: Target,
    message: Any,
    options: WriteOptions,
) -> StoredObject | Any:
    """Replace the stored object by `message`, if it is still the one that its resource version says."""
    target = named(target, message)
    core.admit_user(user, "update", target.named())
    options = settled(user, options, "Update")
    if target.subresource == "scale":
        return await update_scale(core, target, message, options)

    async def decide(current: StoredObject) -> Order:
        restrict_change(user, target.subresource, current)
        new = type(message)()
        new.CopyFrom(message)
        restrict_content(core, user, target, current, new)
        return await replace(core, target, current, new, options)

    try:
        modified = await modify(core, target, decide, guess=guess_for(core, target, message), dry_run=options.dry_run)
    except NotFound:
        if target.subresource or (target.kind.group, target.kind.kind) not in CREATED_BY_UPDATE:
            raise
        message.metadata.ClearField("resource_version")
        return await creation.create_for(core, user, target, message, options)
    return modified.stored


def named(target: Target, message: Any) -> Target:
    """The target with the object's name, which must not contradict the request's."""
    metadata = message.metadata
    if target.name and metadata.name and target.name != metadata.name:
        raise BadRequest(f"the name of the object ({metadata.name}) does not match the name on the URL ({target.name})")
    if metadata.namespace and target.namespace != metadata.namespace:
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    return Target(target.kind, target.namespace, target.name or metadata.name, target.subresource)


def guess_for(core: Core, target: Target, message: Any) -> StoredObject | None:
    """The cached object, if it is the very revision that the message was made from."""
    cached = core.guess(target)
    if cached is not None and message.metadata.resource_version == str(cached.revision):
        return cached
    return None


async def replace(
    core: Core,
    target: Target,
    current: StoredObject,
    new: Any,
    options: WriteOptions = AS_ALWAYS,
    owners: Entries | None = None,
) -> Order:
    """Decide on `new` in place of `current`. new: changed, and owned from here on.

    owners: the managedFields, where they are known.
    """
    if target.subresource not in SERVED_PARTS:
        raise MethodNotSupported(target.kind, "update")
    kind, old = target.kind, current.decode()
    check_versions(target, new.metadata, old.metadata)
    new.metadata.name, new.metadata.resource_version = old.metadata.name, old.metadata.resource_version
    if kind.namespaced:
        new.metadata.namespace = old.metadata.namespace
    strategy = strategy_for(kind)
    strategy.default(new)
    add_dates(new, old, core.clock.now())
    given = list(new.metadata.managed_fields)
    if target.subresource == "finalize":
        finalizers = list(new.spec.finalizers)
        new.CopyFrom(old)
        new.spec.finalizers[:] = finalizers
        errors = []
    elif target.subresource in CHANGING_PARTS:
        strategy.prepare_for_part_update(target.subresource, new, old)
        errors = strategy.validate_part_update(target.subresource, new, old)
    elif target.subresource:
        strategy.prepare_for_status_update(new, old)
        errors = strategy.validate_status_update(new, old)
    else:
        strategy.prepare_for_update(new, old)
        if is_service_kind(kind):
            core.services.settle(new, old)
        errors = strategy.validate_update(new, old)
    if errors:
        raise Invalid(kind, target.name, errors)
    if owners is None:
        own_changed(core, target, old, new, given, options)
    else:
        put(new, owners)
        keep_times(new, old)
    if is_over(new):
        return Remove(await core.services.release(old) if is_service_kind(kind) else ())
    extras = await core.services.allocate(new, old) if is_service_kind(kind) and not target.subresource else ()
    return Keep() if same(new, old) else Write(new, extras)


def check_versions(target: Target, new: Any, old: Any) -> None:
    """Raise Conflict when the update was made for another object or an older one, Invalid when it does not say."""
    if not new.resource_version and strategy_for(target.kind).needs_version:
        missing = FieldError.invalid("metadata.resourceVersion", 0, "must be specified for an update")
        raise Invalid(target.kind, target.name, [missing])
    if new.resource_version not in ("", old.resource_version):
        raise Conflict(target.kind, target.name)
    if new.uid not in ("", old.uid):
        raise Conflict(
            target.kind,
            target.name,
            f"Precondition failed: UID in precondition: {new.uid}, UID in object meta: {old.uid}",
        )


async def update_scale(core: Core, target: Target, scale: Any, options: WriteOptions) -> Any:
    """Set the replicas of a workload."""

    async def decide(current: StoredObject) -> Order:
        return await rescale(core, target, current, scale, options)

    modified = await modify(core, target, decide, dry_run=options.dry_run)
    return get_scale(modified.stored.decode(), target.kind)


async def rescale(
    core: Core, target: Target, current: StoredObject, scale: Any, options: WriteOptions, owners: Entries | None = None
) -> Order:
    """Decide on new replicas. Raises Conflict or Invalid."""
    workload = current.decode()
    check_versions(target, scale.metadata, workload.metadata)
    errors = validate_scale(scale)
    if errors:
        raise Invalid("Scale.autoscaling", target.name, errors)
    set_scale(workload, scale, target.kind)
    if owners is None:
        own_changed(core, target, current.decode(), workload, (), options)
        owners = workload.metadata.managed_fields
    whole = Target(target.kind, target.namespace, target.name)
    return await replace(core, whole, current, workload, options, list(owners))
