"""Addresses for load balancers, given out by what Services hold already. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.cloud_controller.provider import ProviderFailure

Address = IPv4Address | IPv6Address
# Which addresses a Service asks for, with commas between; spec.loadBalancerIP serves for one.
WANTED = "navarch.dev/load-balancer-ips"
VERSIONS = {"IPv4": 4, "IPv6": 6}


@dataclass(frozen=True, slots=True)
class Range:
    """Addresses from the first to the last."""

    first: Address
    last: Address

    @classmethod
    def parse(cls, text: str) -> "Range":
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

    def __iter__(self) -> Iterator[Address]:
        kind = type(self.first)
        return (kind(number) for number in range(int(self.first), int(self.last) + 1))


def held(service: corev1.Service) -> tuple[Address, ...]:
    """What a Service has by now."""
    return tuple(ip_address(one.ip) for one in service.status.load_balancer.ingress if one.ip)


def allocate(service: corev1.Service, others: Iterable[corev1.Service], ranges: Sequence[Range]) -> list[Address]:
    """An address of each of the Service's families: what it asks for, else what it has, else the lowest free one.

    Raises ProviderFailure that says what is taken, or where nothing is left.
    """
    taken = {address: each for each in others for address in held(each)}
    wanted = list(_wanted(service))
    has, result = list(held(service)), []
    for family in service.spec.ip_families or ["IPv4"]:
        version = VERSIONS[family]
        asked = next((one for one in wanted if one.version == version), None)
        kept = next((one for one in has if one.version == version and _is_in(one, ranges) and one not in taken), None)
        if asked is not None:
            _check(asked, taken, ranges)
            result.append(asked)
        elif kept is not None:
            result.append(kept)
        else:
            result.append(_lowest(version, taken, ranges))
    return result


def _wanted(service: corev1.Service) -> Iterator[Address]:
    text = service.metadata.annotations.get(WANTED, "") or service.spec.load_balancer_ip
    for part in filter(None, (one.strip() for one in text.split(","))):
        try:
            yield ip_address(part)
        except ValueError:
            raise ProviderFailure(f"{part!r} is asked for, which is no address") from None


def _check(address: Address, taken: dict[Address, corev1.Service], ranges: Sequence[Range]) -> None:
    if not _is_in(address, ranges):
        shown = ", ".join(f"{one.first}-{one.last}" for one in ranges)
        raise ProviderFailure(f"{address} is asked for; accepted are {shown}")
    if address in taken:
        metadata = taken[address].metadata
        raise ProviderFailure(f"{address} is asked for, but {metadata.namespace}/{metadata.name} has it")


def _lowest(version: int, taken: dict[Address, corev1.Service], ranges: Sequence[Range]) -> Address:
    for each in ranges:
        if each.first.version == version:
            for address in each:
                if address not in taken:
                    return address
    raise ProviderFailure(f"no IPv{version} address is left for load balancers")


def _is_in(address: Address, ranges: Sequence[Range]) -> bool:
    return any(address in each for each in ranges)
