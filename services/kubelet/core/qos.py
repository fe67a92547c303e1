"""Quality of service: the class of a Pod and what follows from it for cgroups and the OOM killer."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.pod_resources import amounts

GUARANTEED, BURSTABLE, BEST_EFFORT = "Guaranteed", "Burstable", "BestEffort"
RESOURCES = ("cpu", "memory")
NODE_CRITICAL = "system-node-critical"


def qos_class(pod: corev1.Pod) -> str:
    """Guaranteed: all limits set and equal to the requests. BestEffort: nothing asked for. Else Burstable."""
    if pod.status.qos_class:
        return pod.status.qos_class
    holders = [container.resources for container in [*pod.spec.containers, *pod.spec.init_containers]]
    if pod.spec.HasField("resources"):
        holders = [pod.spec.resources]
    asked = False
    guaranteed = True
    for resources in holders:
        limits = {key: value for key, value in amounts(resources.limits).items() if key in RESOURCES and value}
        requests = {key: value for key, value in amounts(resources.requests).items() if key in RESOURCES and value}
        asked = asked or bool(limits or requests)
        guaranteed = guaranteed and set(limits) == set(RESOURCES) and limits == {**limits, **requests}
    if not asked:
        return BEST_EFFORT
    return GUARANTEED if guaranteed else BURSTABLE


def oom_score_adj(pod: corev1.Pod, container: corev1.Container, node_memory_bytes: int) -> int:
    """-997 for Guaranteed Pods and those critical for the node, 1000 for BestEffort.

    Between these by the share of the node's memory that is requested.
    """
    if pod.spec.priority_class_name == NODE_CRITICAL:
        return -997
    class_ = qos_class(pod)
    if class_ != BURSTABLE:
        return -997 if class_ == GUARANTEED else 1000
    requested = amounts(container.resources.requests).get("memory", 0)
    score = 1000 - (1000 * requested) // max(node_memory_bytes, 1)
    # Above a Guaranteed Pod's and below a BestEffort one's, whatever the request.
    return min(max(score, 3), 999)
