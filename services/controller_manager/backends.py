"""What stands behind a Service: which Pods, at which addresses and ports. Pure; shared by both endpoint loops."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.controller_manager import pods

HEADLESS = "service.kubernetes.io/headless"
_NO_IP = "None"


@dataclass(frozen=True, slots=True, order=True)
class Port:
    """A port that a backend serves. app_protocol: empty where none was given."""

    name: str
    port: int
    protocol: str
    app_protocol: str = ""


@dataclass(frozen=True, slots=True)
class Backend:
    """A Pod behind a Service, at one of its addresses."""

    pod: corev1.Pod
    ip: str
    ports: tuple[Port, ...]
    ready: bool
    serving: bool
    terminating: bool


def selects(service: corev1.Service) -> bool:
    """Whether its endpoints are made here: it selects Pods and is no mere alias."""
    return bool(service.spec.selector) and service.spec.type != "ExternalName"


def matches(service: corev1.Service, pod: corev1.Pod) -> bool:
    """Whether a Pod of the Service's namespace is behind it."""
    return service.spec.selector.items() <= pod.metadata.labels.items()


def selected(service: corev1.Service) -> list[str]:
    """The labels that a Service's Pods have, as `by_label` gives them; none where no Pods are selected."""
    found = service.spec.selector.items() if selects(service) else ()
    return [_label(service.metadata.namespace, key, value) for key, value in sorted(found)]


def by_label(pod: corev1.Pod) -> tuple[str, ...]:
    """An indexer: each label of a Pod, within its Namespace."""
    namespace = pod.metadata.namespace
    return tuple(_label(namespace, key, value) for key, value in pod.metadata.labels.items())


def by_selector(service: corev1.Service) -> tuple[str, ...]:
    """An indexer: one of the labels that a Service selects by. Who has it may be behind the Service, nobody else."""
    return tuple(selected(service)[:1])


def is_headless(service: corev1.Service) -> bool:
    """Whether it has no address of its own."""
    return service.spec.cluster_ip == _NO_IP


def families(service: corev1.Service) -> list[str]:
    """IPv4, IPv6 or both, the primary first. A Service from before there were families has that of its address."""
    if service.spec.ip_families:
        return list(service.spec.ip_families)
    if is_headless(service) or not service.spec.cluster_ip:
        return ["IPv4", "IPv6"]
    return [family_of(service.spec.cluster_ip) or "IPv4"]


# The same Pods are asked about again and again.
@lru_cache(maxsize=65536)
def family_of(ip: str) -> str | None:
    """IPv4 or IPv6; None for what is no address."""
    try:
        return f"IPv{ip_address(ip).version}"
    except ValueError:
        return None


def backends(service: corev1.Service, candidates: Iterable[corev1.Pod], family: str) -> Iterator[Backend]:
    """The Pods behind a Service that have an address of the family, in the order of their names."""
    is_named = any(port.target_port.type for port in service.spec.ports)
    numbered = () if is_named else ports_of(service, corev1.Pod())
    chosen = [pod for pod in candidates if matches(service, pod) and not pods.has_ended(pod)]
    for pod in sorted(chosen, key=lambda each: each.metadata.name):
        if (ip := _address(pod, family)) is None:
            continue
        serving, terminating = pods.is_ready(pod), pods.is_terminating(pod)
        ready = service.spec.publish_not_ready_addresses or (serving and not terminating)
        yield Backend(pod, ip, ports_of(service, pod) if is_named else numbered, ready, serving, terminating)


def ports_of(service: corev1.Service, pod: corev1.Pod) -> tuple[Port, ...]:
    """The ports of a Service as this Pod serves them; those that it does not name are left out."""
    found = ((port, _target(port, pod)) for port in service.spec.ports)
    return tuple(
        Port(port.name, number, port.protocol or "TCP", port.app_protocol)
        for port, number in found
        if number is not None
    )


def hostname(service: corev1.Service, pod: corev1.Pod) -> str:
    """The Pod's own name below the Service's, where it asked for one."""
    return pod.spec.hostname if pod.spec.hostname and pod.spec.subdomain == service.metadata.name else ""


def traits(pod: corev1.Pod) -> tuple[object, ...]:
    """All that can matter to a Service: while it stays equal, no endpoint changes."""
    return (
        pod.metadata.uid,
        dict(pod.metadata.labels),
        pods.has_ended(pod),
        pods.is_ready(pod),
        pods.is_terminating(pod),
        pod.status.pod_ip,
        [each.ip for each in pod.status.pod_ips],
        pod.spec.node_name,
    )


def _label(namespace: str, key: str, value: str) -> str:
    return f"{namespace}/{key}={value}"


def _address(pod: corev1.Pod, family: str) -> str | None:
    known = [each.ip for each in pod.status.pod_ips] or ([pod.status.pod_ip] if pod.status.pod_ip else [])
    return next((ip for ip in known if family_of(ip) == family), None)


def _target(port: corev1.ServicePort, pod: corev1.Pod) -> int | None:
    if port.target_port.type == 0:
        return port.target_port.int_val or port.port
    sidecars = (each for each in pod.spec.init_containers if each.restart_policy == "Always")
    for container in (*pod.spec.containers, *sidecars):
        for each in container.ports:
            if each.name == port.target_port.str_val and (each.protocol or "TCP") == (port.protocol or "TCP"):
                return each.container_port
    return None
