"""What slices hold: endpoints, ports, labels, and hints for which zones and nodes an endpoint is. Pure."""

from collections.abc import Mapping, Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.api.meta import owner_reference
from navarch.services.controller_manager.backends import HEADLESS, Backend, Port, hostname, is_headless

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"

Ports = tuple[Port, ...]

_SAME_NODE = "PreferSameNode"
# PreferClose is the older name of PreferSameZone. Who prefers the same node prefers the same zone after it.
_SAME_ZONE = ("PreferClose", "PreferSameZone", _SAME_NODE)


def endpoint(
    service: corev1.Service, backend: Backend, zone: str, allocated: Mapping[str, str] | None
) -> discoveryv1.Endpoint:
    """A backend as slices list it. zone: of its Node, empty where that has none.

    allocated: for which zone each Pod is, by uid, where that is decided for all together; None where it is not.
    """
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
    if zone:
        result.zone = zone
    if name := hostname(service, pod):
        result.hostname = name
    if allocated is None:
        _hint(service.spec.traffic_distribution, result)
    elif meant_for := allocated.get(pod.metadata.uid):
        result.hints.for_zones.add(name=meant_for)
    return result


def filled(
    service: corev1.Service,
    original: discoveryv1.EndpointSlice,
    ports: Ports,
    content: Sequence[discoveryv1.Endpoint],
) -> discoveryv1.EndpointSlice:
    """A copy of a slice with these ports and endpoints, and with labels and owner as the Service says."""
    result = discoveryv1.EndpointSlice()
    result.CopyFrom(original)
    set_ports(result, ports)
    del result.endpoints[:]
    result.endpoints.extend(content)
    set_labels(result, _labels(service))
    del result.metadata.owner_references[:]
    result.metadata.owner_references.append(owner_reference(service, controller=True))
    return result


def blank(owner: corev1.Service | corev1.Endpoints, family: str) -> discoveryv1.EndpointSlice:
    """A new slice without content, named after the Service."""
    result = discoveryv1.EndpointSlice(address_type=family)
    result.metadata.generate_name = f"{owner.metadata.name}-"
    result.metadata.namespace = owner.metadata.namespace
    return result


def set_ports(slice_: discoveryv1.EndpointSlice, ports: Ports) -> None:
    """Give a slice these ports, unless it has them."""
    if ports != ports_of(slice_):
        del slice_.ports[:]
        slice_.ports.extend(_port(each) for each in ports)


def set_labels(slice_: discoveryv1.EndpointSlice, labels: Mapping[str, str]) -> None:
    """Give a slice these labels and no others."""
    slice_.metadata.labels.clear()
    slice_.metadata.labels.update(labels)


def ports_of(slice_: discoveryv1.EndpointSlice) -> Ports:
    """The ports of a slice."""
    return tuple(Port(each.name, each.port, each.protocol, each.app_protocol) for each in slice_.ports)


def _hint(distribution: str, result: discoveryv1.Endpoint) -> None:
    """Say for whom a ready endpoint is. None without a hint: where one is missing, proxies use all endpoints."""
    if not result.conditions.ready:
        return
    if distribution in _SAME_ZONE and result.zone:
        result.hints.for_zones.add(name=result.zone)
    if distribution == _SAME_NODE and result.node_name:
        result.hints.for_nodes.add(name=result.node_name)


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
