"""The slices that show what custom Endpoints say. Pure.

Proxies and DNS read slices only; who still writes Endpoints for a Service that selects no Pods is heard through
these. One slice holds the addresses of one family that serve the same ports; there may be a thousand of a subset,
ready ones first.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.api.equality import same
from navarch.services.api.meta import owner_reference
from navarch.services.controller_manager.backends import Port, family_of
from navarch.services.controller_manager.endpoints.plan import LEADER
from navarch.services.controller_manager.endpointslice.content import (
    MANAGED_BY,
    SERVICE_NAME,
    Ports,
    blank,
    ports_of,
    set_labels,
    set_ports,
)
from navarch.services.controller_manager.endpointslice.plan import Plan
from navarch.services.controller_manager.trigger_times import ANNOTATION as TRIGGER_TIME

MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
# kubectl's memory of the Endpoints says nothing about slices.
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
SUBSET_LIMIT = 1000
# What the API accepts in one slice.
_SLICE_LIMIT = 1000

Group = tuple[str, Ports]


@dataclass(frozen=True, slots=True)
class Mirrored:
    """Endpoints by family and ports. invalid: addresses that are none. skipped: all that are not shown."""

    groups: Mapping[Group, Sequence[discoveryv1.Endpoint]]
    invalid: int
    skipped: int


def is_mirrored(endpoints: corev1.Endpoints | None, service: corev1.Service | None) -> bool:
    """Whether slices shall show these Endpoints."""
    if endpoints is None or service is None or service.spec.selector:
        return False
    return endpoints.metadata.labels.get(SKIP) != "true" and LEADER not in endpoints.metadata.annotations


def mirrored(endpoints: corev1.Endpoints, limit: int = SUBSET_LIMIT) -> Mirrored:
    """What slices are to show. limit: addresses of a subset, at most."""
    groups: dict[Group, dict[str, discoveryv1.Endpoint]] = {}
    invalid = skipped = 0
    for subset in endpoints.subsets:
        listed = list(_addresses(subset))
        valid = [(family, address, ready) for family, address, ready in listed if family is not None]
        invalid += len(listed) - len(valid)
        skipped += len(listed) - len(valid[:limit])
        for family, address, ready in valid[:limit]:
            group = groups.setdefault((family, _ports(subset)), {})
            group.setdefault(address.ip, _endpoint(address, ready))
    return Mirrored({group: list(found.values()) for group, found in groups.items()}, invalid, skipped)


def plan(endpoints: corev1.Endpoints, found: Mirrored, slices: Sequence[discoveryv1.EndpointSlice]) -> Plan:
    """The writes that make `slices`, the mirror's own of this Service, show what was found."""
    result, spare = Plan(), list(slices)
    fresh: list[tuple[Group, list[discoveryv1.Endpoint]]] = []
    for group, listed in found.groups.items():
        for at in range(0, len(listed), _SLICE_LIMIT):
            content = list(listed[at : at + _SLICE_LIMIT])
            current = next((each for each in spare if (each.address_type, ports_of(each)) == group), None)
            if current is None:
                fresh.append((group, content))
                continue
            spare.remove(current)
            if not same(wanted := _filled(endpoints, current, group, content), current):
                result.update.append(wanted)
    for group, content in fresh:
        if (reused := next((each for each in spare if each.address_type == group[0]), None)) is not None:
            spare.remove(reused)
            result.update.append(_filled(endpoints, reused, group, content))
        else:
            result.create.append(_filled(endpoints, blank(endpoints, group[0]), group, content))
    result.delete += spare
    return result


def _addresses(subset: corev1.EndpointSubset) -> Iterator[tuple[str | None, corev1.EndpointAddress, bool]]:
    """Family, address, readiness; ready ones first."""
    for address in subset.addresses:
        yield family_of(address.ip), address, True
    for address in subset.not_ready_addresses:
        yield family_of(address.ip), address, False


def _ports(subset: corev1.EndpointSubset) -> Ports:
    return tuple(Port(each.name, each.port, each.protocol or "TCP", each.app_protocol) for each in subset.ports)


def _endpoint(address: corev1.EndpointAddress, ready: bool) -> discoveryv1.Endpoint:
    result = discoveryv1.Endpoint(addresses=[address.ip], conditions=discoveryv1.EndpointConditions(ready=ready))
    if address.HasField("target_ref"):
        result.target_ref.CopyFrom(address.target_ref)
    if address.node_name:
        result.node_name = address.node_name
    if address.hostname:
        result.hostname = address.hostname
    return result


def _filled(
    endpoints: corev1.Endpoints,
    original: discoveryv1.EndpointSlice,
    group: Group,
    content: Iterable[discoveryv1.Endpoint],
) -> discoveryv1.EndpointSlice:
    result = discoveryv1.EndpointSlice()
    result.CopyFrom(original)
    set_ports(result, group[1])
    del result.endpoints[:]
    result.endpoints.extend(content)
    metadata = endpoints.metadata
    set_labels(result, {**metadata.labels, SERVICE_NAME: metadata.name, MANAGED_BY: MANAGER})
    result.metadata.annotations.clear()
    for key, value in metadata.annotations.items():
        if key not in (LAST_APPLIED, TRIGGER_TIME):
            result.metadata.annotations[key] = value
    del result.metadata.owner_references[:]
    result.metadata.owner_references.append(owner_reference(endpoints, controller=True))
    return result
