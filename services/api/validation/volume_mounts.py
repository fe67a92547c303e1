"""Rules for using volumes in a container: mounted as directories, or handed over as block devices."""

from collections.abc import Mapping

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation.file_paths import validate_descending, validate_no_backsteps
from navarch.services.api.validation.values import Errors, required, supported

ContainerLike = corev1.Container | corev1.EphemeralContainerCommon
Sources = Mapping[str, str]
"""By name of the volume, which field of its source is set."""

# What can be a block device.
_CLAIMED = ("persistent_volume_claim", "ephemeral")
_READ_ONLY_DEPTHS = ("Disabled", "Enabled", "IfPossible")


def validate_mounts(container: ContainerLike, volumes: Sources, path: str) -> Errors:
    """Check mounts: of volumes that exist, at places of their own."""
    devices = {device.name: device.device_path for device in container.volume_devices}
    places: set[str] = set()
    for index, mount in enumerate(container.volume_mounts):
        here = f"{path}[{index}]"
        yield from required(f"{here}.name", mount.name)
        if mount.name not in volumes:
            yield FieldError.not_found(f"{here}.name", mount.name)
        yield from required(f"{here}.mountPath", mount.mount_path)
        if mount.mount_path in places:
            yield FieldError.invalid(f"{here}.mountPath", mount.mount_path, "must be unique")
        places.add(mount.mount_path)
        if mount.name in devices:
            yield FieldError.invalid(f"{here}.name", mount.name, "must not already exist in volumeDevices")
        if mount.mount_path in devices.values():
            text = "must not already exist as a path in volumeDevices"
            yield FieldError.invalid(f"{here}.mountPath", mount.mount_path, text)
        if mount.sub_path and mount.sub_path_expr:
            text = "subPathExpr and subPath are mutually exclusive"
            yield FieldError.invalid(f"{here}.subPathExpr", mount.sub_path_expr, text)
        # Kubernetes does not say of which mount these are.
        yield from validate_descending(mount.sub_path, f"{path}.subPath")
        yield from validate_descending(mount.sub_path_expr, f"{path}.subPathExpr")
        if mount.HasField("mount_propagation"):
            yield from _validate_propagation(mount.mount_propagation, container, f"{path}.mountPropagation")
        if mount.HasField("recursive_read_only"):
            yield from _validate_depth(mount, f"{path}.recursiveReadOnly")


def _validate_propagation(mode: str, container: ContainerLike, path: str) -> Errors:
    if mode == "Bidirectional" and not container.security_context.privileged:
        text = "Bidirectional mount propagation is available only to privileged containers"
        yield FieldError.forbidden(path, text)


def _validate_depth(mount: corev1.VolumeMount, path: str) -> Errors:
    yield from supported(path, mount.recursive_read_only, _READ_ONLY_DEPTHS)
    if mount.recursive_read_only not in ("Enabled", "IfPossible"):
        return
    if not mount.read_only:
        yield FieldError.forbidden(path, "may only be specified when readOnly is true")
    if mount.HasField("mount_propagation") and mount.mount_propagation != "None":
        text = "may only be specified when mountPropagation is None or not specified"
        yield FieldError.forbidden(path, text)


def validate_devices(container: ContainerLike, volumes: Sources, path: str) -> Errors:
    """Check block devices: of claimed volumes that exist, at places of their own."""
    mounts = {mount.name: mount.mount_path for mount in container.volume_mounts}
    taken: set[str] = set()
    places: set[str] = set()
    for index, device in enumerate(container.volume_devices):
        here, name, place = f"{path}[{index}]", device.name, device.device_path
        yield from required(f"{here}.name", name)
        if name and name in taken:
            yield FieldError.invalid(f"{here}.name", name, "must be unique")
        taken.add(name)
        if name not in volumes:
            yield FieldError.not_found(f"{here}.name", name)
        elif volumes[name] not in _CLAIMED:
            text = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            yield FieldError.invalid(f"{here}.name", name, text)
        yield from required(f"{here}.devicePath", place)
        if place in places:
            yield FieldError.invalid(f"{here}.devicePath", place, "must be unique")
        places.add(place)
        if any(validate_no_backsteps(place, "")):
            yield FieldError.invalid(f"{here}.devicePath", place, "can not contain backsteps ('..')")
        if name in mounts:
            yield FieldError.invalid(f"{here}.name", name, "must not already exist in volumeMounts")
        if place in mounts.values():
            text = "must not already exist as a path in volumeMounts"
            yield FieldError.invalid(f"{here}.devicePath", place, text)
