"""What of a container's resources is changed in place, as the runtime counts it (KEP-1287)."""

from collections.abc import Iterator
from dataclasses import dataclass

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.linux_resources import PERIOD_US, SHARES_PER_CPU, container_resources, pod_resources

RESTART = "RestartContainer"


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of one cgroup. Of the limits, 0 is none."""

    cpu_shares: int
    cpu_quota_us: int
    memory_limit_bytes: int

    def changed(self, wanted: "Sizes") -> Iterator[str]:
        """The resources in which the two differ."""
        if (self.cpu_shares, self.cpu_quota_us) != (wanted.cpu_shares, wanted.cpu_quota_us):
            yield "cpu"
        if self.memory_limit_bytes != wanted.memory_limit_bytes:
            yield "memory"

    def or_more(self, other: "Sizes") -> "Sizes":
        """What has room for both."""
        return Sizes(
            max(self.cpu_shares, other.cpu_shares),
            _larger(self.cpu_quota_us, other.cpu_quota_us),
            _larger(self.memory_limit_bytes, other.memory_limit_bytes),
        )

    def as_resources(self) -> criv1.LinuxContainerResources:
        """For the runtime."""
        return criv1.LinuxContainerResources(
            cpu_period=PERIOD_US,
            cpu_shares=self.cpu_shares,
            cpu_quota=self.cpu_quota_us or -1,
            memory_limit_in_bytes=self.memory_limit_bytes or -1,
        )

    def shown(self, granted: corev1.ResourceRequirements) -> corev1.ResourceRequirements:
        """These sizes as a status shows them, with what no cgroup tells taken from the resources granted."""
        shown = corev1.ResourceRequirements()
        shown.CopyFrom(granted)
        if "cpu" in shown.requests:
            millicores = -(-self.cpu_shares * 1000 // SHARES_PER_CPU)
            shown.requests["cpu"].string = f"{millicores}m"
        if "cpu" in shown.limits and self.cpu_quota_us:
            shown.limits["cpu"].string = f"{self.cpu_quota_us * 1000 // PERIOD_US}m"
        if "memory" in shown.limits and self.memory_limit_bytes:
            shown.limits["memory"].string = str(self.memory_limit_bytes)
        return shown


def sizes_of(resources: criv1.LinuxContainerResources) -> Sizes:
    """As a runtime tells them, or is told."""
    return Sizes(resources.cpu_shares, max(0, resources.cpu_quota), max(0, resources.memory_limit_in_bytes))


def container_sizes(pod: corev1.Pod, container: corev1.Container) -> Sizes:
    """What a container should have."""
    return sizes_of(container_resources(pod, container, node_memory_bytes=0))


def pod_sizes(pod: corev1.Pod) -> Sizes:
    """What the Pod's cgroup should have."""
    return sizes_of(pod_resources(pod))


def must_restart(container: corev1.Container, changed: Iterator[str]) -> bool:
    """Whether a container gets these resources by a restart only."""
    policies = {policy.resource_name: policy.restart_policy for policy in container.resize_policy}
    return any(policies.get(resource) == RESTART for resource in changed)


def _larger(one: int, other: int) -> int:
    return max(one, other) if one and other else 0
