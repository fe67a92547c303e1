"""Defaults of volumes: file modes, the empty directory that a bare name means, per-driver constants."""

from collections.abc import Iterable

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.defaults.fill import fill
from navarch.services.api.defaults.images import pull_policy

FILE_MODE = 0o644


def default_volume(volume: corev1.Volume) -> None:
    """Complete one volume of a Pod or of a Pod template."""
    source = volume.volume_source
    if not source.ListFields():
        source.empty_dir.SetInParent()
    for name in ("secret", "config_map", "downward_api", "projected"):
        if source.HasField(name):
            fill(getattr(source, name), default_mode=FILE_MODE)
    if source.HasField("host_path"):
        fill(source.host_path, type="")
    if source.HasField("downward_api"):
        _default_items(source.downward_api.items)
    if source.HasField("projected"):
        _default_projections(source.projected.sources)
    if source.HasField("image"):
        fill(source.image, pull_policy=pull_policy(source.image.reference))
    if source.HasField("ephemeral") and source.ephemeral.HasField("volume_claim_template"):
        fill(source.ephemeral.volume_claim_template.spec, volume_mode="Filesystem")
    _default_drivers(source)


def _default_items(items: Iterable[corev1.DownwardAPIVolumeFile]) -> None:
    for item in items:
        if item.HasField("field_ref"):
            fill(item.field_ref, api_version="v1")


def _default_projections(sources: Iterable[corev1.VolumeProjection]) -> None:
    for source in sources:
        if source.HasField("downward_api"):
            _default_items(source.downward_api.items)
        if source.HasField("service_account_token"):
            fill(source.service_account_token, expiration_seconds=3600)


def _default_drivers(source: corev1.VolumeSource) -> None:
    if source.HasField("iscsi"):
        fill(source.iscsi, iscsi_interface="default")
    if source.HasField("rbd"):
        fill(source.rbd, pool="rbd", user="admin", keyring="/etc/ceph/keyring")
    if source.HasField("azure_disk"):
        fill(source.azure_disk, caching_mode="ReadWrite", fs_type="ext4", kind="Shared", read_only=False)
    if source.HasField("scale_io"):
        fill(source.scale_io, storage_mode="ThinProvisioned", fs_type="xfs")
