"""What a node has and uses, as rows of tables. Pure."""

from collections.abc import Iterable

from navarch.protos.navarch import node_pb2, stats_pb2
from navarch.services.api.meta import human_duration, unix

NONE = "<none>"
NANOS = 1_000_000
MIB = 1 << 20
IMAGES = ["IMAGE", "ID", "SIZE", "USED BY", "LAST USED"]
USAGE = ["NAMESPACE", "POD", "CPU", "MEMORY", "DISK"]
OF_CONTAINERS = ["NAMESPACE", "POD", "CONTAINER", "CPU", "MEMORY", "DISK"]
ID_SHOWN = 12


def image_rows(images: Iterable[node_pb2.NodeImage], now: float, *, wide: bool) -> list[list[str]]:
    """One row for each image, by IMAGES; wide: with all names and users."""
    rows = []
    for one in images:
        names = [*one.tags, *one.digests] or [NONE]
        id_ = one.id if wide else one.id.rpartition(":")[2][:ID_SHOWN]
        users = ",".join(one.used_by) if wide else str(len(one.used_by))
        used = f"{human_duration(now - unix(one.last_used))} ago" if one.HasField("last_used") else NONE
        rows.append([",".join(names) if wide else names[0], id_, f"{one.size_bytes / MIB:.1f}Mi", users or NONE, used])
    return rows


def usage_rows(summary: stats_pb2.Summary) -> list[list[str]]:
    """The node, then each Pod, by USAGE."""
    node = summary.node
    rows = [["", NODE_TOTAL, _cpu(node.cpu), _memory(node.memory), _disk(node.fs)]]
    for pod in _sorted(summary):
        of = pod.pod_ref
        rows.append([of.namespace, of.name, _cpu(pod.cpu), _memory(pod.memory), _disk(pod.ephemeral_storage)])
    return rows


NODE_TOTAL = "(the node)"


def container_rows(summary: stats_pb2.Summary) -> list[list[str]]:
    """Each container, by OF_CONTAINERS."""
    return [
        [pod.pod_ref.namespace, pod.pod_ref.name, one.name, _cpu(one.cpu), _memory(one.memory), _disk(one.rootfs)]
        for pod in _sorted(summary)
        for one in pod.containers
    ]


def _sorted(summary: stats_pb2.Summary) -> list[stats_pb2.PodUsage]:
    return sorted(summary.pods, key=lambda pod: (pod.pod_ref.namespace, pod.pod_ref.name))


def _cpu(usage: stats_pb2.CpuUsage) -> str:
    return f"{usage.usage_nano_cores // NANOS}m" if usage.HasField("usage_nano_cores") else NONE


def _memory(usage: stats_pb2.MemoryUsage) -> str:
    return f"{usage.working_set_bytes // MIB}Mi" if usage.HasField("working_set_bytes") else NONE


def _disk(usage: stats_pb2.FsUsage) -> str:
    return f"{usage.used_bytes // MIB}Mi" if usage.HasField("used_bytes") else NONE
