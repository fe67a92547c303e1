"""Which Pods go first when there are too many: those whose loss hurts least."""

import math
from collections.abc import Iterable, Mapping, Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import unix
from navarch.services.controller_manager import pods

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"

_PHASE_ORDER = {"Pending": 0, "Unknown": 1, "Running": 2}


def crowding(related: Iterable[corev1.Pod]) -> Mapping[str, int]:
    """Active Pods on each node. related: Pods of all ReplicaSets with the same owner."""
    result: dict[str, int] = {}
    for pod in related:
        if pod.spec.node_name and pods.is_active(pod):
            result[pod.spec.node_name] = result.get(pod.spec.node_name, 0) + 1
    return result


def cheapest(candidates: Sequence[corev1.Pod], count: int, crowds: Mapping[str, int], now: float) -> list[corev1.Pod]:
    """The `count` Pods to delete first.

    In this order: not assigned before assigned to a node; by phase; not ready before ready; by deletion cost;
    from crowded nodes first; ready for a shorter time, restarted more often, and younger first. Times are
    compared by their magnitudes only, so that the choice among Pods of similar age spreads over them.
    """
    if count >= len(candidates):
        return list(candidates)

    def rank(pod: corev1.Pod) -> tuple[object, ...]:
        since = pods.ready_since(pod)
        return (
            bool(pod.spec.node_name),
            _PHASE_ORDER.get(pod.status.phase, 1),
            since is not None,
            _deletion_cost(pod),
            -crowds.get(pod.spec.node_name, 0),
            _magnitude(now - since) if since is not None else 0,
            -pods.restarts(pod),
            _magnitude(now - unix(pod.metadata.creation_timestamp)),
            pod.metadata.uid,
        )

    return sorted(candidates, key=rank)[:count]


def _deletion_cost(pod: corev1.Pod) -> int:
    text = pod.metadata.annotations.get(DELETION_COST, "0")
    try:
        return int(text)
    except ValueError:
        return 0


def _magnitude(age_s: float) -> int:
    return int(math.log2(age_s)) if age_s >= 1 else -1
