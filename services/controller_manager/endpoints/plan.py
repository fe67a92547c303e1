"""The Endpoints object of a Service. Pure.

Addresses that serve the same ports share a subset; ready ones and others are listed apart. Only the primary
address family is shown, Pods being deleted are not (unless unready ones are published, too), and beyond `LIMIT`
addresses the rest is cut off: those that are not ready first, of each subset in proportion.
"""

from collections.abc import Iterable, Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.equality import same
from navarch.services.controller_manager.backends import (
    HEADLESS,
    Backend,
    Port,
    backends,
    families,
    hostname,
    is_headless,
)

LIMIT = 1000
MANAGED_BY = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
# Endpoints that bear a leader's record are a lock, not addresses.
LEADER = "control-plane.alpha.kubernetes.io/leader"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"


def plan(
    service: corev1.Service, pods: Iterable[corev1.Pod], current: corev1.Endpoints | None
) -> corev1.Endpoints | None:
    """The object to write, None where it is as it should be."""
    found = [
        each
        for each in backends(service, pods, families(service)[0])
        if (each.ready or not each.terminating) and (each.ports or (is_headless(service) and not service.spec.ports))
    ]
    wanted = corev1.Endpoints()
    if current is not None:
        wanted.CopyFrom(current)
    wanted.metadata.name, wanted.metadata.namespace = service.metadata.name, service.metadata.namespace
    wanted.metadata.labels.clear()
    for key, value in _labels(service).items():
        wanted.metadata.labels[key] = value
    wanted.metadata.annotations.pop(OVER_CAPACITY, None)
    if len(found) > LIMIT:
        wanted.metadata.annotations[OVER_CAPACITY] = "truncated"
    del wanted.subsets[:]
    wanted.subsets.extend(_truncated(_subsets(service, found)))
    return None if current is not None and same(wanted, current) else wanted


def _subsets(service: corev1.Service, found: Sequence[Backend]) -> list[corev1.EndpointSubset]:
    groups: dict[tuple[Port, ...], list[Backend]] = {}
    for backend in found:
        groups.setdefault(tuple(sorted(backend.ports)), []).append(backend)
    result = []
    for ports, members in sorted(groups.items(), key=lambda item: item[0]):
        members.sort(key=lambda each: (each.ip, each.pod.metadata.uid))
        result.append(
            corev1.EndpointSubset(
                addresses=[_address(service, each) for each in members if each.ready],
                not_ready_addresses=[_address(service, each) for each in members if not each.ready],
                ports=[_port(each) for each in ports],
            )
        )
    return result


def _truncated(subsets: Sequence[corev1.EndpointSubset]) -> list[corev1.EndpointSubset]:
    """At most `LIMIT` addresses. The share of each subset is rounded up, so the last ones may get less."""
    ready = sum(len(each.addresses) for each in subsets)
    waiting = sum(len(each.not_ready_addresses) for each in subsets)
    if ready + waiting <= LIMIT:
        return list(subsets)
    total, room = (ready, LIMIT) if ready > LIMIT else (waiting, LIMIT - ready)
    left = room
    for each in subsets:
        kind = each.addresses if ready > LIMIT else each.not_ready_addresses
        share = min(left, -(-len(kind) * room // total))
        left -= share
        del kind[share:]
        if ready > LIMIT:
            del each.not_ready_addresses[:]
    return [each for each in subsets if each.addresses or each.not_ready_addresses]


def _address(service: corev1.Service, backend: Backend) -> corev1.EndpointAddress:
    metadata = backend.pod.metadata
    result = corev1.EndpointAddress(
        ip=backend.ip,
        target_ref=corev1.ObjectReference(
            kind="Pod", namespace=metadata.namespace, name=metadata.name, uid=metadata.uid
        ),
    )
    if backend.pod.spec.node_name:
        result.node_name = backend.pod.spec.node_name
    if name := hostname(service, backend.pod):
        result.hostname = name
    return result


def _port(port: Port) -> corev1.EndpointPort:
    result = corev1.EndpointPort(name=port.name or None, port=port.port, protocol=port.protocol)
    if port.app_protocol:
        result.app_protocol = port.app_protocol
    return result


def _labels(service: corev1.Service) -> dict[str, str]:
    labels = dict(service.metadata.labels)
    labels.pop(HEADLESS, None)
    if is_headless(service):
        labels[HEADLESS] = ""
    return {**labels, MANAGED_BY: MANAGER}
