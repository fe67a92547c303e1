"""What of the kernel's network the agent reads and writes, as plain values.

`Kernel` is what is there, `Desired` what the plan wants there; `difference` turns the two into operations.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
CIDR = IPv4Network | IPv6Network

# rtm_protocol of our routes. Linux and the routing daemons leave the number free; it tells ours from others'.
ROUTE_PROTOCOL = 118
# With a metric of our own a route replaces nobody's but ours, and any other route to the same range wins.
ROUTE_METRIC = 118
# Any other route to the same range wins.
LAST_METRIC = (1 << 32) - 1
PROTOCOL_KERNEL = 2
IFF_UP, IFF_BROADCAST, IFF_NOARP = 0x1, 0x2, 0x80


@dataclass(frozen=True, slots=True)
class VxlanDevice:
    """A VXLAN tunnel device. local: our end. port: UDP. mac: of the device, by which peers address it."""

    name: str
    vni: int
    port: int
    local: Address
    mac: str
    mtu: int


@dataclass(frozen=True, slots=True)
class WireguardDevice:
    """A WireGuard device. port: UDP. public_key: its own, in base64."""

    name: str
    port: int
    public_key: str
    mtu: int


Device = VxlanDevice | WireguardDevice


@dataclass(frozen=True, slots=True)
class WireguardPeer:
    """Who has the key may send from these ranges, and what goes there is sent to the host, encrypted for the key."""

    device: str
    public_key: str
    host: Address
    port: int
    allowed: frozenset[CIDR]


@dataclass(frozen=True, slots=True)
class Link:
    """A network device. shared: any host on it is reached by its address, as on Ethernet; not so through a tunnel.

    tunnel: its parameters if it is a tunnel of a kind that we make.
    """

    name: str
    mtu: int
    up: bool = True
    shared: bool = True
    tunnel: Device | None = None

    @classmethod
    def of_flags(cls, name: str, mtu: int, flags: int, tunnel: Device | None = None) -> "Link":
        """As netlink tells it. flags: of ifinfomsg (rtnetlink(7))."""
        shared = bool(flags & IFF_BROADCAST) and not flags & IFF_NOARP
        return cls(name, mtu, bool(flags & IFF_UP), shared, tunnel)


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the main table. gateway: None where the destination is on the link.

    onlink: the gateway is on the link although no route says so. unicast: False for what leads nowhere, by no device:
    blackhole and the like; of our own making, it is unreachable.
    """

    destination: CIDR
    device: str
    gateway: Address | None = None
    source: Address | None = None
    onlink: bool = False
    metric: int = ROUTE_METRIC
    protocol: int = ROUTE_PROTOCOL
    unicast: bool = True


@dataclass(frozen=True, slots=True)
class DeviceAddress:
    """An address on a device, with its prefix length."""

    device: str
    address: Address
    prefix_length: int


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A permanent entry: the address is at the MAC."""

    device: str
    address: Address
    mac: str


@dataclass(frozen=True, slots=True)
class Forwarding:
    """An entry of a VXLAN device's forwarding database: frames to the MAC go to the remote host."""

    device: str
    mac: str
    remote: Address


@dataclass(frozen=True)
class Kernel:
    """What is there: links by name, addresses but link-local ones, the main table, our devices' entries.

    sysctls: the values of those that were asked for, by path below /proc/sys/net; missing where there is none.
    """

    links: Mapping[str, Link] = field(default_factory=dict)
    addresses: frozenset[DeviceAddress] = frozenset()
    routes: frozenset[Route] = frozenset()
    neighbours: frozenset[Neighbour] = frozenset()
    forwardings: frozenset[Forwarding] = frozenset()
    peers: frozenset[WireguardPeer] = frozenset()
    sysctls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Desired:
    """What is to be there, of what is ours."""

    devices: tuple[Device, ...] = ()
    addresses: frozenset[DeviceAddress] = frozenset()
    routes: frozenset[Route] = frozenset()
    neighbours: frozenset[Neighbour] = frozenset()
    forwardings: frozenset[Forwarding] = frozenset()
    peers: frozenset[WireguardPeer] = frozenset()
    sysctls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ownership:
    """What is ours: these devices by name; routes with our protocol, if given only to somewhere in these CIDRs.

    Clusters side by side on one host tell their routes apart by their cluster CIDRs.
    """

    devices: tuple[str, ...]
    cluster_cidrs: tuple[CIDR, ...] = ()

    def owns(self, route: Route) -> bool:
        """Whether the route is ours."""
        if route.protocol != ROUTE_PROTOCOL:
            return False
        return not self.cluster_cidrs or any(within(route.destination, cidr) for cidr in self.cluster_cidrs)


def within(inner: CIDR, outer: CIDR) -> bool:
    """Whether a range lies in another of the same family."""
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def overlap(one: CIDR, other: CIDR) -> bool:
    """Whether two ranges share an address."""
    return within(one, other) or within(other, one)
