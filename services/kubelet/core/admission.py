"""Whether the node takes a Pod that was bound to it: the scheduler may not have known, or was bypassed.

What is refused first is what the Pod's status tells: the order is that of Kubernetes.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.node_selection import matches_pod_affinity, tolerates
from navarch.services.api.pod_resources import amounts, host_ports, requests
from navarch.services.api.validation.resources import is_extended
from navarch.services.kubelet.core.events_text import REJECTED
from navarch.services.kubelet.core.orders import Admitted, Rejected
from navarch.services.kubelet.core.pressure import is_critical
from navarch.services.kubelet.core.static_pods import is_static

ANY_ADDRESS = "0.0.0.0"
OS_LABEL = "kubernetes.io/os"
# The refusal that a look at the newest Node may change.
NODE_AFFINITY = "NodeAffinity"
# In which order resources are looked at; then all others.
RANK = {"pods": 0, "cpu": 1, "memory": 2, "ephemeral-storage": 3}


@dataclass(frozen=True, slots=True)
class ShortOfResources(Rejected):
    """The node has too little for the Pod, and nothing else is against it. missing: how much too little, of what."""

    missing: Mapping[str, int]


def admit(
    pod: corev1.Pod, node: corev1.Node, others: Iterable[corev1.Pod], devices: Collection[str] = ()
) -> Admitted | Rejected:
    """Judge a Pod. others: the Pods that use the node now; devices: the resources that plugins count themselves."""
    others = list(others)
    if (refusal := _os(pod) or _groups(pod, node)) is not None:
        return refusal
    short = _resources(pod, node, others, devices)
    other = _affinity(pod, node) or _ports(pod, others) or _taints(pod, node)
    if short is None or other is None:
        return short or other or Admitted()
    # Room does not help it, so that a critical one is told what would.
    return other if is_critical(pod) else Rejected(short.reason, short.message)


def _rejected(reason: str, message: str) -> Rejected:
    return Rejected(reason, f"{REJECTED}{message}")


def _predicate(name: str, message: str) -> Rejected:
    return _rejected(name, f"Predicate {name} failed: {message}")


def _os(pod: corev1.Pod) -> Rejected | None:
    if pod.metadata.labels.get(OS_LABEL, "linux") != "linux":
        return _rejected(
            "PodOSSelectorNodeLabelDoesNotMatch",
            f"Failed to admit pod as the `{OS_LABEL}` label doesn't match node label",
        )
    if pod.spec.os.name in ("", "linux"):
        return None
    return _rejected("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")


def _groups(pod: corev1.Pod, node: corev1.Node) -> Rejected | None:
    policy = pod.spec.security_context.supplemental_groups_policy
    if policy != "Strict" or node.status.features.supplemental_groups_policy:
        return None
    return _rejected(
        "SupplementalGroupsPolicyNotSupported", f"SupplementalGroupsPolicy={policy} is not supported in this node"
    )


def _affinity(pod: corev1.Pod, node: corev1.Node) -> Rejected | None:
    if matches_pod_affinity(pod, node):
        return None
    return _predicate(NODE_AFFINITY, "node(s) didn't match Pod's node affinity/selector")


def _taints(pod: corev1.Pod, node: corev1.Node) -> Rejected | None:
    """Of a taint that only forbids scheduling the scheduler takes care, and who bypasses it means to."""
    evicting = [taint for taint in node.spec.taints if taint.effect == "NoExecute"]
    if is_static(pod) or all(tolerates(pod.spec.tolerations, taint) for taint in evicting):
        return None
    return _predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate")


def _ports(pod: corev1.Pod, others: list[corev1.Pod]) -> Rejected | None:
    wanted = list(host_ports(pod))
    taken = {port for other in others for port in host_ports(other)} if wanted else set()
    for ip, protocol, port in wanted:
        for other_ip, other_protocol, other_port in taken:
            same_address = ip == other_ip or ANY_ADDRESS in (ip, other_ip)
            if same_address and (protocol, port) == (other_protocol, other_port):
                return _predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports")
    return None


def _resources(
    pod: corev1.Pod, node: corev1.Node, others: list[corev1.Pod], devices: Collection[str]
) -> ShortOfResources | None:
    allocatable = amounts(node.status.allocatable)
    held = [claims(other) for other in others]
    missing: dict[str, int] = {}
    messages: dict[str, str] = {}
    for resource, amount in sorted(claims(pod).items(), key=lambda one: (RANK.get(one[0], len(RANK)), one[0])):
        if resource in devices or (is_extended(resource) and resource not in allocatable):
            # Others look after what the node knows nothing of: the scheduler, or an extender of it.
            continue
        used = sum(one.get(resource, 0) for one in held)
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
