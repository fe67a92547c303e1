"""Reads the kernel's network and carries operations out, over netlink and /proc/sys/net. Blocking: for a thread."""

import contextlib
import errno
import socket
from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from navarch.services.network import wireguard
from navarch.services.network.difference import (
    Add,
    ChangeDevice,
    Delete,
    DeleteDevice,
    Entry,
    Operation,
    SetSysctl,
)
from navarch.services.network.kernel import (
    Device,
    DeviceAddress,
    Forwarding,
    Kernel,
    Link,
    Neighbour,
    Route,
    VxlanDevice,
    WireguardDevice,
    WireguardPeer,
)
from navarch.services.network.wireguard import Setup

SYSCTLS = Path("/proc/sys/net")
MAIN_TABLE = 254
IFA_F_NODAD = 0x02
RTNH_F_ONLINK = 4
RTN_UNICAST = 1
SCOPE_LINK = 253
NUD_PERMANENT = 0x80
FAMILIES = (socket.AF_INET, socket.AF_INET6)
ANYWHERE = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}
# Of WireGuard in user space it is "tun".
WIREGUARD_KINDS = ("wireguard", "tun")
# What says that something is not there.
GONE = (errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL)


class KernelRefused(Exception):
    """The kernel did not carry an operation out."""


def read(devices: Iterable[str], sysctls: Iterable[str] = ()) -> Kernel:
    """What is there. devices: those whose entries are wanted; sysctls: by path. Raises KernelRefused and OSError."""
    try:
        with IPRoute(strict_check=True) as netlink:
            return _Reader(netlink).read(set(devices), sysctls)
    except NetlinkError as failure:
        raise KernelRefused(f"cannot read the kernel's network: {failure}") from failure


def apply(operations: Iterable[Operation], setup: Setup | None = None) -> None:
    """Carry out, in this order. setup: for WireGuard. Raises KernelRefused for the first that fails."""
    with IPRoute() as netlink:
        for operation in operations:
            try:
                _carry_out(netlink, operation, setup)
            except (NetlinkError, OSError) as failure:
                raise KernelRefused(f"{operation}: {failure}") from failure


def delete_link(name: str) -> None:
    """Delete a link, if it is there. Raises KernelRefused."""
    apply([DeleteDevice(name)])


class _Reader:
    """One look. Names of all devices are cheap to have, their details are not: a node has one for each Pod."""

    def __init__(self, netlink: Any) -> None:
        self._netlink = netlink
        self._names = dict(socket.if_nameindex())
        self._peers: set[WireguardPeer] = set()

    def read(self, devices: set[str], sysctls: Iterable[str]) -> Kernel:
        addresses = frozenset(self._addresses())
        routes = frozenset(self._routes())
        wanted = devices | {one.device for one in addresses} | {one.device for one in routes}
        indexes = {index: name for index, name in self._names.items() if name in wanted}
        links = {link.name: link for index in indexes for link in self._link(index, devices)}
        own = [index for index, name in indexes.items() if name in devices and links.get(name)]
        return Kernel(
            links,
            addresses,
            routes,
            frozenset(one for index in own for one in self._neighbours(index)),
            frozenset(one for index in own for one in self._forwardings(index)),
            frozenset(self._peers),
            {path: value for path in sysctls if (value := _sysctl(path)) is not None},
        )

    def _addresses(self) -> Iterator[DeviceAddress]:
        for entry in self._netlink.get_addr():
            name = self._names.get(entry["index"])
            if name is not None and entry["scope"] != SCOPE_LINK:
                address = ip_address(entry.get("local") or entry.get("address"))
                yield DeviceAddress(name, address, entry["prefixlen"])

    def _routes(self) -> Iterator[Route]:
        for family in FAMILIES:
            for entry in self._netlink.get_routes(family=family, table=MAIN_TABLE):
                destination = ip_network(f"{entry.get('dst') or ANYWHERE[family]}/{entry['dst_len']}")
                if destination.is_link_local or destination.is_multicast:
                    continue
                for index, gateway in _hops(entry):
                    source, is_unicast = entry.get("prefsrc"), entry["type"] == RTN_UNICAST
                    yield Route(
                        destination,
                        # For IPv6, what leads nowhere is told to be of the loopback device.
                        self._names.get(index, "") if is_unicast else "",
                        ip_address(gateway) if gateway else None,
                        ip_address(source) if source else None,
                        bool(entry["flags"] & RTNH_F_ONLINK),
                        entry.get("priority") or 0,
                        entry["proto"],
                        is_unicast,
                    )

    def _link(self, index: int, devices: set[str]) -> Iterator[Link]:
        try:
            (found,) = self._netlink.get_links(index)
        except NetlinkError as failure:
            if failure.code in GONE:
                return
            raise
        name, mtu = found.get("ifname"), found.get("mtu")
        tunnel = self._wireguard(found, name, mtu) if name in devices else None
        yield Link.of_flags(name, mtu, found["flags"], tunnel or _vxlan(found, name, mtu))

    def _wireguard(self, link: Any, name: str, mtu: int) -> WireguardDevice | None:
        found = wireguard.read(name, mtu) if link.get(("linkinfo", "kind")) in WIREGUARD_KINDS else None
        self._peers |= found[1] if found else set()
        return found[0] if found else None

    def _neighbours(self, index: int) -> Iterator[Neighbour]:
        for family in FAMILIES:
            for entry in self._netlink.get_neighbours(family=family, ifindex=index):
                if entry["ifindex"] == index and entry["state"] & NUD_PERMANENT and entry.get("lladdr"):
                    yield Neighbour(self._names[index], ip_address(entry.get("dst")), entry.get("lladdr"))

    def _forwardings(self, index: int) -> Iterator[Forwarding]:
        for entry in self._netlink.fdb("dump", ifindex=index):
            if entry["ifindex"] == index and entry.get("dst"):
                yield Forwarding(self._names[index], entry.get("lladdr"), ip_address(entry.get("dst")))


def _hops(entry: Any) -> list[tuple[int, str | None]]:
    """Device index and gateway of each next hop."""
    if hops := entry.get("multipath"):
        return [(hop["oif"], hop.get("gateway")) for hop in hops]
    return [(entry.get("oif") or 0, entry.get("gateway"))]


def _vxlan(link: Any, name: str, mtu: int) -> VxlanDevice | None:
    if link.get(("linkinfo", "kind")) != "vxlan":
        return None
    data = link.get(("linkinfo", "data"))
    local = data.get("vxlan_local") or data.get("vxlan_local6")
    if not local or data.get("vxlan_learning"):
        return None
    return VxlanDevice(name, data.get("vxlan_id"), data.get("vxlan_port"), ip_address(local), link.get("address"), mtu)


def _sysctl(path: str) -> str | None:
    try:
        return (SYSCTLS / path).read_text().strip()
    except OSError:
        return None


def _carry_out(netlink: Any, operation: Operation, setup: Setup | None) -> None:
    match operation:
        case DeleteDevice(name):
            with _gone_is_fine():
                for index in netlink.link_lookup(ifname=name):
                    netlink.link("del", index=index)
        case ChangeDevice(name, mtu):
            netlink.link("set", index=_index(name), mtu=mtu, state="up")
        case SetSysctl(path, value):
            if path == "ipv6/conf/all/forwarding":
                _keep_router_advertisements()
            (SYSCTLS / path).write_text(value)
        case Add(WireguardDevice() as device):
            assert setup is not None
            if setup.program:
                wireguard.start_program(setup.program, device.name)
            else:
                netlink.link("add", ifname=device.name, kind="wireguard")
            wireguard.set_up(device, setup.key_file)
            netlink.link("set", index=_index(device.name), mtu=device.mtu, state="up")
        case Add(what):
            _add(netlink, what)
        case Delete(what):
            with _gone_is_fine():
                _delete(netlink, what)


def _add(netlink: Any, what: Device | Entry) -> None:
    match what:
        case VxlanDevice(name, vni, port, local, mac, mtu):
            end = {"vxlan_local" if local.version == 4 else "vxlan_local6": str(local)}
            device = {"vxlan_id": vni, "vxlan_port": port, "vxlan_learning": False, **end}
            netlink.link("add", ifname=name, kind="vxlan", address=mac, mtu=mtu, **device)
            netlink.link("set", index=_index(name), state="up")
        case DeviceAddress(device, address, length):
            # Nobody else has it: there is nobody to ask.
            nodad = {"flags": IFA_F_NODAD} if address.version == 6 else {}
            netlink.addr("replace", index=_index(device), address=str(address), prefixlen=length, **nodad)
        case Route():
            netlink.route("replace", **_route(what))
        case Neighbour(device, address, mac):
            netlink.neigh("replace", ifindex=_index(device), dst=str(address), lladdr=mac, state=NUD_PERMANENT)
        case Forwarding(device, mac, remote):
            # Made anew: "append" would send copies to the old host and the new one.
            index = _index(device)
            with _gone_is_fine():
                netlink.fdb("del", ifindex=index, lladdr=mac)
            netlink.fdb("add", ifindex=index, lladdr=mac, dst=str(remote))
        case WireguardPeer():
            wireguard.set_peer(what)


def _delete(netlink: Any, what: Entry) -> None:
    match what:
        case DeviceAddress(device, address, length):
            netlink.addr("del", index=_index(device), address=str(address), prefixlen=length)
        case Route():
            netlink.route("del", **_route(what))
        case Neighbour(device, address, _):
            netlink.neigh("del", ifindex=_index(device), dst=str(address))
        case Forwarding(device, mac, remote):
            netlink.fdb("del", ifindex=_index(device), lladdr=mac, dst=str(remote))
        case WireguardPeer():
            wireguard.remove_peer(what)


def _route(route: Route) -> dict[str, Any]:
    described: dict[str, Any] = {
        "dst": str(route.destination),
        **({"oif": _index(route.device)} if route.unicast else {"type": "unreachable"}),
        "proto": route.protocol,
        "priority": route.metric,
        "table": MAIN_TABLE,
    }
    if route.gateway is not None:
        described["gateway"] = str(route.gateway)
    if route.source is not None:
        described["prefsrc"] = str(route.source)
    if route.onlink:
        described["flags"] = RTNH_F_ONLINK
    return described


def _index(name: str) -> int:
    return socket.if_nametoindex(name)


@contextlib.contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except NetlinkError as failure:
        if failure.code not in GONE:
            raise
    except OSError as failure:
        if failure.errno not in GONE:
            raise


def _keep_router_advertisements() -> None:
    """A host that forwards ignores them, and so loses its default route, unless its links are told otherwise (2)."""
    for path in (SYSCTLS / "ipv6" / "conf").glob("*/accept_ra"):
        with contextlib.suppress(OSError):
            if path.read_text().strip() == "1" and path.parent.name not in ("all", "lo"):
                path.write_text("2")
