"""The chains that frontends lead to: one for all that are alike, made when the first needs it.

A frontend's chain decides what becomes of the source (who may come in, who is masqueraded) and which list of
targets is meant, and goes on to a balancing chain, which draws a slot and sends the connection to the target in
it. With affinity, a client is first looked for at each slot; whoever is found there, or drawn for it, has the
time renewed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from navarch.services.proxy.families import Family
from navarch.services.proxy.frontends import Frontend, Kind
from navarch.services.proxy.statements import (
    AnySlot,
    Chain,
    Draw,
    End,
    Field,
    Goto,
    In,
    IsLocal,
    Key,
    Mark,
    Remember,
    Rule,
    Send,
    Slot,
    Statement,
)
from navarch.services.proxy.structure import ADDRESS_PORT, REJECT_CHAIN


@dataclass(frozen=True, slots=True)
class Balancing:
    """A list of targets to choose from. by_port: of node ports. local: of this node."""

    family: Family
    protocol: str
    by_port: bool
    local: bool
    count: int
    affinity_s: int

    @property
    def name(self) -> str:
        """The chain's."""
        return f"balance{self._suffix}-{self.count}"

    @property
    def _suffix(self) -> str:
        port, local = "-port" if self.by_port else "", "-local" if self.local else ""
        sticky = f"-sticky{self.affinity_s}" if self.affinity_s else ""
        return f"{self.family:d}-{self.protocol}{port}{local}{sticky}"

    @property
    def key(self) -> Key:
        """What the frontend is known by."""
        return (Field.DPORT,) if self.by_port else (Field.DADDR, Field.DPORT)

    def _send(self, slot: Slot | AnySlot) -> Send:
        return Send(self.protocol, (*self.key, slot), self.endpoints)

    @property
    def endpoints(self) -> str:
        """The map of the targets."""
        return endpoints_map(self.family, self.protocol, by_port=self.by_port, local=self.local)

    @property
    def affinity(self) -> str:
        """The set of clients at slots."""
        return self.endpoints.replace("endpoints", "affinity")

    def chains(self) -> Iterator[Chain]:
        """What is needed, each after those it leads to."""
        if not self.affinity_s:
            yield self._chain(self.name, (self._send(AnySlot(self.count)),))
            return
        slots = [f"slot{self._suffix}-{number}" for number in range(self.count)]
        for number, name in enumerate(slots):
            yield self._chain(
                name,
                (Remember(self.protocol, (Field.SADDR, *self.key, Slot(number)), self.affinity, self.affinity_s),),
                (self._send(Slot(number)),),
            )
        known = [
            (In((Field.SADDR, *self.key, Slot(number)), self.affinity, protocol=self.protocol), Goto(name))
            for number, name in enumerate(slots)
        ]
        yield self._chain(self.name, *known, (Draw(tuple(slots)),))

    def _chain(self, name: str, *lines: tuple[Statement, ...]) -> Chain:
        return Chain(name, tuple(Rule(self.family, line) for line in lines))


@dataclass(frozen=True, slots=True)
class Handling:
    """What frontends that are alike have in common. outsiders: whether it is known who is not a Pod."""

    family: Family
    protocol: str
    by_port: bool
    kind: Kind
    local_only: bool
    count: int
    local_count: int
    affinity_s: int
    ranges: bool
    outsiders: bool

    @classmethod
    def of(cls, frontend: Frontend, outsiders: bool) -> "Handling":
        """Of a frontend that has targets."""
        return cls(
            family=frontend.id.family,
            protocol=frontend.id.protocol,
            by_port=not frontend.id.address,
            kind=frontend.kind,
            local_only=frontend.local_only,
            count=len(frontend.targets),
            local_count=len(frontend.local_targets),
            affinity_s=frontend.affinity_s,
            ranges=bool(frontend.ranges),
            outsiders=outsiders,
        )

    @property
    def name(self) -> str:
        """The chain's."""
        parts = [f"{self.kind.value}{self.family:d}", self.protocol]
        parts += ["port"] if self.by_port else []
        parts += ["ranges"] if self.ranges else []
        parts += [f"sticky{self.affinity_s}"] if self.affinity_s else []
        parts += [str(self.count)]
        parts += [f"local{self.local_count}"] if self.local_only else []
        return "-".join(parts)

    def chains(self) -> Iterator[Chain]:
        """All that is needed, each after those it leads to."""
        everywhere = Balancing(self.family, self.protocol, self.by_port, False, self.count, self.affinity_s)
        here = Balancing(self.family, self.protocol, self.by_port, True, self.local_count, self.affinity_s)
        yield from everywhere.chains()
        if self.local_only and self.local_count:
            yield from here.chains()
        lines = self._admission()
        if self.kind is Kind.CLUSTER:
            lines += [*self._from_pods(negated=True, then=(Mark(),)), (Goto(everywhere.name),)]
        elif not self.local_only:
            # The target may be on another node, which would answer past this one.
            lines += [(Mark(),), (Goto(everywhere.name),)]
        else:
            lines += self._from_pods(negated=False, then=(Goto(everywhere.name),))
            lines.append((IsLocal(Field.SADDR), Mark(), Goto(everywhere.name)))
            lines.append((Goto(here.name) if self.local_count else End.DROP,))
        yield Chain(self.name, tuple(Rule(self.family, line) for line in lines))

    def _admission(self) -> list[tuple[Statement, ...]]:
        if not self.ranges:
            return []
        return [(In((*ADDRESS_PORT, Field.SADDR), f"source-ranges{self.family:d}", negated=True), End.DROP)]

    def _from_pods(self, *, negated: bool, then: tuple[Statement, ...]) -> list[tuple[Statement, ...]]:
        if not self.outsiders:
            return []
        return [(In((Field.SADDR,), f"pod-cidrs{self.family:d}", negated=negated), *then)]


def endpoints_map(family: Family, protocol: str, *, by_port: bool, local: bool) -> str:
    """The map of targets, of node ports or of addresses, everywhere or on this node."""
    return f"{'local-' if local else ''}{'port-' if by_port else ''}endpoints{family:d}-{protocol}"


def verdict(frontend: Frontend, handling: Handling | None) -> str:
    """What the map of frontends says. handling: None where the frontend has no targets."""
    if handling is not None:
        return f"goto {handling.name}"
    return "drop" if frontend.empty == "drop" else f"goto {REJECT_CHAIN}"
