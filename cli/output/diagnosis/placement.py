"""Why a Pod has no place on each of the nodes, as far as it can be told from nodes and Pods alone. Pure.

The scheduler judges more (affinities, spreading, volumes); what it says of the whole is in the Pod's condition.
"""

from collections.abc import Iterable, Iterator, Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import condition_is
from navarch.services.api.pod_resources import amounts, host_ports, requests

KEEPS_AWAY = ("NoSchedule", "NoExecute")
ENDED = ("Succeeded", "Failed")


def against(pod: corev1.Pod, nodes: Iterable[corev1.Node], pods: Sequence[corev1.Pod]) -> dict[str, list[str]]:
    """What speaks against each node, by its name. pods: all of the cluster."""
    return {
        node.metadata.name: list(
            _obstacles(
                pod,
                node,
                [one for one in pods if one.spec.node_name == node.metadata.name and one.status.phase not in ENDED],
            )
        )
        for node in sorted(nodes, key=lambda node: node.metadata.name)
    }


def _obstacles(pod: corev1.Pod, node: corev1.Node, others: Sequence[corev1.Pod]) -> Iterator[str]:
    if not condition_is(node.status.conditions, "Ready"):
        yield "is not Ready"
    if node.spec.unschedulable:
        yield "is cordoned"
    for taint in node.spec.taints:
        if taint.effect in KEEPS_AWAY and not any(_tolerates(one, taint) for one in pod.spec.tolerations):
            yield f"has the taint {taint.key}{f'={taint.value}' if taint.value else ''}:{taint.effect}"
    for key, value in sorted(pod.spec.node_selector.items()):
        if node.metadata.labels.get(key) != value:
            yield f"does not have the label {key}={value}"
    yield from _short_of(pod, node, others)
    taken = {(protocol, port) for other in others for _, protocol, port in host_ports(other)}
    for _, protocol, port in host_ports(pod):
        if (protocol, port) in taken:
            yield f"port {port}/{protocol} is taken"


def _short_of(pod: corev1.Pod, node: corev1.Node, others: Sequence[corev1.Pod]) -> Iterator[str]:
    allocatable = amounts(node.status.allocatable)
    for resource, amount in sorted({**requests(pod), "pods": 1}.items()):
        used = len(others) if resource == "pods" else sum(requests(one).get(resource, 0) for one in others)
        free = max(0, allocatable.get(resource, 0) - used)
        if amount > free:
            unit = "m" if resource == "cpu" else ""
            yield f"too little {resource}: {amount}{unit} asked for, {free}{unit} free"


def _tolerates(toleration: corev1.Toleration, taint: corev1.Taint) -> bool:
    if toleration.effect not in ("", taint.effect) or toleration.key not in ("", taint.key):
        return False
    return toleration.operator == "Exists" or (bool(toleration.key) and toleration.value == taint.value)
