"""Netlink: what is written can be read again, changes are noticed; and the whole service on a single node.

What touches the kernel runs in a network namespace of its own, so it needs root.
"""

import socket
import struct
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

from navarch.services.network.kernel import Link, VxlanDevice
from navarch.services.network.netlink_events import HEADER, matters

SEEN, TUNNEL, UNKNOWN, OTHER = range(7, 11)
UP, BROADCAST, CARRIER = 0x1, 0x2, 0x10000
STORIES = Path(__file__).with_name("kernel_stories.py")


@pytest.mark.parametrize(
    "story",
    [
        pytest.param("written_and_read", id="what is written is read again, whatever others change"),
        pytest.param("refused", id="a refusal names the operation"),
        pytest.param("wireguard", id="a kernel without WireGuard is told from one with it"),
        pytest.param("held_back", id="what has no way is held back"),
        pytest.param("noticed", id="changes are noticed"),
        pytest.param("single_node", id="a single node without an API server"),
    ],
)
def test_in_a_namespace(story: str) -> None:
    command = ["unshare", "--net", sys.executable, str(STORIES), story]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def message(kind: int, body: bytes) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, 0, 0, 0) + body


def link_message(index: int, name: str = "eth0", mtu: int = 1500, flags: int = UP | BROADCAST) -> bytes:
    """As the kernel tells it, with each attribute padded to 4 bytes."""
    told = struct.pack("=HH8s", 12, 3, name.encode()) + struct.pack("=HHI", 8, 4, mtu)
    return message(16, struct.pack("=BBHiII", 0, 0, 1, index, flags, 0) + told)


def route_message(table: int, destination: str) -> bytes:
    address = socket.inet_pton(socket.AF_INET6, destination)
    return message(24, bytes([10, 64, 0, 0, table, 2, 0, 1]) + bytes(4) + struct.pack("=HH", 20, 1) + address)


@pytest.mark.parametrize(
    ("datagram", "expected"),
    [
        pytest.param(b"", False, id="nothing"),
        pytest.param(link_message(SEEN), False, id="a link as it was seen"),
        pytest.param(link_message(SEEN, name="eth1"), True, id="a link with another name"),
        pytest.param(link_message(SEEN, mtu=1400), True, id="a link with another MTU"),
        pytest.param(link_message(SEEN, flags=BROADCAST), True, id="a link that is down"),
        pytest.param(link_message(SEEN, flags=UP), True, id="a link that is not shared"),
        pytest.param(link_message(SEEN, flags=UP | BROADCAST | CARRIER), False, id="a link with a carrier"),
        pytest.param(message(17, link_message(SEEN)[HEADER.size :]), True, id="a link that is gone"),
        pytest.param(link_message(TUNNEL, name="nv0-x4"), True, id="a tunnel"),
        pytest.param(link_message(UNKNOWN), True, id="a link of which nothing is known"),
        pytest.param(link_message(OTHER), False, id="a Pod's link"),
        pytest.param(message(20, struct.pack("=BBBBi", 2, 24, 0, 0, 8)), True, id="an address"),
        pytest.param(message(20, struct.pack("=BBBBi", 10, 64, 0, 253, 8)), False, id="a link-local address"),
        pytest.param(route_message(254, "fd00::"), True, id="a route"),
        pytest.param(route_message(254, "fe80::"), False, id="a link-local route"),
        pytest.param(route_message(255, "fd00::"), False, id="a route of another table"),
        pytest.param(
            link_message(OTHER) + link_message(UNKNOWN),
            True,
            id="the second of two",
        ),
        pytest.param(HEADER.pack(3, 16, 0, 0, 0), True, id="garbage may be anything"),
        pytest.param(message(99, b""), True, id="what is not known may be anything"),
    ],
)
def test_which_messages_matter(datagram: bytes, expected: bool) -> None:
    tunnel = VxlanDevice("nv0-x4", 1, 4789, ip_address("192.168.1.1"), "02:00:00:00:00:01", 1500)
    links = {SEEN: Link("eth0", 1500), TUNNEL: Link("nv0-x4", 1500, tunnel=tunnel), UNKNOWN: None}
    assert matters(datagram, links) is expected
