"""Which slices a Service needs, and the fewest writes that lead there. Pure.

Backends that serve the same ports share slices of at most `SLICE_LIMIT`. An endpoint stays in the slice where
it is; new ones fill the room that is there, the fullest slices first, before new slices are made. A slice that
would be deleted while another would be created is rewritten instead.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.api.equality import same
from navarch.services.api.meta import owner_reference
from navarch.services.controller_manager.backends import (
    HEADLESS,
    Backend,
    Port,
    backends,
    families,
    hostname,
    is_headless,
)

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
SLICE_LIMIT = 100

Ports = tuple[Port, ...]


@dataclass(slots=True)
class Plan:
    """Writes. Creates and updates come before deletions, so that no endpoint is missing in between."""

    create: list[discoveryv1.EndpointSlice] = field(default_factory=list)
    update: list[discoveryv1.EndpointSlice] = field(default_factory=list)
    delete: list[discoveryv1.EndpointSlice] = field(default_factory=list)


def plan(
    service: corev1.Service,
    pods: Iterable[corev1.Pod],
    zones: Mapping[str, str],
    slices: Sequence[discoveryv1.EndpointSlice],
) -> Plan:
    """The writes for one Service. slices: those that this controller made for it. zones: by Node name."""
    result = Plan()
    candidates = list(pods)
    wanted_families = families(service)
    for family in wanted_families:
        present = [each for each in slices if each.address_type == family]
        groups: dict[Ports, dict[str, discoveryv1.Endpoint]] = {}
        for backend in backends(service, candidates, family):
            groups.setdefault(backend.ports, {})[backend.pod.metadata.uid] = endpoint(service, backend, zones)
        _plan_family(service, family, groups or {(): {}}, present, result)
    result.delete += [each for each in slices if each.address_type not in wanted_families]
    return result


def endpoint(service: corev1.Service, backend: Backend, zones: Mapping[str, str]) -> discoveryv1.Endpoint:
    """A backend as slices list it."""
    pod = backend.pod
    result = discoveryv1.Endpoint(
        addresses=[backend.ip],
        conditions=discoveryv1.EndpointConditions(
            ready=backend.ready, serving=backend.serving, terminating=backend.terminating
        ),
        target_ref=corev1.ObjectReference(
            kind="Pod", namespace=pod.metadata.namespace, name=pod.metadata.name, uid=pod.metadata.uid
        ),
    )
    if pod.spec.node_name:
        result.node_name = pod.spec.node_name
    if zone := zones.get(pod.spec.node_name):
        result.zone = zone
    if name := hostname(service, pod):
        result.hostname = name
    return result


def _plan_family(
    service: corev1.Service,
    family: str,
    groups: Mapping[Ports, dict[str, discoveryv1.Endpoint]],
    present: Sequence[discoveryv1.EndpointSlice],
    result: Plan,
) -> None:
    by_ports: dict[Ports, list[discoveryv1.EndpointSlice]] = {}
    for each in present:
        by_ports.setdefault(_ports_of(each), []).append(each)
    fresh: list[tuple[Ports, list[discoveryv1.Endpoint]]] = []
    spare = [each for ports, found in by_ports.items() if ports not in groups for each in found]
    for ports, endpoints in groups.items():
        contents, emptied = _distribute(endpoints, by_ports.get(ports, []))
        spare += emptied
        for original, content in contents:
            _keep(service, original, content, result)
        kept = {each.target_ref.uid for _, content in contents for each in content}
        left = [each for uid, each in endpoints.items() if uid not in kept]
        if left or not (contents or endpoints):
            fresh += [(ports, left[at : at + SLICE_LIMIT]) for at in range(0, max(1, len(left)), SLICE_LIMIT)]
    for ports, content in fresh:
        if spare:
            result.update.append(_filled(service, spare.pop(0), ports, content))
        else:
            result.create.append(_filled(service, _blank(service, family), ports, content))
    result.delete += spare


def _distribute(
    endpoints: Mapping[str, discoveryv1.Endpoint], slices: Sequence[discoveryv1.EndpointSlice]
) -> tuple[
    list[tuple[discoveryv1.EndpointSlice, list[discoveryv1.Endpoint]]],
    list[discoveryv1.EndpointSlice],
]:
    """Contents for existing slices of one port group, and the slices that are left empty."""
    placed: set[str] = set()
    contents: list[tuple[discoveryv1.EndpointSlice, list[discoveryv1.Endpoint]]] = []
    for each in slices:
        content = []
        for uid in (old.target_ref.uid for old in each.endpoints):
            if uid in endpoints and uid not in placed:
                content.append(endpoints[uid])
                placed.add(uid)
        contents.append((each, content))
    left = [each for uid, each in endpoints.items() if uid not in placed]
    for _, content in sorted(contents, key=lambda pair: len(pair[1]), reverse=True):
        room = SLICE_LIMIT - len(content)
        content += left[:room]
        left = left[room:]
    used = [pair for pair in contents if pair[1]]
    if not used and contents and not endpoints:
        # A Service without endpoints keeps one empty slice.
        used = contents[:1]
    return used, [each for each, content in contents if not any(each is kept for kept, _ in used)]


def _keep(
    service: corev1.Service,
    original: discoveryv1.EndpointSlice,
    content: Sequence[discoveryv1.Endpoint],
    result: Plan,
) -> None:
    wanted = _filled(service, original, _ports_of(original), content)
    if not same(wanted, original):
        result.update.append(wanted)


def _filled(
    service: corev1.Service,
    original: discoveryv1.EndpointSlice,
    ports: Ports,
    content: Sequence[discoveryv1.Endpoint],
) -> discoveryv1.EndpointSlice:
    """A copy of a slice with these ports and endpoints, and with labels and owner as the Service says."""
    result = discoveryv1.EndpointSlice()
    result.CopyFrom(original)
    if ports != _ports_of(original):
        del result.ports[:]
        result.ports.extend(_port(each) for each in ports)
    del result.endpoints[:]
    result.endpoints.extend(content)
    result.metadata.labels.clear()
    for key, value in _labels(service).items():
        result.metadata.labels[key] = value
    del result.metadata.owner_references[:]
    result.metadata.owner_references.append(owner_reference(service, controller=True))
    return result


def _blank(service: corev1.Service, family: str) -> discoveryv1.EndpointSlice:
    result = discoveryv1.EndpointSlice(address_type=family)
    result.metadata.generate_name = f"{service.metadata.name}-"
    result.metadata.namespace = service.metadata.namespace
    return result


def _labels(service: corev1.Service) -> dict[str, str]:
    labels = dict(service.metadata.labels)
    labels.pop(HEADLESS, None)
    if is_headless(service):
        labels[HEADLESS] = ""
    return {**labels, SERVICE_NAME: service.metadata.name, MANAGED_BY: MANAGER}


def _port(port: Port) -> discoveryv1.EndpointPort:
    result = discoveryv1.EndpointPort(name=port.name, port=port.port, protocol=port.protocol)
    if port.app_protocol:
        result.app_protocol = port.app_protocol
    return result


def _ports_of(slice_: discoveryv1.EndpointSlice) -> Ports:
    return tuple(Port(each.name, each.port, each.protocol, each.app_protocol) for each in slice_.ports)
