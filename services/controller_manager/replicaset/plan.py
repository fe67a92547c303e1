"""What to do about one ReplicaSet: a pure function of it, its Pods and the time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.equality import same
from navarch.services.api.meta import is_being_deleted, owner_reference, time_from
from navarch.services.controller_manager import pods
from navarch.services.controller_manager.replicaset import ranking

# At most this many Pods are created or deleted in one go, so that others get a turn.
BURST = 500
# Where one create fails (a quota, a webhook) most do: begin with a few, then try twice as many as succeeded
# before. A few and not one, since they travel in one call, and each call is time until the last Pod is there.
SLOW_START = 8

REPLICA_FAILURE = "ReplicaFailure"


@dataclass(frozen=True, slots=True)
class Plan:
    """create: how many Pods. delete: which. At most one of them is not empty."""

    create: int = 0
    delete: Sequence[corev1.Pod] = ()


def wanted(replica_set: appsv1.ReplicaSet) -> int:
    """Replicas asked for; 1 where nothing was said."""
    return replica_set.spec.replicas if replica_set.spec.HasField("replicas") else 1


def plan(
    replica_set: appsv1.ReplicaSet, owned: Iterable[corev1.Pod], related: Iterable[corev1.Pod], now: float
) -> Plan:
    """Pods to create or to delete. owned: its Pods; related: those of all ReplicaSets of the same owner."""
    if is_being_deleted(replica_set):
        return Plan()
    active = [pod for pod in owned if pods.is_active(pod)]
    missing = wanted(replica_set) - len(active)
    if missing > 0:
        return Plan(create=min(missing, BURST))
    excess = min(-missing, BURST)
    return Plan(delete=ranking.cheapest(active, excess, ranking.crowding(related), now) if excess else ())


def batches(count: int) -> Iterable[int]:
    """Sizes of a slow start, each twice the one before, until `count` is reached."""
    size = SLOW_START
    while count > 0:
        size = min(size, count)
        yield size
        count -= size
        size *= 2


def new_pod(replica_set: appsv1.ReplicaSet) -> corev1.Pod:
    """A Pod of the template, to be named by the API server."""
    template = replica_set.spec.template
    pod = corev1.Pod()
    pod.metadata.generate_name = f"{replica_set.metadata.name}-"
    pod.metadata.namespace = replica_set.metadata.namespace
    for key, value in template.metadata.labels.items():
        pod.metadata.labels[key] = value
    for key, value in template.metadata.annotations.items():
        pod.metadata.annotations[key] = value
    pod.metadata.finalizers.extend(template.metadata.finalizers)
    pod.metadata.owner_references.append(owner_reference(replica_set, controller=True))
    pod.spec.CopyFrom(template.spec)
    return pod


@dataclass(frozen=True, slots=True)
class Failure:
    """Why Pods could not be created or deleted."""

    reason: str
    message: str


def status(
    replica_set: appsv1.ReplicaSet, owned: Sequence[corev1.Pod], failure: Failure | None, now: float
) -> appsv1.ReplicaSetStatus | None:
    """The status to write, None where it is as it should be."""
    active = [pod for pod in owned if pods.is_active(pod)]
    template_labels = replica_set.spec.template.metadata.labels.items()
    minimum = replica_set.spec.min_ready_seconds
    available = [pod for pod in active if _is_available(pod, minimum, now)]
    result = appsv1.ReplicaSetStatus(
        replicas=len(active),
        fully_labeled_replicas=sum(template_labels <= pod.metadata.labels.items() for pod in active),
        ready_replicas=sum(map(pods.is_ready, active)),
        available_replicas=len(available),
        terminating_replicas=sum(pods.is_terminating(pod) and not pods.has_ended(pod) for pod in owned),
        observed_generation=replica_set.metadata.generation,
        conditions=[each for each in replica_set.status.conditions if each.type != REPLICA_FAILURE],
    )
    if failure is not None:
        result.conditions.append(_failure_condition(replica_set, failure, now))
    return None if same(result, replica_set.status) else result


def next_available_s(replica_set: appsv1.ReplicaSet, owned: Iterable[corev1.Pod], now: float) -> float | None:
    """Seconds until the next ready Pod becomes available by nothing but time."""
    times = (pods.available_at(pod, replica_set.spec.min_ready_seconds) for pod in owned if pods.is_active(pod))
    return min((at - now for at in times if at is not None and at > now), default=None)


def _is_available(pod: corev1.Pod, min_ready_seconds: int, now: float) -> bool:
    at = pods.available_at(pod, min_ready_seconds)
    # Without a minimum, being ready is enough, whatever two clocks say.
    return at is not None and (min_ready_seconds == 0 or at <= now)


def _failure_condition(replica_set: appsv1.ReplicaSet, failure: Failure, now: float) -> appsv1.ReplicaSetCondition:
    """Kept as it was first noted, until Pods can be made again."""
    for known in replica_set.status.conditions:
        if known.type == REPLICA_FAILURE:
            return known
    return appsv1.ReplicaSetCondition(
        type=REPLICA_FAILURE,
        status="True",
        reason=failure.reason,
        message=failure.message,
        last_transition_time=time_from(now),
    )
