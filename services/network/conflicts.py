"""Pod CIDRs that cannot be: they overlap what already has those addresses.

Of two Nodes with overlapping ranges the older keeps its own; so all nodes agree on who is to yield, and a Node that
is added with a range of others harms none of them.
"""

from collections.abc import Iterable, Sequence

from navarch.services.network.facts import NodeFacts
from navarch.services.network.kernel import CIDR, PROTOCOL_KERNEL, Address, Kernel, Ownership, Route, overlap, within


def conflict(
    cidr: CIDR,
    holder: NodeFacts,
    nodes: Iterable[NodeFacts],
    routes: Iterable[Route],
    service_cidrs: Sequence[CIDR],
) -> str:
    """Why a Node's range cannot be used, in words; "" where it can. routes: those that are not the Pod network's."""
    for service_cidr in service_cidrs:
        if overlap(cidr, service_cidr):
            return f"it overlaps the service CIDR {service_cidr}"
    for node in sorted(nodes, key=lambda one: one.seniority):
        if node.seniority > holder.seniority:
            break
        for address in node.addresses:
            # On a cluster of one host the bridge's own address may be all that there is.
            is_own_gateway = node.name == holder.name and address == cidr[1]
            if address in cidr and not is_own_gateway:
                return f"it contains the address {address} of node {node.name}"
        for other in node.cidrs:
            if node.name != holder.name and overlap(cidr, other):
                return f"it overlaps the Pod CIDR {other} of node {node.name}, which is older"
    for route in sorted(routes, key=repr):
        if _takes(route, cidr):
            return f"it overlaps the route to {route.destination} through {route.device or 'nowhere'} of this host"
    return ""


def usable_addresses(peer: NodeFacts, own: NodeFacts, nodes: Iterable[NodeFacts]) -> tuple[Address, ...]:
    """The addresses of a peer by which it may be reached: not ours, and in nobody's Pod CIDR."""
    cidrs = [cidr for node in nodes for cidr in node.cidrs]
    return tuple(
        address
        for address in peer.addresses
        if address not in own.addresses and not address.is_loopback and not any(address in cidr for cidr in cidrs)
    )


def _takes(route: Route, cidr: CIDR) -> bool:
    """Whether the route's addresses are used: by a part of the range, or by a network of this host around it.

    A route through a gateway that merely covers the range, such as the default one, takes nothing: ours is longer.
    """
    if within(route.destination, cidr):
        return True
    is_connected = route.gateway is None and route.protocol == PROTOCOL_KERNEL
    return is_connected and route.destination.prefixlen > 0 and within(cidr, route.destination)


def foreign_routes(kernel: Kernel, ours: Ownership, bridge: str) -> frozenset[Route]:
    """The routes of the host that neither the agent nor the bridge has made."""
    own = {bridge, *ours.devices}
    return frozenset(route for route in kernel.routes if route.device not in own and not ours.owns(route))
