"""Endpoints of one port of a Service, and which of them get its traffic.

Which ones: the ready ones; where none is ready, those that end but still serve (KEP-1669). A policy `Local`
counts the endpoints of this node alone. Where all ready endpoints carry hints of nodes or zones and one is
meant for here, the others are left alone (KEP-4444, KEP-2433).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.proxy.families import Family, canonical

NOBODY: frozenset[str] = frozenset()
ZONE_LABEL = "topology.kubernetes.io/zone"


class Target(NamedTuple):
    """Where a packet is sent."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Here:
    """The node whose traffic is steered: its name, its zone ("" where it is not known)."""

    node: str
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint of one port."""

    target: Target
    node: str
    ready: bool
    serving: bool
    terminating: bool
    for_nodes: frozenset[str]
    for_zones: frozenset[str]

    def at(self, target: Target) -> "Endpoint":
        """The same, reached there."""
        return Endpoint(target, self.node, self.ready, self.serving, self.terminating, self.for_nodes, self.for_zones)

    @property
    def lingering(self) -> bool:
        """Ends, but still answers."""
        return self.serving and self.terminating


@dataclass(frozen=True, slots=True)
class Choice:
    """What gets the traffic: of the whole cluster, and of this node. anywhere: whether any endpoint is usable."""

    cluster: tuple[Target, ...]
    local: tuple[Target, ...]
    anywhere: bool


def endpoints_of(slices: Iterable[discoveryv1.EndpointSlice], family: Family) -> dict[tuple[str, str], list[Endpoint]]:
    """The endpoints of each port, by the port's name and protocol ("TCP"); each target once, sorted."""
    address_type = f"IPv{family:d}"
    found: dict[tuple[str, str], dict[Target, Endpoint]] = {}
    for slice in slices:
        if slice.address_type != address_type:
            continue
        read = [endpoint for each in slice.endpoints if (endpoint := _endpoint(each, family)) is not None]
        for port in slice.ports:
            if port.HasField("port"):
                _add(found.setdefault((port.name, port.protocol or "TCP"), {}), read, port.port)
    return {port: [targets[target] for target in sorted(targets)] for port, targets in found.items()}


def _add(targets: dict[Target, Endpoint], read: list[Endpoint], port: int) -> None:
    for endpoint in read:
        target = Target(endpoint.target.address, port)
        known = targets.get(target)
        # While an endpoint moves between slices it is in both: a usable one counts.
        if known is None or _rank(endpoint) > _rank(known):
            targets[target] = endpoint.at(target)


def _rank(endpoint: Endpoint) -> int:
    return 2 if endpoint.ready else 1 if endpoint.lingering else 0


def _endpoint(endpoint: discoveryv1.Endpoint, family: Family) -> Endpoint | None:
    """An endpoint without its port."""
    address = canonical(endpoint.addresses[0]) if endpoint.addresses else None
    if address is None or address[0] is not family:
        return None
    conditions = endpoint.conditions
    ready = not conditions.HasField("ready") or conditions.ready
    return Endpoint(
        target=Target(address[1], 0),
        node=endpoint.node_name,
        ready=ready,
        serving=conditions.serving if conditions.HasField("serving") else ready,
        terminating=conditions.terminating,
        for_nodes=_names(endpoint.hints.for_nodes) if endpoint.HasField("hints") else NOBODY,
        for_zones=_names(endpoint.hints.for_zones) if endpoint.HasField("hints") else NOBODY,
    )


def _names(hints: Iterable[discoveryv1.ForNode] | Iterable[discoveryv1.ForZone]) -> frozenset[str]:
    return frozenset(hint.name for hint in hints)


def choose(endpoints: list[Endpoint], here: Here) -> Choice:
    """Who gets the traffic of this node."""
    local = [endpoint for endpoint in endpoints if endpoint.node and endpoint.node == here.node]
    return Choice(
        cluster=_usable(_meant_for(here, endpoints)) or _usable(endpoints),
        local=_usable(local),
        anywhere=any(endpoint.ready or endpoint.lingering for endpoint in endpoints),
    )


def _usable(endpoints: list[Endpoint]) -> tuple[Target, ...]:
    ready = tuple(endpoint.target for endpoint in endpoints if endpoint.ready)
    return ready or tuple(endpoint.target for endpoint in endpoints if endpoint.lingering)


def _meant_for(here: Here, endpoints: list[Endpoint]) -> list[Endpoint]:
    """The ready endpoints whose hints name this node, else its zone; all if hints are missing or name neither."""
    ready = [endpoint for endpoint in endpoints if endpoint.ready]
    if all(endpoint.for_nodes for endpoint in ready):
        near = [endpoint for endpoint in ready if here.node in endpoint.for_nodes]
        if near:
            return near
    if here.zone and all(endpoint.for_zones for endpoint in ready):
        near = [endpoint for endpoint in ready if here.zone in endpoint.for_zones]
        if near:
            return near
    return ready
