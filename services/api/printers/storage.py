"""PersistentVolumes, their claims, classes of storage, and CSI drivers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from navarch.services.api.printers.table import NONE, UNSET, Cell, Column, Table, age_of, columns

if TYPE_CHECKING:
    from navarch.protos.k8s.core import v1_pb2 as corev1
    from navarch.protos.k8s.storage import v1_pb2 as storagev1

# Before there was a field for the class.
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(modes: Iterable[str]) -> str:
    given = set(modes)
    return ",".join(short for mode, short in _MODES.items() if mode in given)


def _class_of(one: corev1.PersistentVolume | corev1.PersistentVolumeClaim) -> str:
    return one.metadata.annotations.get(_CLASS_ANNOTATION) or one.spec.storage_class_name


def _size(amounts: Any) -> str:
    return str(amounts["storage"].string) if "storage" in amounts else "0"


def _volume(volume: corev1.PersistentVolume, now: float) -> tuple[Cell, ...]:
    spec = volume.spec
    claim = f"{spec.claim_ref.namespace}/{spec.claim_ref.name}" if spec.HasField("claim_ref") else ""
    return (
        volume.metadata.name,
        _size(spec.capacity),
        _modes(spec.access_modes),
        spec.persistent_volume_reclaim_policy,
        "Terminating" if volume.metadata.HasField("deletion_timestamp") else volume.status.phase,
        claim,
        _class_of(volume),
        spec.volume_attributes_class_name or UNSET,
        volume.status.reason,
        age_of(volume, now),
        spec.volume_mode or UNSET,
    )


def _claim(claim: corev1.PersistentVolumeClaim, now: float) -> tuple[Cell, ...]:
    spec, status = claim.spec, claim.status
    bound = bool(spec.volume_name)
    return (
        claim.metadata.name,
        "Terminating" if claim.metadata.HasField("deletion_timestamp") else status.phase,
        spec.volume_name,
        _size(status.capacity) if bound else "",
        _modes(status.access_modes) if bound else "",
        _class_of(claim),
        spec.volume_attributes_class_name or UNSET,
        age_of(claim, now),
        spec.volume_mode or UNSET,
    )


def _storage_class(storage_class: storagev1.StorageClass, now: float) -> tuple[Cell, ...]:
    return (
        _titled(storage_class, "storageclass"),
        storage_class.provisioner,
        storage_class.reclaim_policy or "Delete",
        storage_class.volume_binding_mode or "Immediate",
        storage_class.allow_volume_expansion,
        age_of(storage_class, now),
    )


def _attributes_class(one: storagev1.VolumeAttributesClass, now: float) -> tuple[Cell, ...]:
    return (_titled(one, "volumeattributesclass"), one.driver_name, age_of(one, now))


def _titled(one: Any, word: str) -> str:
    """The name, with a mark on the class that is taken where none is named."""
    is_default = one.metadata.annotations.get(f"{word}.kubernetes.io/is-default-class") == "true"
    return f"{one.metadata.name} (default)" if is_default else str(one.metadata.name)


def _driver(driver: storagev1.CSIDriver, now: float) -> tuple[Cell, ...]:
    spec = driver.spec
    audiences = [request.audience for request in spec.token_requests]
    return (
        driver.metadata.name,
        not spec.HasField("attach_required") or spec.attach_required,
        spec.pod_info_on_mount,
        spec.storage_capacity,
        ",".join(audiences) if audiences else UNSET,
        spec.requires_republish,
        ",".join(spec.volume_lifecycle_modes) or NONE,
        age_of(driver, now),
    )


def _csi_node(node: storagev1.CSINode, now: float) -> tuple[Cell, ...]:
    return (node.metadata.name, len(node.spec.drivers), age_of(node, now))


def _attachment(attachment: storagev1.VolumeAttachment, now: float) -> tuple[Cell, ...]:
    spec = attachment.spec
    return (
        attachment.metadata.name,
        spec.attacher,
        spec.source.persistent_volume_name,
        spec.node_name,
        attachment.status.attached,
        age_of(attachment, now),
    )


PERSISTENT_VOLUME = Table(
    columns(
        "Capacity",
        "Access Modes",
        "Reclaim Policy",
        "Status",
        "Claim",
        "StorageClass",
        "VolumeAttributesClass",
        "Reason",
        "Age",
        "VolumeMode",
        wide=("VolumeMode",),
    ),
    _volume,
)
PERSISTENT_VOLUME_CLAIM = Table(
    columns(
        "Status",
        "Volume",
        "Capacity",
        "Access Modes",
        "StorageClass",
        "VolumeAttributesClass",
        "Age",
        "VolumeMode",
        wide=("VolumeMode",),
    ),
    _claim,
)
STORAGE_CLASS = Table(
    columns("Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion", "Age"), _storage_class
)
ATTRIBUTES_CLASS = Table(columns("DriverName", "Age"), _attributes_class)
_SWITCHES = ("AttachRequired", "PodInfoOnMount", "StorageCapacity", "RequiresRepublish")
DRIVER = Table(
    columns(*_SWITCHES[:3], "TokenRequests", _SWITCHES[3], "Modes", "Age", booleans=_SWITCHES),
    _driver,
)
CSI_NODE = Table(columns("Drivers", "Age", integers=("Drivers",)), _csi_node)
ATTACHMENT = Table(
    (
        Column("Name", format="name"),
        Column("Attacher", format="name"),
        *columns("PV", "Node", "Attached", "Age", booleans=("Attached",))[1:],
    ),
    _attachment,
)
