"""NodeStatus from what was read of host and runtime: pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import find_condition, time_from
from navarch.services.api.validation.resources import is_extended
from navarch.services.kubelet.core.devices import Offer
from navarch.services.kubelet.core.eviction_signals import (
    DISK_PRESSURE,
    MEMORY_PRESSURE,
    PID_PRESSURE,
    Signal,
    shown_bytes,
)
from navarch.services.kubelet.core.eviction_thresholds import Threshold, hard_amount, thresholds
from navarch.services.kubelet.node.host import Host, Load

VERSION = "v1.36.2"
IMAGES_REPORTED = 50
NAMES_OF_AN_IMAGE = 5
# Of each: reason and message while it holds, and while it does not.
PRESSURES = {
    MEMORY_PRESSURE: (
        ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
        ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ),
    DISK_PRESSURE: (
        ("KubeletHasDiskPressure", "kubelet has disk pressure"),
        ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ),
    PID_PRESSURE: (
        ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
        ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ),
}
# The Events about the node that its conditions give rise to.
EVENTS = {
    (MEMORY_PRESSURE, "True"): "NodeHasInsufficientMemory",
    (MEMORY_PRESSURE, "False"): "NodeHasSufficientMemory",
    (DISK_PRESSURE, "True"): "NodeHasDiskPressure",
    (DISK_PRESSURE, "False"): "NodeHasNoDiskPressure",
    (PID_PRESSURE, "True"): "NodeHasInsufficientPID",
    (PID_PRESSURE, "False"): "NodeHasSufficientPID",
    ("Ready", "True"): "NodeReady",
    ("Ready", "False"): "NodeNotReady",
}


@dataclass(frozen=True, slots=True)
class Reservations:
    """What is kept from Pods for the host itself."""

    cpu_millicores: int = 0
    memory_bytes: int = 0
    storage_bytes: int = 0
    processes: int = 0

    def __add__(self, other: "Reservations") -> "Reservations":
        return Reservations(
            self.cpu_millicores + other.cpu_millicores,
            self.memory_bytes + other.memory_bytes,
            self.storage_bytes + other.storage_bytes,
            self.processes + other.processes,
        )


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
    thresholds: Sequence[Threshold] = field(default_factory=thresholds)
    # The conditions that the looks at what is left have brought.
    pressures: Sequence[str] = ()
    # Why the node is not Ready, beside what the runtime says.
    problem: str = ""
    handlers: Sequence[criv1.RuntimeHandler] = ()
    features: criv1.RuntimeFeatures | None = None
    volumes_in_use: Sequence[str] = ()
    devices: Offer = field(default_factory=Offer)


def node_status(facts: NodeFacts, old: corev1.NodeStatus, now: float) -> corev1.NodeStatus:
    """The status to report; conditions that did not change keep their transition times."""
    status = corev1.NodeStatus()
    for name, text in capacity(facts).items():
        status.capacity[name].string = text
    for name, text in allocatable(facts).items():
        status.allocatable[name].string = text
    _add_extended(facts, old, status)
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
        names = [*image.repo_digests, *image.repo_tags][:NAMES_OF_AN_IMAGE]
        status.images.add(names=names, size_bytes=image.size)
    _add_abilities(facts, status)
    status.volumes_in_use.extend(sorted(facts.volumes_in_use))
    status.volumes_attached.extend(old.volumes_attached)
    return status


def _add_extended(facts: NodeFacts, old: corev1.NodeStatus, status: corev1.NodeStatus) -> None:
    """Extended resources: those of plugins, and those that somebody has given the node by hand."""
    for name, quantity in old.capacity.items():
        if is_extended(name):
            status.capacity[name].CopyFrom(quantity)
            status.allocatable[name].CopyFrom(quantity)
    for name, amount in facts.devices.capacity.items():
        status.capacity[name].string = str(amount)
    for name, amount in facts.devices.allocatable.items():
        status.allocatable[name].string = str(amount)


def _add_abilities(facts: NodeFacts, status: corev1.NodeStatus) -> None:
    """What the runtime can do, for schedulers and people."""
    for handler in facts.handlers:
        entry = status.runtime_handlers.add(name=handler.name)
        entry.features.recursive_read_only_mounts = handler.features.recursive_read_only_mounts
        entry.features.user_namespaces = handler.features.user_namespaces
    if facts.features is not None:
        status.features.supplemental_groups_policy = facts.features.supplemental_groups_policy


def most_pods(max_pods: int, pods_per_core: int, cpus: int) -> int:
    """How many Pods a node takes. pods_per_core: 0 for any number."""
    return min(max_pods, pods_per_core * cpus) if pods_per_core else max_pods


def capacity(facts: NodeFacts) -> dict[str, str]:
    """All that the host has."""
    host = facts.host
    return {
        "cpu": str(host.cpus),
        "memory": shown_bytes(host.memory_bytes),
        "ephemeral-storage": shown_bytes(facts.load.disk_bytes),
        "pods": str(facts.max_pods),
        **{name: str(size) for name, size in host.hugepages.items()},
    }


def allocatable(facts: NodeFacts) -> dict[str, str]:
    """What Pods may request: all but the reservations and the eviction thresholds."""
    host, reserved = facts.host, facts.reserved
    huge = sum(host.hugepages.values())
    millicores = max(0, host.cpus * 1000 - reserved.cpu_millicores)
    memory = host.memory_bytes - reserved.memory_bytes - huge
    memory -= hard_amount(facts.thresholds, Signal.MEMORY, host.memory_bytes)
    storage = facts.load.disk_bytes - reserved.storage_bytes
    storage -= hard_amount(facts.thresholds, Signal.NODE_FS, facts.load.disk_bytes)
    return {
        **capacity(facts),
        "cpu": str(millicores // 1000) if millicores % 1000 == 0 else f"{millicores}m",
        "memory": shown_bytes(max(0, memory)),
        "ephemeral-storage": shown_bytes(max(0, storage)),
    }


def _conditions(facts: NodeFacts, old: corev1.NodeStatus, now: float) -> list[corev1.NodeCondition]:
    fresh = [_pressure(type_, type_ in facts.pressures) for type_ in PRESSURES]
    fresh.append(_ready(facts))
    owned = {condition.type for condition in fresh}
    for condition in fresh:
        condition.last_heartbeat_time.CopyFrom(time_from(now))
        known = find_condition(old.conditions, condition.type)
        changed = known is None or known.status != condition.status
        condition.last_transition_time.CopyFrom(
            time_from(now) if known is None or changed else known.last_transition_time
        )
    return [*(condition for condition in old.conditions if condition.type not in owned), *fresh]


def _pressure(type_: str, holds: bool) -> corev1.NodeCondition:
    reason, message = PRESSURES[type_][0 if holds else 1]
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
    if facts.problem:
        problems.append(facts.problem)
    if problems:
        message = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        return corev1.NodeCondition(type="Ready", status="False", reason="KubeletNotReady", message=message)
    return corev1.NodeCondition(
        type="Ready", status="True", reason="KubeletReady", message="kubelet is posting ready status"
    )


def happenings(old: corev1.NodeStatus, new: corev1.NodeStatus) -> list[str]:
    """The reasons of the Events that tell how the conditions have changed. That a new node is not Ready is no news."""
    reasons = []
    for condition in new.conditions:
        known = find_condition(old.conditions, condition.type)
        if known is not None and known.status == condition.status:
            continue
        if known is None and condition.type == "Ready" and condition.status != "True":
            continue
        if (reason := EVENTS.get((condition.type, condition.status))) is not None:
            reasons.append(reason)
    return reasons


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
