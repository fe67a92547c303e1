"""The addresses that this node holds, in its kernel.

They are on a bridge of their own with nothing plugged in: so they are told from everybody else's, and what a killed
announcer left is found. The kernel answers ARP for them on every link; for IPv6, where it does not by itself, it is
asked to on the link that leads to the others. Blocking: for a thread.
"""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from navarch.services.cloud_controller.announcer.greetings import greeting

PROXY_NDP = Path("/proc/sys/net/ipv6/conf")
NTF_PROXY = 0x08
IFA_F_NODAD = 0x02
SCOPE_LINK = 253


class LinkRefused(Exception):
    """The kernel did not do it."""


@contextmanager
def _netlink() -> Iterator[IPRoute]:
    try:
        with IPRoute() as netlink:
            yield netlink
    except (NetlinkError, OSError) as failure:
        raise LinkRefused(str(failure)) from failure


class HolderLink:
    """The bridge of one node. own_addresses: by which the link to the other nodes is found."""

    def __init__(self, name: str, own_addresses: list[str]) -> None:
        self._name = name
        self._own = own_addresses

    def held(self) -> set[str]:
        """What is on it. Raises LinkRefused."""
        with _netlink() as netlink:
            index = self._index(netlink)
            return self._held(netlink, index) if index else set()

    def change(self, wanted: set[str]) -> set[str]:
        """Hold just these, and tell the link of those that are new. Returns those. Raises LinkRefused."""
        with _netlink() as netlink:
            index = self._index(netlink) or (self._make(netlink) if wanted else 0)
            held = self._held(netlink, index) if index else set()
            uplink = self._uplink(netlink)
            for address in held - wanted:
                netlink.addr("del", index=index, address=address, prefixlen=_bits(address))
                self._proxy(netlink, "del", address, uplink)
            for address in wanted - held:
                flags = {"flags": IFA_F_NODAD} if ":" in address else {}
                netlink.addr("add", index=index, address=address, prefixlen=_bits(address), **flags)
                self._proxy(netlink, "add", address, uplink)
        self.greet(wanted - held)
        return wanted - held

    def greet(self, addresses: set[str]) -> None:
        """Tell the link that these are here. Raises LinkRefused."""
        if not addresses:
            return
        with _netlink() as netlink, socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            (found,) = netlink.get_links(self._uplink(netlink))
            sender.bind((found.get_attr("IFLA_IFNAME"), 0))
            mac = bytes.fromhex(found.get_attr("IFLA_ADDRESS").replace(":", ""))
            for address in sorted(addresses):
                sender.send(greeting(address, mac))

    def remove(self) -> None:
        """Hold nothing. Idempotent. Raises LinkRefused."""
        with _netlink() as netlink:
            if index := self._index(netlink):
                # A link to the others that is gone answers for nothing.
                if uplink := self._find_uplink(netlink):
                    for address in self._held(netlink, index):
                        self._proxy(netlink, "del", address, uplink)
                netlink.link("del", index=index)

    def _index(self, netlink: IPRoute) -> int:
        found = netlink.link_lookup(ifname=self._name)
        return int(found[0]) if found else 0

    def _make(self, netlink: IPRoute) -> int:
        netlink.link("add", ifname=self._name, kind="bridge")
        index = self._index(netlink)
        netlink.link("set", index=index, state="up")
        return index

    @staticmethod
    def _held(netlink: IPRoute, index: int) -> set[str]:
        entries = netlink.get_addr(index=index)
        return {str(ip_address(one.get_attr("IFA_ADDRESS"))) for one in entries if one["scope"] != SCOPE_LINK}

    def _uplink(self, netlink: IPRoute) -> int:
        if uplink := self._find_uplink(netlink):
            return uplink
        raise LinkRefused(f"no link has the node's address {' or '.join(self._own)}")

    def _find_uplink(self, netlink: IPRoute) -> int:
        """0 where there is none."""
        for entry in netlink.get_addr():
            if str(ip_address(entry.get_attr("IFA_ADDRESS"))) in self._own:
                return int(entry["index"])
        return 0

    @staticmethod
    def _proxy(netlink: IPRoute, command: str, address: str, uplink: int) -> None:
        if ":" not in address:
            return
        (found,) = netlink.get_links(uplink)
        (PROXY_NDP / found.get_attr("IFLA_IFNAME") / "proxy_ndp").write_text("1\n")
        try:
            netlink.neigh(command, family=socket.AF_INET6, dst=address, ifindex=uplink, flags=NTF_PROXY)
        except NetlinkError as failure:
            if failure.code not in (errno.EEXIST, errno.ENOENT):
                raise


def _bits(address: str) -> int:
    return ip_address(address).max_prefixlen
