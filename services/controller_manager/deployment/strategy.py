"""How sizes move: rolling update, recreate, and scaling in the middle of a rollout.

Each function resizes the copies in a `Rollout`. Sizes come from the ReplicaSets' specs and availability from
their statuses, which may lag behind: an old Pod counts as available only as long as its ReplicaSet wants it,
a new one only once it was seen available, so a lagging view is a cautious one.
"""

from collections.abc import Mapping

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.services.controller_manager.deployment.limits import wanted
from navarch.services.controller_manager.deployment.rollout import (
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    Rollout,
    age_order,
    available,
)


def roll(rollout: Rollout) -> None:
    """One step of a rolling update: grow the new one into the surge, shrink old ones by what can be spared.

    Only when every resize has been observed, and by what was available before this one: a status may still count
    Pods that an earlier shrinking is about to delete, and growing would take these for available ones.
    """
    if all(each.status.observed_generation >= each.metadata.generation for each in rollout.all):
        serving = {each.metadata.name: available(each) for each in rollout.all}
        _grow_new(rollout)
        _shrink_old(rollout, serving)


def recreate(rollout: Rollout, old_pods_exist: bool) -> None:
    """Everything old goes first; the new one comes when the last old Pod is gone."""
    active = rollout.active_old()
    for each in active:
        rollout.scale(each, 0)
    if not active and not old_pods_exist and rollout.new is not None:
        rollout.scale(rollout.new, rollout.limits.replicas)


def is_scaling(rollout: Rollout) -> bool:
    """Whether the Deployment's size changed since its ReplicaSets were last sized."""
    sizes = (each.metadata.annotations.get(DESIRED_REPLICAS, "") for each in rollout.active())
    return any(size.isdigit() and int(size) != rollout.limits.replicas for size in sizes)


def rescale(rollout: Rollout) -> None:
    """Fit the ReplicaSets to a changed size without moving the rollout itself on."""
    if (single := _only_or_latest(rollout)) is not None:
        # Also where the size fits already: it notes the Deployment's size, which ends the scaling.
        rollout.scale(single, rollout.limits.replicas)
    elif _is_saturated(rollout):
        for each in rollout.active_old():
            rollout.scale(each, 0)
    elif rollout.deployment.spec.strategy.type != "Recreate":
        _rescale_in_proportion(rollout)


def _grow_new(rollout: Rollout) -> None:
    new, limits = rollout.new, rollout.limits
    if new is None or wanted(new.spec) == limits.replicas:
        return
    size = wanted(new.spec)
    if size > limits.replicas:
        rollout.scale(new, limits.replicas)
    elif (room := limits.max_total - _occupied(rollout)) > 0:
        rollout.scale(new, min(size + room, limits.replicas))


def _occupied(rollout: Rollout) -> int:
    """Pods that exist or may come to exist. Those above a lowered size count until they are seen to be gone.

    Stricter than Kubernetes, which goes by sizes alone and so may exceed the surge while old Pods linger.
    """
    return sum(max(wanted(each.spec), each.status.replicas) for each in rollout.all)


def _shrink_old(rollout: Rollout, serving: Mapping[str, int]) -> None:
    """Shrink by as much as leaves enough available. serving: available Pods of each ReplicaSet, by name."""
    new, old = rollout.new, rollout.active_old()
    if new is None or not old:
        return
    # Pods that the new one has just been given count as unavailable, so they buy no shrinking.
    new_unavailable = wanted(new.spec) - serving.get(new.metadata.name, 0)
    spare = rollout.total() - rollout.limits.min_available - new_unavailable
    # Old Pods that serve nobody go first: they would hold the rollout up, and nobody misses them.
    for each in old:
        spare -= _shrink(rollout, each, min(spare, wanted(each.spec) - serving[each.metadata.name]))
    spare = min(spare, sum(serving.values()) - rollout.limits.min_available)
    for each in old:
        spare -= _shrink(rollout, each, min(spare, wanted(each.spec)))


def _shrink(rollout: Rollout, replica_set: appsv1.ReplicaSet, by: int) -> int:
    if by <= 0:
        return 0
    rollout.scale(replica_set, wanted(replica_set.spec) - by)
    return by


def _only_or_latest(rollout: Rollout) -> appsv1.ReplicaSet | None:
    """The one ReplicaSet with Pods; where none has any the newest; None where several have."""
    active = rollout.active()
    if len(active) == 1:
        return active[0]
    if active or not rollout.all:
        return None
    return rollout.new if rollout.new is not None else rollout.old[-1]


def _is_saturated(rollout: Rollout) -> bool:
    new, replicas = rollout.new, rollout.limits.replicas
    return (
        new is not None
        and wanted(new.spec) == replicas
        and new.metadata.annotations.get(DESIRED_REPLICAS) == str(replicas)
        and new.status.available_replicas == replicas
    )


def _rescale_in_proportion(rollout: Rollout) -> None:
    """Spread the change over all active ReplicaSets by their sizes, the largest first, which takes what is left.

    Among equals the newer one grows first and the older one shrinks first.
    """
    limits = rollout.limits
    active = rollout.active()
    allowed = limits.max_total if limits.replicas else 0
    missing = allowed - sum(wanted(each.spec) for each in active)
    active.sort(key=age_order, reverse=missing > 0)
    active.sort(key=lambda each: wanted(each.spec), reverse=True)
    sizes = [wanted(each.spec) for each in active]
    left = missing
    for index, each in enumerate(active):
        share = _share(each, rollout)
        share = min(share, left) if missing > 0 else max(share, left)
        if missing:
            sizes[index] += share
            left -= share
    if missing and sizes:
        sizes[0] = max(0, sizes[0] + left)
    for each, size in zip(active, sizes, strict=True):
        rollout.scale(each, size)


def _share(replica_set: appsv1.ReplicaSet, rollout: Rollout) -> int:
    """By how much this one would change if it kept its part of the whole. Halves are rounded away from zero."""
    size, limits = wanted(replica_set.spec), rollout.limits
    if limits.replicas == 0:
        return -size
    noted = replica_set.metadata.annotations.get(MAX_REPLICAS, "")
    before = int(noted) if noted.isdigit() and int(noted) else rollout.deployment.status.replicas
    if not before:
        return 0
    return (2 * size * limits.max_total + before) // (2 * before) - size
