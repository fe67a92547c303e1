"""Rules for a container's environment: variables, their sources, whole maps of them."""

from collections.abc import Mapping, Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.resources import parsed
from navarch.services.api.validation.values import Errors, check, required, supported

ENV_FIELD_PATHS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
_RESOURCES = tuple(
    f"{side}.{name}" for side in ("limits", "requests") for name in ("cpu", "memory", "ephemeral-storage")
)
# Of what amounts of each resource are told in units of.
_MEMORY_UNITS = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
_UNITS = {
    "cpu": ("cpu", ("1m", "1")),
    "memory": ("memory", _MEMORY_UNITS),
    "ephemeral-storage": ("local ephemeral storage", _MEMORY_UNITS),
    "hugepages": ("hugepages", _MEMORY_UNITS),
}
_ONE = "may not have more than one field specified at a time"


def validate_env(env: Sequence[corev1.EnvVar], volumes: Mapping[str, str], path: str) -> Errors:
    """Check variables; later ones may use and override earlier ones, so names may repeat."""
    for index, variable in enumerate(env):
        if wrong := names.env_name(variable.name):
            here = f"{path}[{index}].name"
            yield from check(here, variable.name, wrong) if variable.name else (FieldError.required(here),)
        if variable.HasField("value_from"):
            yield from _validate_source(variable, volumes, f"{path}[{index}].valueFrom")


def _validate_source(variable: corev1.EnvVar, volumes: Mapping[str, str], path: str) -> Errors:
    source = variable.value_from
    if source.HasField("field_ref"):
        yield from validate_field_ref(source.field_ref, ENV_FIELD_PATHS, f"{path}.fieldRef")
    if source.HasField("resource_field_ref"):
        yield from validate_resource_field_ref(source.resource_field_ref, f"{path}.resourceFieldRef", False)
    for name, field in (("config_map_key_ref", "configMapKeyRef"), ("secret_key_ref", "secretKeyRef")):
        if source.HasField(name):
            reference = getattr(source, name)
            key_of = reference.local_object_reference.name
            yield from check(f"{path}.{field}.name", key_of, names.dns_subdomain(key_of))
            yield from required(f"{path}.{field}.key", reference.key, names.config_key)
    if source.HasField("file_key_ref"):
        yield from _validate_file_key(source.file_key_ref, volumes, f"{path}.fileKeyRef")
    count = len(source.ListFields())
    if count == 0:
        text = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        yield FieldError.invalid(path, "", text)
    elif variable.value:
        yield FieldError.invalid(path, "", "may not be specified when `value` is not empty")
    elif count > 1:
        yield FieldError.invalid(path, "", _ONE)


def _validate_file_key(reference: corev1.FileKeySelector, volumes: Mapping[str, str], path: str) -> Errors:
    """Check a reference to a variable in a file, which a container of the Pod wrote to a volume they share."""
    yield from required(f"{path}.key", reference.key, names.env_name)
    volume = reference.volume_name
    yield from required(f"{path}.volumeName", volume, names.dns_label)
    if not reference.path:
        yield FieldError.required(f"{path}.path")
    elif ".." in reference.path.split("/"):
        yield FieldError.invalid(f"{path}.path", reference.path, "must not contain '..'")
    if volume not in volumes:
        yield FieldError.not_found(f"{path}.volumeName", volume)
    elif volumes[volume] != "empty_dir":
        yield FieldError.invalid(f"{path}.volumeName", volume, "referenced volume must be of type emptyDir")


def validate_field_ref(reference: corev1.ObjectFieldSelector, accepted: Sequence[str], path: str) -> Errors:
    """Check a reference to a field of the Pod; single labels and annotations are named by subscript."""
    field = reference.field_path
    if not reference.api_version or not field:
        yield FieldError.required(f"{path}.{'fieldPath' if reference.api_version else 'apiVersion'}")
        return
    base, bracket, rest = field.partition("['")
    if bracket and rest.endswith("']"):
        key = rest.removesuffix("']")
        if base not in ("metadata.labels", "metadata.annotations"):
            yield FieldError.invalid(path, base, "does not support subscript")
        else:
            lowered = key.lower() if base == "metadata.annotations" else key
            yield from check(path, lowered, names.qualified_name(lowered))
    else:
        yield from supported(f"{path}.fieldPath", field, accepted)


def validate_resource_field_ref(reference: corev1.ResourceFieldSelector, path: str, volume: bool) -> Errors:
    """Check a reference to a container's resources; a volume has to say which container."""
    side, _, resource = reference.resource.partition(".")
    huge = side in ("limits", "requests") and resource.startswith("hugepages-")
    if volume and not reference.container_name:
        yield FieldError.required(f"{path}.containerName")
    elif not reference.resource:
        yield FieldError.required(f"{path}.resource")
    elif not huge:
        yield from supported(f"{path}.resource", reference.resource, _RESOURCES)
    divisor, kind = parsed(reference.divisor), _UNITS.get("hugepages" if huge else resource)
    if kind and reference.HasField("divisor") and str(divisor) != "0" and str(divisor) not in kind[1]:
        listed = " and ".join(kind[1]) if resource == "cpu" else ", ".join(kind[1])
        text = f"only divisor's values {listed} are supported with the {kind[0]} resource"
        yield FieldError.invalid(f"{path}.divisor", reference.resource, text)


def validate_env_from(sources: Sequence[corev1.EnvFromSource], path: str) -> Errors:
    """Check the maps that become variables."""
    for index, source in enumerate(sources):
        here = f"{path}[{index}]"
        if source.prefix:
            yield from check(f"{here}.prefix", source.prefix, names.env_name(source.prefix))
        present = [
            (name, field)
            for name, field in (("config_map_ref", "configMapRef"), ("secret_ref", "secretRef"))
            if source.HasField(name)
        ]
        if not present:
            yield FieldError.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
        if len(present) > 1:
            yield FieldError.invalid(path, "", _ONE)
        for name, field in present:
            reference = getattr(source, name).local_object_reference.name
            yield from required(f"{here}.{field}.name", reference, names.dns_subdomain)
