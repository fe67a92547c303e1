"""Namespaces, Nodes, configuration, accounts, quotas, Leases and Events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import age, find_condition
from navarch.services.api.printers.table import NONE, UNKNOWN, Cell, Column, Table, age_of, columns, or_none

if TYPE_CHECKING:
    from navarch.protos.k8s.coordination import v1_pb2 as coordinationv1
    from navarch.protos.k8s.events import v1_pb2 as eventsv1
    from navarch.protos.k8s.node import v1_pb2 as nodev1

_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"


def _namespace(namespace: corev1.Namespace, now: float) -> tuple[Cell, ...]:
    return (namespace.metadata.name, namespace.status.phase, age_of(namespace, now))


def _node(node: corev1.Node, now: float) -> tuple[Cell, ...]:
    info = node.status.node_info
    return (
        node.metadata.name,
        _node_status(node),
        or_none(",".join(roles_of(node))),
        age_of(node, now),
        info.kubelet_version,
        _address(node, "InternalIP"),
        _address(node, "ExternalIP"),
        info.os_image or UNKNOWN,
        info.kernel_version or UNKNOWN,
        info.container_runtime_version or UNKNOWN,
    )


def _node_status(node: corev1.Node) -> str:
    ready = find_condition(node.status.conditions, "Ready")
    word = "Unknown" if ready is None else "Ready" if ready.status == "True" else "NotReady"
    return f"{word},SchedulingDisabled" if node.spec.unschedulable else word


def roles_of(node: corev1.Node) -> list[str]:
    """Roles that labels give a node, sorted."""
    roles = {key.removeprefix(_ROLE_PREFIX) for key in node.metadata.labels if key.startswith(_ROLE_PREFIX)}
    roles.add(node.metadata.labels.get(_ROLE_LABEL, ""))
    return sorted(roles - {""})


def _address(node: corev1.Node, type: str) -> str:
    return next((item.address for item in node.status.addresses if item.type == type), NONE)


def _config_map(config_map: corev1.ConfigMap, now: float) -> tuple[Cell, ...]:
    return (config_map.metadata.name, len(config_map.data) + len(config_map.binary_data), age_of(config_map, now))


def _secret(secret: corev1.Secret, now: float) -> tuple[Cell, ...]:
    return (secret.metadata.name, secret.type, len(secret.data), age_of(secret, now))


def _lease(lease: coordinationv1.Lease, now: float) -> tuple[Cell, ...]:
    return (lease.metadata.name, lease.spec.holder_identity, age_of(lease, now))


def _named(obj: Any, now: float) -> tuple[Cell, ...]:
    return (obj.metadata.name, age_of(obj, now))


def _component(component: corev1.ComponentStatus, now: float) -> tuple[Cell, ...]:
    healthy = next((one for one in component.conditions if one.type == "Healthy"), None)
    if healthy is None:
        return (component.metadata.name, "Unknown", "", "")
    word = "Healthy" if healthy.status == "True" else "Unhealthy"
    return (component.metadata.name, word, healthy.message, healthy.error)


def _quota(quota: corev1.ResourceQuota, now: float) -> tuple[Cell, ...]:
    requests, limits = list[str](), list[str]()
    for name in sorted(quota.status.hard):
        used = quota.status.used[name].string if name in quota.status.used else "0"
        into = limits if name.startswith("limits.") else requests
        into.append(f"{name}: {used}/{quota.status.hard[name].string}")
    return (quota.metadata.name, ", ".join(requests), ", ".join(limits), age_of(quota, now))


def _runtime_class(runtime_class: nodev1.RuntimeClass, now: float) -> tuple[Cell, ...]:
    return (runtime_class.metadata.name, runtime_class.handler, age_of(runtime_class, now))


def _new_event(event: eventsv1.Event, now: float) -> tuple[Cell, ...]:
    """An Event of the newer group: the same facts under other names."""
    series = None
    if event.HasField("series"):
        series = corev1.EventSeries(count=event.series.count, last_observed_time=event.series.last_observed_time)
    return _event(
        corev1.Event(
            metadata=event.metadata,
            involved_object=event.regarding,
            type=event.type,
            reason=event.reason,
            message=event.note,
            source=event.deprecated_source,
            first_timestamp=event.deprecated_first_timestamp,
            last_timestamp=event.deprecated_last_timestamp,
            count=event.deprecated_count,
            event_time=event.event_time,
            series=series,
            reporting_component=event.reporting_controller,
            reporting_instance=event.reporting_instance,
        ),
        now,
    )


def _event(event: corev1.Event, now: float) -> tuple[Cell, ...]:
    about = event.involved_object
    first = event.first_timestamp if event.first_timestamp.seconds else event.event_time
    last = event.last_timestamp if event.last_timestamp.seconds else first
    count = event.count or 1
    if event.HasField("series"):
        last, count = event.series.last_observed_time, event.series.count
    source = event.source.component or event.reporting_component
    host = event.source.host or event.reporting_instance
    return (
        age(last, now),
        event.type,
        event.reason,
        f"{about.kind.lower()}/{about.name}" if about.name else about.kind.lower(),
        about.field_path,
        ", ".join(filter(None, (source, host))),
        event.message.strip(),
        age(first, now),
        count,
        event.metadata.name,
    )


_NODE_WIDE = ("Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime")

NAMESPACE = Table(columns("Status", "Age"), _namespace)
NODE = Table(columns("Status", "Roles", "Age", "Version", *_NODE_WIDE, wide=_NODE_WIDE), _node)
CONFIG_MAP = Table(columns("Data", "Age"), _config_map)
SECRET = Table(columns("Type", "Data", "Age"), _secret)
LEASE = Table(columns("Holder", "Age"), _lease)
COMPONENT = Table(columns("Status", "Message", "Error"), _component)
QUOTA = Table(columns("Request", "Limit", "Age"), _quota)
RUNTIME_CLASS = Table(columns("Handler", "Age"), _runtime_class)
NAMED = Table(columns("Age"), _named)
_EVENT_COLUMNS = (
    Column("Last Seen"),
    Column("Type"),
    Column("Reason"),
    Column("Object"),
    Column("Subobject", priority=1),
    Column("Source", priority=1),
    Column("Message"),
    Column("First Seen", priority=1),
    Column("Count", priority=1),
    Column("Name", format="name", priority=1),
)
EVENT = Table(_EVENT_COLUMNS, _event)
NEW_EVENT = Table(_EVENT_COLUMNS, _new_event)
