"""When a Pod has to leave its Node because of NoExecute taints. Pure."""

import math
from collections.abc import Callable, Iterable

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import time_from, unix

NO_EXECUTE = "NoExecute"


def tolerates(toleration: corev1.Toleration, taint: corev1.Taint) -> bool:
    """Whether a toleration covers a taint. Empty key and effect cover all."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return toleration.operator in ("", "Equal") and bool(toleration.key) and toleration.value == taint.value


def evict_at(pod: corev1.Pod, taints: Iterable[corev1.Taint], since: Callable[[corev1.Taint], float]) -> float:
    """Unix time at which the Pod has to leave; infinity where it may stay.

    since: when a taint was put there. Of several tolerations for one taint the shortest counts; it begins
    with the taint, or with the Pod where that came later.
    """
    return min(
        (_leaves_at(pod, taint, since(taint)) for taint in taints if taint.effect == NO_EXECUTE), default=math.inf
    )


def _leaves_at(pod: corev1.Pod, taint: corev1.Taint, since: float) -> float:
    covering = [each for each in pod.spec.tolerations if tolerates(each, taint)]
    if not covering:
        return -math.inf
    limited = [each.toleration_seconds for each in covering if each.HasField("toleration_seconds")]
    begin = max(since, unix(pod.metadata.creation_timestamp))
    return begin + max(0, min(limited)) if limited else math.inf


def condemned(pod: corev1.Pod, now: float) -> corev1.Pod:
    """A copy that says why it is about to be deleted."""
    copy = corev1.Pod()
    copy.CopyFrom(pod)
    kept = [each for each in pod.status.conditions if each.type != "DisruptionTarget"]
    del copy.status.conditions[:]
    copy.status.conditions.extend(kept)
    copy.status.conditions.add(
        type="DisruptionTarget",
        status="True",
        reason="DeletionByTaintManager",
        message="Taint manager: deleting due to NoExecute taint",
        last_transition_time=time_from(now),
    )
    return copy
