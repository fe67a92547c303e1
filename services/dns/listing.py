"""All records of the cluster, and how they change. Pure.

What is listed is what is answered: the names that a Service gives are put to the resolver.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from navarch.services.dns.answers import Resolver
from navarch.services.dns.names import MalformedName, Name, is_below, reverse_name, to_wire
from navarch.services.dns.records import Record, Type
from navarch.services.dns.zone import Key, Zone

_HOST_TYPES = (Type.A, Type.AAAA)


class Listing:
    """Lists what a resolver answers."""

    def __init__(self, zone: Zone, resolver: Resolver, domain: Name) -> None:
        self._zone = zone
        self._resolver = resolver
        self._domain = domain

    def everything(self) -> Iterator[Record]:
        """All records but those of Pods, which have one for any address."""
        if not self._resolver.ready:
            return
        for number in (Type.SOA, Type.NS):
            yield from self._ask(self._domain, number)
        yield from self._ask(("dns-version", *self._domain), Type.TXT)
        for number in _HOST_TYPES:
            yield from self._ask(("ns", "dns", *self._domain), number)
        for key in self._zone.services():
            yield from self.of_service(key)

    def of_service(self, key: Key) -> Iterator[Record]:
        """The records that a Service and its endpoints give."""
        namespace, service = key
        view = self._zone.service(namespace, service)
        if view is None or not self._resolver.ready:
            return
        owner = (service, namespace, "svc", *self._domain)
        if view.facts.external_name:
            yield from self._ask(owner, Type.CNAME)
            return
        for name in (owner, *((hostname, *owner) for hostname in view.by_hostname)):
            for number in _HOST_TYPES:
                yield from self._ask(name, number)
        ports = view.ports if view.facts.headless else view.facts.ports
        for port, protocol in dict.fromkeys((each.name, each.protocol) for each in ports):
            yield from self._ask((f"_{port}", f"_{protocol}", *owner), Type.SRV)
        for address in view.addresses:
            for record in self._ask(reverse_name(ip_address(address)), Type.PTR):
                # Another Service may have an endpoint of the same address.
                if record.rdata.endswith(to_wire(owner)):
                    yield record

    def _ask(self, name: Name, number: int) -> tuple[Record, ...]:
        try:
            answer = self._resolver.resolve(name, number)
        except MalformedName:
            # Too long for DNS: nobody can ask for it.
            return ()
        return tuple(each for each in answer.answers if each.name == name) if answer is not None else ()


@dataclass(frozen=True, slots=True)
class Change:
    """Records that came and went, in order."""

    added: tuple[Record, ...]
    removed: tuple[Record, ...]


class Changes:
    """Tells what changes while somebody wants to know. Without anybody it costs nothing.

    The first to ask has all records gathered once; from then on a change costs what the touched Services hold.
    """

    def __init__(self, listing: Listing, zone: Zone) -> None:
        self._listing = listing
        self._zone = zone
        self._known: dict[Key, frozenset[Record]] = {}
        self._subscribers: list[Callable[[Change], None]] = []

    def subscribe(self, subscriber: Callable[[Change], None]) -> list[Record]:
        """Have each change told from now on. Returns what is there."""
        if not self._subscribers:
            self._known = {key: frozenset(self._listing.of_service(key)) for key in self._zone.services()}
        self._subscribers.append(subscriber)
        return sorted((record for found in self._known.values() for record in found), key=_order)

    def unsubscribe(self, subscriber: Callable[[Change], None]) -> None:
        """Tell this one no more."""
        self._subscribers.remove(subscriber)
        if not self._subscribers:
            self._known.clear()

    def touch(self, keys: Iterable[Key]) -> None:
        """These Services have changed."""
        if not self._subscribers:
            return
        added: set[Record] = set()
        removed: set[Record] = set()
        for key in keys:
            old, new = self._known.get(key, frozenset()), frozenset(self._listing.of_service(key))
            added |= new - old
            removed |= old - new
            if new:
                self._known[key] = new
            else:
                self._known.pop(key, None)
        if added or removed:
            change = Change(tuple(sorted(added, key=_order)), tuple(sorted(removed, key=_order)))
            for subscriber in tuple(self._subscribers):
                subscriber(change)


def below(found: Iterable[Record], zone: Name) -> list[Record]:
    """Those of a zone."""
    return [each for each in found if is_below(each.name, zone)]


def _order(record: Record) -> tuple[Name, int, bytes]:
    return (record.name[::-1], record.type, record.rdata)
