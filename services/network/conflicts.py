"""Pod CIDRs that cannot be: they overlap what already has those addresses.

Of two Nodes with overlapping ranges the older keeps its own; so all nodes agree on who is to yield, and a Node that
is added with a range of others harms none of them.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import replace

from navarch.services.network.facts import NodeFacts
from navarch.services.network.kernel import CIDR, PROTOCOL_KERNEL, Address, Kernel, Ownership, Route, overlap, within


class Claims:
    """Who has which addresses, by what all nodes know alike: the Nodes and the service CIDRs.

    Claims are granted from the oldest Node to the youngest, and what is granted does not overlap; so one look into a
    sorted list tells who has an address. A cluster of thousands is planned anew at each change.
    """

    def __init__(self, nodes: Iterable[NodeFacts], service_cidrs: Sequence[CIDR]) -> None:
        self._service_cidrs = service_cidrs
        # By IP version: (first, last, range, node), and (address, node).
        self._granted: dict[int, list[tuple[int, int, str, str]]] = {4: [], 6: []}
        self._addresses: dict[int, list[tuple[int, str]]] = {4: [], 6: []}
        self._faults: dict[tuple[str, CIDR], str] = {}
        for node in sorted(nodes, key=lambda one: one.seniority):
            for address in node.addresses:
                insort(self._addresses[address.version], (int(address), node.name))
            for cidr in node.cidrs:
                if fault := self._fault(cidr, node):
                    self._faults[node.name, cidr] = fault
                else:
                    insort(self._granted[cidr.version], (*_ends(cidr), str(cidr), node.name))

    def fault(self, node: NodeFacts, cidr: CIDR) -> str:
        """Why the Node cannot have this range of its own, in words; "" where it can."""
        return self._faults.get((node.name, cidr), "")

    def reachable(self, peer: NodeFacts, own: NodeFacts) -> NodeFacts:
        """The peer with those of its addresses by which it may be reached: not ours, and in nobody's Pod CIDR."""
        found = tuple(
            address
            for address in peer.addresses
            if address not in own.addresses and not address.is_loopback and not self._is_of_pods(address)
        )
        return replace(peer, addresses=found)

    def _is_of_pods(self, address: Address) -> bool:
        granted = self._granted[address.version]
        place = bisect_right(granted, int(address), key=lambda one: one[0])
        return place > 0 and granted[place - 1][1] >= int(address)

    def _fault(self, cidr: CIDR, node: NodeFacts) -> str:
        """By what older Nodes, and this one, have."""
        for service_cidr in self._service_cidrs:
            if overlap(cidr, service_cidr):
                return f"it overlaps the service CIDR {service_cidr}"
        first, last = _ends(cidr)
        addresses = self._addresses[cidr.version]
        for number, owner in addresses[bisect_left(addresses, (first, "")) :]:
            if number > last:
                break
            # On a cluster of one host the bridge's own address may be all that there is.
            if owner != node.name or number != first + 1:
                return f"it contains the address {cidr[number - first]} of node {owner}"
        granted = self._granted[cidr.version]
        # Of ranges that do not overlap, the last that begins before our end is the only one that may reach into us.
        place = bisect_right(granted, last, key=lambda one: one[0])
        if place and granted[place - 1][1] >= first:
            _, _, other, owner = granted[place - 1]
            return f"it overlaps the Pod CIDR {other} of node {owner}, which is older"
        return ""


def _ends(cidr: CIDR) -> tuple[int, int]:
    return int(cidr.network_address), int(cidr.broadcast_address)


def host_conflict(cidr: CIDR, routes: Iterable[Route]) -> str:
    """Why a range cannot be used on this host, in words; "" where it can. routes: of others."""
    for route in routes:
        if _takes(route, cidr):
            return f"it overlaps the route to {route.destination} through {route.device or 'nowhere'} of this host"
    return ""


def _takes(route: Route, cidr: CIDR) -> bool:
    """Whether the route's addresses are used: by a part of the range, or by a network of this host around it.

    A route through a gateway that merely covers the range, such as the default one, takes nothing: ours is longer.
    """
    return within(route.destination, cidr) or is_inside_host_network(cidr, (route,))


def is_inside_host_network(cidr: CIDR, routes: Iterable[Route]) -> bool:
    """Whether a range is part of a network that this host is connected to. routes: of others."""
    connected = (one.destination for one in routes if one.gateway is None and one.protocol == PROTOCOL_KERNEL)
    return any(network.prefixlen > 0 and within(cidr, network) for network in connected)


def foreign_routes(kernel: Kernel, ours: Ownership, bridge: str) -> frozenset[Route]:
    """The routes of the host that neither the agent nor the bridge has made."""
    own = {bridge, *ours.devices}
    return frozenset(route for route in kernel.routes if route.device not in own and not ours.owns(route))
