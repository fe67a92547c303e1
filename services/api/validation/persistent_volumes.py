"""Rules for PersistentVolumes and claims to them."""

import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from navarch.protos.k8s import quantity_pb2
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.codec import to_json
from navarch.services.api.equality import same
from navarch.services.api.errors import FieldError
from navarch.services.api.quantity import Quantity
from navarch.services.api.validation import names
from navarch.services.api.validation.resources import parsed, validate_quantity
from navarch.services.api.validation.selectors import validate_label_selector, validate_node_selector
from navarch.services.api.validation.values import Errors, check, required, supported

ResourceList = Mapping[str, quantity_pb2.Quantity]
DataSource = corev1.TypedLocalObjectReference | corev1.TypedObjectReference

ACCESS_MODES = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
_EXCLUSIVE = "ReadWriteOncePod"
_RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
_VOLUME_MODES = ("Block", "Filesystem")
_DRIVER_NAME_MAX = 63
_CLASS = "volume_attributes_class_name"
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_RESIZE_STATES = (
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizePending",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
)


def validate_persistent_volume(volume: corev1.PersistentVolume) -> Errors:
    """Check a PersistentVolume (its metadata aside)."""
    yield from validate_volume_spec(volume.spec, "spec")


def validate_volume_spec(spec: corev1.PersistentVolumeSpec, path: str) -> Errors:
    """Check the description of a volume."""
    yield from _validate_access_modes(spec.access_modes, path, "")
    yield from _validate_capacity(spec.capacity, f"{path}.capacity")
    policy = spec.persistent_volume_reclaim_policy
    if policy:
        yield from supported(f"{path}.persistentVolumeReclaimPolicy", policy, _RECLAIM_POLICIES)
    yield from _validate_node_affinity(spec, path)
    yield from _validate_source(spec, path)
    if posixpath.normpath(spec.persistent_volume_source.host_path.path) == "/" and policy == "Recycle":
        text = "may not be 'recycle' for a hostPath mount of '/'"
        yield FieldError.forbidden(f"{path}.persistentVolumeReclaimPolicy", text)
    if name := spec.storage_class_name:
        yield from check(f"{path}.storageClassName", name, names.dns_subdomain(name))
    if spec.HasField("volume_mode"):
        yield from supported(f"{path}.volumeMode", spec.volume_mode, _VOLUME_MODES)
    yield from _validate_attributes_class(spec, path)


def validate_inline_volume(spec: corev1.PersistentVolumeSpec, path: str) -> Errors:
    """Check a volume described where it is used: it belongs to a CSI driver and to nobody else."""
    inline = "may not be specified in the context of inline volumes"
    for field, present in (
        ("claimRef", spec.HasField("claim_ref")),
        ("capacity", bool(spec.capacity)),
        ("nodeAffinity", spec.HasField("node_affinity")),
        ("storageClassName", bool(spec.storage_class_name)),
    ):
        if present:
            yield FieldError.forbidden(f"{path}.{field}", inline)
    if not spec.persistent_volume_source.HasField("csi"):
        yield FieldError.required(f"{path}.csi", "has to be specified in the context of inline volumes")
    yield from _validate_access_modes(spec.access_modes, path, "")
    if spec.persistent_volume_reclaim_policy not in ("", "Retain"):
        text = "may only be Retain in the context of inline volumes"
        yield FieldError.forbidden(f"{path}.persistentVolumeReclaimPolicy", text)
    if spec.HasField("volume_mode") and spec.volume_mode != "Filesystem":
        text = "may not specify volumeMode other than Filesystem in the context of inline volumes"
        yield FieldError.forbidden(f"{path}.volumeMode", text)
    yield from _validate_source(spec, path)
    yield from _validate_attributes_class(spec, path)


def _validate_access_modes(modes: Sequence[str], path: str, detail: str) -> Errors:
    here = f"{path}.accessModes"
    if not modes:
        yield FieldError.required(here, detail)
    for mode in modes:
        yield from supported(here, mode, ACCESS_MODES)
    if _EXCLUSIVE in modes and any(mode in ACCESS_MODES and mode != _EXCLUSIVE for mode in modes):
        yield FieldError.forbidden(here, "may not use ReadWriteOncePod with other access modes")


def _validate_capacity(capacity: ResourceList, path: str) -> Errors:
    if not capacity:
        yield FieldError.required(path)
    if list(capacity) != ["storage"]:
        shown = {name: quantity.string for name, quantity in sorted(capacity.items())}
        yield FieldError.not_supported(path, shown, ["storage"])
    for name in sorted(capacity):
        yield from _validate_positive(capacity[name], f"{path}[{name}]")


def _validate_positive(quantity: quantity_pb2.Quantity, path: str) -> Errors:
    amount = parsed(quantity)
    if amount is None:
        yield from validate_quantity(quantity, path)
    elif amount <= Quantity(0):
        yield FieldError.invalid(path, str(amount), "must be greater than zero")


def _validate_node_affinity(spec: corev1.PersistentVolumeSpec, path: str) -> Errors:
    here = f"{path}.nodeAffinity"
    if not spec.HasField("node_affinity"):
        if spec.persistent_volume_source.HasField("local"):
            yield FieldError.required(here, "Local volume requires node affinity")
    elif not spec.node_affinity.HasField("required"):
        yield FieldError.required(f"{here}.required", "must specify required node constraints")
    else:
        yield from validate_node_selector(spec.node_affinity.required, f"{here}.required")


def _validate_source(spec: corev1.PersistentVolumeSpec, path: str) -> Errors:
    source = spec.persistent_volume_source
    present = [field for field, _ in source.ListFields()]
    if not present:
        yield FieldError.required(path, "must specify a volume type")
    for extra in present[1:]:
        yield FieldError.forbidden(f"{path}.{extra.json_name}", "may not specify more than 1 volume type")
    for field in present[:1]:
        if rule := _SOURCES.get(field.name):
            yield from rule(getattr(source, field.name), f"{path}.{field.json_name}")


def _host_path(source: corev1.HostPathVolumeSource, path: str) -> Errors:
    yield from _path_without_backsteps(source.path, f"{path}.path")


def _local(source: corev1.LocalVolumeSource, path: str) -> Errors:
    yield from _path_without_backsteps(source.path, f"{path}.path")


def _path_without_backsteps(value: str, path: str) -> Errors:
    if not value:
        yield FieldError.required(path)
    elif ".." in value.split("/"):
        yield FieldError.invalid(path, value, "must not contain '..'")


def _nfs(source: corev1.NFSVolumeSource, path: str) -> Errors:
    yield from required(f"{path}.server", source.server)
    yield from required(f"{path}.path", source.path)
    if source.path and not source.path.startswith("/"):
        yield FieldError.invalid(f"{path}.path", source.path, "must be an absolute path")


def _csi(source: corev1.CSIPersistentVolumeSource, path: str) -> Errors:
    yield from required(f"{path}.driver", source.driver, lambda name: names.dns_subdomain(name.lower()))
    if len(source.driver.encode()) > _DRIVER_NAME_MAX:
        yield FieldError.too_long(f"{path}.driver", source.driver, _DRIVER_NAME_MAX)
    yield from required(f"{path}.volumeHandle", source.volume_handle)
    for name in ("controller_publish", "controller_expand", "node_stage", "node_publish", "node_expand"):
        field = f"{name}_secret_ref"
        if source.HasField(field):
            first, second = name.split("_")
            here = f"{path}.{first}{second.title()}SecretRef"
            yield from required(f"{here}.name", getattr(source, field).name)
            yield from required(f"{here}.namespace", getattr(source, field).namespace)


def _iscsi(source: corev1.ISCSIPersistentVolumeSource, path: str) -> Errors:
    yield from required(f"{path}.targetPortal", source.target_portal)
    if not source.iqn:
        yield FieldError.required(f"{path}.iqn")
    elif not source.iqn.startswith(("iqn", "eui", "naa")):
        yield FieldError.invalid(f"{path}.iqn", source.iqn, "must be valid format starting with iqn, eui, or naa")
    if not 0 <= source.lun <= 255:
        yield FieldError.invalid(f"{path}.lun", source.lun, names.in_range(0, 255))


_SOURCES: dict[str, Callable[[Any, str], Errors]] = {
    "csi": _csi,
    "host_path": _host_path,
    "iscsi": _iscsi,
    "local": _local,
    "nfs": _nfs,
}


def _validate_attributes_class(spec: corev1.PersistentVolumeSpec, path: str) -> Errors:
    if not spec.HasField("volume_attributes_class_name"):
        return
    name, here = spec.volume_attributes_class_name, f"{path}.volumeAttributesClassName"
    if not name:
        yield FieldError.required(here, "an empty string is disallowed")
    else:
        yield from check(here, name, names.dns_subdomain(name))
    if not spec.persistent_volume_source.HasField("csi"):
        yield FieldError.required(f"{path}.csi", "has to be specified when using volumeAttributesClassName")


def validate_persistent_volume_update(new: corev1.PersistentVolume, old: corev1.PersistentVolume) -> Errors:
    """Check a changed PersistentVolume: it stays where its data is."""
    yield from validate_persistent_volume(new)
    source = corev1.PersistentVolumeSource()
    source.CopyFrom(new.spec.persistent_volume_source)
    before = old.spec.persistent_volume_source
    if before.HasField("csi") and source.HasField("csi") and not before.csi.HasField("controller_expand_secret_ref"):
        source.csi.ClearField("controller_expand_secret_ref")
    if not same(source, before):
        text = "spec.persistentvolumesource is immutable after creation"
        yield FieldError.forbidden("spec.persistentvolumesource", text)
    if new.spec.volume_mode != old.spec.volume_mode:
        yield FieldError.invalid("volumeMode", new.spec.volume_mode, names.IMMUTABLE)
    if old.spec.HasField("node_affinity") and not same(new.spec.node_affinity, old.spec.node_affinity):
        text = f"{names.IMMUTABLE}, except for updating from beta label to GA"
        yield FieldError.invalid("nodeAffinity", to_json(new.spec.node_affinity), text)
    yield from _validate_class_kept(new.spec, old.spec)


def _validate_class_kept(new: Any, old: Any) -> Errors:
    if old.HasField(_CLASS) and not new.HasField(_CLASS):
        yield FieldError.forbidden("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden")


def validate_claim(claim: corev1.PersistentVolumeClaim) -> Errors:
    """Check a PersistentVolumeClaim (its metadata aside)."""
    yield from validate_claim_spec(claim.spec, "spec")


def validate_claim_spec(spec: corev1.PersistentVolumeClaimSpec, path: str) -> Errors:
    """Check what is claimed, by a claim or by the template of one."""
    yield from _validate_access_modes(spec.access_modes, path, "at least 1 access mode is required")
    if spec.HasField("selector"):
        yield from validate_label_selector(spec.selector, f"{path}.selector")
    if "storage" not in spec.resources.requests:
        yield FieldError.required(f"{path}.resources[storage]")
    else:
        yield from _validate_positive(spec.resources.requests["storage"], f"{path}.resources[storage]")
    for field, name in (
        ("storageClassName", spec.storage_class_name),
        ("volumeAttributesClassName", spec.volume_attributes_class_name),
    ):
        if name:
            yield from check(f"{path}.{field}", name, names.dns_subdomain(name))
    if spec.HasField("volume_mode"):
        yield from supported(f"{path}.volumeMode", spec.volume_mode, _VOLUME_MODES)
    yield from _validate_data_sources(spec, path)


def _validate_data_sources(spec: corev1.PersistentVolumeClaimSpec, path: str) -> Errors:
    plain, ref = spec.data_source, spec.data_source_ref
    if spec.HasField("data_source"):
        yield from _validate_data_source(plain, f"{path}.dataSource")
    if spec.HasField("data_source_ref"):
        yield from _validate_data_source(ref, f"{path}.dataSourceRef")
        if ref.namespace:
            yield from check(f"{path}.dataSourceRef.namespace", ref.namespace, names.dns_label(ref.namespace))
    if not (spec.HasField("data_source") and spec.HasField("data_source_ref")):
        return
    if ref.namespace:
        text = "may not be specified when dataSourceRef.namespace is specified"
        yield FieldError.invalid(path, f"{path}.dataSource", text)
    elif (plain.api_group, plain.kind, plain.name) != (ref.api_group, ref.kind, ref.name):
        yield FieldError.invalid(path, f"{path}.dataSource", "must match dataSourceRef")


def _validate_data_source(source: DataSource, path: str) -> Errors:
    yield from required(f"{path}.name", source.name)
    yield from required(f"{path}.kind", source.kind)
    if source.api_group:
        yield from check(f"{path}.apiGroup", source.api_group, names.dns_subdomain(source.api_group))
    elif source.kind != "PersistentVolumeClaim":
        text = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        yield FieldError.invalid(path, source.kind, text)


def validate_claim_update(new: corev1.PersistentVolumeClaim, old: corev1.PersistentVolumeClaim) -> Errors:
    """Check a changed claim: it is bound once, and then may only grow or change its class of attributes."""
    yield from validate_claim(new)
    annotation = new.metadata.annotations.get(_CLASS_ANNOTATION, "")
    if annotation != old.metadata.annotations.get(_CLASS_ANNOTATION, ""):
        yield FieldError.invalid(f"metadata.annotations[{_CLASS_ANNOTATION}]", annotation, names.IMMUTABLE)
    if not same(new.spec, _allowed(new, old)):
        text = (
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
        )
        yield FieldError.forbidden("spec", text)
    wanted = _storage(new.spec.resources.requests)
    if wanted < _storage(old.spec.resources.requests) and wanted <= _storage(old.status.capacity):
        text = "field can not be less than status.capacity"
        yield FieldError.forbidden("spec.resources.requests.storage", text)
    if new.spec.volume_mode != old.spec.volume_mode:
        yield FieldError.invalid("volumeMode", new.spec.volume_mode, names.IMMUTABLE)
    yield from _validate_class_kept(new.spec, old.spec)
    if old.spec.HasField(_CLASS) and new.spec.HasField(_CLASS) and not new.spec.volume_attributes_class_name:
        text = "update from non-nil value to an empty string is forbidden"
        yield FieldError.forbidden("spec.volumeAttributesClassName", text)


def _allowed(new: corev1.PersistentVolumeClaim, old: corev1.PersistentVolumeClaim) -> corev1.PersistentVolumeClaimSpec:
    """The old spec with all that the new one may change taken over from it."""
    spec = corev1.PersistentVolumeClaimSpec()
    spec.CopyFrom(old.spec)
    if not old.spec.volume_name:
        spec.volume_name = new.spec.volume_name
    if not old.spec.HasField("storage_class_name") and new.spec.HasField("storage_class_name"):
        spec.storage_class_name = new.spec.storage_class_name
    if old.status.phase == "Bound" and "storage" in new.spec.resources.requests:
        spec.resources.requests["storage"].CopyFrom(new.spec.resources.requests["storage"])
    spec.ClearField(_CLASS)
    if new.spec.HasField(_CLASS):
        spec.volume_attributes_class_name = new.spec.volume_attributes_class_name
    return spec


def _storage(resources: ResourceList) -> Quantity:
    amount = parsed(resources["storage"]) if "storage" in resources else None
    return amount or Quantity(0)


def validate_claim_status(new: corev1.PersistentVolumeClaim, _: corev1.PersistentVolumeClaim) -> Errors:
    """Check what is said about a claim's volume and its growth."""
    status = new.status
    if not new.spec.access_modes:
        yield FieldError.required("Spec.accessModes")
    for name in sorted(status.capacity):
        yield from validate_quantity(status.capacity[name], f"status.capacity[{name}]")
    for name in sorted(status.allocated_resource_statuses):
        here = f"status.allocatedResourceStatus[{name}]"
        yield from _validate_resource(name, here)
        yield from supported(here, status.allocated_resource_statuses[name], _RESIZE_STATES)
    for name in sorted(status.allocated_resources):
        here = f"status.allocatedResources[{name}]"
        yield from _validate_resource(name, here)
        yield from validate_quantity(status.allocated_resources[name], here)


def _validate_resource(name: str, path: str) -> Errors:
    wrong = names.qualified_name(name)
    yield from check(path, name, wrong)
    if not wrong and name != "storage" and ("/" not in name or name.split("/")[0].endswith("kubernetes.io")):
        yield FieldError.not_supported(path, name, ["storage"])
