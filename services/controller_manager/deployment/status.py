"""Status and conditions of a Deployment.

Available: enough Pods are. Progressing: the rollout moves (ReplicaSetUpdated), is done (NewReplicaSetAvailable),
rests (DeploymentPaused), or has not moved for `progressDeadlineSeconds` (ProgressDeadlineExceeded).
ReplicaFailure: copied from a ReplicaSet that cannot make its Pods.
"""

from collections.abc import Iterable, Iterator

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.services.api.meta import time_from, unix
from navarch.services.controller_manager.deployment.limits import wanted
from navarch.services.controller_manager.deployment.rollout import Rollout

AVAILABLE = "Available"
PROGRESSING = "Progressing"
REPLICA_FAILURE = "ReplicaFailure"

CREATED = "NewReplicaSetCreated"
CREATE_ERROR = "ReplicaSetCreateError"
FOUND = "FoundNewReplicaSet"
UPDATED = "ReplicaSetUpdated"
COMPLETE = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"
RESUMED = "DeploymentResumed"

# The API's way to say "no deadline".
_NO_DEADLINE = 2**31 - 1


def deadline_s(deployment: appsv1.Deployment) -> int | None:
    """Seconds without progress after which a rollout counts as failed; None where it never does."""
    spec = deployment.spec
    if not spec.HasField("progress_deadline_seconds") or spec.progress_deadline_seconds == _NO_DEADLINE:
        return None
    return spec.progress_deadline_seconds


def find(status: appsv1.DeploymentStatus, kind: str) -> appsv1.DeploymentCondition | None:
    """The condition of this type."""
    return next((each for each in status.conditions if each.type == kind), None)


def put(status: appsv1.DeploymentStatus, kind: str, value: str, reason: str, message: str, now: float) -> None:
    """Set a condition. Unchanged status and reason leave all of it as it is, its times included."""
    current = find(status, kind)
    if current is not None and (current.status, current.reason) == (value, reason):
        return
    new = appsv1.DeploymentCondition(type=kind, status=value, reason=reason, message=message)
    new.last_update_time.CopyFrom(time_from(now))
    same_status = current is not None and current.status == value
    new.last_transition_time.CopyFrom(current.last_transition_time if same_status and current else time_from(now))
    drop(status, kind)
    status.conditions.append(new)


def drop(status: appsv1.DeploymentStatus, kind: str) -> None:
    """Remove a condition."""
    kept = [each for each in status.conditions if each.type != kind]
    del status.conditions[:]
    status.conditions.extend(kept)


def counts(rollout: Rollout, before: appsv1.DeploymentStatus, now: float) -> appsv1.DeploymentStatus:
    """The numbers and the Available condition; other conditions as in `before`."""
    everything = [each.status for each in rollout.all]
    available = sum(each.available_replicas for each in everything)
    status = appsv1.DeploymentStatus(
        observed_generation=rollout.deployment.metadata.generation,
        replicas=sum(each.replicas for each in everything),
        updated_replicas=rollout.new.status.replicas if rollout.new is not None else 0,
        ready_replicas=sum(each.ready_replicas for each in everything),
        available_replicas=available,
        unavailable_replicas=max(0, rollout.total() - available),
        terminating_replicas=sum(each.terminating_replicas for each in everything),
        conditions=before.conditions,
    )
    if before.HasField("collision_count"):
        status.collision_count = before.collision_count
    if available >= rollout.limits.min_available:
        put(status, AVAILABLE, "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now)
    else:
        message = "Deployment does not have minimum availability."
        put(status, AVAILABLE, "False", "MinimumReplicasUnavailable", message, now)
    return status


def note_pause(deployment: appsv1.Deployment, status: appsv1.DeploymentStatus, now: float) -> None:
    """Say that the rollout rests, or no longer does, so that resting time does not count as failure."""
    current = find(status, PROGRESSING)
    if deadline_s(deployment) is None or (current is not None and current.reason == TIMED_OUT):
        return
    says_paused = current is not None and current.reason == PAUSED
    if deployment.spec.paused and not says_paused:
        put(status, PROGRESSING, "Unknown", PAUSED, "Deployment is paused", now)
    elif not deployment.spec.paused and says_paused:
        put(status, PROGRESSING, "Unknown", RESUMED, "Deployment is resumed", now)


def note_progress(
    rollout: Rollout, before: appsv1.DeploymentStatus, status: appsv1.DeploymentStatus, now: float
) -> None:
    """Judge how the rollout goes by what changed between `before` and `status`."""
    deployment = rollout.deployment
    deadline = deadline_s(deployment)
    current = find(status, PROGRESSING)
    settled = current is not None and current.reason == COMPLETE and status.replicas == status.updated_replicas
    if deadline is None:
        drop(status, PROGRESSING)
    elif not settled:
        subject = _subject(rollout)
        if is_complete(deployment, status):
            put(status, PROGRESSING, "True", COMPLETE, f"{subject} has successfully progressed.", now)
        elif _moved(before, status):
            _refresh(status, f"{subject} is progressing.", now)
        elif current is not None and is_timed_out(current, deadline, now):
            put(status, PROGRESSING, "False", TIMED_OUT, f"{subject} has timed out progressing.", now)
    _copy_failure(rollout, status)


def is_complete(deployment: appsv1.Deployment, status: appsv1.DeploymentStatus) -> bool:
    """Whether all wanted Pods are of the new template and available, and no others exist."""
    replicas = wanted(deployment.spec)
    return (
        status.updated_replicas == replicas
        and status.replicas == replicas
        and status.available_replicas == replicas
        and status.observed_generation >= deployment.metadata.generation
    )


def is_timed_out(progressing: appsv1.DeploymentCondition, deadline: int, now: float) -> bool:
    """Whether the last progress is longer ago than the deadline. A finished rollout never times out."""
    if progressing.reason == COMPLETE:
        return False
    return progressing.reason == TIMED_OUT or unix(progressing.last_update_time) + deadline < now


def next_deadline_s(deployment: appsv1.Deployment, status: appsv1.DeploymentStatus, now: float) -> float | None:
    """Seconds until the rollout has to be judged again though nothing happens; None where never."""
    deadline, current = deadline_s(deployment), find(status, PROGRESSING)
    if deadline is None or current is None or current.reason in (COMPLETE, TIMED_OUT):
        return None
    if deployment.spec.paused or is_complete(deployment, status):
        return None
    # One second more: the API keeps whole seconds.
    return max(0.0, unix(current.last_update_time) + deadline - now) + 1.0


def _moved(before: appsv1.DeploymentStatus, after: appsv1.DeploymentStatus) -> bool:
    return (
        after.updated_replicas > before.updated_replicas
        or after.replicas - after.updated_replicas < before.replicas - before.updated_replicas
        or after.ready_replicas > before.ready_replicas
        or after.available_replicas > before.available_replicas
    )


def _refresh(status: appsv1.DeploymentStatus, message: str, now: float) -> None:
    """Progress restarts the deadline, also where status and reason stay what they were."""
    current = find(status, PROGRESSING)
    since = current.last_transition_time if current is not None and current.status == "True" else time_from(now)
    condition = appsv1.DeploymentCondition(type=PROGRESSING, status="True", reason=UPDATED, message=message)
    condition.last_update_time.CopyFrom(time_from(now))
    condition.last_transition_time.CopyFrom(since)
    drop(status, PROGRESSING)
    status.conditions.append(condition)


def _subject(rollout: Rollout) -> str:
    if rollout.new is not None:
        return f'ReplicaSet "{rollout.new.metadata.name}"'
    return f'Deployment "{rollout.deployment.metadata.name}"'


def _copy_failure(rollout: Rollout, status: appsv1.DeploymentStatus) -> None:
    """Report the first ReplicaSet that cannot make Pods, the new one before the old ones."""
    new_first = [rollout.new] if rollout.new is not None else []
    failure = next(_failures([*new_first, *rollout.old]), None)
    drop(status, REPLICA_FAILURE)
    if failure is not None:
        status.conditions.append(
            appsv1.DeploymentCondition(
                type=REPLICA_FAILURE,
                status=failure.status,
                reason=failure.reason,
                message=failure.message,
                last_transition_time=failure.last_transition_time,
                last_update_time=failure.last_transition_time,
            )
        )


def _failures(replica_sets: Iterable[appsv1.ReplicaSet]) -> Iterator[appsv1.ReplicaSetCondition]:
    return (each for owner in replica_sets for each in owner.status.conditions if each.type == REPLICA_FAILURE)
