"""What a Pod asks of a node, as integers: CPU in millicores, everything else in whole units.

Source: Kubernetes' documentation of Pod resource sharing and KEP-753 (sidecar containers).
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from navarch.protos.k8s import quantity_pb2
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.quantity import Quantity

Amounts = dict[str, int]


@lru_cache(maxsize=4096)
def amount(resource: str, quantity: str) -> int:
    """One quantity as an integer, rounded up: millicores for ``cpu``, units or bytes for the rest."""
    parsed = Quantity.parse(quantity)
    return parsed.milli_value() if resource == "cpu" else parsed.value()


def amounts(quantities: Mapping[str, quantity_pb2.Quantity]) -> Amounts:
    """A ResourceList as integers."""
    return {resource: amount(resource, quantity.string) for resource, quantity in quantities.items()}


def requests(pod: corev1.Pod) -> Amounts:
    """What the scheduler sets aside for the Pod.

    The containers and sidecars run together; an init container runs beside the sidecars that were
    started before it. The larger of the two counts, per resource, plus the overhead.
    """
    together: Amounts = {}
    for container in pod.spec.containers:
        _add(together, amounts(container.resources.requests))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in pod.spec.init_containers:
        wanted = amounts(container.resources.requests)
        if container.restart_policy == "Always":
            _add(together, wanted)
            _add(sidecars, wanted)
            wanted = dict(sidecars)
        else:
            _add(wanted, sidecars)
        _raise_to(peak, wanted)
    _raise_to(together, peak)
    if pod.spec.HasField("resources"):
        together.update(amounts(pod.spec.resources.requests))
    _add(together, amounts(pod.spec.overhead))
    return {resource: value for resource, value in together.items() if value}


def host_ports(pod: corev1.Pod) -> Iterable[tuple[str, str, int]]:
    """The (host IP, protocol, port) triples that the Pod takes on its node."""
    for container in [*pod.spec.containers, *pod.spec.init_containers]:
        for port in container.ports:
            if port.host_port:
                yield (port.host_ip or "0.0.0.0", port.protocol or "TCP", port.host_port)


def _add(total: Amounts, other: Mapping[str, int]) -> None:
    for resource, value in other.items():
        total[resource] = total.get(resource, 0) + value


def _raise_to(total: Amounts, floor: Mapping[str, int]) -> None:
    for resource, value in floor.items():
        total[resource] = max(total.get(resource, 0), value)
