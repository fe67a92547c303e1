"""Rules that depend on the operating system of a Pod and on what it shares with its host."""

from collections.abc import Iterator

from google.protobuf.message import Message

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.values import Errors, check, supported

ContainerLike = corev1.Container | corev1.EphemeralContainerCommon

_NOT_ON_WINDOWS = "cannot be set for a windows pod"
_NOT_ON_LINUX = "windows options cannot be set for a linux pod"
_IN_USER_NAMESPACE = "when `hostUsers` is false"
_HOSTNAME_MAX = 64
_WINDOWS_SPEC = frozenset({"host_users", "host_pid", "host_ipc", "share_process_namespace"})
# Of security contexts, what Windows knows too.
_ON_WINDOWS = frozenset({"windows_options", "run_as_non_root"})


def containers_of(spec: corev1.PodSpec, path: str) -> Iterator[tuple[ContainerLike, str]]:
    """Every container of a Pod with its path, in the order they start in."""
    for index, container in enumerate(spec.init_containers):
        yield container, f"{path}.initContainers[{index}]"
    for index, container in enumerate(spec.containers):
        yield container, f"{path}.containers[{index}]"
    for index, ephemeral in enumerate(spec.ephemeral_containers):
        yield ephemeral.ephemeral_container_common, f"{path}.ephemeralContainers[{index}]"


def validate_system(spec: corev1.PodSpec, path: str) -> Errors:
    """Check that a Pod of an operating system sets only what that system has."""
    if not spec.os.name:
        yield FieldError.required(f"{path}.os.name")
    elif spec.os.name not in ("linux", "windows"):
        yield from supported(f"{path}.os", spec.os.name, ("linux", "windows"))
    elif spec.os.name == "linux":
        for context, here in _contexts(spec, path):
            if context.HasField("windows_options"):
                yield FieldError.forbidden(f"{here}.windowsOptions", _NOT_ON_LINUX)
    else:
        for field, value in spec.ListFields():
            if field.name in _WINDOWS_SPEC and (value or field.name in ("host_users", "share_process_namespace")):
                yield FieldError.forbidden(f"{path}.{field.json_name}", _NOT_ON_WINDOWS)
        for context, here in _contexts(spec, path):
            for field, _ in context.ListFields():
                if field.name not in _ON_WINDOWS:
                    yield FieldError.forbidden(f"{here}.{field.json_name}", _NOT_ON_WINDOWS)


def _contexts(spec: corev1.PodSpec, path: str) -> Iterator[tuple[Message, str]]:
    yield spec.security_context, f"{path}.securityContext"
    for container, here in containers_of(spec, path):
        yield container.security_context, f"{here}.securityContext"


def validate_user_namespace(spec: corev1.PodSpec, path: str) -> Errors:
    """Check a Pod with users of its own, who cannot handle what belongs to the host's."""
    for shared, field in ((spec.host_network, "hostNetwork"), (spec.host_pid, "HostPID"), (spec.host_ipc, "HostIPC")):
        if shared:
            yield FieldError.forbidden(f"{path}.{field}", _IN_USER_NAMESPACE)
    for container, here in containers_of(spec, path):
        if container.volume_devices:
            yield FieldError.forbidden(f"{here}.volumeDevices", _IN_USER_NAMESPACE)


def validate_hostname_override(spec: corev1.PodSpec, path: str) -> Errors:
    """Check a hostname that stands above all others."""
    here, name = f"{path}.hostnameOverride", spec.hostname_override
    if spec.set_hostname_as_fqdn:
        yield FieldError.forbidden(here, "may not be specified when setHostnameAsFQDN is true")
    if spec.host_network:
        yield FieldError.forbidden(here, "may not be specified when hostNetwork is true")
    if len(name) > _HOSTNAME_MAX:
        yield FieldError.too_long(here, "", _HOSTNAME_MAX)
    yield from check(here, name, names.dns_subdomain(name))


def validate_host_processes(spec: corev1.PodSpec, path: str) -> Errors:
    """Check Windows containers that run as processes of the host: all of them do, in the host's network."""
    of_pod = spec.security_context.windows_options
    count = total = 0
    for container, here in containers_of(spec, path):
        options = container.security_context.windows_options
        total += 1
        inherited = of_pod.HasField("host_process")
        if options.HasField("host_process"):
            if inherited and options.host_process != of_pod.host_process:
                was = str(of_pod.host_process).lower()
                text = f"pod hostProcess value must be identical if both are specified, was {was}"
                where = f"{here}.securityContext.windowsOptions.hostProcess"
                yield FieldError.invalid(where, options.host_process, text)
            count += options.host_process
        else:
            count += inherited and of_pod.host_process
    if not count:
        return
    if count != total:
        text = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        yield FieldError.invalid(path, "", text)
    if not spec.host_network:
        text = "hostNetwork must be true if pod contains any hostProcess containers"
        yield FieldError.invalid(f"{path}.hostNetwork", False, text)
