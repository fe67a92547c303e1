"""The cluster as DNS sees it: Services with their endpoints by name and by address, and Namespaces. Pure.

Fed with one object's facts at a time, it costs what that object holds, however large the cluster is; objects may come
in any order. Each change tells which topics it touched: an answer that names its topics is good until one of them is
touched. What an answer needs of a Service is computed when it is first asked for, and kept until the Service changes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from navarch.services.dns.facts import Endpoint, Port, ServiceFacts, SliceFacts

T = TypeVar("T")

Topics = frozenset[str]
# Namespace and name.
Key = tuple[str, str]
NOTHING: Topics = frozenset()


def service_topic(namespace: str, name: str) -> str:
    """Touched when anything changes that the names of a Service depend on."""
    return f"service {namespace}/{name}"


def namespace_topic(namespace: str) -> str:
    """Touched when a Namespace comes or goes."""
    return f"namespace {namespace}"


def address_topic(address: str) -> str:
    """Touched when something gets or loses an address."""
    return f"address {address}"


class View:
    """What answers need of one Service, in the order in which they give it. Thrown away when the Service changes."""

    def __init__(self, facts: ServiceFacts, slices: Iterable[SliceFacts]) -> None:
        self.facts = facts
        self._slices = list(slices)

    @cached_property
    def by_hostname(self) -> dict[str, dict[str, None]]:
        """Addresses of the endpoints that are to be found, by hostname."""
        found: dict[str, dict[str, None]] = {}
        for each in self._slices:
            for endpoint in self._published(each):
                found.setdefault(endpoint.hostname, {})[endpoint.address] = None
        return found

    @cached_property
    def addresses(self) -> tuple[str, ...]:
        """Where the Service's own name leads: its cluster IPs, or its endpoints if it is headless."""
        if not self.facts.headless:
            return self.facts.addresses
        return tuple({address: None for found in self.by_hostname.values() for address in found})

    @cached_property
    def ports(self) -> dict[Port, dict[str, None]]:
        """Of a headless Service: the hostnames that serve a port."""
        found: dict[Port, dict[str, None]] = {}
        for each in self._slices:
            hostnames = [endpoint.hostname for endpoint in self._published(each)]
            for port in each.ports:
                found.setdefault(port, {}).update(dict.fromkeys(hostnames))
        return {port: hostnames for port, hostnames in found.items() if hostnames}

    @property
    def exists(self) -> bool:
        """Whether the Service's name exists: a headless one without endpoints has none (specification, 2.4.1)."""
        return not self.facts.headless or bool(self.addresses)

    def _published(self, part: SliceFacts) -> Iterator[Endpoint]:
        return (each for each in part.endpoints if each.ready or self.facts.publishes_not_ready)


@dataclass(slots=True)
class _Entry:
    """A Service, its slices, or both; whichever came first."""

    facts: ServiceFacts | None = None
    slices: dict[str, SliceFacts] = field(default_factory=dict)
    view: View | None = None


class Zone:
    """See the module. A change returns the topics that it touched, none if it changed nothing for DNS."""

    def __init__(self) -> None:
        self._entries: dict[Key, _Entry] = {}
        self._slices: dict[Key, SliceFacts] = {}
        self._namespaces: set[str] = set()
        # Both by address; two Services can have the same endpoint, and one address can move from a Service to another.
        self._cluster_ips: dict[str, tuple[Key, ...]] = {}
        self._endpoints: dict[str, tuple[tuple[Key, str], ...]] = {}
        # The latest resource version seen: the same at all instances that know the same.
        self.serial = 1

    def __len__(self) -> int:
        return sum(1 for entry in self._entries.values() if entry.facts is not None)

    def seen(self, resource_version: str) -> None:
        """An object in this version has been looked at."""
        self.serial = max(self.serial, int(resource_version or 0))

    def put_namespace(self, name: str, present: bool = True) -> Topics:
        """A Namespace exists, or no longer."""
        if (name in self._namespaces) == present:
            return NOTHING
        (self._namespaces.add if present else self._namespaces.discard)(name)
        return frozenset({namespace_topic(name)})

    def put_service(self, namespace: str, name: str, facts: ServiceFacts | None) -> Topics:
        """A Service is like this now; None: it has no names any more."""
        key = (namespace, name)
        entry = self._entries.get(key)
        old = entry.facts if entry is not None else None
        if old == facts:
            return NOTHING
        entry = self._entries.setdefault(key, _Entry())
        entry.facts, entry.view = facts, None
        topics = {service_topic(namespace, name)}
        before, after = (set(each.addresses) if each is not None else set() for each in (old, facts))
        for address in before - after:
            _unfile(self._cluster_ips, address, key)
        for address in after - before:
            self._cluster_ips[address] = (*self._cluster_ips.get(address, ()), key)
        topics.update(map(address_topic, before ^ after))
        if _traits(old) != _traits(facts):
            topics.update(address_topic(each.address) for part in entry.slices.values() for each in part.endpoints)
        self._drop_if_empty(key, entry)
        return frozenset(topics)

    def put_slice(self, namespace: str, name: str, facts: SliceFacts | None) -> Topics:
        """An EndpointSlice is like this now; None: it is gone or of no use."""
        old = self._slices.get((namespace, name))
        if old == facts:
            return NOTHING
        topics: set[str] = set()
        if old is not None and (facts is None or facts.service != old.service):
            topics |= self._file(namespace, name, old, None)
            old = None
        if facts is not None:
            topics |= self._file(namespace, name, old, facts)
            self._slices[namespace, name] = facts
        else:
            del self._slices[namespace, name]
        return frozenset(topics)

    def _file(self, namespace: str, name: str, old: SliceFacts | None, new: SliceFacts | None) -> set[str]:
        """Have a slice of one Service as it is now. Returns the topics."""
        service = (new or old or SliceFacts("")).service
        key = (namespace, service)
        entry = self._entries.setdefault(key, _Entry())
        entry.view = None
        if new is None:
            del entry.slices[name]
        else:
            entry.slices[name] = new
        before, after = (set(part.endpoints) if part is not None else set() for part in (old, new))
        had, has = ({each.address for each in found} for found in (before, after))
        for address in had - has:
            _unfile(self._endpoints, address, (key, name))
        for address in has - had:
            self._endpoints[address] = (*self._endpoints.get(address, ()), (key, name))
        self._drop_if_empty(key, entry)
        return {service_topic(namespace, service), *(address_topic(each.address) for each in before ^ after)}

    def service(self, namespace: str, name: str) -> View | None:
        """What answers need of a Service, or None where there is none."""
        entry = self._entries.get((namespace, name))
        if entry is None or entry.facts is None:
            return None
        if entry.view is None:
            entry.view = View(entry.facts, (entry.slices[each] for each in sorted(entry.slices)))
        return entry.view

    def has_namespace(self, name: str) -> bool:
        """Whether a Namespace exists."""
        return name in self._namespaces

    def namespaces(self) -> list[str]:
        """All Namespaces, in order."""
        return sorted(self._namespaces)

    def services(self) -> list[Key]:
        """All Services that have names, in order."""
        return sorted(key for key, entry in self._entries.items() if entry.facts is not None)

    def services_at(self, address: str) -> tuple[Key, ...]:
        """Services with this cluster IP."""
        return self._cluster_ips.get(address, ())

    def hostnames_at(self, address: str) -> list[tuple[Key, str]]:
        """Headless Services with an endpoint of this address that is to be found, and its hostname; in order."""
        found = set()
        for key, name in self._endpoints.get(address, ()):
            view = self.service(*key)
            if view is None or not view.facts.headless:
                continue
            for endpoint in self._entries[key].slices[name].endpoints:
                if endpoint.address == address and (endpoint.ready or view.facts.publishes_not_ready):
                    found.add((key, endpoint.hostname))
        return sorted(found)

    def check_invariants(self) -> None:
        """Raise AssertionError if an index says something else than what it was made of. For tests."""
        cluster_ips: dict[str, set[Key]] = {}
        endpoints: dict[str, set[tuple[Key, str]]] = {}
        for key, entry in self._entries.items():
            if entry.facts is None and not entry.slices:
                raise AssertionError(f"{key} is kept though there is nothing of it")
            for address in entry.facts.addresses if entry.facts is not None else ():
                cluster_ips.setdefault(address, set()).add(key)
            for name, part in entry.slices.items():
                if self._slices.get((key[0], name)) != part or part.service != key[1]:
                    raise AssertionError(f"slice {name} is filed wrongly under {key}")
                for endpoint in part.endpoints:
                    endpoints.setdefault(endpoint.address, set()).add((key, name))
        if {each: set(keys) for each, keys in self._cluster_ips.items()} != cluster_ips:
            raise AssertionError("the index of cluster IPs is wrong")
        if {each: set(keys) for each, keys in self._endpoints.items()} != endpoints:
            raise AssertionError("the index of endpoints is wrong")

    def _drop_if_empty(self, key: Key, entry: _Entry) -> None:
        if entry.facts is None and not entry.slices:
            del self._entries[key]


def _traits(facts: ServiceFacts | None) -> tuple[bool, bool]:
    """What of a Service decides whether its endpoints' addresses have names."""
    return (facts.headless, facts.publishes_not_ready) if facts is not None else (False, False)


def _unfile(index: dict[str, tuple[T, ...]], address: str, item: T) -> None:
    left = tuple(each for each in index.get(address, ()) if each != item)
    if left:
        index[address] = left
    else:
        index.pop(address, None)
