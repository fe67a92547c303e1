"""How this node reaches the Pods of each other node, and what the kernel needs for it. Pure.

Where a peer's address is on one of this host's links, its Pod CIDR is a plain route through that address. Elsewhere
packets travel in VXLAN between the hosts' addresses, IPv4 where both have one: a device of its own for each version of
the underlay, no learning, and for each peer a forwarding entry (MAC to host), a neighbour entry (tunnel address to
MAC) and a route through the tunnel address. A node's tunnel address is the first of its Pod CIDR, which is never a
Pod's; its MAC follows from its name. So everybody knows all of it from the Nodes alone.

With encryption it is WireGuard instead, on one link or not: one device, with a peer for each other node whose Node
tells its public key; whoever tells none is refused. What has no way, or whose device is gone for a moment, is held
back by an unreachable route behind all others: the host's default route would take it, unencrypted.

Each direction is chosen by its sender. Both choose alike as long as both hosts' routes are those of one link.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network

from navarch.services.network.conflicts import Claims, foreign_routes, host_conflict, is_inside_host_network
from navarch.services.network.facts import NodeFacts
from navarch.services.network.kernel import (
    CIDR,
    LAST_METRIC,
    Address,
    Desired,
    Device,
    DeviceAddress,
    Forwarding,
    Kernel,
    Neighbour,
    Ownership,
    Route,
    VxlanDevice,
    WireguardDevice,
    WireguardPeer,
    within,
)

ROUTE, VXLAN, WIREGUARD, REFUSED, UNREACHABLE = "route", "vxlan", "wireguard", "refused", "unreachable"
DEFAULT_VNI = 118
# Linux's and flannel's; IANA's is 4789.
DEFAULT_VXLAN_PORT = 8472
# Outer headers: IP, UDP, VXLAN, and the inner Ethernet header.
OVERHEAD_BYTES = {4: 20 + 8 + 8 + 14, 6: 40 + 8 + 8 + 14}
DEFAULT_WIREGUARD_PORT = 51820
# Over either version of IP, so that the peers of both fit: IPv6, UDP, and WireGuard's header and tag.
WIREGUARD_OVERHEAD_BYTES = 40 + 8 + 32
DEFAULT_MTU = 1500
# What IPv6 needs at least (RFC 8200, section 5).
SMALLEST_MTU = 1280
LONGEST_DEVICE_NAME = 15
NO_ENDS = "the two nodes have no InternalIP of the same IP version"
NO_KEY = "its Node tells no WireGuard key, and nothing goes in the clear"
# By IP version, below /proc/sys/net/ipvN.
FORWARDING = {4: "ip_forward", 6: "conf/all/forwarding"}


@dataclass(frozen=True, slots=True)
class Settings:
    """bridge: of this node's Pods. mtu: of Pods; 0 for what the links allow.

    public_key: of this node, to encrypt what goes to other nodes; "" not to.
    """

    bridge: str
    vni: int = DEFAULT_VNI
    vxlan_port: int = DEFAULT_VXLAN_PORT
    cluster_cidrs: tuple[CIDR, ...] = ()
    service_cidrs: tuple[CIDR, ...] = ()
    mtu: int = 0
    wireguard_port: int = DEFAULT_WIREGUARD_PORT
    public_key: str = ""

    @property
    def wireguard(self) -> str:
        """The name of the WireGuard device."""
        return f"{self.bridge}-wg"

    def device(self, version: int) -> str:
        """The name of the VXLAN device over IPv4 or IPv6."""
        return f"{self.bridge}-x{version}"

    @property
    def devices(self) -> tuple[str, ...]:
        """The Pod network's: bridge and tunnels."""
        return (self.bridge, *self.ownership.devices)

    @property
    def ownership(self) -> Ownership:
        """What in the kernel is this agent's."""
        return Ownership((self.device(4), self.device(6), self.wireguard), self.cluster_cidrs)


@dataclass(frozen=True, slots=True)
class Way:
    """How a Pod CIDR of a peer is reached, and why so. via: the peer's address; "" where there is no way."""

    cidr: str
    how: str
    via: str = ""
    device: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node."""

    node: str
    ways: tuple[Way, ...]


@dataclass(frozen=True)
class Plan:
    """desired: of the kernel. cidrs: of this node's Pods. conflict: why they cannot be; then there are no ways.

    keep: where traffic of Pods leaves with their own address. mtu: of Pods.
    """

    cidrs: tuple[CIDR, ...]
    conflict: str = ""
    peers: tuple[Peer, ...] = ()
    desired: Desired = field(default_factory=Desired)
    keep: frozenset[CIDR] = frozenset()
    mtu: int = DEFAULT_MTU


def plan(own: NodeFacts, others: Sequence[NodeFacts], kernel: Kernel, settings: Settings) -> Plan:
    """The network of this node. others: all other Nodes, in any order."""
    foreign = sorted(foreign_routes(kernel, settings.ownership, settings.bridge), key=repr)
    claims = Claims((own, *others), settings.service_cidrs)
    held_back = barriers(settings, foreign) if settings.public_key else frozenset()
    for cidr in own.cidrs:
        if why := claims.fault(own, cidr) or host_conflict(cidr, foreign):
            desired = Desired(routes=held_back)
            return Plan(own.cidrs, f"Pod CIDR {cidr}: {why}", desired=desired, mtu=settings.mtu or DEFAULT_MTU)
    planning = _Planning(own, kernel, settings, foreign, _key_holders(own, others, settings))
    names = sorted((peer for peer in others if peer.name != own.name), key=lambda one: one.name)
    peers = tuple(_peer(planning, peer, claims) for peer in names)
    return Plan(
        own.cidrs,
        peers=peers,
        desired=planning.desired(held_back),
        keep=frozenset({*planning.keep, *own.cidrs, *settings.cluster_cidrs}),
        mtu=planning.pod_mtu,
    )


def barriers(settings: Settings, foreign: Iterable[Route]) -> frozenset[Route]:
    """What keeps packets for Pods from leaving unencrypted where there is no way for them. foreign: others' routes.

    Not in front of a network of this host: what is in there is no Pod's.
    """
    others = list(foreign)
    return frozenset(
        Route(cidr, "", metric=LAST_METRIC, unicast=False)
        for cidr in settings.cluster_cidrs
        if not is_inside_host_network(cidr, others)
    )


def _key_holders(own: NodeFacts, others: Sequence[NodeFacts], settings: Settings) -> dict[str, str]:
    """Whose a key is: of two Nodes that tell the same, the older one's, so that all agree; ours in any case."""
    holders = {node.public_key: node.name for node in sorted(others, key=lambda one: one.seniority, reverse=True)}
    return {**holders, settings.public_key: own.name}


def _peer(planning: "_Planning", peer: NodeFacts, claims: Claims) -> Peer:
    ways = [Way(text, REFUSED, reason="it is no CIDR") for text in peer.malformed]
    reachable = claims.reachable(peer, planning.own)
    for cidr in peer.cidrs:
        why = claims.fault(peer, cidr) or planning.obstacle(cidr)
        if not why and peer.addresses and not reachable.addresses:
            why = f"its node's address {peer.addresses[0]} is this node's, of loopback, or in a Pod CIDR"
        ways.append(Way(str(cidr), REFUSED, reason=why) if why else planning.reach(reachable, cidr))
    return Peer(peer.name, tuple(ways))


class _Planning:
    """A plan while it is made."""

    def __init__(
        self,
        own: NodeFacts,
        kernel: Kernel,
        settings: Settings,
        foreign: Sequence[Route],
        key_holders: Mapping[str, str],
    ) -> None:
        self.settings = settings
        self._key_holders = key_holders
        self.foreign = foreign
        self.keep: set[CIDR] = set()
        self.own = own
        self._kernel = kernel
        self._devices: dict[str, Device] = {}
        self._peers: dict[str, WireguardPeer] = {}
        self._routes: set[Route] = set()
        self._neighbours: set[Neighbour] = set()
        self._forwardings: set[Forwarding] = set()

    def obstacle(self, cidr: CIDR) -> str:
        """Why this host cannot have a way to the range; "" where it can."""
        inside = self.settings.cluster_cidrs
        if inside and not any(within(cidr, one) for one in inside):
            return "it is outside of the cluster CIDR"
        return host_conflict(cidr, self.foreign)

    def reach(self, peer: NodeFacts, cidr: CIDR) -> Way:
        """Decide how, and note what it needs."""
        if self.settings.public_key:
            return self._encrypted(peer, cidr)
        direct = self._on_link(peer, cidr.version)
        if direct is not None:
            address, device = direct
            self._routes.add(Route(cidr, device, address))
            self.keep |= {cidr, *(ip_network(one) for one in peer.addresses if self._is_on_link(one))}
            return Way(str(cidr), ROUTE, str(address), device, f"{address} is on the link {device}")
        ends = self._ends(peer)
        return self._tunnel(peer, cidr, *ends) if ends else Way(str(cidr), UNREACHABLE, reason=NO_ENDS)

    def _ends(self, peer: NodeFacts) -> tuple[Address, Address] | None:
        """Of a tunnel: our address and the peer's, of one version."""
        for version in (4, 6):
            local, remote = self.own.address(version), peer.address(version)
            if local is not None and not local.is_loopback and remote is not None:
                return local, remote
        return None

    def _encrypted(self, peer: NodeFacts, cidr: CIDR) -> Way:
        if not peer.public_key:
            return Way(str(cidr), REFUSED, reason=NO_KEY)
        if (holder := self._key_holders[peer.public_key]) != peer.name:
            return Way(str(cidr), REFUSED, reason=f"its WireGuard key is that of node {holder}")
        ends = self._ends(peer)
        if ends is None:
            return Way(str(cidr), UNREACHABLE, reason=NO_ENDS)
        local, remote = ends
        if self._route_to(remote) is None:
            return Way(str(cidr), UNREACHABLE, reason=f"this host has no route to {remote}")
        name, port = self.settings.wireguard, self.settings.wireguard_port
        mtu = max(self._underlay_mtu(local) - WIREGUARD_OVERHEAD_BYTES, SMALLEST_MTU)
        self._devices[name] = WireguardDevice(name, port, self.settings.public_key, mtu)
        before = self._peers.get(peer.name)
        allowed = frozenset({cidr, *(before.allowed if before else ())})
        self._peers[peer.name] = WireguardPeer(name, peer.public_key, remote, port, allowed)
        source = self.own.cidr(cidr.version)
        self._routes.add(Route(cidr, name, source=source.network_address if source else None))
        self.keep.add(cidr)
        return Way(str(cidr), WIREGUARD, str(remote), name, f"encrypted for the key {peer.public_key}")

    def _tunnel(self, peer: NodeFacts, cidr: CIDR, local: Address, remote: Address) -> Way:
        if self._route_to(remote) is None:
            return Way(str(cidr), UNREACHABLE, reason=f"this host has no route to {remote}")
        device = self._device(local)
        source = self.own.cidr(cidr.version)
        gateway = cidr.network_address
        self._forwardings.add(Forwarding(device, peer.mac, remote))
        self._neighbours.add(Neighbour(device, gateway, peer.mac))
        if cidr.version == 6:
            # Linux takes no gateway for IPv6 that the way of before leads to over another device, "onlink" or not.
            self._routes.add(Route(ip_network(gateway), device))
        self._routes.add(Route(cidr, device, gateway, source.network_address if source else None, onlink=True))
        self.keep.add(cidr)
        return Way(str(cidr), VXLAN, str(remote), device, f"{remote} is on no link of this host")

    def _device(self, local: Address) -> str:
        name = self.settings.device(local.version)
        vni, port = self.settings.vni, self.settings.vxlan_port
        mtu = self._underlay_mtu(local) - OVERHEAD_BYTES[local.version]
        self._devices[name] = VxlanDevice(name, vni, port, local, self.own.mac, max(mtu, SMALLEST_MTU))
        return name

    def _on_link(self, peer: NodeFacts, version: int) -> tuple[Address, str] | None:
        for address in peer.addresses:
            if address.version == version and self._is_on_link(address):
                route = self._route_to(address)
                assert route is not None
                return address, route.device
        return None

    def _is_on_link(self, address: Address) -> bool:
        route = self._route_to(address)
        if route is None or route.gateway is not None:
            return False
        link = self._kernel.links.get(route.device)
        return link is not None and link.shared

    def _route_to(self, address: Address) -> Route | None:
        """What the kernel would choose: the longest prefix, of those the smallest metric."""
        matching = [route for route in self.foreign if address in route.destination]
        best = min(matching, key=lambda one: (-one.destination.prefixlen, one.metric, one.device), default=None)
        return best if best is not None and best.unicast else None

    def _underlay_mtu(self, local: Address) -> int:
        """Of the link that has this address; where none has it, of the link to the world."""
        device = next((one.device for one in self._kernel.addresses if one.address == local), "")
        if not device or local.is_loopback:
            world = (one for one in self.foreign if one.unicast and one.destination.prefixlen == 0)
            route = min(world, key=lambda one: (one.metric, one.device), default=None)
            device = route.device if route is not None else ""
        link = self._kernel.links.get(device)
        return link.mtu if link is not None else DEFAULT_MTU

    @property
    def pod_mtu(self) -> int:
        """What fits into the tunnel, also while no peer needs it: Pods keep what they began with."""
        if self.settings.mtu:
            return self.settings.mtu
        locals_ = [found for version in (4, 6) if (found := self.own.address(version)) is not None]
        encrypted = bool(self.settings.public_key)
        overhead = OVERHEAD_BYTES | (dict.fromkeys((4, 6), WIREGUARD_OVERHEAD_BYTES) if encrypted else {})
        fitting = [self._underlay_mtu(local) - overhead[local.version] for local in locals_[:1]]
        return max(min(fitting, default=DEFAULT_MTU - overhead[4]), SMALLEST_MTU)

    def desired(self, held_back: frozenset[Route]) -> Desired:
        """What all peers together need, and what holds the rest back."""
        devices = tuple(self._devices[name] for name in sorted(self._devices))
        addresses = {
            DeviceAddress(device.name, cidr.network_address, cidr.max_prefixlen)
            for device in devices
            for cidr in self.own.cidrs
        }
        sysctls = {f"ipv{version}/{name}": "1" for version, name in FORWARDING.items() if self.own.cidr(version)}
        # Where a host has several ways to another, answers may come by another one than questions went.
        sysctls |= {f"ipv4/conf/{device.name}/rp_filter": "2" for device in devices if self.own.cidr(4)}
        return Desired(
            devices,
            frozenset(addresses),
            frozenset(self._routes) | held_back,
            frozenset(self._neighbours),
            frozenset(self._forwardings),
            frozenset(self._peers.values()),
            sysctls,
        )
