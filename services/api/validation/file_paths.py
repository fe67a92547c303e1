"""Paths and modes of files inside volumes."""

from collections.abc import Iterable

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation.env import validate_field_ref, validate_resource_field_ref
from navarch.services.api.validation.values import Errors, required

_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
_FIELD_PATHS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")


def validate_mode(mode: int, path: str) -> Errors:
    """Check permission bits."""
    if not 0 <= mode <= 0o777:
        yield FieldError.invalid(path, mode, _MODE)


def validate_no_backsteps(value: str, path: str) -> Errors:
    """Check that a path does not lead upwards."""
    if ".." in value.split("/"):
        yield FieldError.invalid(path, value, "must not contain '..'")


def validate_descending(value: str, path: str) -> Errors:
    """Check that a path stays below the place it starts from."""
    if value.startswith("/"):
        yield FieldError.invalid(path, value, "must be a relative path")
    yield from validate_no_backsteps(value, path)


def validate_file_path(value: str, path: str) -> Errors:
    """Check a path inside a volume, outside the names the kubelet keeps for itself ("..data")."""
    if not value:
        yield FieldError.required(path)
        return
    yield from validate_descending(value, path)
    if value.startswith("..") and not value.startswith("../"):
        yield FieldError.invalid(path, value, "must not start with '..'")


def validate_keys_to_paths(items: Iterable[corev1.KeyToPath], path: str) -> Errors:
    """Check which keys of a map become which files."""
    for index, item in enumerate(items):
        here = f"{path}.items[{index}]"
        yield from required(f"{here}.key", item.key)
        yield from validate_file_path(item.path, f"{here}.path")
        if item.HasField("mode"):
            yield from validate_mode(item.mode, f"{here}.mode")


def validate_downward_files(items: Iterable[corev1.DownwardAPIVolumeFile], path: str) -> Errors:
    """Check files that tell about the Pod. Like Kubernetes, errors do not say which of the items is wrong."""
    for item in items:
        yield from validate_file_path(item.path, f"{path}.path")
        if item.HasField("field_ref"):
            yield from validate_field_ref(item.field_ref, _FIELD_PATHS, f"{path}.fieldRef")
            if item.HasField("resource_field_ref"):
                text = "fieldRef and resourceFieldRef can not be specified simultaneously"
                yield FieldError.invalid(path, "resource", text)
        elif item.HasField("resource_field_ref"):
            yield from validate_resource_field_ref(item.resource_field_ref, f"{path}.resourceFieldRef", True)
        else:
            yield FieldError.required(path, "one of fieldRef and resourceFieldRef is required")
        if item.HasField("mode"):
            yield from validate_mode(item.mode, f"{path}.mode")
