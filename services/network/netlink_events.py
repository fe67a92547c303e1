"""Notices when the kernel's network changes: links that the plan depends on, addresses, routes of the main table.

Only that something changed is told; what is there is read anew. What every Pod's start and end brings, its own link
and its link-local address, is passed over by the first bytes of the message; and that a bridge has a carrier or none,
as it is with its first and without its last Pod, is no change of what is known of it.
"""

import asyncio
import errno
import socket
import struct
import sys
from collections.abc import Callable, Mapping

from navarch.services.network.kernel import Link

RTMGRP = 0x1 | 0x10 | 0x40 | 0x100 | 0x400  # links; addresses and routes of IPv4; the same of IPv6
RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR, RTM_NEWROUTE, RTM_DELROUTE = 16, 17, 20, 21, 24, 25
HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
LINK = struct.Struct("=BBHiII")  # ifinfomsg: family, padding, type, index, flags, change
ADDRESS = struct.Struct("=BBBBi")  # ifaddrmsg: family, prefix length, flags, scope, index
ROUTE = struct.Struct("=BBBBBBBB")  # rtmsg up to the type: family, lengths, tos, table, protocol, scope, type
ATTRIBUTE = struct.Struct("=HH")
RTA_DST = 1
IFLA_IFNAME, IFLA_MTU = 3, 4
ROUTE_BYTES = 12
SCOPE_LINK, MAIN_TABLE = 253, 254
LINK_LOCAL = bytes.fromhex("fe80000000000000")
BUFFER_BYTES = 1 << 20
READ_BYTES = 1 << 16


def matters(datagram: bytes, links: Mapping[int, Link | None]) -> bool:
    """Whether one of the datagram's messages may change the plan.

    links: those it depends on by index, as they were seen; None: whatever happens to it may matter.
    """
    position = 0
    while position + HEADER.size <= len(datagram):
        length, kind, _, _, _ = HEADER.unpack_from(datagram, position)
        if length < HEADER.size:
            return True  # What cannot be read may be anything.
        if _message_matters(kind, datagram[position + HEADER.size : position + length], links):
            return True
        position += (length + 3) & ~3
    return False


def _message_matters(kind: int, body: bytes, links: Mapping[int, Link | None]) -> bool:
    if kind in (RTM_NEWLINK, RTM_DELLINK) and len(body) >= LINK.size:
        _, _, _, index, flags, _ = LINK.unpack_from(body)
        if index not in links or kind == RTM_DELLINK:
            return index in links
        return _told(body[LINK.size :], flags) != links[index]
    if kind in (RTM_NEWADDR, RTM_DELADDR) and len(body) >= ADDRESS.size:
        return bool(ADDRESS.unpack_from(body)[3] != SCOPE_LINK)
    if kind in (RTM_NEWROUTE, RTM_DELROUTE) and len(body) >= ROUTE_BYTES:
        is_main = ROUTE.unpack_from(body)[4] == MAIN_TABLE
        return is_main and not _attribute(body[ROUTE_BYTES:], RTA_DST).startswith(LINK_LOCAL)
    return True


def _told(attributes: bytes, flags: int) -> Link:
    """A link by its message. Of a tunnel, too, as if it were none: it never is as it was seen."""
    name = _attribute(attributes, IFLA_IFNAME).rstrip(b"\0").decode(errors="replace")
    return Link.of_flags(name, int.from_bytes(_attribute(attributes, IFLA_MTU), sys.byteorder), flags)


def _attribute(attributes: bytes, wanted: int) -> bytes:
    """Its value; empty if there is none."""
    position = 0
    while position + ATTRIBUTE.size <= len(attributes):
        length, kind = ATTRIBUTE.unpack_from(attributes, position)
        if length < ATTRIBUTE.size:
            break
        if kind == wanted:
            return attributes[position + ATTRIBUTE.size : position + length]
        position += (length + 3) & ~3
    return b""


class NetlinkEvents:
    """Calls back on the loop. `links`: see `matters`; to be kept up to date by the owner."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.links: Mapping[int, Link | None] = {}
        self._changed = changed
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Begin to listen. Raises OSError."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._socket.bind((0, RTMGRP))
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def stop(self) -> None:
        """Cease. Idempotent."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _read(self) -> None:
        assert self._socket is not None
        while True:
            try:
                datagram = self._socket.recv(READ_BYTES)
            except BlockingIOError:
                return
            except OSError as failure:
                if failure.errno != errno.ENOBUFS:
                    raise
                datagram = b""  # Some were lost: look at everything.
            if not datagram or matters(datagram, self.links):
                # What was seen is outdated, also if it becomes again what it was.
                self.links = dict.fromkeys(self.links)
                self._changed()
