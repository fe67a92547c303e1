"""Rules of the storage API: classes, drivers, what nodes offer, attachments."""

from collections.abc import Mapping, Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.storage import v1_pb2 as storagev1
from navarch.services.api.codec import to_json
from navarch.services.api.equality import same
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.persistent_volumes import validate_inline_volume
from navarch.services.api.validation.resources import validate_quantity
from navarch.services.api.validation.selectors import validate_label_selector
from navarch.services.api.validation.values import Errors, check, non_negative, required, supported

_PARAMETERS_MAX = 512
_PARAMETERS_MAX_BYTES = 256 * 1024
_ERROR_MAX_BYTES = 1024
_NODE_ID_MAX = 256
_DRIVER_NAME_MAX = 63
_TOKEN_MIN_S = 600
_TOKEN_MAX_S = 2**32
_ALLOCATABLE_PERIOD_MIN_S = 10


def validate_storage_class(storage_class: storagev1.StorageClass) -> Errors:
    """Check a StorageClass (its metadata aside)."""
    provisioner = storage_class.provisioner
    if not provisioner:
        yield FieldError.required("provisioner")
    else:
        yield from check("provisioner", provisioner.lower(), names.qualified_name(provisioner.lower()))
    yield from _validate_parameters(storage_class.parameters)
    if storage_class.reclaim_policy:
        yield from supported("reclaimPolicy", storage_class.reclaim_policy, ["Delete", "Retain"])
    modes = ["Immediate", "WaitForFirstConsumer"]
    yield from supported("volumeBindingMode", storage_class.volume_binding_mode, modes)
    yield from _validate_topologies(storage_class.allowed_topologies)


def validate_storage_class_update(new: storagev1.StorageClass, old: storagev1.StorageClass) -> Errors:
    """Check a changed StorageClass: volumes that were made by it say what it is."""
    for field, changed in (
        ("parameters", new.parameters != old.parameters),
        ("provisioner", new.provisioner != old.provisioner),
        ("reclaimPolicy", new.reclaim_policy != old.reclaim_policy),
    ):
        if changed:
            yield FieldError.forbidden(field, f"updates to {field} are forbidden.")
    if new.volume_binding_mode != old.volume_binding_mode:
        yield FieldError.invalid("volumeBindingMode", new.volume_binding_mode, names.IMMUTABLE)


def _validate_parameters(parameters: Mapping[str, str], required_ones: bool = False) -> Errors:
    if required_ones and not parameters:
        yield FieldError.required("parameters", "must contain at least one key/value pair")
    if len(parameters) > _PARAMETERS_MAX:
        yield FieldError.too_long("parameters", "", _PARAMETERS_MAX)
        return
    if "" in parameters:
        yield FieldError.invalid("parameters", "", "field can not be empty.")
    if sum(len(key.encode()) + len(value.encode()) for key, value in parameters.items()) > _PARAMETERS_MAX_BYTES:
        yield FieldError.too_long("parameters", "", _PARAMETERS_MAX_BYTES)


def _validate_topologies(terms: Sequence[corev1.TopologySelectorTerm]) -> Errors:
    seen: list[dict[str, set[str]]] = []
    for index, term in enumerate(terms):
        path = f"allowedTopologies[{index}].matchLabelExpressions"
        keys: dict[str, set[str]] = {}
        for place, expression in enumerate(term.match_label_expressions):
            here = f"{path}[{place}]"
            yield from _validate_topology(expression, here)
            if expression.key in keys:
                yield FieldError.duplicate(f"{here}.key", expression.key)
            keys[expression.key] = set(expression.values)
        if keys in seen:
            yield FieldError.duplicate(path, "")
        seen.append(keys)


def _validate_topology(expression: corev1.TopologySelectorLabelRequirement, path: str) -> Errors:
    values = list(expression.values)
    if not values:
        yield FieldError.required(f"{path}.values")
    for index, value in enumerate(values):
        if value in values[:index]:
            yield FieldError.duplicate(f"{path}.values[{index}]", value)
    yield from check(f"{path}.key", expression.key, names.qualified_name(expression.key))


def validate_driver(driver: storagev1.CSIDriver) -> Errors:
    """Check a CSIDriver (its metadata aside)."""
    spec = driver.spec
    yield from supported("spec.fsGroupPolicy", spec.fs_group_policy, ["ReadWriteOnceWithFSType", "File", "None"])
    yield from _validate_tokens(spec.token_requests)
    for mode in spec.volume_lifecycle_modes:
        yield from supported("spec.volumeLifecycleModes", mode, ["Persistent", "Ephemeral"])
    if spec.HasField("node_allocatable_update_period_seconds"):
        period = spec.node_allocatable_update_period_seconds
        if period < _ALLOCATABLE_PERIOD_MIN_S:
            text = f"must be greater than or equal to {_ALLOCATABLE_PERIOD_MIN_S} seconds"
            yield FieldError.invalid("spec.nodeAllocatableUpdatePeriodSeconds", period, text)
    if spec.service_account_token_in_secrets and not spec.token_requests:
        text = "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
        yield FieldError.invalid("spec.serviceAccountTokenInSecrets", True, text)


def _validate_tokens(requests: Sequence[storagev1.TokenRequest]) -> Errors:
    audiences: set[str] = set()
    for index, request in enumerate(requests):
        here = f"spec.tokenRequests[{index}]"
        if request.audience in audiences:
            yield FieldError.duplicate(f"{here}.audience", request.audience)
            continue
        audiences.add(request.audience)
        if not request.HasField("expiration_seconds"):
            continue
        seconds = request.expiration_seconds
        if seconds < _TOKEN_MIN_S:
            text = "may not specify a duration less than 10 minutes"
            yield FieldError.invalid(f"{here}.expirationSeconds", seconds, text)
        if seconds > _TOKEN_MAX_S:
            text = "may not specify a duration larger than 2^32 seconds"
            yield FieldError.invalid(f"{here}.expirationSeconds", seconds, text)


def validate_driver_update(new: storagev1.CSIDriver, old: storagev1.CSIDriver) -> Errors:
    """Check a changed CSIDriver."""
    yield from validate_driver(new)
    if new.spec.attach_required != old.spec.attach_required:
        # Kubernetes misspells the field.
        yield FieldError.invalid("spec.attachedRequired", new.spec.attach_required, names.IMMUTABLE)
    modes = list(new.spec.volume_lifecycle_modes)
    if modes != list(old.spec.volume_lifecycle_modes):
        yield FieldError.invalid("spec.volumeLifecycleModes", modes, names.IMMUTABLE)


def validate_csi_node(node: storagev1.CSINode) -> Errors:
    """Check a CSINode (its metadata aside)."""
    taken: set[str] = set()
    for index, driver in enumerate(node.spec.drivers):
        here = f"spec.drivers[{index}]"
        yield from validate_driver_name(driver.name, f"{here}.name")
        if not driver.node_id:
            yield FieldError.required(f"{here}.nodeID")
        elif len(driver.node_id.encode()) > _NODE_ID_MAX:
            yield FieldError.invalid(f"{here}.nodeID", driver.node_id, f"must be {_NODE_ID_MAX} characters or less")
        yield from non_negative(f"{here}.allocatable.count", driver.allocatable.count)
        if driver.name in taken:
            yield FieldError.duplicate(f"{here}.name", driver.name)
        taken.add(driver.name)
        yield from _validate_topology_keys(driver.topology_keys, here)


def _validate_topology_keys(keys: Sequence[str], path: str) -> Errors:
    for index, key in enumerate(keys):
        if not key:
            yield FieldError.required(path)
        if key in keys[:index]:
            yield FieldError.duplicate(path, key)
        yield from check(path, key, names.qualified_name(key))


def validate_driver_name(name: str, path: str) -> Errors:
    """Check the name of a driver where something refers to it."""
    if not name:
        yield FieldError.required(path)
    if len(name.encode()) > _DRIVER_NAME_MAX:
        yield FieldError.too_long(path, name, _DRIVER_NAME_MAX)
    yield from check(path, name, names.dns_subdomain(name.lower()))


def validate_csi_node_update(new: storagev1.CSINode, old: storagev1.CSINode) -> Errors:
    """Check a changed CSINode: drivers come and go; what one said about the node stays, but for its limits."""
    yield from validate_csi_node(new)
    before = {driver.name: driver for driver in old.spec.drivers}
    for driver in new.spec.drivers:
        was = storagev1.CSINodeDriver()
        was.CopyFrom(before.get(driver.name, driver))
        if driver.HasField("allocatable"):
            was.allocatable.CopyFrom(driver.allocatable)
        if not same(driver, was):
            yield FieldError.invalid("CSINodeDriver", to_json(driver), names.IMMUTABLE)


def validate_capacity(capacity: storagev1.CSIStorageCapacity) -> Errors:
    """Check a CSIStorageCapacity (its metadata aside)."""
    yield from validate_label_selector(capacity.node_topology, "nodeTopology")
    name = capacity.storage_class_name
    yield from check("storageClassName", name, names.dns_subdomain(name))
    for field, path in (("capacity", "capacity"), ("maximum_volume_size", "maximumVolumeSize")):
        if capacity.HasField(field):
            yield from validate_quantity(getattr(capacity, field), path)


def validate_capacity_update(new: storagev1.CSIStorageCapacity, old: storagev1.CSIStorageCapacity) -> Errors:
    """Check a changed CSIStorageCapacity: what was asked stays, the answer may change."""
    if not same(new.node_topology, old.node_topology):
        yield FieldError.invalid("nodeTopology", to_json(new.node_topology), names.IMMUTABLE)
    if new.storage_class_name != old.storage_class_name:
        yield FieldError.invalid("storageClassName", new.storage_class_name, names.IMMUTABLE)


def validate_attachment(attachment: storagev1.VolumeAttachment) -> Errors:
    """Check a VolumeAttachment (its metadata aside)."""
    spec = attachment.spec
    if not spec.attacher:
        yield FieldError.required("spec.attacher")
    yield from _validate_attached(spec.source, "spec.source")
    yield from check("spec.nodeName", spec.node_name, names.dns_subdomain(spec.node_name))
    yield from validate_attachment_status(attachment, attachment)
    if spec.attacher:
        yield from validate_driver_name(spec.attacher, "spec.attacher")
    if name := spec.source.persistent_volume_name:
        yield from check("spec.source.persistentVolumeName", name, names.dns_subdomain(name))


def _validate_attached(source: storagev1.VolumeAttachmentSource, path: str) -> Errors:
    named, inline = source.HasField("persistent_volume_name"), source.HasField("inline_volume_spec")
    text = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
    if not named and not inline:
        yield FieldError.required(path, text)
    elif named and inline:
        yield FieldError.forbidden(path, text)
    elif named and not source.persistent_volume_name:
        yield FieldError.required(f"{path}.persistentVolumeName", "must specify non empty persistentVolumeName")
    elif inline:
        yield from validate_inline_volume(source.inline_volume_spec, f"{path}.inlineVolumeSpec")


def validate_attachment_status(new: storagev1.VolumeAttachment, _: storagev1.VolumeAttachment) -> Errors:
    """Check what an attacher reported."""
    status = new.status
    size = sum(len(key.encode()) + len(value.encode()) for key, value in status.attachment_metadata.items())
    if size > _PARAMETERS_MAX_BYTES:
        yield FieldError.too_long("status.attachmentMetadata", "", _PARAMETERS_MAX_BYTES)
    for field, failure in (("attachError", status.attach_error), ("detachError", status.detach_error)):
        if len(failure.message.encode()) > _ERROR_MAX_BYTES:
            yield FieldError.too_long(f"status.{field}.message", failure.message, _ERROR_MAX_BYTES)


def validate_attachment_update(new: storagev1.VolumeAttachment, old: storagev1.VolumeAttachment) -> Errors:
    """Check a changed VolumeAttachment: it stays what it was made for."""
    yield from validate_attachment(new)
    if not same(new.spec, old.spec):
        yield FieldError.invalid("spec", to_json(new.spec), names.IMMUTABLE)


def validate_attributes_class(attributes: storagev1.VolumeAttributesClass) -> Errors:
    """Check a VolumeAttributesClass (its metadata aside)."""
    yield from required("driverName", attributes.driver_name)
    if attributes.driver_name:
        yield from validate_driver_name(attributes.driver_name, "driverName")
    yield from _validate_parameters(attributes.parameters, required_ones=True)


def validate_attributes_class_update(
    new: storagev1.VolumeAttributesClass, old: storagev1.VolumeAttributesClass
) -> Errors:
    """Check a changed VolumeAttributesClass: only its metadata may change."""
    if new.driver_name != old.driver_name:
        yield FieldError.forbidden("driverName", "updates to driverName are forbidden.")
    if new.parameters != old.parameters:
        yield FieldError.forbidden("parameters", "updates to parameters are forbidden.")
