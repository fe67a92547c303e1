"""The resources that the node has granted a Pod, while its spec asks for others (KEP-1287)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.pod_resources import amounts, requests
from navarch.services.kubelet.core.restart import is_sidecar
from navarch.services.kubelet.core.static_pods import is_static

RESIZABLE = ("cpu", "memory")
DEFERRED, INFEASIBLE = "Deferred", "Infeasible"


@dataclass(frozen=True, slots=True)
class Pending:
    """Why a resize has not been granted: for now (Deferred), or on this node at all (Infeasible)."""

    reason: str
    message: str


def with_granted(pod: corev1.Pod, granted: corev1.Pod) -> corev1.Pod:
    """The Pod with the resources of `granted`, which is an earlier state of it; itself where they are the same."""
    before = {container.name: container.resources for container in _resizable(granted)}
    if all(_same(container.resources, before.get(container.name)) for container in _resizable(pod)):
        return pod
    held = corev1.Pod()
    held.CopyFrom(pod)
    for container in _resizable(held):
        if container.name in before:
            container.resources.CopyFrom(before[container.name])
    return held


def with_reported(pod: corev1.Pod) -> corev1.Pod:
    """The Pod with the resources that its status tells: those granted before a restart of the kubelet."""
    before = corev1.Pod()
    before.CopyFrom(pod)
    known = {one.name: one for one in [*pod.status.container_statuses, *pod.status.init_container_statuses]}
    for container in _resizable(before):
        status = known.get(container.name)
        if status is None or not status.HasField("resources"):
            continue
        container.resources.CopyFrom(status.resources)
        for name, quantity in status.allocated_resources.items():
            container.resources.requests[name].CopyFrom(quantity)
    return with_granted(pod, before)


def judge(pod: corev1.Pod, node: corev1.Node, others: Iterable[corev1.Pod]) -> Pending | None:
    """Whether the node can give a running Pod what it asks for now; None if so. others: who uses the node too."""
    if is_static(pod):
        return Pending(INFEASIBLE, "In-place resize of static-pods is not supported")
    allocatable, wanted = amounts(node.status.allocatable), requests(pod)
    asked = [(resource, wanted.get(resource, 0), allocatable.get(resource, 0)) for resource in RESIZABLE]
    for resource, amount, capacity in asked:
        if amount > capacity:
            text = f"Node didn't have enough capacity: {resource}, requested: {amount}, capacity: {capacity}"
            return Pending(INFEASIBLE, text)
    taken = [requests(other) for other in others]
    for resource, amount, capacity in asked:
        used = sum(other.get(resource, 0) for other in taken)
        if used + amount > capacity:
            text = f"requested: {amount}, used: {used}, capacity: {capacity}"
            return Pending(DEFERRED, f"Node didn't have enough resource: {resource}, {text}")
    return None


def _resizable(pod: corev1.Pod) -> Iterator[corev1.Container]:
    yield from pod.spec.containers
    yield from filter(is_sidecar, pod.spec.init_containers)


def _same(now: corev1.ResourceRequirements, before: corev1.ResourceRequirements | None) -> bool:
    if before is None or now == before:
        return True
    return amounts(now.requests) == amounts(before.requests) and amounts(now.limits) == amounts(before.limits)
