"""Rules for Endpoints and EndpointSlices."""

import ipaddress
from collections.abc import Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.api.errors import FieldError
from navarch.services.api.validation import names
from navarch.services.api.validation.enums import validate_enums
from navarch.services.api.validation.services import non_special_ip
from navarch.services.api.validation.values import Errors, check

MAX_ENDPOINTS = 1000
MAX_ADDRESSES = 100
MAX_PORTS = 20000
MAX_ZONE_HINTS = 8


def validate_endpoints(endpoints: corev1.Endpoints) -> Errors:
    """Check Endpoints (their metadata aside)."""
    for index, subset in enumerate(endpoints.subsets):
        here = f"subsets[{index}]"
        if not subset.addresses and not subset.not_ready_addresses:
            yield FieldError.required(here, "must specify `addresses` or `notReadyAddresses`")
        for field, addresses in (("addresses", subset.addresses), ("notReadyAddresses", subset.not_ready_addresses)):
            for place, address in enumerate(addresses):
                yield from _validate_address(address, f"{here}.{field}[{place}]")
        for place, port in enumerate(subset.ports):
            yield from _validate_port(port, len(subset.ports) > 1, f"{here}.ports[{place}]")
        yield from validate_enums(subset, here)


def _validate_address(address: corev1.EndpointAddress, path: str) -> Errors:
    wrong = names.ip_address(address.ip)
    yield from check(f"{path}.ip", address.ip, wrong or non_special_ip(address.ip))
    if address.hostname:
        yield from check(f"{path}.hostname", address.hostname, names.dns_label(address.hostname))
    if address.HasField("node_name"):
        yield from check(f"{path}.nodeName", address.node_name, names.dns_subdomain(address.node_name))


def _validate_port(port: corev1.EndpointPort, needs_name: bool, path: str) -> Errors:
    if port.name:
        yield from check(f"{path}.name", port.name, names.dns_label(port.name))
    elif needs_name:
        yield FieldError.required(f"{path}.name")
    yield from check(f"{path}.port", port.port, names.port_number(port.port))
    if not port.protocol:
        yield FieldError.required(f"{path}.protocol")


def validate_endpoint_slice(endpoint_slice: discoveryv1.EndpointSlice) -> Errors:
    """Check an EndpointSlice (its metadata aside)."""
    if not endpoint_slice.address_type:
        yield FieldError.required("addressType")
    yield from validate_enums(endpoint_slice, "")
    if len(endpoint_slice.endpoints) > MAX_ENDPOINTS:
        yield FieldError.too_many("endpoints", len(endpoint_slice.endpoints), MAX_ENDPOINTS)
        return
    for index, endpoint in enumerate(endpoint_slice.endpoints):
        yield from _validate_endpoint(endpoint, endpoint_slice.address_type, f"endpoints[{index}]")
    yield from _validate_slice_ports(endpoint_slice.ports)


def _validate_endpoint(endpoint: discoveryv1.Endpoint, address_type: str, path: str) -> Errors:
    if not endpoint.addresses:
        yield FieldError.required(f"{path}.addresses", "must contain at least 1 address")
    if len(endpoint.addresses) > MAX_ADDRESSES:
        yield FieldError.too_many(f"{path}.addresses", len(endpoint.addresses), MAX_ADDRESSES)
    for index, address in enumerate(endpoint.addresses):
        here = f"{path}.addresses[{index}]"
        yield from check(here, address, _wrong_address(address, address_type))
    if endpoint.HasField("node_name"):
        yield from check(f"{path}.nodeName", endpoint.node_name, names.dns_subdomain(endpoint.node_name))
    if endpoint.HasField("hostname"):
        yield from check(f"{path}.hostname", endpoint.hostname, names.dns_label(endpoint.hostname))
    if len(endpoint.hints.for_zones) > MAX_ZONE_HINTS:
        yield FieldError.too_many(f"{path}.hints.forZones", len(endpoint.hints.for_zones), MAX_ZONE_HINTS)


def _wrong_address(address: str, address_type: str) -> list[str]:
    match address_type:
        case "FQDN":
            return names.dns_subdomain(address)
        case "IPv4" | "IPv6":
            wrong = names.ip_address(address)
            if not wrong and f"IPv{ipaddress.ip_address(address).version}" != address_type:
                wrong = [f"must be an {address_type} address"]
            return wrong or non_special_ip(address)
    return []


def _validate_slice_ports(ports: Sequence[discoveryv1.EndpointPort]) -> Errors:
    if len(ports) > MAX_PORTS:
        yield FieldError.too_many("ports", len(ports), MAX_PORTS)
        return
    taken: set[str] = set()
    for index, port in enumerate(ports):
        here = f"ports[{index}]"
        if port.name:
            yield from check(f"{here}.name", port.name, names.dns_label(port.name))
        if port.name in taken:
            yield FieldError.duplicate(f"{here}.name", port.name)
        taken.add(port.name)
        if not port.protocol:
            yield FieldError.required(f"{here}.protocol")
        if port.HasField("port"):
            yield from check(f"{here}.port", port.port, names.port_number(port.port))
        if port.HasField("app_protocol"):
            yield from check(f"{here}.appProtocol", port.app_protocol, names.qualified_name(port.app_protocol))


def validate_endpoint_slice_update(new: discoveryv1.EndpointSlice, old: discoveryv1.EndpointSlice) -> Errors:
    """Check a changed EndpointSlice."""
    yield from validate_endpoint_slice(new)
    if new.address_type != old.address_type:
        yield FieldError.invalid("addressType", new.address_type, names.IMMUTABLE)
