"""Encryption of traffic between nodes: whether this host can have what was asked for."""

import errno
import secrets
import shutil
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

NONE, WIREGUARD = "none", "wireguard"
MODES = (NONE, WIREGUARD)
TOOL = "wg"
NO_MODULE = "this kernel has no WireGuard (CONFIG_WIREGUARD, module wireguard)"
NO_TOOL = f"the program `{TOOL}` is not here (package wireguard-tools)"


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


def check(program: str = "") -> None:
    """Raise EncryptionUnavailable if traffic between nodes cannot be protected by WireGuard. Raises NetlinkError.

    program: what makes the device in the kernel's place; "" for the kernel.
    """
    if lacks := _lacks(program):
        raise EncryptionUnavailable(
            f"--encryption=wireguard: {lacks}; accept that nodes talk in the clear (--encryption=none), or protect "
            "them by other means"
        )


def _lacks(program: str) -> str:
    if not shutil.which(TOOL):
        return NO_TOOL
    if program:
        return "" if shutil.which(program) else f"the program {program!r} (--wireguard-program) is not here"
    with IPRoute() as netlink:
        return "" if has_wireguard(netlink) else NO_MODULE
