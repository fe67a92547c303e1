"""The frames that tell a link where an address is now. Pure.

Gratuitous ARP (RFC 5227) and unsolicited neighbour advertisements (RFC 4861, 7.2.6).
"""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

BROADCAST = b"\xff" * 6
ALL_NODES = IPv6Address("ff02::1")
ALL_NODES_MAC = bytes.fromhex("333300000001")
ETHERTYPE_ARP, ETHERTYPE_IPV6 = 0x0806, 0x86DD
ARP_REQUEST = 1
ICMPV6, ADVERTISEMENT, OVERRIDE, TARGET_LINK_LAYER_ADDRESS = 58, 136, 0x20000000, 2


def greeting(address: str, mac: bytes) -> bytes:
    """A whole Ethernet frame."""
    found = ip_address(address)
    return _arp(found, mac) if isinstance(found, IPv4Address) else _advertisement(found, mac)


def _arp(address: IPv4Address, mac: bytes) -> bytes:
    frame = BROADCAST + mac + struct.pack("!HHHBBH", ETHERTYPE_ARP, 1, 0x0800, 6, 4, ARP_REQUEST)
    return frame + mac + address.packed + b"\0" * 6 + address.packed


def _advertisement(address: IPv6Address, mac: bytes) -> bytes:
    body = struct.pack("!I", OVERRIDE) + address.packed + struct.pack("!BB", TARGET_LINK_LAYER_ADDRESS, 1) + mac
    message = struct.pack("!BBH", ADVERTISEMENT, 0, 0) + body
    pseudo = address.packed + ALL_NODES.packed + struct.pack("!IBBBB", len(message), 0, 0, 0, ICMPV6)
    message = message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]
    # Neighbours take it only with a hop limit that no router has lowered.
    header = struct.pack("!IHBB", 6 << 28, len(message), ICMPV6, 255) + address.packed + ALL_NODES.packed
    return ALL_NODES_MAC + mac + struct.pack("!H", ETHERTYPE_IPV6) + header + message


def checksum(data: bytes) -> int:
    """Of the Internet (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
