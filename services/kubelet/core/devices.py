"""The devices of one node: which there are, which container has which, and which a new one gets. Pure.

A resource ("vendor.example/thing") is known from the first registration of its plugin on. A plugin that went away
leaves its devices behind as unhealthy ones, so that what was promised stays visible; when it has not come back within
five minutes its devices are forgotten and the resource is shown with nothing. Source: KEP-3573 and Kubernetes'
documentation of device plugins.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.kubelet import deviceplugin_pb2 as plugin
from navarch.services.api.pod_resources import amounts

HEALTHY, UNHEALTHY, UNKNOWN = "Healthy", "Unhealthy", "Unknown"
# How long a plugin may be away before its devices are forgotten.
AWAY_S = 300.0


class NoDevices(Exception):
    """A container cannot have the devices that it asks for."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """The devices of one resource that one container has. response: how it gets at them, as the plugin said it."""

    uid: str
    container: str
    resource: str
    devices: tuple[str, ...]
    response: plugin.ContainerAllocateResponse


@dataclass(frozen=True, slots=True)
class Request:
    """Devices that a container is to get: `size`, of which it has `had` already, the others from `free`."""

    container: str
    resource: str
    size: int
    had: tuple[str, ...]
    free: tuple[str, ...]

    def choose(self, preferred: Iterable[str] = ()) -> tuple[str, ...]:
        """The devices to take. preferred: the plugin's own choice, followed as far as it can be."""
        wished = [one for one in dict.fromkeys(preferred) if one in self.free]
        rest = [one for one in self.free if one not in wished]
        return (*self.had, *[*wished, *rest][: self.size - len(self.had)])


@dataclass
class Resource:
    """The devices of one plugin by their IDs. away_since: monotonic seconds, while the plugin is not there."""

    devices: dict[str, plugin.Device] = field(default_factory=dict)
    away_since: float | None = None

    def healthy(self) -> list[str]:
        """Those that can be given away."""
        return sorted(id_ for id_, one in self.devices.items() if one.health == HEALTHY)


@dataclass(frozen=True, slots=True)
class Offer:
    """What the Node says of the devices."""

    capacity: Mapping[str, int] = field(default_factory=dict)
    allocatable: Mapping[str, int] = field(default_factory=dict)


class Devices:
    """The devices of one node, and who has them."""

    def __init__(self, resources: Iterable[str] = (), allocations: Iterable[Allocation] = (), now: float = 0.0) -> None:
        """As a kubelet finds them that has just started. now: monotonic seconds."""
        self.resources = {name: Resource(away_since=now) for name in resources}
        self._allocations = {(one.uid, one.container, one.resource): one for one in allocations}

    # Plugins

    def reported(self, resource: str, devices: Iterable[plugin.Device]) -> None:
        """A plugin has said which devices there are."""
        self.resources[resource] = Resource({one.ID: one for one in devices})

    def left(self, resource: str, now: float) -> None:
        """A plugin went away. now: monotonic seconds."""
        known = self.resources.setdefault(resource, Resource())
        known.away_since = now
        for device in known.devices.values():
            device.health = UNHEALTHY

    def offer(self, now: float) -> Offer:
        """Capacity and allocatable by resource; what has been away for too long is forgotten on the way."""
        for resource in self.resources.values():
            if resource.away_since is not None and now - resource.away_since >= AWAY_S:
                resource.devices.clear()
        capacity = {name: len(resource.devices) for name, resource in self.resources.items()}
        return Offer(capacity, {name: len(resource.healthy()) for name, resource in self.resources.items()})

    # Containers

    def wanted(self, pod: corev1.Pod) -> bool:
        """Whether a Pod asks for devices."""
        containers = [*pod.spec.init_containers, *pod.spec.containers]
        return any(self.asked(container) for container in containers)

    def asked(self, container: corev1.Container) -> dict[str, int]:
        """The devices that a container asks for, by resource."""
        limits = amounts(container.resources.limits)
        return {name: limits[name] for name in sorted(limits) if name in self.resources and limits[name]}

    def request(self, uid: str, container: str, resource: str, size: int, reusable: Collection[str]) -> Request | None:
        """What there is for a container; None when it has its devices. reusable: those of ended init containers.

        Raises NoDevices.
        """
        healthy = self.resources[resource].healthy()
        if not healthy:
            raise NoDevices(f"no healthy devices present; cannot allocate unhealthy devices {resource}")
        if (known := self._allocations.get((uid, container, resource))) is not None:
            if not set(known.devices) <= set(healthy):
                raise NoDevices(
                    f"previously allocated devices are no longer healthy; cannot allocate unhealthy devices {resource}"
                )
            return None
        had = tuple(one for one in healthy if one in reusable)[:size]
        taken = {id_ for one in self._allocations.values() if one.resource == resource for id_ in one.devices}
        free = tuple(one for one in healthy if one not in taken)
        if len(free) < size - len(had):
            raise NoDevices(
                f"requested number of devices unavailable for {resource}. "
                f"Requested: {size - len(had)}, Available: {len(free)}"
            )
        return Request(container, resource, size, had, free)

    def allocated(self, allocation: Allocation) -> None:
        """A container has got devices."""
        self._allocations[allocation.uid, allocation.container, allocation.resource] = allocation

    def of(self, uid: str, container: str) -> list[Allocation]:
        """What a container has."""
        return [one for key, one in sorted(self._allocations.items()) if key[:2] == (uid, container)]

    def allocations(self) -> list[Allocation]:
        """What all containers have."""
        return [one for _, one in sorted(self._allocations.items())]

    def release(self, ended: Callable[[Allocation], bool]) -> bool:
        """Take back the devices that are held no more. Returns whether there were any."""
        gone = [key for key, one in self._allocations.items() if ended(one)]
        for key in gone:
            del self._allocations[key]
        return bool(gone)

    def health(self, uid: str, container: str) -> Sequence[corev1.ResourceStatus]:
        """How the devices of a container are, as its status tells it (KEP-4680)."""
        found = []
        for one in self.of(uid, container):
            states = [
                corev1.ResourceHealth(resource_id=id_, health=self._health(one.resource, id_)) for id_ in one.devices
            ]
            found.append(corev1.ResourceStatus(name=one.resource, resources=states))
        return found

    def _health(self, resource: str, id_: str) -> str:
        known = self.resources.get(resource, Resource()).devices.get(id_)
        if known is None:
            return UNKNOWN
        return HEALTHY if known.health == HEALTHY else UNHEALTHY


class Reuse:
    """The devices of a Pod's init containers, which the containers after them get; a sidecar keeps its own."""

    def __init__(self) -> None:
        self._free: dict[str, list[str]] = {}

    def of(self, resource: str) -> Sequence[str]:
        """What can be had of a resource."""
        return self._free.get(resource, ())

    def done(self, allocations: Iterable[Allocation], *, ends: bool) -> None:
        """A container has got its devices. ends: whether it ends before the next ones start."""
        for one in allocations:
            left = [id_ for id_ in self._free.get(one.resource, ()) if id_ not in one.devices]
            self._free[one.resource] = [*left, *one.devices] if ends else left
