"""Delete: ask an object to go, and remove it when nothing holds it any more.

An object can be held by its finalizers, by a grace period (Pods: the kubelet ends them with a second delete,
grace 0), and a Namespace by its contents. The propagation policy is written down as a finalizer that the
garbage collector takes away once it has done what the policy says.
"""

from typing import Any

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import meta
from navarch.services.api.errors import BadRequest, Conflict, Forbidden
from navarch.services.api.validation.metadata import FOREGROUND, ORPHAN
from navarch.services.apiserver.admission.nodes import restrict_change
from navarch.services.apiserver.allocation.services import is_service_kind
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.registry.core import Core, Target
from navarch.services.apiserver.registry.lifecycle import is_namespace, is_over, mark_deleted
from navarch.services.apiserver.registry.modify import Decide, Keep, Modified, Order, Remove, Write, modify
from navarch.services.apiserver.stored import StoredObject

IMMORTAL_NAMESPACES = frozenset({"default", "kube-system", "kube-public"})
POLICIES = frozenset({"Orphan", "Background", "Foreground"})
DEFAULT_GRACE_S = 30
# 68 years: beyond, the end of the period would soon be no date any more.
MAX_GRACE_S = 2**31 - 1


async def delete(core: Core, user: User, target: Target, options: metav1.DeleteOptions) -> Modified:
    """Delete one object. Returns it as it is now or, when it is gone, as it was last."""
    core.admit_user(user, "delete", target.named())
    return await delete_object(core, user, target, options, core.guess(target))


async def delete_object(
    core: Core, user: User, target: Target, options: metav1.DeleteOptions, guess: StoredObject | None = None
) -> Modified:
    """Delete for a user who may delete objects of the kind."""
    check_options(options)
    if target.kind.gvk == ("v1", "Namespace") and target.name in IMMORTAL_NAMESPACES:
        raise Forbidden(target.kind, target.name, "this namespace may not be deleted")
    dry_run = "All" in options.dry_run
    return await modify(core, target, _decide(core, user, target, options), guess=guess, dry_run=dry_run)


def check_options(options: metav1.DeleteOptions) -> None:
    """Raise BadRequest for options that contradict themselves or mean nothing."""
    if unknown := set(options.dry_run) - {"All"}:
        raise BadRequest(f'dryRun: Unsupported value: "{min(unknown)}": supported: All')
    policy = options.propagation_policy
    if policy and policy not in POLICIES:
        raise BadRequest(f'propagationPolicy: Unsupported value: "{policy}": supported: {", ".join(sorted(POLICIES))}')
    if policy and options.HasField("orphan_dependents"):
        raise BadRequest("orphanDependents and deletionPropagation cannot be both set")


def _decide(core: Core, user: User, target: Target, options: metav1.DeleteOptions) -> Decide:
    async def decide(current: StoredObject) -> Order:
        restrict_change(user, target.subresource, current)
        obj = current.decode()
        check_preconditions(target, options, obj.metadata)
        order = plan(obj, options, core.clock.now())
        if isinstance(order, Remove) and is_service_kind(target.kind):
            return Remove(await core.services.release(obj))
        return order

    return decide


def check_preconditions(target: Target, options: metav1.DeleteOptions, metadata: metav1.ObjectMeta) -> None:
    """Raise Conflict unless it is the object, and the revision of it, that the caller means."""
    wanted = options.preconditions
    if wanted.HasField("uid") and wanted.uid != metadata.uid:
        detail = f"UID in precondition: {wanted.uid}, UID in object meta: {metadata.uid}"
    elif wanted.HasField("resource_version") and wanted.resource_version != metadata.resource_version:
        detail = (
            f"ResourceVersion in precondition: {wanted.resource_version}, "
            f"ResourceVersion in object meta: {metadata.resource_version}"
        )
    else:
        return
    raise Conflict(target.kind, target.name, f"Precondition failed: {detail}")


def plan(obj: Any, options: metav1.DeleteOptions, now: float) -> Order:
    """What a request to delete means for an object. obj: changed in place. Pure."""
    metadata = obj.metadata
    before = list(metadata.finalizers)
    metadata.finalizers[:] = with_policy(before, options)
    is_changed = before != list(metadata.finalizers)
    if not meta.is_being_deleted(obj):
        mark_deleted(obj, now, grace_period(obj, options))
        return Remove() if is_over(obj) else Write(obj)
    pending = metadata.deletion_grace_period_seconds
    if options.HasField("grace_period_seconds") and (grace := in_range(options.grace_period_seconds)) < pending:
        # A later request can only shorten the time that is left.
        metadata.deletion_timestamp.seconds += grace - pending
        metadata.deletion_grace_period_seconds = grace
        is_changed = True
    if is_over(obj):
        return Remove()
    return Write(obj) if is_changed else Keep()


def with_policy(finalizers: list[str], options: metav1.DeleteOptions) -> list[str]:
    """The finalizers, with those that stand for the propagation policy. No policy: as they are."""
    policy = options.propagation_policy
    if not policy and options.HasField("orphan_dependents"):
        policy = "Orphan" if options.orphan_dependents else "Background"
    if not policy:
        return finalizers
    others = [finalizer for finalizer in finalizers if finalizer not in (ORPHAN, FOREGROUND)]
    return others + {"Orphan": [ORPHAN], "Foreground": [FOREGROUND]}.get(policy, [])


def grace_period(obj: Any, options: metav1.DeleteOptions) -> int:
    """Seconds that the object is given. Only Pods end gracefully, and only where there is something to end."""
    if obj.DESCRIPTOR.name != "Pod" or is_namespace(obj):
        return 0
    if not obj.spec.node_name or obj.status.phase in ("Succeeded", "Failed"):
        return 0
    if options.HasField("grace_period_seconds"):
        return in_range(options.grace_period_seconds)
    if obj.spec.HasField("termination_grace_period_seconds"):
        return in_range(obj.spec.termination_grace_period_seconds)
    return DEFAULT_GRACE_S


def in_range(grace_s: int) -> int:
    """A grace period that a timestamp can hold. A negative one means the shortest, as in Kubernetes."""
    return 1 if grace_s < 0 else min(grace_s, MAX_GRACE_S)
