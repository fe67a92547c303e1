"""Which Pods nobody else will remove. Pure."""

from collections.abc import Iterable

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import time_from
from navarch.services.controller_manager import pods

# A Node that vanished may come back under its name: its Pods are spared this long.
QUARANTINE_S = 40.0
# Ended Pods beyond this number go, the oldest first.
TERMINATED_LIMIT = 12_500


def surplus(ended: Iterable[corev1.Pod], limit: int) -> list[corev1.Pod]:
    """Ended Pods above the limit: evicted ones first, then the oldest."""
    found = [pod for pod in ended if pods.has_ended(pod) and not pods.is_terminating(pod)]
    found.sort(
        key=lambda pod: (pod.status.reason != "Evicted", pod.metadata.creation_timestamp.seconds, pod.metadata.name)
    )
    return found[: max(0, len(found) - limit)]


def is_stranded(pod: corev1.Pod) -> bool:
    """Whether it is being deleted without ever having had a Node whose kubelet could finish that."""
    return pods.is_terminating(pod) and not pod.spec.node_name


def lost(pod: corev1.Pod, now: float) -> corev1.Pod | None:
    """The Pod of a vanished Node with its end written down; None where it had ended."""
    if pods.has_ended(pod):
        return None
    copy = corev1.Pod()
    copy.CopyFrom(pod)
    copy.status.phase = "Failed"
    kept = [each for each in pod.status.conditions if each.type != "DisruptionTarget"]
    del copy.status.conditions[:]
    copy.status.conditions.extend(kept)
    copy.status.conditions.add(
        type="DisruptionTarget",
        status="True",
        reason="DeletionByPodGC",
        message="PodGC: node no longer exists",
        last_transition_time=time_from(now),
    )
    return copy
