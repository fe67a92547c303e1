"""Rules for containers: long-running, init and ephemeral ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.env import validate_env, validate_env_from
from navarch.services.api.validation.probes import validate_handler, validate_probe, validate_single_success
from navarch.services.api.validation.resources import validate_requirements
from navarch.services.api.validation.security import validate_container_security
from navarch.services.api.validation.values import Errors, check, required, supported
from navarch.services.api.validation.volumes import validate_devices, validate_mounts

ContainerLike = corev1.Container | corev1.EphemeralContainerCommon

RESTART_POLICIES = ("Always", "Never", "OnFailure")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the containers of a Pod share."""

    volumes: frozenset[str]
    host_network: bool = False


def validate_containers(spec: corev1.PodSpec, around: Surroundings, path: str) -> Errors:
    """Check all containers of a Pod, which together need names of their own."""
    if not spec.containers:
        yield FieldError.required(f"{path}.containers")
    taken: set[str] = set()
    for index, container in enumerate(spec.containers):
        here = f"{path}.containers[{index}]"
        yield from _validate_name(container.name, taken, here)
        yield from _validate_container(container, around, here)
        yield from _validate_probes(container, here)
    yield from _validate_host_ports(spec.containers, f"{path}.containers")
    for index, container in enumerate(spec.init_containers):
        here = f"{path}.initContainers[{index}]"
        yield from _validate_name(container.name, taken, here)
        yield from _validate_container(container, around, here)
        yield from _validate_init(container, here)
    for index, ephemeral in enumerate(spec.ephemeral_containers):
        here = f"{path}.ephemeralContainers[{index}]"
        yield from _validate_name(ephemeral.ephemeral_container_common.name, taken, here)
        yield from _validate_ephemeral(ephemeral, spec, around, here)


def _validate_name(name: str, taken: set[str], path: str) -> Errors:
    yield from required(f"{path}.name", name, names.dns_label)
    if name in taken:
        yield FieldError.duplicate(f"{path}.name", name)
    taken.add(name)


def _validate_container(container: ContainerLike, around: Surroundings, path: str) -> Errors:
    if not container.image:
        yield FieldError.required(f"{path}.image")
    elif container.image != container.image.strip():
        yield FieldError.invalid(f"{path}.image", container.image, "must not have leading or trailing whitespace")
    yield from validate_ports(container.ports, around.host_network, f"{path}.ports")
    yield from validate_env(container.env, f"{path}.env")
    yield from validate_env_from(container.env_from, f"{path}.envFrom")
    yield from validate_mounts(container.volume_mounts, around.volumes, f"{path}.volumeMounts")
    yield from validate_devices(container.volume_devices, around.volumes, f"{path}.volumeDevices")
    yield from validate_requirements(container.resources, f"{path}.resources")
    if container.HasField("restart_policy"):
        yield from supported(f"{path}.restartPolicy", container.restart_policy, RESTART_POLICIES)
    for index, policy in enumerate(container.resize_policy):
        here = f"{path}.resizePolicy[{index}]"
        yield from supported(f"{here}.resourceName", policy.resource_name, ("cpu", "memory"))
        yield from supported(f"{here}.restartPolicy", policy.restart_policy, ("NotRequired", "RestartContainer"))
    if container.HasField("security_context"):
        yield from validate_container_security(container.security_context, f"{path}.securityContext")


def _validate_probes(container: corev1.Container, path: str) -> Errors:
    if container.HasField("lifecycle"):
        for name, field in (("post_start", "postStart"), ("pre_stop", "preStop")):
            if container.lifecycle.HasField(name):
                yield from validate_handler(getattr(container.lifecycle, name), f"{path}.lifecycle.{field}")
    for name, field in _PROBES:
        if container.HasField(name):
            probe = getattr(container, name)
            yield from validate_probe(probe, f"{path}.{field}")
            if name != "readiness_probe":
                yield from validate_single_success(probe, f"{path}.{field}")


_PROBES = (
    ("liveness_probe", "livenessProbe"),
    ("readiness_probe", "readinessProbe"),
    ("startup_probe", "startupProbe"),
)


def _validate_init(container: corev1.Container, path: str) -> Errors:
    """Init containers run to completion; only sidecars, which stay, can be probed."""
    if container.restart_policy == "Always":
        yield from _validate_probes(container, path)
        return
    for name, field in (("lifecycle", "lifecycle"), *_PROBES):
        if container.HasField(name):
            yield FieldError.forbidden(
                f"{path}.{field}", "may not be set for init containers without restartPolicy=Always"
            )


def _validate_ephemeral(
    ephemeral: corev1.EphemeralContainer, spec: corev1.PodSpec, around: Surroundings, path: str
) -> Errors:
    common, target = ephemeral.ephemeral_container_common, ephemeral.target_container_name
    yield from _validate_container(common, around, path)
    for name, field in (("lifecycle", "lifecycle"), *_PROBES):
        if common.HasField(name):
            yield FieldError.forbidden(f"{path}.{field}", "cannot be set for an Ephemeral Container")
    if common.ports:
        yield FieldError.forbidden(f"{path}.ports", "cannot be set for an Ephemeral Container")
    if common.resources.limits or common.resources.requests:
        yield FieldError.forbidden(f"{path}.resources", "cannot be set for an Ephemeral Container")
    if target and target not in {container.name for container in (*spec.containers, *spec.init_containers)}:
        yield FieldError.not_found(f"{path}.targetContainerName", target)


def validate_ports(ports: Sequence[corev1.ContainerPort], host_network: bool, path: str) -> Errors:
    """Check the ports of one container."""
    taken: set[str] = set()
    for index, port in enumerate(ports):
        here = f"{path}[{index}]"
        if port.name:
            wrong = names.port_name(port.name)
            yield from check(f"{here}.name", port.name, wrong)
            if not wrong and port.name in taken:
                yield FieldError.duplicate(f"{here}.name", port.name)
            taken.add(port.name)
        if not port.container_port:
            yield FieldError.required(f"{here}.containerPort")
        else:
            yield from check(f"{here}.containerPort", port.container_port, names.port_number(port.container_port))
        if port.host_port:
            yield from check(f"{here}.hostPort", port.host_port, names.port_number(port.host_port))
            if host_network and port.host_port != port.container_port:
                yield FieldError.invalid(
                    f"{here}.hostPort", port.host_port, "must match `containerPort` when `hostNetwork` is true"
                )
        if not port.protocol:
            yield FieldError.required(f"{here}.protocol")
        if port.host_ip:
            yield from check(f"{here}.hostIP", port.host_ip, names.ip_address(port.host_ip))


def _validate_host_ports(containers: Iterable[corev1.Container], path: str) -> Errors:
    """Two containers of a Pod cannot take the same port of the node."""
    taken: set[str] = set()
    for index, container in enumerate(containers):
        for place, port in enumerate(container.ports):
            if not port.host_port:
                continue
            claim = f"{port.protocol}/{port.host_ip}/{port.host_port}"
            if claim in taken:
                yield FieldError.duplicate(f"{path}[{index}].ports[{place}].hostPort", claim)
            taken.add(claim)
