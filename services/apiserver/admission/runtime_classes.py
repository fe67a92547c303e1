"""What a Pod's RuntimeClass adds to it: the overhead of its sandbox, and where Pods of that class run (KEP-688)."""

from typing import TYPE_CHECKING

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.node import v1_pb2 as nodev1
from navarch.services.api.errors import Forbidden
from navarch.services.api.kinds import KINDS
from navarch.services.api.pod_resources import amounts

if TYPE_CHECKING:
    from navarch.services.apiserver.registry.core import Core

POD = KINDS.of(corev1.Pod)
CLASS = KINDS.of(nodev1.RuntimeClass)


async def settle_runtime_class(core: "Core", pod: corev1.Pod) -> None:
    """Write into the Pod what its class says. Raises Forbidden for an unknown class, and for what contradicts it."""
    found = nodev1.RuntimeClass()
    if name := pod.spec.runtime_class_name:
        stored = await core.storage.get(CLASS, "", name)
        if stored is None:
            raise _rejected(pod, f'RuntimeClass "{name}" not found')
        found = stored.decode()
    _settle_overhead(pod, found)
    _settle_scheduling(pod, found)


def _settle_overhead(pod: corev1.Pod, found: nodev1.RuntimeClass) -> None:
    said = amounts(pod.spec.overhead)
    if not found.HasField("overhead"):
        if said:
            raise _rejected(pod, "Pod Overhead set without corresponding RuntimeClass defined Overhead")
        return
    if said and said != amounts(found.overhead.pod_fixed):
        raise _rejected(pod, "Pod's Overhead doesn't match RuntimeClass's defined Overhead")
    for resource, amount in found.overhead.pod_fixed.items():
        pod.spec.overhead[resource].CopyFrom(amount)


def _settle_scheduling(pod: corev1.Pod, found: nodev1.RuntimeClass) -> None:
    for key, value in found.scheduling.node_selector.items():
        said = pod.spec.node_selector.setdefault(key, value)
        if said != value:
            entry = f"nodeSelector[{key}]"
            raise _rejected(pod, f"conflict: runtimeClass.scheduling.{entry} = {value}; pod.spec.{entry} = {said}")
    for toleration in found.scheduling.tolerations:
        if toleration not in pod.spec.tolerations:
            pod.spec.tolerations.append(toleration)


def _rejected(pod: corev1.Pod, detail: str) -> Forbidden:
    return Forbidden(POD, pod.metadata.name, f"pod rejected: {detail}")
