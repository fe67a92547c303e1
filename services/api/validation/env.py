"""Rules for a container's environment: variables, their sources, whole maps of them."""

from collections.abc import Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
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
_ONE = "may not have more than one field specified at a time"


def validate_env(env: Sequence[corev1.EnvVar], path: str) -> Errors:
    """Check variables; later ones may use and override earlier ones, so names may repeat."""
    for index, variable in enumerate(env):
        here = f"{path}[{index}]"
        yield from required(f"{here}.name", variable.name, names.env_name)
        if variable.HasField("value_from"):
            yield from _validate_source(variable, f"{here}.valueFrom")


def _validate_source(variable: corev1.EnvVar, path: str) -> Errors:
    source = variable.value_from
    count = len(source.ListFields())
    if count == 0:
        yield FieldError.invalid(
            path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        )
    elif variable.value:
        yield FieldError.invalid(path, "", "may not be specified when `value` is not empty")
    elif count > 1:
        yield FieldError.invalid(path, "", _ONE)
    if source.HasField("field_ref"):
        yield from validate_field_ref(source.field_ref, ENV_FIELD_PATHS, f"{path}.fieldRef")
    if source.HasField("resource_field_ref"):
        yield from validate_resource_field_ref(source.resource_field_ref, f"{path}.resourceFieldRef", False)
    for name, field in (("config_map_key_ref", "configMapKeyRef"), ("secret_key_ref", "secretKeyRef")):
        if source.HasField(name):
            reference = getattr(source, name)
            yield from required(f"{path}.{field}.name", reference.local_object_reference.name, names.dns_subdomain)
            yield from required(f"{path}.{field}.key", reference.key, names.config_key)


def validate_field_ref(reference: corev1.ObjectFieldSelector, accepted: Sequence[str], path: str) -> Errors:
    """Check a reference to a field of the Pod; single labels and annotations are named by subscript."""
    yield from required(f"{path}.apiVersion", reference.api_version)
    field = reference.field_path
    if not field:
        yield FieldError.required(f"{path}.fieldPath")
        return
    base, bracket, rest = field.partition("['")
    if bracket and rest.endswith("']"):
        key = rest.removesuffix("']")
        if base not in ("metadata.labels", "metadata.annotations"):
            yield FieldError.invalid(f"{path}.fieldPath", field, "does not support subscript")
        else:
            lowered = key.lower() if base == "metadata.annotations" else key
            yield from check(path, key, names.qualified_name(lowered))
    else:
        yield from supported(f"{path}.fieldPath", field, accepted)


def validate_resource_field_ref(reference: corev1.ResourceFieldSelector, path: str, volume: bool) -> Errors:
    """Check a reference to a container's resources; a volume has to say which container."""
    if volume:
        yield from required(f"{path}.containerName", reference.container_name)
    if not reference.resource:
        yield FieldError.required(f"{path}.resource")
    elif not reference.resource.startswith(("limits.hugepages-", "requests.hugepages-")):
        yield from supported(f"{path}.resource", reference.resource, _RESOURCES)


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
            yield FieldError.invalid(here, "", "must specify one of: `configMapRef` or `secretRef`")
        if len(present) > 1:
            yield FieldError.invalid(here, "", _ONE)
        for name, field in present:
            reference = getattr(source, name).local_object_reference.name
            yield from required(f"{here}.{field}.name", reference, names.dns_subdomain)
