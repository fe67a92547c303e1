"""Encryption of traffic between nodes: whether this host can have what was asked for."""

import errno
import secrets
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

NONE, WIREGUARD = "none", "wireguard"
MODES = (NONE, WIREGUARD)
NO_MODULE = "this kernel has no WireGuard (CONFIG_WIREGUARD, module wireguard)"
NOT_SET_UP = "this kernel has WireGuard, but this version of the network agent does not set it up"


class EncryptionUnavailable(Exception):
    """What was asked for cannot be had here. Nothing is sent in the clear instead."""


def has_wireguard(netlink: Any) -> bool:
    """Whether the kernel can make a WireGuard device: makes one and deletes it. Raises NetlinkError otherwise."""
    name = f"nvwg{secrets.token_hex(4)}"
    try:
        netlink.link("add", ifname=name, kind="wireguard")
    except NetlinkError as failure:
        if failure.code == errno.EOPNOTSUPP:
            return False
        raise
    for index in netlink.link_lookup(ifname=name):
        netlink.link("del", index=index)
    return True


def check(mode: str) -> None:
    """Raise EncryptionUnavailable if traffic between nodes cannot be protected as asked. Raises NetlinkError."""
    if mode == NONE:
        return
    with IPRoute() as netlink:
        lacks = NOT_SET_UP if has_wireguard(netlink) else NO_MODULE
    raise EncryptionUnavailable(
        f"--encryption=wireguard: {lacks}; accept that nodes talk in the clear (--encryption=none), or protect them by "
        "other means"
    )
