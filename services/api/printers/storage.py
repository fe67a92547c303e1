"""PersistentVolumes, their claims, and StorageClasses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from navarch.services.api.printers.table import UNSET, Cell, Table, age_of, columns

if TYPE_CHECKING:
    from navarch.protos.k8s.core import v1_pb2 as corev1
    from navarch.protos.k8s.storage import v1_pb2 as storagev1

_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(modes: Iterable[str]) -> str:
    given = set(modes)
    return ",".join(short for mode, short in _MODES.items() if mode in given)


def _volume(volume: corev1.PersistentVolume, now: float) -> tuple[Cell, ...]:
    spec = volume.spec
    claim = f"{spec.claim_ref.namespace}/{spec.claim_ref.name}" if spec.HasField("claim_ref") else ""
    capacity = spec.capacity["storage"].string if "storage" in spec.capacity else ""
    return (
        volume.metadata.name,
        capacity,
        _modes(spec.access_modes),
        spec.persistent_volume_reclaim_policy,
        "Terminating" if volume.metadata.HasField("deletion_timestamp") else volume.status.phase,
        claim,
        spec.storage_class_name,
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
        status.capacity["storage"].string if bound and "storage" in status.capacity else "",
        _modes(status.access_modes) if bound else "",
        spec.storage_class_name,
        spec.volume_attributes_class_name or UNSET,
        age_of(claim, now),
        spec.volume_mode or UNSET,
    )


def _storage_class(storage_class: storagev1.StorageClass, now: float) -> tuple[Cell, ...]:
    default = storage_class.metadata.annotations.get("storageclass.kubernetes.io/is-default-class") == "true"
    return (
        storage_class.metadata.name + (" (default)" if default else ""),
        storage_class.provisioner,
        storage_class.reclaim_policy or "Delete",
        storage_class.volume_binding_mode or "Immediate",
        str(storage_class.allow_volume_expansion).lower(),
        age_of(storage_class, now),
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
