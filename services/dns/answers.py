"""What the cluster's DNS answers, by the Kubernetes DNS specification 1.1. Pure.

A question about the cluster domain, or about the address of something in the cluster, is answered from the zone alone.
Any other gets no answer here: it is for the upstream servers, except that reverse names of the cluster's own ranges
never leave the cluster. Extensions of the specification: endpoints of Services with a cluster IP have names, too
(a-b-c-d.<service>...), as Kubernetes' documentation says; Pod records are made of the name alone, whether or not there
is such a Pod, as long as the Namespace exists.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Self

from navarch.services.dns import records
from navarch.services.dns.names import Name, from_text, is_below, is_reverse, reversed_prefix, undashed
from navarch.services.dns.records import Rcode, Record, Type
from navarch.services.dns.zone import (
    View,
    Zone,
    address_topic,
    namespace_topic,
    service_topic,
)

SCHEMA_VERSION = "1.1.0"
TTL_S = 5
# Aliases of aliases: more than anybody needs, and an end to those that go round in circles.
MAX_ALIASES = 8
_PROTOCOLS = frozenset({"tcp", "udp", "sctp"})


@dataclass(frozen=True, slots=True)
class Answer:
    """topics: the answer is good until one of these is touched; None: for now only.

    target: an outside name that the answers lead to by alias; what it holds is still missing.
    """

    rcode: Rcode = Rcode.NOERROR
    answers: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    topics: tuple[str, ...] | None = ()
    authoritative: bool = True
    target: Name = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """domain: the cluster's. addresses: of the DNS service. cidrs: whose reverse names are ours."""

    domain: Name
    addresses: tuple[str, ...] = ()
    cidrs: tuple[IPv4Network | IPv6Network, ...] = ()
    ttl_s: int = TTL_S

    @classmethod
    def of(cls, domain: str, addresses: Sequence[str] = (), cidrs: Sequence[str] = ()) -> Self:
        """From text. Raises ValueError for what is no name and no range of addresses."""
        return cls(from_text(domain), tuple(addresses), tuple(ip_network(each) for each in cidrs))


class Resolver:
    """Answers questions about the cluster."""

    def __init__(self, zone: Zone, settings: Settings) -> None:
        self._zone = zone
        self._settings = settings
        self._domain = settings.domain
        self._primary = ("ns", "dns", *settings.domain)
        # Until the zone holds what the cluster has, absence means nothing.
        self.ready = False

    def resolve(self, name: Name, number: int) -> Answer | None:
        """The answer to a question of class IN; None if the question is not about the cluster."""
        if is_below(name, self._domain):
            return self._resolve_domain(name, number) if self.ready else _FAILED
        if is_reverse(name):
            return self._resolve_reverse(name, number)
        return None

    def _resolve_domain(self, name: Name, number: int) -> Answer:
        """Follow aliases within the cluster."""
        aliases: list[Record] = []
        topics: tuple[str, ...] | None = ()
        while True:
            found = self._find(name, number)
            topics = None if topics is None or found.topics is None else (*topics, *found.topics)
            if not found.target or number == Type.CNAME:
                return Answer(
                    found.rcode, (*aliases, *found.answers), found.authority, found.additional, topics, target=()
                )
            aliases += found.answers
            name = found.target
            if len(aliases) > MAX_ALIASES:
                return Answer(Rcode.SERVFAIL, topics=topics)
            if not is_below(name, self._domain):
                return Answer(Rcode.NOERROR, tuple(aliases), topics=topics, target=name)

    def _find(self, name: Name, number: int) -> Answer:
        labels = name[: len(name) - len(self._domain)]
        match labels:
            case ():
                return self._apex(name, number)
            case ("dns-version",):
                version = records.txt(name, SCHEMA_VERSION, self._settings.ttl_s)
                return self._of_type(name, number, [version])
            case ("ns", "dns"):
                return self._of_type(name, number, self._addresses(name, self._settings.addresses))
            case ("dns",) | ("svc",) | ("pod",):
                return self._nothing(name, number)
            case (*_, namespace, "svc" | "pod") if len(labels) == 2:
                topics = (namespace_topic(namespace),)
                exists = self._zone.has_namespace(namespace)
                return self._nothing(name, number, topics) if exists else self._absent(topics)
            case (label, namespace, "pod"):
                return self._pod(name, number, label, namespace)
            case (*below, service, namespace, "svc"):
                return self._service(name, number, tuple(below), service, namespace)
        return self._absent(())

    def _apex(self, name: Name, number: int) -> Answer:
        found = [self._soa(), records.pointing(name, Type.NS, self._primary, self._settings.ttl_s)]
        answer = self._of_type(name, number, found)
        additional = tuple(self._addresses(self._primary, self._settings.addresses)) if number == Type.NS else ()
        # The serial grows with any change of anything.
        return Answer(answer.rcode, answer.answers, answer.authority, additional, topics=None)

    def _service(self, name: Name, number: int, below: Name, service: str, namespace: str) -> Answer:
        topics = (service_topic(namespace, service),)
        view = self._zone.service(namespace, service)
        if view is None or not view.exists:
            return self._absent(topics)
        ttl_s = self._settings.ttl_s
        if view.facts.external_name:
            if below:
                return self._absent(topics)
            if number == Type.ANY:
                return self._nothing(name, number, topics)
            target = view.facts.external_name
            return Answer(answers=(records.pointing(name, Type.CNAME, target, ttl_s),), topics=topics, target=target)
        match below:
            case ():
                return self._of_type(name, number, self._addresses(name, view.addresses), topics)
            case (hostname,) if hostname in view.by_hostname:
                return self._of_type(name, number, self._addresses(name, view.by_hostname[hostname]), topics)
            case (protocol,) if protocol[:1] == "_" and any(each == protocol[1:] for _, each in self._served(view)):
                return self._nothing(name, number, topics)
            case (port, protocol) if (port[1:], protocol[1:]) in self._served(view) and port[0] + protocol[0] == "__":
                return self._port(name, number, view, port[1:], protocol[1:], topics)
        return self._absent(topics)

    def _served(self, view: View) -> set[tuple[str, str]]:
        ports = view.ports if view.facts.headless else view.facts.ports
        return {(each.name, each.protocol) for each in ports}

    def _port(self, name: Name, number: int, view: View, port: str, protocol: str, topics: tuple[str, ...]) -> Answer:
        if number != Type.SRV:
            return self._nothing(name, number, topics)
        owner, ttl_s = name[2:], self._settings.ttl_s
        if view.facts.headless:
            ports = [each for each in view.ports if (each.name, each.protocol) == (port, protocol)]
            targets = [((hostname, *owner), each.number) for each in ports for hostname in view.ports[each]]
            hosts = {target: view.by_hostname[target[0]] for target, _ in targets}
        else:
            ports = [each for each in view.facts.ports if (each.name, each.protocol) == (port, protocol)]
            targets = [(owner, each.number) for each in ports]
            hosts = {owner: dict.fromkeys(view.addresses)}
        additional = [each for host, found in hosts.items() for each in self._addresses(host, found)]
        weight = max(1, 100 // len(targets))
        answers = tuple(records.srv(name, number, target, ttl_s, weight=weight) for target, number in targets)
        return Answer(answers=answers, additional=tuple(additional), topics=topics)

    def _pod(self, name: Name, number: int, label: str, namespace: str) -> Answer:
        topics = (namespace_topic(namespace),)
        address = undashed(label)
        if address is None or not self._zone.has_namespace(namespace):
            return self._absent(topics)
        return self._of_type(name, number, self._addresses(name, (address,)), topics)

    def _resolve_reverse(self, name: Name, number: int) -> Answer | None:
        prefix = reversed_prefix(name)
        if prefix is None:
            return None
        address, bits = prefix
        network = next((each for each in self._settings.cidrs if address in each and bits >= each.prefixlen), None)
        if network is not None and not self.ready:
            return _FAILED
        if bits < address.max_prefixlen:
            # Whether there is a name below would need another index, and nobody asks.
            return self._nothing(name, number, (), self._reverse_zone(name, network.prefixlen)) if network else None
        topics = (address_topic(str(address)),)
        ttl_s = self._settings.ttl_s
        owners: list[Name] = [(service, namespace) for namespace, service in self._zone.services_at(str(address))]
        if not owners:
            found = self._zone.hostnames_at(str(address))
            owners = [(hostname, service, namespace) for (namespace, service), hostname in found]
        if owners:
            present = [records.pointing(name, Type.PTR, (*owner, "svc", *self._domain), ttl_s) for owner in owners]
            return self._of_type(name, number, present, topics, self._reverse_zone(name, bits))
        return self._absent(topics, self._reverse_zone(name, network.prefixlen)) if network is not None else None

    def _reverse_zone(self, name: Name, bits: int) -> Name:
        """The zone that a reverse name of ours lies in: that of the range, at the next boundary between labels."""
        each = 8 if name[-2] == "in-addr" else 4
        return name[len(name) - 2 - -(-bits // each) :]

    def _of_type(
        self,
        name: Name,
        number: int,
        present: Sequence[Record],
        topics: tuple[str, ...] = (),
        zone: Name | None = None,
    ) -> Answer:
        """Those of a name's records that were asked for."""
        found = tuple(each for each in present if each.type == number)
        return Answer(answers=found, topics=topics) if found else self._nothing(name, number, topics, zone)

    def _nothing(self, name: Name, number: int, topics: tuple[str, ...] = (), zone: Name | None = None) -> Answer:
        """The name exists without such records."""
        if number == Type.ANY:
            return Answer(answers=(records.minimal_any(name, self._settings.ttl_s),), topics=topics)
        return Answer(authority=(self._soa(zone),), topics=topics)

    def _absent(self, topics: tuple[str, ...], zone: Name | None = None) -> Answer:
        """There is no such name."""
        return Answer(Rcode.NXDOMAIN, authority=(self._soa(zone),), topics=topics)

    def _soa(self, zone: Name | None = None) -> Record:
        mailbox = ("hostmaster", *self._domain)
        return records.soa(zone or self._domain, self._primary, mailbox, self._zone.serial, self._settings.ttl_s)

    def _addresses(self, name: Name, addresses: Sequence[str] | dict[str, None]) -> list[Record]:
        return [records.address(name, each, self._settings.ttl_s) for each in addresses]


_FAILED = Answer(Rcode.SERVFAIL, topics=None)
