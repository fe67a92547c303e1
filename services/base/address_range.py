"""A range of addresses as users write it. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class AddressRange:
    """Addresses from the first to the last."""

    first: Address
    last: Address

    @classmethod
    def parse(cls, text: str) -> "AddressRange":
        """ "192.0.2.0/28" (less the address of the network and the broadcast) or "192.0.2.7-192.0.2.9".

        Raises ValueError.
        """
        try:
            low, dash, high = text.partition("-")
            if dash:
                first, last = ip_address(low.strip()), ip_address(high.strip())
            else:
                network = ip_network(text)
                whole = network.num_addresses <= 2 or network.version == 6
                first = network[0] if whole else network[1]
                last = network[-1] if whole else network[-2]
        except ValueError as failure:
            raise ValueError(f"{text!r} is no range of addresses: {failure}") from None
        if first.version != last.version or int(first) > int(last):
            raise ValueError(f"{text!r} is no range of addresses: it ends before it begins")
        return cls(first, last)

    def __contains__(self, address: Address) -> bool:
        return address.version == self.first.version and int(self.first) <= int(address) <= int(self.last)

    def overlaps(self, other: "AddressRange") -> bool:
        """Whether any address is in both."""
        return other.first in self or self.first in other

    def __iter__(self) -> Iterator[Address]:
        kind = type(self.first)
        return (kind(number) for number in range(int(self.first), int(self.last) + 1))
