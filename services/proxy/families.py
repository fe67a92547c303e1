"""The two address families, and addresses as nftables writes them."""

import ipaddress
import re
from enum import IntEnum


class Family(IntEnum):
    """Of the Internet Protocol."""

    V4 = 4
    V6 = 6

    @property
    def keyword(self) -> str:
        """nftables' name of the header: "ip" or "ip6"."""
        return "ip" if self is Family.V4 else "ip6"

    @property
    def loopback(self) -> str:
        """The addresses that never leave a host."""
        return "127.0.0.0/8" if self is Family.V4 else "::1/128"

    @property
    def bits(self) -> int:
        """Length of an address."""
        return 32 if self is Family.V4 else 128


_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_PLAIN_V4 = re.compile(rf"(?!0\.0\.0\.0$){_OCTET}(?:\.{_OCTET}){{3}}", re.ASCII)


def canonical(address: str) -> tuple[Family, str] | None:
    """An address in its shortest form, and its family; None for what is no address of the network at large."""
    # Nearly all addresses; parsing is twenty times as slow.
    if _PLAIN_V4.fullmatch(address):
        return Family.V4, address
    # An interface's name is of no use in a rule.
    if "%" in address:
        return None
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    if parsed.is_unspecified:
        return None
    return Family(parsed.version), str(parsed)


def is_network(text: str) -> bool:
    """Whether this is a network's address and length."""
    try:
        ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return False
    return True


def networks(cidrs: tuple[str, ...] | list[str], family: Family) -> tuple[str, ...]:
    """The networks of one family, sorted, none within another. Raises ValueError for what is no network."""
    parsed = [ipaddress.ip_network(cidr.strip(), strict=False) for cidr in cidrs]
    if family is Family.V4:
        four = [network for network in parsed if isinstance(network, ipaddress.IPv4Network)]
        return tuple(str(network) for network in ipaddress.collapse_addresses(four))
    six = [network for network in parsed if isinstance(network, ipaddress.IPv6Network)]
    return tuple(str(network) for network in ipaddress.collapse_addresses(six))
