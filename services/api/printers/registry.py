"""Which kind is shown by which table."""

from typing import Any

from navarch.services.api.codec.times import format_seconds
from navarch.services.api.kinds import Kind
from navarch.services.api.printers import cluster, network, pods, storage, workloads
from navarch.services.api.printers.table import Cell, Column, Table


def _created_at(obj: Any, now: float) -> tuple[Cell, ...]:
    return (obj.metadata.name, format_seconds(obj.metadata.creation_timestamp.seconds))


_DEFAULT = Table((Column("Name", format="name"), Column("Created At", "date")), _created_at)

_TABLES: dict[tuple[str, str], Table] = {
    ("", "ConfigMap"): cluster.CONFIG_MAP,
    ("", "Endpoints"): network.ENDPOINTS,
    ("", "Event"): cluster.EVENT,
    ("", "Namespace"): cluster.NAMESPACE,
    ("", "Node"): cluster.NODE,
    ("", "PersistentVolume"): storage.PERSISTENT_VOLUME,
    ("", "PersistentVolumeClaim"): storage.PERSISTENT_VOLUME_CLAIM,
    ("", "Pod"): pods.POD,
    ("", "ReplicationController"): workloads.REPLICA_SET,
    ("", "Secret"): cluster.SECRET,
    ("", "Service"): network.SERVICE,
    ("", "ServiceAccount"): cluster.NAMED,
    ("apps", "DaemonSet"): workloads.DAEMON_SET,
    ("apps", "Deployment"): workloads.DEPLOYMENT,
    ("apps", "ReplicaSet"): workloads.REPLICA_SET,
    ("apps", "StatefulSet"): workloads.STATEFUL_SET,
    ("batch", "Job"): workloads.JOB,
    ("coordination.k8s.io", "Lease"): cluster.LEASE,
    ("discovery.k8s.io", "EndpointSlice"): network.ENDPOINT_SLICE,
    ("storage.k8s.io", "StorageClass"): storage.STORAGE_CLASS,
}


def table_for(kind: Kind) -> Table:
    """Return the table of a kind; one without columns of its own shows name and time of creation."""
    return _TABLES.get((kind.group, kind.kind), _DEFAULT)
