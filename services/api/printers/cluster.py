"""Namespaces, Nodes, configuration, accounts, Leases and Events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from navarch.services.api.meta import age, find_condition
from navarch.services.api.printers.table import NONE, UNKNOWN, Cell, Column, Table, age_of, columns, or_none

if TYPE_CHECKING:
    from navarch.protos.k8s.coordination import v1_pb2 as coordinationv1
    from navarch.protos.k8s.core import v1_pb2 as corev1

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


def _event(event: corev1.Event, now: float) -> tuple[Cell, ...]:
    about = event.involved_object
    first = event.first_timestamp if event.first_timestamp.seconds else event.event_time
    last = event.last_timestamp if event.last_timestamp.seconds else first
    count = event.count or 1
    if event.HasField("series"):
        last, count = event.series.last_observed_time, event.series.count
    source = event.source.component or event.reporting_component
    host = event.source.host or (event.reporting_instance if not event.source.component else "")
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
NAMED = Table(columns("Age"), _named)
EVENT = Table(
    (
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
    ),
    _event,
)
