"""What names depend on, taken from the cluster's objects: while these stay equal, no answer changes. Pure."""

from dataclasses import dataclass
from ipaddress import ip_address

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.dns.names import MalformedName, Name, dashed, from_text

SERVICE_NAME = "kubernetes.io/service-name"
_NO_IP = "None"


@dataclass(frozen=True, slots=True)
class Port:
    """A named port. protocol: in lower case."""

    name: str
    protocol: str
    number: int


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """addresses: cluster IPs, none for a headless Service. external_name: what the Service is an alias of."""

    addresses: tuple[str, ...] = ()
    headless: bool = False
    external_name: Name = ()
    ports: tuple[Port, ...] = ()
    publishes_not_ready: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """hostname: its label below the Service's name, given or made of the address."""

    hostname: str
    address: str
    ready: bool


@dataclass(frozen=True, slots=True)
class SliceFacts:
    """A part of a Service's endpoints, which serve the same ports."""

    service: str
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[Port, ...] = ()


def service_facts(service: corev1.Service) -> ServiceFacts | None:
    """None for a Service that has no name yet, or none that DNS could carry."""
    spec = service.spec
    if spec.type == "ExternalName":
        try:
            target = from_text(spec.external_name)
        except MalformedName:
            return None
        return ServiceFacts(external_name=target) if target else None
    ports = tuple(Port(each.name, (each.protocol or "TCP").lower(), each.port) for each in spec.ports if each.name)
    if spec.cluster_ip == _NO_IP:
        return ServiceFacts(headless=True, publishes_not_ready=spec.publish_not_ready_addresses)
    given = list(spec.cluster_ips) or ([spec.cluster_ip] if spec.cluster_ip else [])
    addresses = tuple(found for each in given if (found := _canonical(each)) is not None)
    return ServiceFacts(addresses, False, (), ports, spec.publish_not_ready_addresses) if addresses else None


def slice_facts(message: discoveryv1.EndpointSlice) -> SliceFacts | None:
    """None for a slice of no Service, or of names instead of addresses."""
    service = message.metadata.labels.get(SERVICE_NAME, "")
    if not service or message.address_type not in ("IPv4", "IPv6"):
        return None
    endpoints = []
    for each in message.endpoints:
        # No answer means that nobody looked: as good as ready.
        ready = each.conditions.ready or not each.conditions.HasField("ready")
        for text in each.addresses:
            if (address := _canonical(text)) is not None:
                endpoints.append(Endpoint(each.hostname.lower() or dashed(address), address, ready))
    ports = tuple(Port(each.name, (each.protocol or "TCP").lower(), each.port) for each in message.ports if each.name)
    return SliceFacts(service, tuple(endpoints), ports)


def _canonical(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None
