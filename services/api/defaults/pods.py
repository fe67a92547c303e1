"""Defaults of Pods and of the Pod templates inside workloads.

A template gets what every PodSpec gets. Requests from limits, host ports and service links are decided
only when a Pod is made from it, so that a template's hash does not change with the defaults.
"""

from collections.abc import Iterator

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.defaults.containers import default_container
from navarch.services.api.defaults.fill import fill
from navarch.services.api.defaults.resources import canonical, default_pod_resources, default_requests
from navarch.services.api.defaults.volumes import default_volume


def default_pod(pod: corev1.Pod) -> None:
    """Complete a Pod."""
    spec = pod.spec
    default_pod_spec(spec)
    fill(spec, enable_service_links=True)
    for container in _long_running_and_init(spec):
        if container.HasField("resources"):
            default_requests(container.resources)
        if spec.host_network:
            for port in container.ports:
                fill(port, host_port=port.container_port)
    default_pod_resources(spec)


def default_pod_spec(spec: corev1.PodSpec) -> None:
    """Complete a PodSpec, of a Pod or of a template."""
    fill(
        spec,
        restart_policy="Always",
        dns_policy="ClusterFirst",
        scheduler_name="default-scheduler",
        termination_grace_period_seconds=30,
    )
    spec.security_context.SetInParent()
    # The second name is the deprecated one; readers of either must see the same.
    account = spec.service_account_name or spec.service_account
    if account:
        spec.service_account_name = spec.service_account = account
    canonical(spec.overhead)
    for volume in spec.volumes:
        default_volume(volume)
    for container in _long_running_and_init(spec):
        default_container(container)
    for ephemeral in spec.ephemeral_containers:
        default_container(ephemeral.ephemeral_container_common)


def _long_running_and_init(spec: corev1.PodSpec) -> Iterator[corev1.Container]:
    yield from spec.containers
    yield from spec.init_containers
