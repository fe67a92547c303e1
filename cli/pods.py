"""The Pods and containers that ``logs`` and ``exec`` mean."""

import sys
from collections.abc import Sequence

from navarch.cli.errors import UsageError
from navarch.cli.session import Session
from navarch.cli.targets import Target
from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.labels import Selector

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


async def pods_of(session: Session, target: Target) -> Sequence[corev1.Pod]:
    """The Pods behind an object, the best one to look at first. Raises UsageError where there are none."""
    if target.kind.kind == "Pod":
        return [await session.client.get(corev1.Pod, target.name, target.namespace)]
    owner = await session.client.get(target.cls, target.name, target.namespace)
    match owner:
        case corev1.Service():
            selector = Selector.from_labels(owner.spec.selector)
        case appsv1.Deployment() | appsv1.ReplicaSet() | appsv1.StatefulSet() | appsv1.DaemonSet():
            selector = Selector.of(owner.spec.selector)
        case _:
            raise UsageError(f"{target} has no Pods of its own; name a pod, deployment, replicaset or service")
    found = (await session.client.list(corev1.Pod, target.namespace, label_selector=str(selector))).items
    if not found:
        raise UsageError(f"{target} has no Pods now. Why: navarch describe {target} -n {target.namespace}")
    return sorted(found, key=lambda pod: (pod.status.phase != "Running", pod.metadata.name))


def container_names(pod: corev1.Pod) -> list[str]:
    """All containers, those that run first before the others."""
    spec = pod.spec
    return [one.name for one in [*spec.init_containers, *spec.containers]]


def choose_container(pod: corev1.Pod, chosen: str) -> str:
    """The container that is meant; says so where the Pod has others. Raises UsageError."""
    names = container_names(pod)
    if chosen:
        if chosen not in names:
            raise UsageError(f"container {chosen} is not valid for pod {pod.metadata.name}; it has {', '.join(names)}")
        return chosen
    default = pod.metadata.annotations.get(DEFAULT_CONTAINER, "")
    if default not in names:
        default = pod.spec.containers[0].name
        if len(names) > 1:
            print(f'Defaulted container "{default}" out of: {", ".join(names)}', file=sys.stderr)
    return default
