"""What becomes of a packet, by the same chains and maps that the kernel gets: a walk without a kernel.

Every slot that could be drawn is followed, so a walk tells all targets that are possible.
"""

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from navarch.services.proxy.elements import Place
from navarch.services.proxy.endpoints import Target
from navarch.services.proxy.families import Family
from navarch.services.proxy.statements import (
    AnySlot,
    ByFamily,
    Chain,
    Dispatch,
    Draw,
    End,
    Field,
    Goto,
    In,
    IsLocal,
    IsMarked,
    IsTranslated,
    Jump,
    Key,
    Mark,
    Remember,
    Rule,
    Send,
    Slot,
)
from navarch.services.proxy.structure import Settings, base_chains, containers


@dataclass(frozen=True, slots=True)
class Packet:
    """The first packet of a connection. from_host: made by a process of this node, not come from elsewhere."""

    source: str
    destination: str
    protocol: str
    port: int
    from_host: bool = False

    @property
    def family(self) -> Family:
        """Of the addresses."""
        return Family.V6 if ":" in self.destination else Family.V4


@dataclass(frozen=True, slots=True)
class Fate:
    """The end of a packet. verdict: "accept", "reject" or "drop". target: None if it goes where it was sent.

    path: the chains it came through.
    """

    verdict: str
    target: Target | None = None
    masqueraded: bool = False
    path: tuple[str, ...] = ()


@dataclass(slots=True)
class Ruleset:
    """A table's content. host_addresses: the node's own. lookup: the value of an exact key, None for none."""

    chains: Mapping[str, Chain]
    lookup: Callable[[Place], str | None]
    ranges: Mapping[str, Iterable[str]]
    host_addresses: frozenset[str] = frozenset()


def ruleset(
    settings: Settings,
    chains: Mapping[str, Chain],
    elements: Mapping[Place, str],
    host_addresses: frozenset[str] = frozenset(),
) -> Ruleset:
    """Of all that a table holds."""
    ranges: dict[str, list[str]] = {
        container.name: list(container.elements) for container in containers(settings) if container.flags == "interval"
    }
    for container, key in elements:
        if container in ranges:
            ranges[container].append(key)
    everything = {**chains, **{chain.name: chain for chain in base_chains()}}
    return Ruleset(everything, elements.get, ranges, host_addresses)


@dataclass(slots=True)
class _Walk:
    """One way through the table. destination: as the packet has it by now."""

    packet: Packet
    remembered: frozenset[tuple[str, str]]
    destination: Target
    marked: bool = False
    translated: bool = False
    path: tuple[str, ...] = field(default=())

    def copy(self, chain: str) -> "_Walk":
        return _Walk(self.packet, self.remembered, self.destination, self.marked, self.translated, (*self.path, chain))


def walk(rules: Ruleset, packet: Packet, remembered: Iterable[tuple[str, str]] = ()) -> list[Fate]:
    """All that may become of the packet. remembered: (set, key) of clients with affinity."""
    start = _Walk(packet, frozenset(remembered), Target(packet.destination, packet.port))
    fates = []
    for verdict, end in _chain(rules, "output" if packet.from_host else "prerouting", start):
        if verdict in ("reject", "drop"):
            fates.append(Fate(verdict, path=end.path))
            continue
        for left, last in _chain(rules, "postrouting", end.copy("")):
            target = last.destination if last.translated else None
            fates.append(Fate("accept", target, left == "masquerade", tuple(filter(None, last.path))))
    return list(dict.fromkeys(fates))


_Step = tuple[str, _Walk]


def _chain(rules: Ruleset, name: str, walk: _Walk) -> list[_Step]:
    """The ends of all ways through a chain: "reject", "drop", "masquerade", "sent", or "return" from its end."""
    going = [walk.copy(name)]
    ends: list[_Step] = []
    for rule in rules.chains[name].rules:
        if not _concerns(rule, walk.packet):
            continue
        on: list[_Walk] = []
        for way in going:
            for verdict, after in _rule(rules, rule, way):
                if verdict == "on":
                    on.append(after)
                else:
                    ends.append((verdict, after))
        going = on
    return ends + [("return", way) for way in going]


def _concerns(rule: Rule, packet: Packet) -> bool:
    """Rules that look at addresses are of one family; the others name IPv4, and are for both."""
    looks = any(isinstance(statement, In | Dispatch | Send | Remember | IsLocal) for statement in rule.statements)
    return not looks or rule.family is packet.family


def _rule(rules: Ruleset, rule: Rule, way: _Walk) -> list[_Step]:
    for statement in rule.statements:
        match statement:
            case In(key, name, negated, _):
                goes_on = _contains(rules, name, key, way) != negated
            case IsLocal(field):
                goes_on = _address(field, way) in rules.host_addresses
            case IsTranslated():
                goes_on = way.translated
            case IsMarked():
                goes_on = way.marked
            case Mark():
                way, goes_on = way.copy(""), True
                way.marked = True
            case Remember():
                goes_on = True
            case Dispatch(key, name):
                value = rules.lookup(Place(name, _text(key, way)))
                return [("on", way)] if value is None else _follow(rules, value, way)
            case Send(protocol, key, name):
                return _send(rules, key, name, way) if way.packet.protocol == protocol else [("on", way)]
            case Draw(chains):
                return [step for chain in chains for step in _goto(rules, chain, way)]
            case ByFamily(chains):
                return _goto(rules, dict(chains)[way.packet.family], way)
            case Goto(chain):
                return _goto(rules, chain, way)
            case Jump(chain):
                return [("on" if verdict == "return" else verdict, end) for verdict, end in _chain(rules, chain, way)]
            case End():
                return [(statement.name.lower(), way)]
        if not goes_on:
            break
    return [("on", way)]


def _follow(rules: Ruleset, value: str, way: _Walk) -> list[_Step]:
    return [("drop", way)] if value == "drop" else _goto(rules, value.removeprefix("goto "), way)


def _goto(rules: Ruleset, chain: str, way: _Walk) -> list[_Step]:
    """Whoever comes to the end of a chain that was gone to leaves the one before, too: at the hook, or the jump."""
    return _chain(rules, chain, way)


def _send(rules: Ruleset, key: Key, name: str, way: _Walk) -> list[_Step]:
    steps = []
    for slot in _slots(key):
        value = rules.lookup(Place(name, _text(key, way, slot)))
        if value is None:
            steps.append(("on", way))
            continue
        address, _, port = value.rpartition(" . ")
        sent = way.copy("")
        sent.destination, sent.translated = Target(address, int(port)), True
        steps.append(("sent", sent))
    return steps


def _slots(key: Key) -> Iterable[int]:
    drawn = next((part.below for part in key if isinstance(part, AnySlot)), 1)
    return range(drawn)


def _text(key: Key, way: _Walk, slot: int = 0) -> str:
    return " . ".join(_part(part, way, slot) for part in key)


def _part(part: Field | AnySlot | Slot, way: _Walk, slot: int) -> str:
    match part:
        case AnySlot():
            return str(slot)
        case Slot(number):
            return str(number)
        case Field.L4PROTO:
            return way.packet.protocol
        case Field.DPORT:
            return str(way.destination.port)
    return _address(part, way)


def _address(field: Field, way: _Walk) -> str:
    return way.packet.source if field is Field.SADDR else way.destination.address


def _contains(rules: Ruleset, name: str, key: Key, way: _Walk) -> bool:
    text = _text(key, way)
    if name in rules.ranges:
        return any(_covers(element.split(" . "), text.split(" . ")) for element in rules.ranges[name])
    return (name, text) in way.remembered or rules.lookup(Place(name, text)) is not None


def _covers(element: list[str], key: list[str]) -> bool:
    for have, want in zip(element, key, strict=True):
        if have != want and ("/" not in have or ipaddress.ip_address(want) not in ipaddress.ip_network(have)):
            return False
    return True
