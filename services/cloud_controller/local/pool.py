"""Addresses for load balancers, given out by what Services hold already. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.address_range import Address, AddressRange
from navarch.services.cloud_controller.provider import ProviderFailure

# Which addresses a Service asks for, with commas between; spec.loadBalancerIP serves for one.
WANTED = "navarch.dev/load-balancer-ips"
VERSIONS = {"IPv4": 4, "IPv6": 6}


def held(service: corev1.Service) -> tuple[Address, ...]:
    """What a Service has by now."""
    return tuple(ip_address(one.ip) for one in service.status.load_balancer.ingress if one.ip)


def allocate(
    service: corev1.Service, others: Iterable[corev1.Service], ranges: Sequence[AddressRange]
) -> list[Address]:
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


def _check(address: Address, taken: dict[Address, corev1.Service], ranges: Sequence[AddressRange]) -> None:
    if not _is_in(address, ranges):
        shown = ", ".join(f"{one.first}-{one.last}" for one in ranges)
        raise ProviderFailure(f"{address} is asked for; accepted are {shown}")
    if address in taken:
        metadata = taken[address].metadata
        raise ProviderFailure(f"{address} is asked for, but {metadata.namespace}/{metadata.name} has it")


def _lowest(version: int, taken: dict[Address, corev1.Service], ranges: Sequence[AddressRange]) -> Address:
    for each in ranges:
        if each.first.version == version:
            for address in each:
                if address not in taken:
                    return address
    raise ProviderFailure(f"no IPv{version} address is left for load balancers")


def _is_in(address: Address, ranges: Sequence[AddressRange]) -> bool:
    return any(address in each for each in ranges)
