"""Rules for volumes and for mounting them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.env import validate_field_ref, validate_resource_field_ref
from navarch.services.api.validation.resources import validate_quantity
from navarch.services.api.validation.values import Errors, required

_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
_FILE_FIELD_PATHS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")


def validate_volumes(volumes: Sequence[corev1.Volume], path: str) -> Errors:
    """Check the volumes of a Pod: each has a name of its own and one source."""
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        here = f"{path}[{index}]"
        yield from required(f"{here}.name", volume.name, names.dns_label)
        if volume.name in seen:
            yield FieldError.duplicate(f"{here}.name", volume.name)
        seen.add(volume.name)
        yield from _validate_source(volume.volume_source, here)


def _validate_source(source: corev1.VolumeSource, path: str) -> Errors:
    present = [field for field, _ in source.ListFields()]
    if not present:
        yield FieldError.required(path, "must specify a volume type")
    for extra in present[1:]:
        yield FieldError.forbidden(f"{path}.{extra.json_name}", "may not specify more than 1 volume type")
    for field in present[:1]:
        if rule := _SOURCES.get(field.name):
            yield from rule(getattr(source, field.name), f"{path}.{field.json_name}")


def _empty_dir(source: corev1.EmptyDirVolumeSource, path: str) -> Errors:
    if source.HasField("size_limit"):
        yield from validate_quantity(source.size_limit, f"{path}.sizeLimit")


def _host_path(source: corev1.HostPathVolumeSource, path: str) -> Errors:
    if not source.path:
        yield FieldError.required(f"{path}.path")
    elif ".." in source.path.split("/"):
        yield FieldError.invalid(f"{path}.path", source.path, "must not contain '..'")


def _secret(source: corev1.SecretVolumeSource, path: str) -> Errors:
    yield from required(f"{path}.secretName", source.secret_name)
    yield from _keys_to_paths(source.items, path)
    yield from _mode(source.default_mode, f"{path}.defaultMode")


def _config_map(source: corev1.ConfigMapVolumeSource, path: str) -> Errors:
    yield from required(f"{path}.name", source.local_object_reference.name)
    yield from _keys_to_paths(source.items, path)
    yield from _mode(source.default_mode, f"{path}.defaultMode")


def _downward_api(source: corev1.DownwardAPIVolumeSource, path: str) -> Errors:
    yield from _downward_items(source.items, path)
    yield from _mode(source.default_mode, f"{path}.defaultMode")


def _claim(source: corev1.PersistentVolumeClaimVolumeSource, path: str) -> Errors:
    yield from required(f"{path}.claimName", source.claim_name)


def _nfs(source: corev1.NFSVolumeSource, path: str) -> Errors:
    yield from required(f"{path}.server", source.server)
    if not source.path:
        yield FieldError.required(f"{path}.path")
    elif not source.path.startswith("/"):
        yield FieldError.invalid(f"{path}.path", source.path, "must be an absolute path")


def _csi(source: corev1.CSIVolumeSource, path: str) -> Errors:
    yield from required(f"{path}.driver", source.driver)


def _ephemeral(source: corev1.EphemeralVolumeSource, path: str) -> Errors:
    if not source.HasField("volume_claim_template"):
        yield FieldError.required(f"{path}.volumeClaimTemplate")


def _image(source: corev1.ImageVolumeSource, path: str) -> Errors:
    yield from required(f"{path}.reference", source.reference)


def _projected(source: corev1.ProjectedVolumeSource, path: str) -> Errors:
    yield from _mode(source.default_mode, f"{path}.defaultMode")
    for index, projection in enumerate(source.sources):
        here = f"{path}.sources[{index}]"
        present = [field for field, _ in projection.ListFields()]
        if not present:
            yield FieldError.required(here, "must specify a volume type")
        for extra in present[1:]:
            yield FieldError.forbidden(
                f"{here}.{extra.json_name}", "may not specify more than 1 volume type per source"
            )
        for field in present[:1]:
            yield from _projection(field.name, getattr(projection, field.name), f"{here}.{field.json_name}")


def _projection(name: str, source: Any, path: str) -> Errors:
    match name:
        case "secret" | "config_map":
            yield from required(f"{path}.name", source.local_object_reference.name)
            yield from _keys_to_paths(source.items, path)
        case "downward_api":
            yield from _downward_items(source.items, path)
        case "service_account_token":
            yield from _relative_path(source.path, f"{path}.path")
            yield from _expiration(source.expiration_seconds, f"{path}.expirationSeconds")


def _expiration(seconds: int, path: str) -> Errors:
    if seconds < 10 * 60:
        yield FieldError.invalid(path, seconds, "may not specify a duration less than 10 minutes")
    elif seconds > 2**32:
        yield FieldError.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")


def _keys_to_paths(items: Iterable[corev1.KeyToPath], path: str) -> Errors:
    for index, item in enumerate(items):
        here = f"{path}.items[{index}]"
        yield from required(f"{here}.key", item.key)
        yield from _relative_path(item.path, f"{here}.path")
        if item.HasField("mode"):
            yield from _mode(item.mode, f"{here}.mode")


def _downward_items(items: Iterable[corev1.DownwardAPIVolumeFile], path: str) -> Errors:
    for index, item in enumerate(items):
        here = f"{path}.items[{index}]"
        yield from _relative_path(item.path, f"{here}.path")
        if item.HasField("field_ref"):
            yield from validate_field_ref(item.field_ref, _FILE_FIELD_PATHS, f"{here}.fieldRef")
            if item.HasField("resource_field_ref"):
                text = "fieldRef and resourceFieldRef can not be specified simultaneously"
                yield FieldError.invalid(here, "resource", text)
        elif item.HasField("resource_field_ref"):
            yield from validate_resource_field_ref(item.resource_field_ref, f"{here}.resourceFieldRef", True)
        else:
            yield FieldError.required(here, "one of fieldRef and resourceFieldRef is required")
        if item.HasField("mode"):
            yield from _mode(item.mode, f"{here}.mode")


def _mode(mode: int, path: str) -> Errors:
    if not 0 <= mode <= 0o777:
        yield FieldError.invalid(path, mode, _MODE)


def _relative_path(value: str, path: str) -> Errors:
    """A path inside a volume, outside the names the kubelet keeps for itself ("..data")."""
    if not value:
        yield FieldError.required(path)
        return
    yield from _descending_path(value, path)
    if value.startswith("..") and not value.startswith("../"):
        yield FieldError.invalid(path, value, "must not start with '..'")


def _descending_path(value: str, path: str) -> Errors:
    if value.startswith("/"):
        yield FieldError.invalid(path, value, "must be a relative path")
    if ".." in value.split("/"):
        yield FieldError.invalid(path, value, "must not contain '..'")


_SOURCES: dict[str, Callable[[Any, str], Errors]] = {
    "empty_dir": _empty_dir,
    "host_path": _host_path,
    "secret": _secret,
    "config_map": _config_map,
    "downward_api": _downward_api,
    "persistent_volume_claim": _claim,
    "nfs": _nfs,
    "csi": _csi,
    "ephemeral": _ephemeral,
    "image": _image,
    "projected": _projected,
}


def validate_mounts(mounts: Sequence[corev1.VolumeMount], volumes: frozenset[str], path: str) -> Errors:
    """Check mounts: of volumes that exist, at places of their own."""
    places: set[str] = set()
    for index, mount in enumerate(mounts):
        here = f"{path}[{index}]"
        if not mount.name:
            yield FieldError.required(f"{here}.name")
        elif mount.name not in volumes:
            yield FieldError.not_found(f"{here}.name", mount.name)
        if not mount.mount_path:
            yield FieldError.required(f"{here}.mountPath")
        elif mount.mount_path in places:
            yield FieldError.invalid(f"{here}.mountPath", mount.mount_path, "must be unique")
        places.add(mount.mount_path)
        yield from _descending_path(mount.sub_path, f"{here}.subPath")
        yield from _descending_path(mount.sub_path_expr, f"{here}.subPathExpr")
        if mount.sub_path and mount.sub_path_expr:
            yield FieldError.invalid(
                f"{here}.subPathExpr", mount.sub_path_expr, "subPathExpr and subPath are mutually exclusive"
            )


def validate_devices(devices: Sequence[corev1.VolumeDevice], volumes: frozenset[str], path: str) -> Errors:
    """Check block devices: of volumes that exist, at places of their own."""
    places: set[str] = set()
    for index, device in enumerate(devices):
        here = f"{path}[{index}]"
        if not device.name:
            yield FieldError.required(f"{here}.name")
        elif device.name not in volumes:
            yield FieldError.not_found(f"{here}.name", device.name)
        yield from required(f"{here}.devicePath", device.device_path)
        if device.device_path in places:
            yield FieldError.invalid(f"{here}.devicePath", device.device_path, "must be unique")
        places.add(device.device_path)
