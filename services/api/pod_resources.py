"""What a Pod asks of a node, as integers: CPU in millicores, everything else in whole units.

Source: Kubernetes' documentation of Pod resource sharing and KEP-753 (sidecar containers).
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from navarch.protos.k8s import quantity_pb2
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.quantity import Quantity

Amounts = dict[str, int]
# The resources whose requests and limits decide the quality of service.
_COUNTED = ("cpu", "memory")


@lru_cache(maxsize=4096)
def amount(resource: str, quantity: str) -> int:
    """One quantity as an integer, rounded up: millicores for ``cpu``, units or bytes for the rest."""
    parsed = Quantity.parse(quantity)
    return parsed.milli_value() if resource == "cpu" else parsed.value()


def amounts(quantities: Mapping[str, quantity_pb2.Quantity]) -> Amounts:
    """A ResourceList as integers."""
    return {resource: amount(resource, quantity.string) for resource, quantity in quantities.items()}


def asked(container: corev1.Container) -> Amounts:
    """What a container's spec requests."""
    return amounts(container.resources.requests)


def requests(pod: corev1.Pod, of: Callable[[corev1.Container], Amounts] = asked) -> Amounts:
    """What is set aside for the Pod. of: the requests of one container.

    The containers and sidecars run together; an init container runs beside the sidecars that were
    started before it. The larger of the two counts, per resource, plus the overhead.
    """
    together: Amounts = {}
    for container in pod.spec.containers:
        _add(together, of(container))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in pod.spec.init_containers:
        wanted = of(container)
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


def held_requests(pod: corev1.Pod) -> Amounts:
    """What a bound Pod takes of its node while it is resized: what it asks for or still has, whichever is more.

    A resize that its node can never grant takes nothing (KEP-1287).
    """
    statuses = [*pod.status.container_statuses, *pod.status.init_container_statuses]
    allocated = {status.name: status.allocated_resources for status in statuses if status.allocated_resources}
    if not allocated or pod.metadata.generation <= 1:
        return requests(pod)
    hopeless = any(
        condition.type == "PodResizePending" and condition.reason == "Infeasible" for condition in pod.status.conditions
    )

    def held(container: corev1.Container) -> Amounts:
        wanted = asked(container)
        if container.name not in allocated:
            return wanted
        has = amounts(allocated[container.name])
        if hopeless:
            return {**wanted, **has}
        _raise_to(has, wanted)
        return has

    return requests(pod, held)


def qos_class(spec: corev1.PodSpec) -> str:
    """Return "Guaranteed" (limits = requests everywhere), "BestEffort" (none at all) or "Burstable"."""
    holders = [spec] if spec.HasField("resources") else [*spec.containers, *spec.init_containers]
    guaranteed = True
    mentioned = False
    for resources in (holder.resources for holder in holders):
        for name in _COUNTED:
            request, limit = _exact(resources.requests, name), _exact(resources.limits, name)
            mentioned = mentioned or bool(request or limit)
            guaranteed = guaranteed and bool(limit) and (not request or request == limit)
    if not mentioned:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


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


def _exact(resources: Mapping[str, quantity_pb2.Quantity], name: str) -> Quantity | None:
    try:
        return Quantity.of(resources[name]) if name in resources else None
    except ValueError:
        return None
