"""Revisions: the new ReplicaSet of a template, its number, and how many old ones are kept.

Every template that a Deployment had lives on as a ReplicaSet whose annotation numbers it. Going back to a
template gives its ReplicaSet the next number and notes the old one in its history.
"""

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.services.api.meta import owner_reference
from navarch.services.controller_manager.deployment.limits import wanted
from navarch.services.controller_manager.deployment.rollout import (
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    REVISION,
    REVISION_HISTORY,
    Rollout,
    age_order,
)
from navarch.services.controller_manager.deployment.template import HASH_LABEL, template_hash

# Annotations of the Deployment that its ReplicaSets do not inherit.
_NOT_INHERITED = frozenset(
    (
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
        REVISION,
        REVISION_HISTORY,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
    )
)


def revision_of(replica_set: appsv1.ReplicaSet) -> int:
    """Its number, 0 where it has none."""
    text = replica_set.metadata.annotations.get(REVISION, "")
    return int(text) if text.isdigit() else 0


def next_revision(rollout: Rollout) -> int:
    """The number that the new ReplicaSet has or gets: above all old ones."""
    return max((revision_of(each) for each in rollout.old), default=0) + 1


def refresh_new(rollout: Rollout) -> None:
    """Bring the existing new ReplicaSet's revision, annotations and readiness time up to date."""
    new = rollout.new
    if new is None:
        return
    _annotate(new, rollout)
    if new.spec.min_ready_seconds != rollout.deployment.spec.min_ready_seconds:
        new.spec.min_ready_seconds = rollout.deployment.spec.min_ready_seconds


def make_new(rollout: Rollout) -> appsv1.ReplicaSet:
    """The ReplicaSet of the Deployment's template, of size 0, not yet created; becomes `rollout.new`."""
    deployment = rollout.deployment
    suffix = template_hash(deployment.spec.template, deployment.status.collision_count)
    new = appsv1.ReplicaSet()
    new.metadata.name = f"{deployment.metadata.name}-{suffix}"
    new.metadata.namespace = deployment.metadata.namespace
    new.metadata.owner_references.append(owner_reference(deployment, controller=True))
    new.spec.min_ready_seconds = deployment.spec.min_ready_seconds
    new.spec.selector.CopyFrom(deployment.spec.selector)
    new.spec.selector.match_labels[HASH_LABEL] = suffix
    new.spec.template.CopyFrom(deployment.spec.template)
    new.spec.template.metadata.labels[HASH_LABEL] = suffix
    for key, value in new.spec.template.metadata.labels.items():
        new.metadata.labels[key] = value
    _annotate(new, rollout)
    rollout.new = new
    rollout.scale(new, 0)
    return new


def expired(rollout: Rollout) -> list[appsv1.ReplicaSet]:
    """Old ReplicaSets beyond the history limit, the lowest revisions first; only such without any Pods."""
    spec = rollout.deployment.spec
    if not spec.HasField("revision_history_limit"):
        return []
    candidates = [each for each in rollout.old if not each.metadata.HasField("deletion_timestamp")]
    excess = max(0, len(candidates) - spec.revision_history_limit)
    candidates.sort(key=lambda each: (revision_of(each), age_order(each)))
    return [each for each in candidates[:excess] if _is_spent(each)]


def _is_spent(replica_set: appsv1.ReplicaSet) -> bool:
    observed = replica_set.metadata.generation <= replica_set.status.observed_generation
    return observed and wanted(replica_set.spec) == 0 and replica_set.status.replicas == 0


def _annotate(new: appsv1.ReplicaSet, rollout: Rollout) -> None:
    annotations = new.metadata.annotations
    for key, value in rollout.deployment.metadata.annotations.items():
        if key not in _NOT_INHERITED:
            annotations[key] = value
    revision, current = next_revision(rollout), revision_of(new)
    if current < revision:
        if current:
            history = annotations.get(REVISION_HISTORY, "")
            annotations[REVISION_HISTORY] = f"{history},{current}" if history else str(current)
        annotations[REVISION] = str(revision)
