"""Which Pod goes first when something runs short, and what is said of it. Pure.

Memory and disk: first those that use more than they asked for, then those of lower priority, then those that use the
most above their request. Processes: lower priority, then the most processes. A Pod of which nothing is known goes
before all others, since it may be the one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.pod_resources import amounts, requests
from navarch.services.api.quantity import Quantity
from navarch.services.kubelet.core.eviction_signals import (
    INODE_SIGNALS,
    MEMORY_SIGNALS,
    Observations,
    Signal,
    resource_of,
    shown,
    shown_bytes,
)
from navarch.services.kubelet.core.eviction_thresholds import Threshold

STORAGE = "ephemeral-storage"


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Bytes and inodes."""

    bytes: int = 0
    inodes: int = 0

    def __add__(self, other: "DiskUse") -> "DiskUse":
        return DiskUse(self.bytes + other.bytes, self.inodes + other.inodes)


NOTHING = DiskUse()


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """One running container. files: its writable layer; logs: with those that were set aside."""

    name: str
    memory_bytes: int = 0
    files: DiskUse = NOTHING
    logs: DiskUse = NOTHING


@dataclass(frozen=True, slots=True)
class PodUsage:
    """One Pod. volumes: those on the node's disk that go with the Pod; in_memory: emptyDirs that are not."""

    memory_bytes: int = 0
    processes: int = 0
    containers: Sequence[ContainerUsage] = ()
    volumes: Mapping[str, DiskUse] | None = None
    in_memory: Mapping[str, DiskUse] | None = None

    def disk(self, signal: Signal, *, image_disk: bool) -> DiskUse:
        """What it takes of the disk that a signal is about. image_disk: containers' files have one of their own."""
        on_node = image_disk and signal in (Signal.NODE_FS, Signal.NODE_FS_INODES)
        on_image = image_disk and not on_node
        total = NOTHING
        for one in self.containers:
            total += NOTHING if on_node else one.files
            total += NOTHING if on_image else one.logs
        for use in () if on_image else (self.volumes or {}).values():
            total += use
        return total

    @property
    def ephemeral(self) -> DiskUse:
        """Everything on disk that goes with the Pod."""
        return self.disk(Signal.CONTAINER_FS, image_disk=False)


Usages = Mapping[str, PodUsage]


def ranked(pods: Iterable[corev1.Pod], usages: Usages, signal: Signal, *, image_disk: bool) -> list[corev1.Pod]:
    """The Pods in the order in which they are to go. usages: by uid."""

    def key(pod: corev1.Pod) -> tuple[bool, bool, int, int]:
        usage = usages.get(pod.metadata.uid)
        if usage is None:
            return (False, False, pod.spec.priority, 0)
        if signal is Signal.PID:
            return (True, False, pod.spec.priority, -usage.processes)
        used, asked = _used_and_asked(pod, usage, signal, image_disk)
        above = used - (requests(pod).get(STORAGE, 0) if signal in INODE_SIGNALS else asked)
        return (True, used <= asked, pod.spec.priority, -above)

    return sorted(pods, key=key)


def _used_and_asked(pod: corev1.Pod, usage: PodUsage, signal: Signal, image_disk: bool) -> tuple[int, int]:
    if signal in MEMORY_SIGNALS:
        return usage.memory_bytes, requests(pod).get("memory", 0)
    disk = usage.disk(signal, image_disk=image_disk)
    return (disk.inodes, 0) if signal in INODE_SIGNALS else (disk.bytes, requests(pod).get(STORAGE, 0))


def low_message(
    pod: corev1.Pod, usage: PodUsage | None, signal: Signal, low: Iterable[Threshold], observations: Observations
) -> str:
    """Why this Pod had to go."""
    resource = resource_of(signal)
    message = f"The node was low on resource: {resource}. "
    met = next((one for one in low if resource_of(one.signal) == resource and one.signal in observations), None)
    if met is not None:
        seen = observations[met.signal]
        limit = shown(met.signal, met.amount.of(seen.capacity))
        message += f"Threshold quantity: {limit}, available: {shown(met.signal, seen.available)}. "
    if usage is None or resource not in ("memory", STORAGE):
        return message
    if resource == "memory" and "memory" in pod.spec.resources.requests:
        asked = pod.spec.resources.requests["memory"].string
        message += _consumption("Pod", pod.metadata.name, usage.memory_bytes, asked, resource)
    specs = {one.name: one for one in [*pod.spec.containers, *pod.spec.init_containers]}
    for one in usage.containers:
        if (spec := specs.get(one.name)) is None:
            continue
        used = one.memory_bytes if resource == "memory" else (one.files + one.logs).bytes
        if used > amounts(spec.resources.requests).get(resource, 0):
            asked = spec.resources.requests[resource].string if resource in spec.resources.requests else "0"
            message += _consumption("Container", one.name, used, asked, resource)
    return message


def _consumption(what: str, name: str, used: int, asked: str, resource: str) -> str:
    request = str(Quantity.parse(asked))
    return f"{what} {name} was using {shown_bytes(used)}, request is {request}, has larger consumption of {resource}. "


def over_limit_message(pod: corev1.Pod, usage: PodUsage, *, image_disk: bool) -> str:
    """Which limit of its own the Pod's files exceed; "" when none."""
    return (
        _volume_over_limit(pod, usage) or _pod_over_limit(pod, usage) or _container_over_limit(pod, usage, image_disk)
    )


def limit_signal(message: str) -> str:
    """Of which sort the limit is that a message of `over_limit_message` is about, as the kubelet's metrics call it."""
    if message.startswith("Usage of EmptyDir"):
        return "emptydirfs.limit"
    return "ephemeralpodfs.limit" if message.startswith("Pod ") else "ephemeralcontainerfs.limit"


def has_limits(pod: corev1.Pod) -> bool:
    """Whether the Pod has limits on its files at all."""
    return any(volume.volume_source.empty_dir.HasField("size_limit") for volume in pod.spec.volumes) or any(
        STORAGE in container.resources.limits for container in [*pod.spec.containers, *pod.spec.init_containers]
    )


def _volume_over_limit(pod: corev1.Pod, usage: PodUsage) -> str:
    uses = {**(usage.volumes or {}), **(usage.in_memory or {})}
    for volume in pod.spec.volumes:
        source = volume.volume_source
        if not source.HasField("empty_dir") or not source.empty_dir.HasField("size_limit") or volume.name not in uses:
            continue
        limit = Quantity.of(source.empty_dir.size_limit)
        if limit.nanos > 0 and uses[volume.name].bytes > limit.value():
            return f'Usage of EmptyDir volume "{volume.name}" exceeds the limit "{limit}". '
    return ""


def _pod_over_limit(pod: corev1.Pod, usage: PodUsage) -> str:
    limits = [one.resources.limits[STORAGE] for one in pod.spec.containers if STORAGE in one.resources.limits]
    if not limits:
        return ""
    total = sum((Quantity.of(limit) for limit in limits[1:]), Quantity.of(limits[0]))
    if usage.ephemeral.bytes <= total.value():
        return ""
    return f"Pod ephemeral local storage usage exceeds the total limit of containers {total}. "


def _container_over_limit(pod: corev1.Pod, usage: PodUsage, image_disk: bool) -> str:
    limits = {one.name: one.resources.limits for one in pod.spec.containers if STORAGE in one.resources.limits}
    for one in usage.containers:
        if one.name not in limits:
            continue
        limit = Quantity.of(limits[one.name][STORAGE])
        used = one.logs if image_disk else one.logs + one.files
        if limit and used.bytes > limit.value():
            return f'Container {one.name} exceeded its local ephemeral storage limit "{limit}". '
    return ""
