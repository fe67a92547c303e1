"""Services, Endpoints and EndpointSlices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from navarch.services.api.labels import format_labels
from navarch.services.api.printers.table import NONE, UNSET, Cell, Table, age_of, columns, first_of, or_none

if TYPE_CHECKING:
    from navarch.protos.k8s.core import v1_pb2 as corev1
    from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1


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
            found = [item.ip or item.hostname for item in service.status.load_balancer.ingress]
            return ",".join([*found, *spec.external_ips]) or "<pending>"
        case "ClusterIP" | "NodePort":
            return or_none(",".join(spec.external_ips))
    return "<unknown>"


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
    ports = [str(port.port) if port.HasField("port") else "*" for port in endpoint_slice.ports]
    addresses = [address for endpoint in endpoint_slice.endpoints for address in endpoint.addresses]
    return (
        endpoint_slice.metadata.name,
        endpoint_slice.address_type,
        first_of(ports) or UNSET,
        first_of(addresses) or UNSET,
        age_of(endpoint_slice, now),
    )


SERVICE = Table(
    columns("Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector", wide=("Selector",)), _service
)
ENDPOINTS = Table(columns("Endpoints", "Age"), _endpoints)
ENDPOINT_SLICE = Table(columns("AddressType", "Ports", "Endpoints", "Age"), _endpoint_slice)
