"""The table's fixed part: sets, maps and the chains at the hooks. See docs/proxy.md for the whole picture.

For each family F (4 or 6) and protocol P, where "port" means protocol and port, "slot" the place of a target:

    frontendsF             address . port -> goto CHAIN          node-portsF                port -> goto CHAIN
    endpointsF-P           address . number . slot -> target     port-endpointsF-P          number . slot -> target
    local-endpointsF-P     the same, targets of this node        local-port-endpointsF-P    the same, of this node
    affinityF-P            client . address . number . slot      port-affinityF-P           client . number . slot
    local-affinityF-P      the same, slots of this node's        local-port-affinityF-P     the same, of this node's
    source-rangesF         address . port . client range         hairpinF                   target . target
    cluster-ipsF, service-cidrsF, pod-cidrsF, node-addressesF, loopbackF                    addresses

The first packet of a connection comes by `prerouting` (from elsewhere) or `output` (from this host) into
`services`, and `servicesF` looks its destination up. CHAIN (see `chains`) exists once for all frontends that are
alike in number of targets and policy, however many Services there are, so that `nft`, which loads all chains
and rules of a host at each start, stays quick, and a Service costs only elements of maps.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from navarch.services.proxy.families import Family, networks
from navarch.services.proxy.frontends import PROTOCOLS
from navarch.services.proxy.statements import (
    AnySlot,
    ByFamily,
    Chain,
    Dispatch,
    End,
    Field,
    Goto,
    In,
    IsLocal,
    IsMarked,
    IsTranslated,
    Jump,
    Key,
    Part,
    Rule,
    render,
    render_key,
)

# The bit that kube-proxy and CNI plugins use for the same purpose.
MASQUERADE_MARK = 0x4000
# Clients whose affinity is remembered at one time, a family.
AFFINITY_SIZE = 262144
DNAT_PRIORITY = -100
SNAT_PRIORITY = 100
REJECT_CHAIN = "refuse"

PORT: Key = (Field.L4PROTO, Field.DPORT)
ADDRESS_PORT: Key = (Field.DADDR, *PORT)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the fixed part depends on. cluster_cidrs: of Pods; () if unknown: then nobody counts as an outsider.

    node_addresses: at which the node's ports are open, as networks.
    """

    table: str = "navarch-proxy"
    cluster_cidrs: tuple[str, ...] = ()
    node_addresses: tuple[str, ...] = ("0.0.0.0/0", "::/0")
    service_cidrs: tuple[str, ...] = ()
    mark: int = MASQUERADE_MARK

    def pods(self, family: Family) -> tuple[str, ...]:
        """The networks of Pods of this family."""
        return networks(self.cluster_cidrs, family)


@dataclass(frozen=True, slots=True)
class Container:
    """A set, or, with a value, a map. elements: those that never change."""

    name: str
    key: str
    value: str = ""
    flags: str = ""
    size: int = 0
    elements: tuple[str, ...] = field(default=())

    def render(self) -> str:
        """The declaration as nft reads it."""
        kind = "map" if self.value else "set"
        value = f" : {self.value}" if self.value else ""
        flags = f" flags {self.flags};" if self.flags else ""
        size = f" size {self.size};" if self.size else ""
        elements = f" elements = {{ {', '.join(self.elements)} }};" if self.elements else ""
        return f"{kind} {self.name} {{ typeof {self.key}{value};{flags}{size}{elements} }}"


def containers(settings: Settings) -> Iterator[Container]:
    """All sets and maps."""
    for family in Family:
        yield from _containers(settings, family)


def _containers(settings: Settings, family: Family) -> Iterator[Container]:
    def key(*parts: Part, protocol: str = "") -> str:
        return render_key(parts, family, protocol)

    slot = AnySlot(2)
    yield Container(f"frontends{family:d}", key(*ADDRESS_PORT), "verdict")
    yield Container(f"node-ports{family:d}", key(*PORT), "verdict")
    for prefix in ("", "local-"):
        # One for each protocol: nft 1.0.6 does not take a target's port as one of any protocol, and forgets the
        # types of a key of five parts.
        for protocol in PROTOCOLS:
            end = f"{family:d}-{protocol}"
            target = f"{family.keyword} daddr . {protocol} dport"
            for by, parts in (("", (Field.DADDR, Field.DPORT)), ("port-", (Field.DPORT,))):
                yield Container(f"{prefix}{by}endpoints{end}", key(*parts, slot, protocol=protocol), target)
                clients = key(Field.SADDR, *parts, slot, protocol=protocol)
                yield Container(f"{prefix}{by}affinity{end}", clients, flags="dynamic,timeout", size=AFFINITY_SIZE)
    yield Container(f"source-ranges{family:d}", key(*ADDRESS_PORT, Field.SADDR), flags="interval")
    yield Container(f"hairpin{family:d}", key(Field.SADDR, Field.DADDR))
    yield Container(f"cluster-ips{family:d}", key(Field.DADDR))
    for name, part, cidrs in (
        ("pod-cidrs", Field.SADDR, settings.cluster_cidrs),
        ("service-cidrs", Field.DADDR, settings.service_cidrs),
        ("node-addresses", Field.DADDR, settings.node_addresses),
        ("loopback", Field.DADDR, (family.loopback,)),
    ):
        yield Container(f"{name}{family:d}", key(part), flags="interval", elements=networks(cidrs, family))


def base_chains() -> Iterator[Chain]:
    """The chains that are always there, each after those it leads to."""
    yield Chain(REJECT_CHAIN, (Rule(Family.V4, (End.REJECT,)),))
    for family in Family:
        yield _services(family)
    by_family = ByFamily(tuple((family, f"services{family:d}") for family in Family))
    yield Chain("services", (Rule(Family.V4, (by_family,)),))
    into = (Rule(Family.V4, (Jump("services"),)),)
    yield Chain("prerouting", into, "prerouting", DNAT_PRIORITY)
    yield Chain("output", into, "output", DNAT_PRIORITY)
    # A Pod that reached itself would get answers from its own address, which it does not expect.
    hairpins = tuple(
        Rule(family, (IsTranslated(), In((Field.SADDR, Field.DADDR), f"hairpin{family:d}"), End.MASQUERADE))
        for family in Family
    )
    marked = Rule(Family.V4, (IsMarked(), End.MASQUERADE))
    yield Chain("postrouting", (marked, *hairpins), "postrouting", SNAT_PRIORITY)


def _services(family: Family) -> Chain:
    number = f"{family:d}"
    daddr: Key = (Field.DADDR,)
    statements = (
        (Dispatch(ADDRESS_PORT, f"frontends{number}"),),
        # Loopback is left out: what came from there cannot leave the host.
        (
            IsLocal(Field.DADDR),
            In(daddr, f"node-addresses{number}"),
            In(daddr, f"loopback{number}", negated=True),
            Dispatch(PORT, f"node-ports{number}"),
        ),
        # No port of a Service, or no Service at all: nobody else answers for these addresses.
        (In(daddr, f"cluster-ips{number}"), Goto(REJECT_CHAIN)),
        (In(daddr, f"service-cidrs{number}"), Goto(REJECT_CHAIN)),
    )
    return Chain(f"services{number}", tuple(Rule(family, line) for line in statements))


def render_chain(chain: Chain, mark: int) -> str:
    """A chain with its rules, within a table's braces."""
    hook = f"  type nat hook {chain.hook} priority {chain.priority};\n" if chain.hook else ""
    rules = "".join(f"  {render(rule, mark)}\n" for rule in chain.rules)
    return f" chain {chain.name} {{\n{hook}{rules} }}\n"
