"""Requests and limits as the runtime's cgroup settings."""

from collections.abc import Mapping, Sequence

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.pod_resources import amounts, requests
from navarch.services.kubelet.core.qos import oom_score_adj

PERIOD_US = 100_000
# The kernel refuses quotas below a millisecond and shares below two.
SMALLEST_QUOTA_US = 1_000
SMALLEST_SHARES = 2
LARGEST_SHARES = 262_144
SHARES_PER_CPU = 1024
HUGE_PAGES = "hugepages-"


def cpu_shares(millicores: int) -> int:
    """The weight of a CPU request."""
    return min(max(millicores * SHARES_PER_CPU // 1000, SMALLEST_SHARES), LARGEST_SHARES)


def cpu_quota_us(millicores: int) -> int:
    """Microseconds of CPU in each period; 0 for no limit."""
    return max(millicores * PERIOD_US // 1000, SMALLEST_QUOTA_US) if millicores else 0


def container_resources(
    pod: corev1.Pod, container: corev1.Container, node_memory_bytes: int, page_sizes: Sequence[str] = ()
) -> criv1.LinuxContainerResources:
    """The cgroup of one container. page_sizes: of huge pages; what it does not ask for it does not get."""
    none = {f"{HUGE_PAGES}{size}": 0 for size in page_sizes}
    limits, requests_ = {**none, **amounts(container.resources.limits)}, amounts(container.resources.requests)
    return _resources(
        requests_.get("cpu", limits.get("cpu", 0)), limits, oom_score_adj(pod, container, node_memory_bytes)
    )


def pod_resources(pod: corev1.Pod) -> criv1.LinuxContainerResources:
    """The Pod's cgroup: limited only where every container is, or where the Pod as a whole says so."""
    each = [amounts(container.resources.limits) for container in [*pod.spec.containers, *pod.spec.init_containers]]
    bare = corev1.Pod(spec=pod.spec)
    bare.spec.ClearField("resources")
    together = requests(bare, lambda container: amounts(container.resources.limits))
    limits = {name: together[name] for name in ("cpu", "memory") if each and all(one.get(name) for one in each)}
    overhead = amounts(pod.spec.overhead)
    for name, value in amounts(pod.spec.resources.limits).items():
        limits[name] = value + overhead.get(name, 0)
    return _resources(requests(pod).get("cpu", 0), limits, 0)


def _resources(cpu_request: int, limits: Mapping[str, int], oom_score: int) -> criv1.LinuxContainerResources:
    resources = criv1.LinuxContainerResources(
        cpu_period=PERIOD_US,
        cpu_quota=cpu_quota_us(limits.get("cpu", 0)),
        cpu_shares=cpu_shares(cpu_request),
        memory_limit_in_bytes=limits.get("memory", 0),
        oom_score_adj=oom_score,
    )
    for name, value in limits.items():
        if name.startswith(HUGE_PAGES):
            resources.hugepage_limits.add(page_size=name.removeprefix(HUGE_PAGES).replace("i", "B"), limit=value)
    return resources
