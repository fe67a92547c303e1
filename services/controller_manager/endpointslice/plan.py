"""Which slices a Service needs, and the fewest writes that lead there. Pure.

Each address family of the Service has slices of its own, in them backends that serve the same ports; how they are
spread over slices is said in `packing`. A slice that would be deleted while another would be created is rewritten
instead. A Service without endpoints has one empty slice a family: it says that there are none.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.api.equality import same
from navarch.services.controller_manager.backends import Backend, backends, families
from navarch.services.controller_manager.endpointslice import topology
from navarch.services.controller_manager.endpointslice.content import Ports, blank, endpoint, filled, ports_of
from navarch.services.controller_manager.endpointslice.packing import pack

SLICE_LIMIT = 100

Endpoints = Mapping[str, discoveryv1.Endpoint]


@dataclass(slots=True)
class Plan:
    """Writes. Creates and updates come before deletions, so that no endpoint is missing in between.

    without_hints: by address family, why a Service that asks for hints has none; "" for one that has them.
    """

    create: list[discoveryv1.EndpointSlice] = field(default_factory=list)
    update: list[discoveryv1.EndpointSlice] = field(default_factory=list)
    delete: list[discoveryv1.EndpointSlice] = field(default_factory=list)
    without_hints: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Group:
    """Slices with the same ports and the endpoints (by Pod uid) that belong into them."""

    ports: Ports
    slices: list[discoveryv1.EndpointSlice] = field(default_factory=list)
    endpoints: dict[str, discoveryv1.Endpoint] = field(default_factory=dict)


def plan(
    service: corev1.Service,
    pods: Iterable[corev1.Pod],
    zones: Mapping[str, str],
    slices: Sequence[discoveryv1.EndpointSlice],
    limit: int = SLICE_LIMIT,
    share: Callable[[], Mapping[str, Fraction]] = dict,
) -> Plan:
    """The writes for one Service.

    slices: those that this controller made for it. zones: by the names of the Pods' Nodes that exist, empty
    for a Node without one. limit: endpoints in a slice, at most. share: of each zone in the cluster's processors.
    """
    result, candidates, wanted = Plan(), list(pods), families(service)
    # Slices of a namesake that is gone are the garbage collector's prey; nothing is to be put into them.
    own = [each for each in slices if _belongs(each, service) and each.address_type in wanted]
    for family in wanted:
        present = [each for each in own if each.address_type == family]
        found = [each for each in backends(service, candidates, family) if _is_placed(service, each, zones)]
        allocated = None
        if topology.is_asked(service):
            allocated, result.without_hints[family] = _allocated(found, zones, present, share())
        _plan_family(service, family, _groups(service, found, zones, present, allocated), limit, result)
    result.delete += [each for each in slices if not any(each is kept for kept in own)]
    return result


def _belongs(slice_: discoveryv1.EndpointSlice, service: corev1.Service) -> bool:
    owners = [each.uid for each in slice_.metadata.owner_references if each.kind == "Service"]
    return not owners or service.metadata.uid in owners


def _is_placed(service: corev1.Service, backend: Backend, zones: Mapping[str, str]) -> bool:
    """Whether its Node exists: a Pod that a lost Node leaves behind serves nobody, whatever its last status says."""
    node = backend.pod.spec.node_name
    return not node or node in zones or bool(service.spec.publish_not_ready_addresses)


def _allocated(
    found: Iterable[Backend],
    zones: Mapping[str, str],
    present: Iterable[discoveryv1.EndpointSlice],
    share: Mapping[str, Fraction],
) -> tuple[dict[str, str], str]:
    """For which zone each ready backend is, by its Pod's uid; or why none is for any."""
    ready = {each.pod.metadata.uid: zones.get(each.pod.spec.node_name, "") for each in found if each.ready}
    before = {
        one.target_ref.uid: one.hints.for_zones[0].name
        for each in present
        for one in each.endpoints
        if one.hints.for_zones
    }
    try:
        return topology.hints(ready, share, before), ""
    except topology.NoHints as reason:
        return {}, str(reason)


def _groups(
    service: corev1.Service,
    found: Iterable[Backend],
    zones: Mapping[str, str],
    present: Iterable[discoveryv1.EndpointSlice],
    allocated: Mapping[str, str] | None,
) -> list[_Group]:
    groups: dict[Ports, _Group] = {}
    for backend in found:
        group = groups.setdefault(backend.ports, _Group(backend.ports))
        group.endpoints[backend.pod.metadata.uid] = endpoint(
            service, backend, zones.get(backend.pod.spec.node_name, ""), allocated
        )
    if not groups:
        groups[()] = _Group(())
    for each in present:
        ports = ports_of(each)
        groups.setdefault(ports, _Group(ports)).slices.append(each)
    return list(groups.values())


def _plan_family(service: corev1.Service, family: str, groups: Sequence[_Group], limit: int, result: Plan) -> None:
    spare: list[discoveryv1.EndpointSlice] = []
    fresh: list[tuple[Ports, list[discoveryv1.Endpoint]]] = []
    for group in groups:
        contents, chunks = _contents(service, group, limit)
        for original, content in zip(group.slices, contents, strict=True):
            if not content:
                spare.append(original)
            elif not same(wanted := filled(service, original, group.ports, content), original):
                result.update.append(wanted)
        fresh += [(group.ports, chunk) for chunk in chunks]
    if not any(group.endpoints for group in groups):
        _hold_place(service, family, spare, result)
        return
    for ports, content in fresh:
        if spare:
            result.update.append(filled(service, spare.pop(0), ports, content))
        else:
            result.create.append(filled(service, blank(service, family), ports, content))
    result.delete += spare


def _contents(
    service: corev1.Service, group: _Group, limit: int
) -> tuple[list[list[discoveryv1.Endpoint]], list[list[discoveryv1.Endpoint]]]:
    """What the slices of a group shall hold, and what shall be in new ones."""
    placed: set[str] = set()
    kept = [list(_stay(each, group.endpoints, placed)) for each in group.slices]
    changed = [
        index
        for index, (uids, original) in enumerate(zip(kept, group.slices, strict=True))
        if not same(filled(service, original, group.ports, [group.endpoints[uid] for uid in uids]), original)
    ]
    packed = pack(kept, changed, [uid for uid in group.endpoints if uid not in placed], limit)
    listed = [[[group.endpoints[uid] for uid in uids] for uids in each] for each in (packed.slices, packed.fresh)]
    return listed[0], listed[1]


def _stay(slice_: discoveryv1.EndpointSlice, wanted: Endpoints, placed: set[str]) -> Iterator[str]:
    """The uids that stay in a slice; one that two slices list stays in the first."""
    for uid in (each.target_ref.uid for each in slice_.endpoints):
        if uid in wanted and uid not in placed:
            placed.add(uid)
            yield uid


def _hold_place(service: corev1.Service, family: str, spare: list[discoveryv1.EndpointSlice], result: Plan) -> None:
    """One empty slice, of those that are there if there are any."""
    if not spare:
        result.create.append(filled(service, blank(service, family), (), []))
        return
    # The one that is empty already, if any: nothing is to be written then.
    spare.sort(key=lambda each: (bool(each.endpoints), bool(each.ports)))
    if not same(wanted := filled(service, spare[0], (), []), spare[0]):
        result.update.append(wanted)
    result.delete += spare[1:]
