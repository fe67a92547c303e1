"""What is written to the control groups of Pods, of their classes, and of the node, as files of version 1 and 2.

Source: the kernel's documentation of both versions; KEP-2254 for the weight that shares become; KEP-2837 for the
resources of a Pod as a whole.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.pod_resources import requests
from navarch.services.kubelet.core.cgroup_names import CLASSES
from navarch.services.kubelet.core.linux_resources import (
    LARGEST_SHARES,
    PERIOD_US,
    SMALLEST_SHARES,
    cpu_shares,
    pod_resources,
)
from navarch.services.kubelet.core.qos import BURSTABLE, qos_class
from navarch.services.kubelet.core.sizes import Sizes, sizes_of

UNLIMITED = -1
LARGEST_WEIGHT = 10_000


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """Of one group. None is left as it is, UNLIMITED is no limit.

    cpu_quota_us: in each `PERIOD_US`. pids: how many processes and threads. hugepages: bytes by size, "2MB".
    """

    cpu_shares: int | None = None
    cpu_quota_us: int | None = None
    memory_bytes: int | None = None
    pids: int | None = None
    hugepages: Mapping[str, int] = field(default_factory=dict)


def pod_settings(pod: corev1.Pod, pids: int = UNLIMITED) -> GroupSettings:
    """A Pod's group. pids: how many processes each Pod may have."""
    resources = pod_resources(pod)
    return sized(sizes_of(resources), pids, resources)


def sized(
    sizes: Sizes, pids: int | None = None, resources: criv1.LinuxContainerResources | None = None
) -> GroupSettings:
    """A Pod's group of these sizes. resources: where its huge pages are from."""
    pages = resources.hugepage_limits if resources is not None else ()
    return GroupSettings(
        sizes.cpu_shares,
        sizes.cpu_quota_us or UNLIMITED,
        sizes.memory_limit_bytes or UNLIMITED,
        pids,
        {limit.page_size: limit.limit for limit in pages},
    )


def class_settings(pods: Iterable[corev1.Pod]) -> dict[str, GroupSettings]:
    """The groups of the classes: Burstable Pods together have the CPU that they ask for, BestEffort ones the least."""
    asked = sum(requests(pod).get("cpu", 0) for pod in pods if qos_class(pod) == BURSTABLE)
    return {class_: GroupSettings(cpu_shares(asked if class_ == BURSTABLE else 0)) for class_ in CLASSES}


def weight(shares: int) -> int:
    """Version 2's weight for version 1's shares."""
    scale = LARGEST_SHARES - SMALLEST_SHARES
    return 1 + (min(max(shares, SMALLEST_SHARES), LARGEST_SHARES) - SMALLEST_SHARES) * (LARGEST_WEIGHT - 1) // scale


def files(settings: GroupSettings, *, unified: bool) -> dict[str, str]:
    """Contents by file, in the order in which they are to be written; unified: of version 2.

    In version 1 a file's name begins with the controller in whose tree it is: "cpu/cpu.shares".
    """
    return _v2(settings) if unified else _v1(settings)


def _v1(settings: GroupSettings) -> dict[str, str]:
    found: dict[str, str] = {}
    if settings.cpu_shares is not None:
        found["cpu/cpu.shares"] = str(settings.cpu_shares)
    if settings.cpu_quota_us is not None:
        found["cpu/cpu.cfs_period_us"] = str(PERIOD_US)
        found["cpu/cpu.cfs_quota_us"] = str(settings.cpu_quota_us)
    if settings.memory_bytes is not None:
        found["memory/memory.limit_in_bytes"] = str(settings.memory_bytes)
    if settings.pids is not None:
        found["pids/pids.max"] = _or_max(settings.pids)
    for size, limit in settings.hugepages.items():
        found[f"hugetlb/hugetlb.{size}.limit_in_bytes"] = str(limit)
    return found


def _v2(settings: GroupSettings) -> dict[str, str]:
    found: dict[str, str] = {}
    if settings.cpu_shares is not None:
        found["cpu.weight"] = str(weight(settings.cpu_shares))
    if settings.cpu_quota_us is not None:
        found["cpu.max"] = f"{_or_max(settings.cpu_quota_us)} {PERIOD_US}"
    if settings.memory_bytes is not None:
        found["memory.max"] = _or_max(settings.memory_bytes)
    if settings.pids is not None:
        found["pids.max"] = _or_max(settings.pids)
    for size, limit in settings.hugepages.items():
        found[f"hugetlb.{size}.max"] = str(limit)
    return found


def _or_max(limit: int) -> str:
    return str(limit) if limit != UNLIMITED else "max"
