"""NodeStatus from what was read of host and runtime: pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import find_condition, time_from
from navarch.services.kubelet.node.host import Host, Load

VERSION = "v1.36.2"
# Below these the node reports pressure; they are also kept out of what Pods may use.
MEMORY_RESERVE_BYTES = 100 * 1024 * 1024
DISK_RESERVE_SHARE = 10
INODES_RESERVE_SHARE = 20
PROCESSES_RESERVE_SHARE = 50
IMAGES_REPORTED = 50


@dataclass(frozen=True, slots=True)
class Reservations:
    """What is kept from Pods for the host itself."""

    cpu_millicores: int = 0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """Everything a node's status is made of."""

    name: str
    addresses: Sequence[str]
    host: Host
    load: Load
    max_pods: int
    port: int
    runtime_version: str
    # None: the runtime did not answer, for the reason in `runtime_error`.
    runtime: criv1.RuntimeStatus | None
    runtime_error: str = ""
    images: Sequence[criv1.Image] = ()
    reserved: Reservations = field(default_factory=Reservations)


def node_status(facts: NodeFacts, old: corev1.NodeStatus, now: float) -> corev1.NodeStatus:
    """The status to report; conditions that did not change keep their transition times."""
    status = corev1.NodeStatus()
    for name, text in capacity(facts).items():
        status.capacity[name].string = text
    for name, text in allocatable(facts).items():
        status.allocatable[name].string = text
    status.conditions.extend(_conditions(facts, old, now))
    for address in facts.addresses:
        status.addresses.add(type="InternalIP", address=address)
    status.addresses.add(type="Hostname", address=facts.name)
    status.daemon_endpoints.kubelet_endpoint.port = facts.port
    host, info = facts.host, status.node_info
    info.machine_id, info.system_uuid, info.boot_id = host.machine_id, host.system_uuid, host.boot_id
    info.kernel_version, info.os_image = host.kernel_version, host.os_image
    info.container_runtime_version = facts.runtime_version
    info.kubelet_version = VERSION
    info.kube_proxy_version = ""
    info.operating_system, info.architecture = "linux", host.architecture
    info.swap.capacity = host.swap_bytes
    for image in sorted(facts.images, key=lambda image: (-image.size, image.id))[:IMAGES_REPORTED]:
        status.images.add(names=[*image.repo_digests, *image.repo_tags][:5], size_bytes=image.size)
    status.volumes_in_use.extend(old.volumes_in_use)
    status.volumes_attached.extend(old.volumes_attached)
    return status


def capacity(facts: NodeFacts) -> dict[str, str]:
    """All that the host has."""
    host = facts.host
    return {
        "cpu": str(host.cpus),
        "memory": _kibibytes(host.memory_bytes),
        "ephemeral-storage": _kibibytes(facts.load.disk_bytes),
        "pods": str(facts.max_pods),
        **{name: str(size) for name, size in host.hugepages.items()},
    }


def allocatable(facts: NodeFacts) -> dict[str, str]:
    """What Pods may request: all but the reservations and the eviction thresholds."""
    host, reserved = facts.host, facts.reserved
    huge = sum(host.hugepages.values())
    millicores = host.cpus * 1000 - reserved.cpu_millicores
    memory = host.memory_bytes - reserved.memory_bytes - MEMORY_RESERVE_BYTES - huge
    return {
        **capacity(facts),
        "cpu": str(millicores // 1000) if millicores % 1000 == 0 else f"{millicores}m",
        "memory": _kibibytes(max(0, memory)),
        "ephemeral-storage": str(facts.load.disk_bytes * (100 - DISK_RESERVE_SHARE) // 100),
    }


def _kibibytes(size: int) -> str:
    return f"{size // 1024}Ki"


def _conditions(facts: NodeFacts, old: corev1.NodeStatus, now: float) -> list[corev1.NodeCondition]:
    load = facts.load
    short_of_disk = (
        load.disk_available_bytes * 100 < load.disk_bytes * DISK_RESERVE_SHARE
        or load.inodes_free * INODES_RESERVE_SHARE < load.inodes
    )
    fresh = [
        _pressure(
            "MemoryPressure",
            load.memory_available_bytes < MEMORY_RESERVE_BYTES,
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ),
        _pressure(
            "DiskPressure",
            short_of_disk,
            ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ),
        _pressure(
            "PIDPressure",
            (load.processes_max - load.processes) * PROCESSES_RESERVE_SHARE < load.processes_max,
            ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
            ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ),
        _ready(facts),
    ]
    owned = {condition.type for condition in fresh}
    for condition in fresh:
        condition.last_heartbeat_time.CopyFrom(time_from(now))
        known = find_condition(old.conditions, condition.type)
        changed = known is None or known.status != condition.status
        condition.last_transition_time.CopyFrom(
            time_from(now) if known is None or changed else known.last_transition_time
        )
    return [*(condition for condition in old.conditions if condition.type not in owned), *fresh]


def _pressure(type_: str, holds: bool, bad: tuple[str, str], good: tuple[str, str]) -> corev1.NodeCondition:
    reason, message = bad if holds else good
    return corev1.NodeCondition(type=type_, status="True" if holds else "False", reason=reason, message=message)


def _ready(facts: NodeFacts) -> corev1.NodeCondition:
    problems = []
    if facts.runtime is None:
        problems.append(f"container runtime is down: {facts.runtime_error}")
    else:
        for condition in facts.runtime.conditions:
            if not condition.status:
                what = "network " if condition.type == "NetworkReady" else ""
                problems.append(
                    f"container runtime {what}not ready: {condition.type}=false "
                    f"reason:{condition.reason} message:{condition.message}"
                )
    if problems:
        return corev1.NodeCondition(
            type="Ready", status="False", reason="KubeletNotReady", message=f"[{', '.join(problems)}]"
        )
    return corev1.NodeCondition(
        type="Ready", status="True", reason="KubeletReady", message="kubelet is posting ready status"
    )


def same(first: corev1.NodeStatus, second: corev1.NodeStatus) -> bool:
    """Whether two statuses say the same, heartbeats aside."""
    return _without_heartbeats(first) == _without_heartbeats(second)


def _without_heartbeats(status: corev1.NodeStatus) -> corev1.NodeStatus:
    copy = corev1.NodeStatus()
    copy.CopyFrom(status)
    for condition in copy.conditions:
        condition.ClearField("last_heartbeat_time")
    return copy


def is_ready(status: corev1.NodeStatus) -> bool:
    """Whether the Ready condition holds."""
    condition = find_condition(status.conditions, "Ready")
    return condition is not None and condition.status == "True"
