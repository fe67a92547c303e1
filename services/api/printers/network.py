"""Services, Endpoints, Ingresses, and the addresses of the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from navarch.services.api.labels import format_labels
from navarch.services.api.printers.table import (
    NONE,
    UNSET,
    Cell,
    Table,
    age_of,
    columns,
    first_of,
    or_none,
    selector_cell,
)

if TYPE_CHECKING:
    from navarch.protos.k8s.core import v1_pb2 as corev1
    from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
    from navarch.protos.k8s.networking import v1_pb2 as networkingv1

_SHOWN_HOSTS = 3


def _service(service: corev1.Service, now: float) -> tuple[Cell, ...]:
    spec = service.spec
    return (
        service.metadata.name,
        spec.type,
        or_none(spec.cluster_ips[0] if spec.cluster_ips else spec.cluster_ip),
        _external_ip(service),
        or_none(",".join(map(_port, spec.ports))),
        age_of(service, now),
        format_labels(spec.selector),
    )


def _external_ip(service: corev1.Service) -> str:
    spec = service.spec
    match spec.type:
        case "ExternalName":
            return spec.external_name
        case "LoadBalancer":
            return ",".join([*_balanced(service.status), *spec.external_ips]) or "<pending>"
        case "ClusterIP" | "NodePort":
            return or_none(",".join(spec.external_ips))
    return "<unknown>"


def _balanced(status: corev1.ServiceStatus | networkingv1.IngressStatus) -> list[str]:
    """The places at which a load balancer answers."""
    return sorted({item.ip or item.hostname for item in status.load_balancer.ingress} - {""})


def _port(port: corev1.ServicePort) -> str:
    return f"{port.port}:{port.node_port}/{port.protocol}" if port.node_port else f"{port.port}/{port.protocol}"


def _endpoints(endpoints: corev1.Endpoints, now: float) -> tuple[Cell, ...]:
    places = []
    for subset in endpoints.subsets:
        if not subset.ports:
            places += [address.ip for address in subset.addresses]
        for port in subset.ports:
            places += [_join_host_port(address.ip, port.port) for address in subset.addresses]
    return (endpoints.metadata.name, first_of(places) or NONE, age_of(endpoints, now))


def _join_host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _endpoint_slice(endpoint_slice: discoveryv1.EndpointSlice, now: float) -> tuple[Cell, ...]:
    ports = [str(port.port) if port.HasField("port") else port.name or "*" for port in endpoint_slice.ports]
    addresses = [address for endpoint in endpoint_slice.endpoints for address in endpoint.addresses]
    return (
        endpoint_slice.metadata.name,
        endpoint_slice.address_type,
        first_of(ports) or UNSET,
        first_of(addresses) or UNSET,
        age_of(endpoint_slice, now),
    )


def _ingress(ingress: networkingv1.Ingress, now: float) -> tuple[Cell, ...]:
    spec = ingress.spec
    return (
        ingress.metadata.name,
        or_none(spec.ingress_class_name),
        _hosts([rule.host for rule in spec.rules]),
        ",".join(_balanced(ingress.status)),
        "80, 443" if spec.tls else "80",
        age_of(ingress, now),
    )


def _hosts(hosts: list[str]) -> str:
    named = [host for host in hosts if host]
    shown = ",".join(named[:_SHOWN_HOSTS]) or "*"
    # Counted among all rules, also those without a host.
    return f"{shown} + {len(hosts) - _SHOWN_HOSTS} more..." if len(named) > _SHOWN_HOSTS else shown


def _ingress_class(ingress_class: networkingv1.IngressClass, now: float) -> tuple[Cell, ...]:
    spec, parameters = ingress_class.spec, NONE
    if spec.HasField("parameters"):
        group = f".{spec.parameters.api_group}" if spec.parameters.HasField("api_group") else ""
        parameters = f"{spec.parameters.kind}{group}/{spec.parameters.name}"
    return (ingress_class.metadata.name, spec.controller, parameters, age_of(ingress_class, now))


def _network_policy(policy: networkingv1.NetworkPolicy, now: float) -> tuple[Cell, ...]:
    return (policy.metadata.name, selector_cell(policy.spec.pod_selector), age_of(policy, now))


def _service_cidr(cidr: networkingv1.ServiceCIDR, now: float) -> tuple[Cell, ...]:
    return (cidr.metadata.name, ",".join(cidr.spec.cidrs), age_of(cidr, now))


def _ip_address(address: networkingv1.IPAddress, now: float) -> tuple[Cell, ...]:
    parent, text = address.spec.parent_ref, NONE
    if address.spec.HasField("parent_ref"):
        resource = f"{parent.resource}.{parent.group}" if parent.group else parent.resource
        text = "/".join(filter(None, (resource.lower(), parent.namespace, parent.name)))
    return (address.metadata.name, text)


SERVICE = Table(
    columns("Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector", wide=("Selector",)), _service
)
ENDPOINTS = Table(columns("Endpoints", "Age"), _endpoints)
ENDPOINT_SLICE = Table(columns("AddressType", "Ports", "Endpoints", "Age"), _endpoint_slice)
INGRESS = Table(columns("Class", "Hosts", "Address", "Ports", "Age"), _ingress)
INGRESS_CLASS = Table(columns("Controller", "Parameters", "Age"), _ingress_class)
NETWORK_POLICY = Table(columns("Pod-Selector", "Age"), _network_policy)
SERVICE_CIDR = Table(columns("CIDRs", "Age"), _service_cidr)
IP_ADDRESS = Table(columns("ParentRef"), _ip_address)
