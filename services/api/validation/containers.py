"""Rules for containers: long-running, init and ephemeral ones."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.env import validate_env, validate_env_from
from navarch.services.api.validation.pod_claims import validate_used_claims
from navarch.services.api.validation.probes import validate_lifecycle, validate_probe, validate_single_success
from navarch.services.api.validation.resources import validate_requirements
from navarch.services.api.validation.restarts import validate_resize_policy, validate_restarts
from navarch.services.api.validation.security import validate_container_security
from navarch.services.api.validation.values import Errors, check, required
from navarch.services.api.validation.volume_mounts import Sources, validate_devices, validate_mounts

ContainerLike = corev1.Container | corev1.EphemeralContainerCommon

_EPHEMERAL = "cannot be set for an Ephemeral Container"
_NOT_EPHEMERAL = (
    "lifecycle",
    "liveness_probe",
    "ports",
    "readiness_probe",
    "resize_policy",
    "restart_policy",
    "restart_policy_rules",
    "startup_probe",
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the containers of a Pod have around them."""

    volumes: Sources
    claims: Collection[str]
    is_pod: bool
    """Not a template, which may leave some things open."""


def validate_containers(spec: corev1.PodSpec, around: Surroundings, path: str) -> Errors:
    """Check all containers of a Pod, which together need names of their own."""
    if not spec.containers:
        yield FieldError.required(f"{path}.containers")
    taken: set[str] = set()
    for index, container in enumerate(spec.containers):
        here = f"{path}.containers[{index}]"
        yield from _validate_name(container.name, taken, here)
        yield from _validate_container(container, spec, around, here)
        yield from _validate_probes(container, spec, here)
    yield from _validate_host_ports(spec.containers, f"{path}.containers")
    for index, container in enumerate(spec.init_containers):
        here = f"{path}.initContainers[{index}]"
        yield from _validate_name(container.name, taken, here)
        yield from _validate_container(container, spec, around, here)
        yield from _validate_init(container, spec, here)
        # They run one after the other, and may use the same ports.
        yield from _validate_host_ports([container], f"{path}.initContainers")
    for index, ephemeral in enumerate(spec.ephemeral_containers):
        here = f"{path}.ephemeralContainers[{index}]"
        yield from _validate_name(ephemeral.ephemeral_container_common.name, taken, here)
        yield from _validate_ephemeral(ephemeral, spec, around, here)


def _validate_name(name: str, taken: set[str], path: str) -> Errors:
    yield from required(f"{path}.name", name, names.dns_label)
    if name in taken:
        yield FieldError.duplicate(f"{path}.name", name)
    taken.add(name)


def _validate_container(container: ContainerLike, spec: corev1.PodSpec, around: Surroundings, path: str) -> Errors:
    image = container.image
    if not image:
        yield FieldError.required(f"{path}.image")
    elif around.is_pod and image != image.strip():
        yield FieldError.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    for field, word in (
        ("terminationMessagePolicy", container.termination_message_policy),
        ("imagePullPolicy", container.image_pull_policy),
    ):
        if not word:
            yield FieldError.required(f"{path}.{field}")
    if container.ports:
        yield from validate_ports(container.ports, f"{path}.ports")
        if spec.host_network:
            yield from _validate_same_ports(container.ports, around.is_pod, f"{path}.ports")
    if container.env:
        yield from validate_env(container.env, around.volumes, f"{path}.env")
    if container.env_from:
        yield from validate_env_from(container.env_from, f"{path}.envFrom")
    if container.volume_mounts:
        yield from validate_mounts(container, around.volumes, f"{path}.volumeMounts")
    if container.volume_devices:
        yield from validate_devices(container, around.volumes, f"{path}.volumeDevices")
    if container.HasField("resources"):
        yield from validate_requirements(container.resources, f"{path}.resources")
        yield from validate_used_claims(container.resources.claims, around.claims, f"{path}.resources.claims")
    if isinstance(container, corev1.Container):
        if container.resize_policy:
            yield from validate_resize_policy(container, spec.restart_policy, f"{path}.resizePolicy")
        if container.restart_policy or container.restart_policy_rules:
            yield from validate_restarts(container, path)
    if container.HasField("security_context"):
        has_host_users = not spec.HasField("host_users") or spec.host_users
        yield from validate_container_security(container.security_context, has_host_users, f"{path}.securityContext")


def _validate_probes(container: corev1.Container, spec: corev1.PodSpec, path: str) -> Errors:
    if container.HasField("lifecycle"):
        yield from validate_lifecycle(container.lifecycle, spec, f"{path}.lifecycle")
    for name, field in _PROBES:
        if container.HasField(name):
            probe, here = getattr(container, name), f"{path}.{field}"
            yield from validate_probe(probe, here)
            if name != "readiness_probe":
                yield from validate_single_success(probe, here)
            elif probe.HasField("termination_grace_period_seconds"):
                value = probe.termination_grace_period_seconds
                text = "must not be set for readinessProbes"
                yield FieldError.invalid(f"{here}.terminationGracePeriodSeconds", value, text)


_PROBES = (
    ("liveness_probe", "livenessProbe"),
    ("readiness_probe", "readinessProbe"),
    ("startup_probe", "startupProbe"),
)


def _validate_init(container: corev1.Container, spec: corev1.PodSpec, path: str) -> Errors:
    """Init containers run to completion; only sidecars, which stay, can be probed."""
    if container.restart_policy == "Always":
        yield from _validate_probes(container, spec, path)
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
    yield from _validate_container(common, spec, around, path)
    if target and target not in {container.name for container in (*spec.containers, *spec.init_containers)}:
        yield FieldError.not_found(f"{path}.targetContainerName", target)
    for field, _ in common.ListFields():
        if field.name in _NOT_EPHEMERAL:
            yield FieldError.forbidden(f"{path}.{field.json_name}", _EPHEMERAL)
    if common.resources.ListFields():
        yield FieldError.forbidden(f"{path}.resources", _EPHEMERAL)
    for index, mount in enumerate(common.volume_mounts):
        for place, value in (("subPath", mount.sub_path), ("subPathExpr", mount.sub_path_expr)):
            if value:
                yield FieldError.forbidden(f"{path}.volumeMounts[{index}].{place}", _EPHEMERAL)


def validate_ports(ports: Sequence[corev1.ContainerPort], path: str) -> Errors:
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
        if not port.protocol:
            yield FieldError.required(f"{here}.protocol")


def _validate_same_ports(ports: Sequence[corev1.ContainerPort], is_pod: bool, path: str) -> Errors:
    """In the host's network a container's port is one of the host; a template may leave that open."""
    for index, port in enumerate(ports):
        if (is_pod or port.host_port) and port.host_port != port.container_port:
            text = "must match `containerPort` when `hostNetwork` is true"
            yield FieldError.invalid(f"{path}[{index}].hostPort", port.host_port, text)


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
