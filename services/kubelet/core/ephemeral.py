"""Ephemeral containers: added to a running Pod to look into it, run once, never restarted."""

from navarch.protos.k8s.core import v1_pb2 as corev1


def as_container(ephemeral: corev1.EphemeralContainer) -> corev1.Container:
    """As any other container: the two messages share their field numbers."""
    return corev1.Container.FromString(ephemeral.ephemeral_container_common.SerializeToString())


def ephemeral_containers(pod: corev1.Pod) -> list[corev1.Container]:
    """Those of a Pod, in its order."""
    return [as_container(one) for one in pod.spec.ephemeral_containers]


def target_of(pod: corev1.Pod, name: str) -> str:
    """The container whose processes an ephemeral container shares; "" for none, or no ephemeral container."""
    found = (one for one in pod.spec.ephemeral_containers if one.ephemeral_container_common.name == name)
    return next((one.target_container_name for one in found), "")
