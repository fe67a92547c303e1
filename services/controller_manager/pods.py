"""What controllers ask about a Pod. Pure functions of the object and the time."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import unix


def condition(pod: corev1.Pod, kind: str) -> corev1.PodCondition | None:
    """The condition of this type, such as "Ready"."""
    return next((each for each in pod.status.conditions if each.type == kind), None)


def is_ready(pod: corev1.Pod) -> bool:
    """Whether the kubelet says that the Pod may get traffic."""
    ready = condition(pod, "Ready")
    return ready is not None and ready.status == "True"


def ready_since(pod: corev1.Pod) -> float | None:
    """Unix time of the last change to Ready, None where the Pod is not ready."""
    ready = condition(pod, "Ready")
    return unix(ready.last_transition_time) if ready is not None and ready.status == "True" else None


def available_at(pod: corev1.Pod, min_ready_seconds: int) -> float | None:
    """Unix time from which the Pod counts as available if it stays ready; None while it is not ready."""
    since = ready_since(pod)
    return None if since is None else since + min_ready_seconds


def is_terminating(pod: corev1.Pod) -> bool:
    """Whether its deletion has been asked for."""
    return pod.metadata.HasField("deletion_timestamp")


def has_ended(pod: corev1.Pod) -> bool:
    """Whether its containers ended for good: phase Succeeded or Failed."""
    return pod.status.phase in ("Succeeded", "Failed")


def is_active(pod: corev1.Pod) -> bool:
    """Whether it counts as a replica: neither ended nor being deleted."""
    return not has_ended(pod) and not is_terminating(pod)


def restarts(pod: corev1.Pod) -> int:
    """Restarts of the container that restarted most."""
    return max((status.restart_count for status in pod.status.container_statuses), default=0)


def by_node(pod: corev1.Pod) -> tuple[str, ...]:
    """An indexer: the name of the Node that a Pod is assigned to."""
    return (pod.spec.node_name,) if pod.spec.node_name else ()
