"""What a Service means on this node: its frontends (address and port, or node port) and where each leads.

Pure: a Service, its EndpointSlices and the node in, `ServiceRules` out. Headless Services and those of type
ExternalName mean nothing here.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.proxy.endpoints import Choice, Endpoint, Here, Target, choose, endpoints_of
from navarch.services.proxy.families import Family, canonical, is_network, networks

DEFAULT_AFFINITY_S = 10800
PROTOCOLS = ("tcp", "udp", "sctp")
EVERYWHERE = {"0.0.0.0/0", "::/0"}


class Kind(Enum):
    """Who a frontend is for."""

    CLUSTER = "cluster"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True)
class FrontendId:
    """What a packet is recognised by. address: "" for a node port; protocol: as nftables writes it."""

    family: Family
    protocol: str
    address: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.family is Family.V6 and self.address else self.address or "node"
        return f"{self.protocol}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Frontend:
    """Where the packets for an id go. The places of the targets are their slots, kept while others come and go.

    local_only: traffic from outside of the cluster stays on this node and keeps its source. empty: what happens
    where `targets` is empty, "reject" or "drop". affinity_s: 0 for none. ranges: sources let in; () for all.
    """

    id: FrontendId
    kind: Kind
    port_name: str
    targets: tuple[Target, ...]
    local_only: bool = False
    local_targets: tuple[Target, ...] = ()
    empty: str = "reject"
    affinity_s: int = 0
    ranges: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """What a load balancer may ask at a node port: how many endpoints of the Service are here."""

    port: int
    namespace: str
    name: str
    local_endpoints: int


@dataclass(frozen=True, slots=True)
class ServiceRules:
    """All that a Service means. local: addresses of its endpoints on this node."""

    frontends: tuple[Frontend, ...] = ()
    cluster_ips: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    health_check: HealthCheck | None = None


NOTHING = ServiceRules()


def rules_of(
    service: corev1.Service, slices: Iterable[discoveryv1.EndpointSlice], here: Here, node_ips: frozenset[str]
) -> ServiceRules:
    """What this Service means. node_ips: this node's addresses, canonical."""
    spec = service.spec
    cluster_ips = _addresses(spec.cluster_ips or [spec.cluster_ip])
    if spec.type == "ExternalName" or spec.cluster_ip == "None" or not cluster_ips:
        return NOTHING
    slices = list(slices)
    frontends: dict[FrontendId, Frontend] = {}
    ready_here: set[str] = set()
    local: set[str] = set()
    for family in Family:
        addresses = [address for found, address in cluster_ips if found is family]
        if not addresses:
            continue
        by_port = endpoints_of(slices, family)
        for port in spec.ports:
            endpoints = by_port.get((port.name, port.protocol or "TCP"), [])
            here_now = [endpoint for endpoint in endpoints if endpoint.node and endpoint.node == here.node]
            local |= {endpoint.target.address for endpoint in here_now if endpoint.ready or endpoint.lingering}
            ready_here |= {endpoint.target.address for endpoint in here_now if endpoint.ready}
            for frontend in _frontends(spec, service.status, port, family, addresses, endpoints, here, node_ips):
                frontends.setdefault(frontend.id, frontend)
    return ServiceRules(
        tuple(frontends.values()),
        tuple(address for _, address in cluster_ips),
        tuple(sorted(local)),
        _health_check(service, len(ready_here)),
    )


def _frontends(
    spec: corev1.ServiceSpec,
    status: corev1.ServiceStatus,
    port: corev1.ServicePort,
    family: Family,
    cluster_ips: list[str],
    endpoints: list[Endpoint],
    here: Here,
    node_ips: frozenset[str],
) -> Iterator[Frontend]:
    choice = choose(endpoints, here)
    protocol = (port.protocol or "TCP").lower()
    if protocol not in PROTOCOLS:
        return
    affinity_s = _affinity_s(spec)
    inside = _inside(spec, choice)
    for address in cluster_ips:
        id = FrontendId(family, protocol, address, port.port)
        yield replace(inside, id=id, port_name=port.name, affinity_s=affinity_s)
    local_only = spec.external_traffic_policy == "Local"
    outside = Frontend(
        id=FrontendId(family, protocol, "", port.node_port),
        kind=Kind.EXTERNAL,
        port_name=port.name,
        targets=choice.cluster,
        local_only=local_only,
        local_targets=choice.local if local_only else (),
        affinity_s=affinity_s,
    )
    if port.node_port:
        yield outside
    for found, address in _addresses(spec.external_ips):
        if found is family:
            yield replace(outside, id=FrontendId(family, protocol, address, port.port))
    for address in _load_balancer_ips(spec, status, family):
        ranges = _ranges(spec, family, address, node_ips)
        yield replace(outside, id=FrontendId(family, protocol, address, port.port), ranges=ranges)


def _inside(spec: corev1.ServiceSpec, choice: Choice) -> Frontend:
    """The frontend of traffic within the cluster."""
    template = Frontend(FrontendId(Family.V4, "tcp", "", 0), Kind.CLUSTER, "", choice.cluster)
    if spec.internal_traffic_policy != "Local":
        return template
    # Endpoints elsewhere: this node keeps silent, for others would answer.
    return replace(template, targets=choice.local, empty="drop" if choice.anywhere else "reject")


def _affinity_s(spec: corev1.ServiceSpec) -> int:
    if spec.session_affinity != "ClientIP":
        return 0
    return spec.session_affinity_config.client_ip.timeout_seconds or DEFAULT_AFFINITY_S


def _addresses(texts: Iterable[str]) -> list[tuple[Family, str]]:
    return [found for text in texts if (found := canonical(text)) is not None]


def _load_balancer_ips(spec: corev1.ServiceSpec, status: corev1.ServiceStatus, family: Family) -> list[str]:
    if spec.type != "LoadBalancer":
        return []
    # Mode Proxy: the load balancer sends to node ports, and Pods must reach it itself.
    ips = [ingress.ip for ingress in status.load_balancer.ingress if ingress.ip_mode != "Proxy"]
    return [address for found, address in _addresses(ips) if found is family]


def _ranges(spec: corev1.ServiceSpec, family: Family, address: str, node_ips: frozenset[str]) -> tuple[str, ...]:
    if not spec.load_balancer_source_ranges:
        return ()
    allowed = list(networks([cidr for cidr in spec.load_balancer_source_ranges if is_network(cidr)], family))
    if EVERYWHERE & set(allowed):
        return ()
    # A node that holds the address talks to itself from this very address.
    parsed = [ipaddress.ip_network(cidr) for cidr in allowed]
    if any(ipaddress.ip_address(ip) in network for ip in node_ips for network in parsed):
        allowed.append(address)
    return networks(allowed, family)


def _health_check(service: corev1.Service, local_endpoints: int) -> HealthCheck | None:
    spec = service.spec
    port = spec.health_check_node_port
    if spec.type != "LoadBalancer" or spec.external_traffic_policy != "Local" or not port:
        return None
    return HealthCheck(port, service.metadata.namespace, service.metadata.name, local_endpoints)
