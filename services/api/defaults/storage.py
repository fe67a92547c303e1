"""Defaults of storage: classes, drivers, volumes and claims to them."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.storage import v1_pb2 as storagev1
from navarch.services.api.defaults.fill import fill
from navarch.services.api.defaults.resources import canonical


def default_storage_class(storage_class: storagev1.StorageClass) -> None:
    """Complete a StorageClass."""
    fill(storage_class, reclaim_policy="Delete", volume_binding_mode="Immediate")


def default_driver(driver: storagev1.CSIDriver) -> None:
    """Complete a CSIDriver."""
    fill(
        driver.spec,
        attach_required=True,
        fs_group_policy="ReadWriteOnceWithFSType",
        pod_info_on_mount=False,
        requires_republish=False,
        se_linux_mount=False,
        storage_capacity=False,
    )
    if not driver.spec.volume_lifecycle_modes:
        driver.spec.volume_lifecycle_modes.append("Persistent")


def default_attachment(attachment: storagev1.VolumeAttachment) -> None:
    """Complete a VolumeAttachment that describes its volume itself."""
    if attachment.spec.source.HasField("inline_volume_spec"):
        default_volume_spec(attachment.spec.source.inline_volume_spec)


def default_persistent_volume(volume: corev1.PersistentVolume) -> None:
    """Complete a PersistentVolume."""
    fill(volume.status, phase="Pending")
    default_volume_spec(volume.spec)


def default_volume_spec(spec: corev1.PersistentVolumeSpec) -> None:
    """Complete the description of a volume."""
    fill(spec, persistent_volume_reclaim_policy="Retain", volume_mode="Filesystem")
    canonical(spec.capacity)
    source = spec.persistent_volume_source
    if source.HasField("host_path"):
        fill(source.host_path, type="")
    if source.HasField("iscsi"):
        fill(source.iscsi, iscsi_interface="default")
    if source.HasField("rbd"):
        fill(source.rbd, pool="rbd", user="admin", keyring="/etc/ceph/keyring")
    if source.HasField("azure_disk"):
        fill(source.azure_disk, caching_mode="ReadWrite", fs_type="ext4", kind="Shared", read_only=False)
    if source.HasField("scale_io"):
        fill(source.scale_io, storage_mode="ThinProvisioned", fs_type="xfs")


def default_persistent_volume_claim(claim: corev1.PersistentVolumeClaim) -> None:
    """Complete a PersistentVolumeClaim. Its two ways to name a data source say the same."""
    fill(claim.status, phase="Pending")
    default_claim_spec(claim.spec)
    canonical(claim.status.capacity)
    canonical(claim.status.allocated_resources)


def default_claim_spec(spec: corev1.PersistentVolumeClaimSpec) -> None:
    """Complete what is claimed."""
    fill(spec, volume_mode="Filesystem")
    canonical(spec.resources.requests)
    canonical(spec.resources.limits)
