"""What to do about one Deployment: a pure function of it, its ReplicaSets, their Pods and the time.

The plan moves a rollout one step; the changes that it causes bring the next step. It writes nothing that is
already so, hence an idle Deployment yields an empty plan.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.services.api.equality import same
from navarch.services.controller_manager.deployment import revision, status, strategy
from navarch.services.controller_manager.deployment.limits import wanted
from navarch.services.controller_manager.deployment.rollout import REVISION, Rollout


@dataclass(frozen=True, slots=True)
class Observed:
    """A Deployment as the caches show it. The messages are only read.

    replica_sets: those it controls. old_pods_exist: whether Pods that have not ended remain of any
    ReplicaSet but the new one; asked for Recreate only.
    """

    deployment: appsv1.Deployment
    replica_sets: Sequence[appsv1.ReplicaSet]
    old_pods_exist: bool = False


@dataclass(frozen=True, slots=True)
class Resize:
    """Write a changed ReplicaSet. before: its size until now."""

    replica_set: appsv1.ReplicaSet
    before: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Writes, in the order in which to do them: create, resizes, deletions, revision, status.

    revision: annotation to set on the Deployment. status: to write, None where it is as it should be.
    check_after_s: look again then, though nothing happens.
    """

    create: appsv1.ReplicaSet | None = None
    resize: Sequence[Resize] = ()
    delete: Sequence[appsv1.ReplicaSet] = ()
    revision: str | None = None
    status: appsv1.DeploymentStatus | None = None
    check_after_s: float | None = None


def plan(observed: Observed, now: float) -> Plan:
    """The next step for this Deployment. now: unix seconds."""
    deployment = observed.deployment
    rollout = Rollout(deployment, observed.replica_sets)
    before = deployment.status
    working = appsv1.DeploymentStatus()
    working.CopyFrom(before)
    if deployment.metadata.HasField("deletion_timestamp"):
        return _finish(rollout, Plan(), status.counts(rollout, working, now), now)
    status.note_pause(deployment, working, now)
    if deployment.spec.paused or strategy.is_scaling(rollout):
        return _hold(rollout, working, now)
    return _advance(rollout, working, observed.old_pods_exist, now)


def _hold(rollout: Rollout, working: appsv1.DeploymentStatus, now: float) -> Plan:
    """Paused, or resized: change sizes, not the template that is rolled out."""
    revision.refresh_new(rollout)
    strategy.rescale(rollout)
    spent = revision.expired(rollout) if rollout.deployment.spec.paused else []
    return _finish(rollout, Plan(delete=spent), status.counts(rollout, working, now), now)


def _advance(rollout: Rollout, working: appsv1.DeploymentStatus, old_pods_exist: bool, now: float) -> Plan:
    deployment = rollout.deployment
    is_recreate = deployment.spec.strategy.type == "Recreate"
    create = None
    if rollout.new is not None:
        revision.refresh_new(rollout)
        if status.deadline_s(deployment) is not None and status.find(working, status.PROGRESSING) is None:
            message = f'Found new replica set "{rollout.new.metadata.name}"'
            status.put(working, status.PROGRESSING, "True", status.FOUND, message, now)
    elif not is_recreate or not (rollout.active_old() or old_pods_exist):
        create = revision.make_new(rollout)
        if status.deadline_s(deployment) is not None:
            message = f'Created new replica set "{create.metadata.name}"'
            status.put(working, status.PROGRESSING, "True", status.CREATED, message, now)
    if is_recreate:
        strategy.recreate(rollout, old_pods_exist)
    else:
        strategy.roll(rollout)
    spent = revision.expired(rollout) if status.is_complete(deployment, deployment.status) else []
    after = status.counts(rollout, working, now)
    status.note_progress(rollout, deployment.status, after, now)
    return _finish(rollout, Plan(create=create, delete=spent), after, now)


def _finish(rollout: Rollout, draft: Plan, after: appsv1.DeploymentStatus, now: float) -> Plan:
    deployment = rollout.deployment
    number = rollout.new.metadata.annotations.get(REVISION) if rollout.new is not None else None
    doomed = {each.metadata.name for each in draft.delete}
    return Plan(
        create=draft.create,
        resize=[
            Resize(changed, wanted(original.spec))
            for original, changed in rollout.changed()
            if changed.metadata.name not in doomed
        ],
        delete=draft.delete,
        revision=number if number != deployment.metadata.annotations.get(REVISION) else None,
        status=None if same(after, deployment.status) else after,
        check_after_s=status.next_deadline_s(deployment, after, now),
    )
