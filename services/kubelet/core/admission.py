"""Whether the node takes a Pod that was bound to it: the scheduler may not have known, or was bypassed."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.pod_resources import amounts, host_ports, requests
from navarch.services.api.validation.resources import is_extended
from navarch.services.kubelet.core.orders import Admitted, Rejected

ANY_ADDRESS = "0.0.0.0"


@dataclass(frozen=True, slots=True)
class ShortOfResources(Rejected):
    """The node has too little for the Pod, and nothing else is against it. missing: how much too little, of what."""

    missing: Mapping[str, int]


def admit(
    pod: corev1.Pod, node: corev1.Node, others: Iterable[corev1.Pod], devices: Collection[str] = ()
) -> Admitted | Rejected:
    """Judge a Pod. others: the Pods that use the node now; devices: the resources that plugins count themselves."""
    others = list(others)
    return (
        _os(pod) or _selector(pod, node) or _ports(pod, others) or _resources(pod, node, others, devices) or Admitted()
    )


def _rejected(reason: str, message: str) -> Rejected:
    return Rejected(reason, f"Pod was rejected: {message}")


def _os(pod: corev1.Pod) -> Rejected | None:
    if pod.spec.os.name in ("", "linux"):
        return None
    return _rejected("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")


def _selector(pod: corev1.Pod, node: corev1.Node) -> Rejected | None:
    labels = node.metadata.labels
    if all(labels.get(key) == value for key, value in pod.spec.node_selector.items()):
        return None
    return _rejected("NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector")


def _ports(pod: corev1.Pod, others: list[corev1.Pod]) -> Rejected | None:
    wanted = list(host_ports(pod))
    taken = {port for other in others for port in host_ports(other)} if wanted else set()
    for ip, protocol, port in wanted:
        for other_ip, other_protocol, other_port in taken:
            same_address = ip == other_ip or ANY_ADDRESS in (ip, other_ip)
            if same_address and (protocol, port) == (other_protocol, other_port):
                return _rejected(
                    "NodePorts",
                    "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
                )
    return None


def _resources(
    pod: corev1.Pod, node: corev1.Node, others: list[corev1.Pod], devices: Collection[str]
) -> ShortOfResources | None:
    allocatable = amounts(node.status.allocatable)
    missing: dict[str, int] = {}
    messages: dict[str, str] = {}
    for resource, amount in sorted(claims(pod).items()):
        if resource in devices or (is_extended(resource) and resource not in allocatable):
            # Others look after what the node knows nothing of: the scheduler, or an extender of it.
            continue
        used = sum(claims(other).get(resource, 0) for other in others)
        capacity = allocatable.get(resource, 0)
        if used + amount > capacity:
            missing[resource] = used + amount - capacity
            messages[resource] = f"requested: {amount}, used: {used}, capacity: {capacity}"
    for resource, message in messages.items():
        refusal = _rejected(f"OutOf{resource}", f"Node didn't have enough resource: {resource}, {message}")
        return ShortOfResources(refusal.reason, refusal.message, missing)
    return None


def claims(pod: corev1.Pod) -> dict[str, int]:
    """What a Pod takes of the node's allocatable: its requests, and the place of one Pod."""
    return {**requests(pod), "pods": 1}
