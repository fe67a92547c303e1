"""The few nftables statements that the proxy's rules are made of: one form for the kernel, one for walks.

`render` gives nft's own language. The JSON of libnftables is used for reading only: that of nft 1.0.6 (Debian
12) can declare neither maps whose key holds a slot nor sets that rules fill.
"""

from dataclasses import dataclass
from enum import Enum

from navarch.services.proxy.families import Family


class Field(Enum):
    """A part of a packet."""

    SADDR = "saddr"
    DADDR = "daddr"
    L4PROTO = "l4proto"
    DPORT = "dport"

    def render(self, family: Family, protocol: str = "") -> str:
        """As nft reads it."""
        match self:
            case Field.L4PROTO:
                return "meta l4proto"
            case Field.DPORT:
                return f"{protocol or 'th'} dport"
        return f"{family.keyword} {self.value}"


@dataclass(frozen=True, slots=True)
class AnySlot:
    """A number below `below`, drawn for each new connection."""

    below: int

    def render(self, family: Family, protocol: str = "") -> str:
        """As nft reads it."""
        return f"numgen random mod {self.below}"


@dataclass(frozen=True, slots=True)
class Slot:
    """This number. A key takes no constants; a counter without room to count is one."""

    number: int

    def render(self, family: Family, protocol: str = "") -> str:
        """As nft reads it."""
        return f"numgen inc mod 1 offset {self.number}"


Part = Field | AnySlot | Slot
Key = tuple[Part, ...]


def render_key(key: Key, family: Family, protocol: str = "") -> str:
    """A concatenation, as nft reads it. protocol: whose port it is, "" for any that has ports."""
    return " . ".join(part.render(family, protocol) for part in key)


@dataclass(frozen=True, slots=True)
class In:
    """Go on if the key is in the set (or is not). protocol: whose ports the set has, "" for those of any."""

    key: Key
    set: str
    negated: bool = False
    protocol: str = ""


@dataclass(frozen=True, slots=True)
class IsLocal:
    """Go on if this address is one of the host's own."""

    field: Field


@dataclass(frozen=True, slots=True)
class IsTranslated:
    """Go on if the connection's destination was changed."""


@dataclass(frozen=True, slots=True)
class IsMarked:
    """Go on if the packet is to be masqueraded; the mark comes off."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Have the packet masqueraded when it leaves."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Do what the map says for the key; go on if it says nothing."""

    key: Key
    map: str


@dataclass(frozen=True, slots=True)
class Send:
    """Send a connection of a protocol to the target that the map has for the key; go on if it has none."""

    protocol: str
    key: Key
    map: str


@dataclass(frozen=True, slots=True)
class Remember:
    """Put the key into the set, or renew it there."""

    protocol: str
    key: Key
    set: str
    timeout_s: int


@dataclass(frozen=True, slots=True)
class Draw:
    """Go to one of these chains, each as likely as any other."""

    chains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ByFamily:
    """Go to the chain of the packet's family."""

    chains: tuple[tuple[Family, str], ...]


@dataclass(frozen=True, slots=True)
class Goto:
    """Go to a chain and do not come back."""

    chain: str


@dataclass(frozen=True, slots=True)
class Jump:
    """Go to a chain, and on here if it ends."""

    chain: str


class End(Enum):
    """What ends a walk."""

    MASQUERADE = "masquerade fully-random"
    REJECT = "reject"
    DROP = "drop"


Statement = (
    In | IsLocal | IsTranslated | IsMarked | Mark | Dispatch | Send | Remember | Draw | ByFamily | Goto | Jump | End
)


@dataclass(frozen=True, slots=True)
class Rule:
    """Statements, each done if all before it let the packet go on."""

    family: Family
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """Rules. hook: "" for a chain that others lead to."""

    name: str
    rules: tuple[Rule, ...]
    hook: str = ""
    priority: int = 0


def render(rule: Rule, mark: int) -> str:
    """The rule as nft reads it. mark: the bit of packets to masquerade."""
    return " ".join(_render(statement, rule.family, mark) for statement in rule.statements)


def _render(statement: Statement, family: Family, mark: int) -> str:
    match statement:
        case In(key, name, negated, protocol):
            return f"{render_key(key, family, protocol)} {'!= ' if negated else ''}@{name}"
        case IsLocal(field):
            return f"fib {field.value} type local"
        case IsTranslated():
            return "ct status dnat"
        case IsMarked():
            return f"meta mark & {mark:#x} == {mark:#x} meta mark set meta mark & {0xFFFFFFFF ^ mark:#x}"
        case Mark():
            return f"meta mark set meta mark | {mark:#x}"
        case Dispatch(key, name):
            return f"{render_key(key, family)} vmap @{name}"
        case Send(protocol, key, name):
            return f"dnat {family.keyword} to {render_key(key, family, protocol)} map @{name}"
        case Remember(protocol, key, name, timeout_s):
            return f"update @{name} {{ {render_key(key, family, protocol)} timeout {timeout_s}s }}"
        case Draw(chains):
            choices = ", ".join(f"{place} : goto {chain}" for place, chain in enumerate(chains))
            return f"numgen random mod {len(chains)} vmap {{ {choices} }}"
        case ByFamily(by_family):
            choices = ", ".join(f"ipv{found:d} : goto {chain}" for found, chain in by_family)
            return f"meta nfproto vmap {{ {choices} }}"
        case Goto(chain):
            return f"goto {chain}"
        case Jump(chain):
            return f"jump {chain}"
        case End():
            return statement.value
