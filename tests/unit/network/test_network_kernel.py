"""Netlink: what is written can be read again, changes are noticed; and the whole service on a single node.

What touches the kernel runs in a network namespace of its own, so it needs root.
"""

import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from navarch.services.network.netlink_events import HEADER, matters

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


def route_message(table: int, destination: str) -> bytes:
    address = socket.inet_pton(socket.AF_INET6, destination)
    return message(24, bytes([10, 64, 0, 0, table, 2, 0, 1]) + bytes(4) + struct.pack("=HH", 20, 1) + address)


@pytest.mark.parametrize(
    ("datagram", "expected"),
    [
        pytest.param(b"", False, id="nothing"),
        pytest.param(message(16, struct.pack("=BBHi", 0, 0, 1, 7)), True, id="a link of ours"),
        pytest.param(message(16, struct.pack("=BBHi", 0, 0, 1, 8)), False, id="a Pod's link"),
        pytest.param(message(20, struct.pack("=BBBBi", 2, 24, 0, 0, 8)), True, id="an address"),
        pytest.param(message(20, struct.pack("=BBBBi", 10, 64, 0, 253, 8)), False, id="a link-local address"),
        pytest.param(route_message(254, "fd00::"), True, id="a route"),
        pytest.param(route_message(254, "fe80::"), False, id="a link-local route"),
        pytest.param(route_message(255, "fd00::"), False, id="a route of another table"),
        pytest.param(
            message(16, struct.pack("=BBHi", 0, 0, 1, 8)) + message(16, struct.pack("=BBHi", 0, 0, 1, 7)),
            True,
            id="the second of two",
        ),
        pytest.param(HEADER.pack(3, 16, 0, 0, 0), True, id="garbage may be anything"),
        pytest.param(message(99, b""), True, id="what is not known may be anything"),
    ],
)
def test_which_messages_matter(datagram: bytes, expected: bool) -> None:
    assert matters(datagram, {7}) is expected
