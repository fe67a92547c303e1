"""Readings as the messages of the summary. Pure."""

from google.protobuf.message import Message

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.navarch import stats_pb2
from navarch.services.kubelet.stats.groups import GroupUse

Usage = stats_pb2.PodUsage | stats_pb2.ContainerUsage
DISK_FIELDS = ("available_bytes", "capacity_bytes", "used_bytes", "inodes_free", "inodes", "inodes_used")


def add_group(usage: Usage, group: GroupUse) -> None:
    """CPU, memory, swap and waits of a control group."""
    usage.cpu.usage_core_nano_seconds = group.cpu_ns
    memory = usage.memory
    memory.usage_bytes, memory.working_set_bytes = group.memory_bytes, group.working_set_bytes
    memory.rss_bytes = group.rss_bytes
    memory.page_faults, memory.major_page_faults = group.page_faults, group.major_page_faults
    if group.memory_limit_bytes is not None:
        memory.available_bytes = max(0, group.memory_limit_bytes - group.working_set_bytes)
    usage.swap.swap_usage_bytes = group.swap_bytes
    if group.swap_limit_bytes is not None:
        usage.swap.swap_available_bytes = max(0, group.swap_limit_bytes - group.swap_bytes)
    for name, pressure in group.pressures.items():
        getattr(usage, name).psi.CopyFrom(pressure)


def add_stats(usage: Usage, stats: criv1.ContainerStats) -> None:
    """CPU, memory and swap as the runtime tells them: for containers whose group is not to be found."""
    usage.cpu.usage_core_nano_seconds = stats.cpu.usage_core_nano_seconds.value
    names = ("available_bytes", "usage_bytes", "working_set_bytes", "rss_bytes", "page_faults", "major_page_faults")
    for name in names:
        if stats.memory.HasField(name):
            setattr(usage.memory, name, getattr(stats.memory, name).value)
    for name in ("swap_available_bytes", "swap_usage_bytes"):
        if stats.swap.HasField(name):
            setattr(usage.swap, name, getattr(stats.swap, name).value)


def add_sum(usage: stats_pb2.PodUsage) -> None:
    """CPU and memory of a Pod without a group of its own: of its containers together."""
    usage.cpu.usage_core_nano_seconds = sum(one.cpu.usage_core_nano_seconds for one in usage.containers)
    for name in ("usage_bytes", "working_set_bytes", "rss_bytes", "page_faults", "major_page_faults"):
        setattr(usage.memory, name, sum(getattr(one.memory, name) for one in usage.containers))


def layer(stats: criv1.FilesystemUsage, disk: stats_pb2.FsUsage) -> stats_pb2.FsUsage:
    """A part of a disk that the runtime has measured: a container's writable layer, the images."""
    usage = within(disk)
    usage.used_bytes = stats.used_bytes.value
    if stats.HasField("inodes_used"):
        usage.inodes_used = stats.inodes_used.value
    return usage


def within(disk: stats_pb2.FsUsage) -> stats_pb2.FsUsage:
    """What is left of a disk, for something that is on it."""
    usage = stats_pb2.FsUsage()
    usage.CopyFrom(disk)
    usage.ClearField("used_bytes")
    usage.ClearField("inodes_used")
    return usage


def volume(name: str, usage: stats_pb2.FsUsage, claim: str, namespace: str) -> stats_pb2.VolumeUsage:
    """A volume. claim: "" for one that was not had by a claim."""
    found = stats_pb2.VolumeUsage(name=name)
    for field in DISK_FIELDS:
        if usage.HasField(field):
            setattr(found, field, getattr(usage, field))
    if claim:
        found.pvc_ref.name, found.pvc_ref.namespace = claim, namespace
    return found


def add_ephemeral(usage: stats_pb2.PodUsage, pod: corev1.Pod, disk: stats_pb2.FsUsage) -> None:
    """What goes with the Pod and lies on the node's own disk."""
    local = {one.name for one in pod.spec.volumes if _is_local(one.volume_source)}
    parts: list[stats_pb2.FsUsage | stats_pb2.VolumeUsage] = [one for one in usage.volume if one.name in local]
    parts += [part for one in usage.containers for part in (one.rootfs, one.logs)]
    usage.ephemeral_storage.CopyFrom(within(disk))
    usage.ephemeral_storage.used_bytes = sum(part.used_bytes for part in parts)
    usage.ephemeral_storage.inodes_used = sum(part.inodes_used for part in parts)


def _is_local(source: corev1.VolumeSource) -> bool:
    return source.HasField("config_map") or (source.HasField("empty_dir") and not source.empty_dir.medium)


def stamp(message: Message, time: metav1.Time) -> None:
    """Write when the figures were taken into all of them that say so."""
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.full_name.startswith("navarch."):
            for part in value if field.is_repeated else (value,):
                stamp(part, time)
    if "time" in message.DESCRIPTOR.fields_by_name:
        message.time.CopyFrom(time)  # type: ignore[attr-defined]


def light(summary: stats_pb2.Summary) -> stats_pb2.Summary:
    """Only CPU and memory, as `only_cpu_and_memory` asks for them."""
    answer = stats_pb2.Summary()
    node = summary.node
    answer.node.CopyFrom(stats_pb2.NodeUsage(node_name=node.node_name, start_time=node.start_time))
    answer.node.cpu.CopyFrom(node.cpu)
    answer.node.memory.CopyFrom(node.memory)
    answer.node.system_containers.extend(map(_light, node.system_containers))
    for pod in summary.pods:
        added = answer.pods.add(pod_ref=pod.pod_ref, start_time=pod.start_time)
        added.cpu.CopyFrom(pod.cpu)
        added.memory.CopyFrom(pod.memory)
        added.containers.extend(map(_light, pod.containers))
    return answer


def _light(one: stats_pb2.ContainerUsage) -> stats_pb2.ContainerUsage:
    return stats_pb2.ContainerUsage(name=one.name, start_time=one.start_time, cpu=one.cpu, memory=one.memory)
