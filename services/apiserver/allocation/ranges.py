"""Ranges of cluster IPs, and in which order their addresses are given out.

The lower part of a range is only given to those who name an address, as long as there is another one: so that what
was named today is not taken at random tomorrow (KEP-3070).
"""

import ipaddress
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from navarch.protos.k8s.networking import v1_pb2 as networkingv1
from navarch.services.api import meta

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

READY = "Ready"
_BAND_MIN, _BAND_MAX, _BAND_SHARE = 16, 256, 16
# Tried before the range is gone through in order.
_RANDOM_PICKS = 32
# Of a range of IPv6 no more is gone through: it is far from full.
_SCAN_MAX = 1 << 16


@dataclass(frozen=True, slots=True)
class AddressRange:
    """One block that Services get their addresses from."""

    network: Network

    @property
    def family(self) -> str:
        """ "IPv4" or "IPv6"."""
        return f"IPv{self.network.version}"

    @property
    def first(self) -> str:
        """Its first address that is given to anybody."""
        return str(self.network[1])

    @property
    def band(self) -> int:
        """How much of its beginning is kept for those who name an address."""
        size = self.network.num_addresses
        return min(max(_BAND_MIN, size // _BAND_SHARE), _BAND_MAX) if size > _BAND_MIN else 0

    def gives(self, address: str) -> bool:
        """Whether the address may be given: it lies in the block, and is not that of the network or of everybody."""
        ip = ipaddress.ip_address(address)
        return ip in self.network and int(ip) - int(self.network.network_address) in self._usable()

    def candidates(self, rng: random.Random) -> Iterator[str]:
        """All addresses, in the order they are to be tried: some at random, then the rest of the range in order."""
        usable = self._usable()
        low = max(self.band, usable.start)
        upper = range(low, usable.stop)
        for _ in range(_RANDOM_PICKS if upper else 0):
            yield str(self.network[rng.randrange(upper.start, upper.stop)])
        for offsets in (upper[:_SCAN_MAX], range(usable.start, low)):
            for offset in offsets:
                yield str(self.network[offset])

    def _usable(self) -> range:
        size = self.network.num_addresses
        return range(1, size - 1 if self.network.version == 4 else size)


def ranges_of(blocks: Iterable[str]) -> tuple[AddressRange, ...]:
    """The ranges of blocks such as "10.96.0.0/16". Raises ValueError."""
    return tuple(AddressRange(ipaddress.ip_network(block)) for block in blocks)


def is_open(service_cidr: networkingv1.ServiceCIDR) -> bool:
    """Whether addresses may be taken from it. One whose controller has said nothing yet is fine."""
    if meta.is_being_deleted(service_cidr):
        return False
    return all(condition.status == "True" for condition in service_cidr.status.conditions if condition.type == READY)


def open_ranges(
    configured: Sequence[AddressRange], found: Iterable[networkingv1.ServiceCIDR]
) -> tuple[AddressRange, ...]:
    """All ranges to take addresses from: those of this server first."""
    more = (
        one
        for service_cidr in sorted(found, key=lambda one: one.metadata.name)
        if is_open(service_cidr)
        for one in ranges_of(service_cidr.spec.cidrs)
    )
    return tuple(dict.fromkeys((*configured, *more)))
