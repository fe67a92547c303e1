"""How much a volume in memory may hold: what the Pod may use, and no more than the volume's own limit."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.quantity import memory_bytes


def memory_volume_bytes(pod: corev1.Pod, volume: corev1.Volume, node_bytes: int) -> int:
    """The smallest of the node's memory, the memory limit of the Pod and the size limit of the volume."""
    bounds = [node_bytes]
    if limit := pod_memory_limit(pod):
        bounds.append(limit)
    spec = volume.volume_source.empty_dir
    if spec.HasField("size_limit") and (size := memory_bytes(spec.size_limit)) > 0:
        bounds.append(size)
    return min(bounds)


def pod_memory_limit(pod: corev1.Pod) -> int:
    """The Pod's own limit, else what its containers may use together; 0 for no limit."""
    if "memory" in pod.spec.resources.limits:
        return memory_bytes(pod.spec.resources.limits["memory"])
    sidecars, peak = 0, 0
    for container in pod.spec.init_containers:
        own = _limit(container)
        if container.restart_policy == "Always":
            sidecars += own
            own = 0
        peak = max(peak, sidecars + own)
    return max(peak, sidecars + sum(_limit(container) for container in pod.spec.containers))


def _limit(container: corev1.Container) -> int:
    limits = container.resources.limits
    return memory_bytes(limits["memory"]) if "memory" in limits else 0
