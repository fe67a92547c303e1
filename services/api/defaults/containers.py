"""Defaults of containers: pull policy, termination message, ports, probes, hooks, environment."""

from collections.abc import Iterable

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.defaults.fill import fill
from navarch.services.api.defaults.images import pull_policy
from navarch.services.api.defaults.resources import canonical

ContainerLike = corev1.Container | corev1.EphemeralContainerCommon


def default_container(container: ContainerLike) -> None:
    """Complete one container of a Pod or of a Pod template."""
    fill(
        container,
        image_pull_policy=pull_policy(container.image),
        termination_message_path="/dev/termination-log",
        termination_message_policy="File",
    )
    for port in container.ports:
        fill(port, protocol="TCP")
    _default_env(container.env)
    for name in ("liveness_probe", "readiness_probe", "startup_probe"):
        if container.HasField(name):
            _default_probe(getattr(container, name))
    if container.HasField("lifecycle"):
        for name in ("post_start", "pre_stop"):
            if container.lifecycle.HasField(name):
                _default_action(getattr(container.lifecycle, name))
    if container.HasField("resources"):
        canonical(container.resources.limits)
        canonical(container.resources.requests)


def _default_env(env: Iterable[corev1.EnvVar]) -> None:
    for variable in env:
        if variable.HasField("value_from"):
            source = variable.value_from
            if source.HasField("field_ref"):
                fill(source.field_ref, api_version="v1")
            if source.HasField("file_key_ref"):
                fill(source.file_key_ref, optional=False)


def _default_probe(probe: corev1.Probe) -> None:
    fill(probe, timeout_seconds=1, period_seconds=10, success_threshold=1, failure_threshold=3)
    _default_action(probe.handler)
    if probe.handler.HasField("grpc"):
        fill(probe.handler.grpc, service="")


def _default_action(handler: corev1.ProbeHandler | corev1.LifecycleHandler) -> None:
    if handler.HasField("http_get"):
        fill(handler.http_get, path="/", scheme="HTTP")
