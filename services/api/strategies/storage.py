"""Storage: volumes and claims to them, and what drivers say about themselves and their nodes."""

from collections.abc import Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.defaults import storage as defaults
from navarch.services.api.strategies.hooks import Hooks, keep_metadata, spec_changed
from navarch.services.api.validation import persistent_volumes as volumes
from navarch.services.api.validation import storage


def _prepare_claim(claim: corev1.PersistentVolumeClaim, _: corev1.PersistentVolumeClaim | None = None) -> None:
    """Let the two ways to name a data source say the same; older clients know only one."""
    claim.status.phase = claim.status.phase or "Pending"
    spec = claim.spec
    if spec.HasField("data_source") and not spec.HasField("data_source_ref"):
        spec.data_source_ref.kind, spec.data_source_ref.name = spec.data_source.kind, spec.data_source.name
        if spec.data_source.HasField("api_group"):
            spec.data_source_ref.api_group = spec.data_source.api_group
    elif spec.HasField("data_source_ref") and not spec.HasField("data_source") and not spec.data_source_ref.namespace:
        spec.data_source.kind, spec.data_source.name = spec.data_source_ref.kind, spec.data_source_ref.name
        if spec.data_source_ref.HasField("api_group"):
            spec.data_source.api_group = spec.data_source_ref.api_group


def _prepare_volume(volume: corev1.PersistentVolume) -> None:
    volume.status.phase = "Pending"


def _volume_warnings(volume: corev1.PersistentVolume) -> Sequence[str]:
    if volume.spec.persistent_volume_reclaim_policy == "Recycle":
        return ["spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. "
                "Instead, the recommended approach is to use dynamic provisioning."]  # fmt: skip
    return ()


PERSISTENT_VOLUME = Hooks(
    default=defaults.default_persistent_volume,
    prepare_create=_prepare_volume,
    validate=volumes.validate_persistent_volume,
    validate_update=volumes.validate_persistent_volume_update,
    warnings=_volume_warnings,
)
CLAIM = Hooks(
    default=defaults.default_persistent_volume_claim,
    prepare_create=_prepare_claim,
    prepare_update=_prepare_claim,
    validate=volumes.validate_claim,
    validate_update=volumes.validate_claim_update,
    validate_status=volumes.validate_claim_status,
)
STORAGE_CLASS = Hooks(
    default=defaults.default_storage_class,
    validate=storage.validate_storage_class,
    validate_update=storage.validate_storage_class_update,
)
CSI_DRIVER = Hooks(
    generation=spec_changed,
    needs_version=True,
    default=defaults.default_driver,
    validate=storage.validate_driver,
    validate_update=storage.validate_driver_update,
)
CSI_NODE = Hooks(
    needs_version=True,
    validate=storage.validate_csi_node,
    validate_update=storage.validate_csi_node_update,
)
CSI_CAPACITY = Hooks(
    needs_version=True,
    validate=storage.validate_capacity,
    validate_update=storage.validate_capacity_update,
)
ATTACHMENT = Hooks(
    needs_version=True,
    default=defaults.default_attachment,
    prepare_status=keep_metadata,
    validate=storage.validate_attachment,
    validate_update=storage.validate_attachment_update,
    validate_status=storage.validate_attachment_status,
)
ATTRIBUTES_CLASS = Hooks(
    validate=storage.validate_attributes_class,
    validate_update=storage.validate_attributes_class_update,
)
