"""Gives Services their cluster IPs and node ports.

An address belongs to the Service whose transaction wrote its IPAddress object (as Kubernetes keeps them since
1.33), and a node port to the one that set its bit in the RangeAllocation object (as Kubernetes keeps them
still). Both are written in the very transaction that writes the Service, guarded, so no crash leaks one and no
two API servers give out the same. What is free is looked up in the cache; that it was is settled by the guard,
and whoever loses chooses again.
"""

import asyncio
import ipaddress
import random
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.networking import v1_pb2 as networkingv1
from navarch.services.api import meta
from navarch.services.api.errors import FieldError, InternalError, Invalid
from navarch.services.api.kinds import KINDS, Kind
from navarch.services.apiserver.allocation import addresses
from navarch.services.apiserver.allocation.families import settle_families
from navarch.services.apiserver.allocation.node_ports import NodePorts
from navarch.services.apiserver.allocation.ranges import AddressRange, open_ranges, ranges_of
from navarch.services.apiserver.cacher.cachers import Cachers
from navarch.services.apiserver.storage.objects import Extra, ObjectStorage
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger

SERVICE = KINDS.of(corev1.Service)
IP_ADDRESS = KINDS.of(networkingv1.IPAddress)
SERVICE_CIDR = KINDS.of(networkingv1.ServiceCIDR)
HEADLESS = "None"
LOG = get_logger("apiserver.allocation")


def is_service_kind(kind: Kind) -> bool:
    """Whether objects of the kind are given addresses."""
    return kind is SERVICE


class ServiceAllocator:
    """Chooses addresses and ports, and says what has to be written for them to be taken."""

    def __init__(
        self,
        storage: ObjectStorage,
        cachers: Cachers,
        service_cidrs: Sequence[str],
        node_ports: range,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._storage = storage
        self._cachers = cachers
        self._ranges = ranges_of(service_cidrs)
        self._families = tuple(one.family for one in self._ranges)
        self._ports = NodePorts(storage, node_ports, rng)
        self._clock = clock
        self._rng = rng
        self._turn = asyncio.Lock()

    def turn(self, kind: Kind) -> AbstractAsyncContextManager[None]:
        """What a write of this kind waits for: Services take turns, or they would contend for the port bits."""
        return self._turn if is_service_kind(kind) else nullcontext()

    @property
    def first_address(self) -> str:
        """The address of the service `kubernetes`."""
        return self._ranges[0].first

    @property
    def default_cidrs(self) -> list[str]:
        """The ranges that this server was told, the primary one first."""
        return [str(one.network) for one in self._ranges]

    def settle(self, new: Any, old: Any | None) -> None:
        """Fill in the families of a Service that is about to be validated. Raises Invalid."""
        errors = settle_families(new, old, self._families)
        if errors:
            raise Invalid(SERVICE, new.metadata.name, errors)

    async def allocate(self, new: Any, old: Any | None) -> Sequence[Extra]:
        """Fill in the addresses and ports of a Service that is about to be stored.

        new: changed in place, its families settled. old: what is stored now. Returns what is to be written along.
        Raises Invalid.
        """
        before = addresses_of(old)
        wanted = await self._addresses(new, before)
        if wanted:
            new.spec.cluster_ip, new.spec.cluster_ips[:] = wanted[0], wanted
        names = [canonical(address) for address in wanted]
        extras = [self._claim(new, name) for name in names if name not in before]
        for address in before:
            if address not in names:
                extras += await self._surrender(address)
        extras += await self._ports.allocate(new, old)
        return extras

    async def _addresses(self, service: Any, before: Sequence[str]) -> list[str]:
        """What the Service is to have: for each family what it asks for, or one that is free."""
        spec = service.spec
        if spec.type == "ExternalName" or spec.cluster_ip == HEADLESS:
            return []
        asked = list(spec.cluster_ips) or [spec.cluster_ip]
        found = []
        for index, family in enumerate(spec.ip_families):
            address = asked[index] if index < len(asked) else ""
            if not address:
                address = await self._pick(family)
            elif canonical(address) not in before:
                await self._check_free(service, address)
            found.append(address)
        return found

    async def release(self, old: Any) -> Sequence[Extra]:
        """What is to be written along when a Service is removed."""
        freed = [extra for address in addresses_of(old) for extra in await self._surrender(address)]
        return [*freed, *await self._ports.release(old)]

    async def repair(self) -> None:
        """Make addresses and ports agree with the stored Services, as after a takeover of foreign data."""
        claimed, _ = await self._storage.read_all(IP_ADDRESS)
        await self._ports.repair(lambda: self._storage.read_all(SERVICE))
        services = [stored.decode() for stored in (await self._storage.read_all(SERVICE))[0]]
        owners: dict[str, Any] = {}
        for service in services:
            for address in addresses_of(service):
                if (other := owners.setdefault(address, service)) is not service:
                    names = [meta.key_of(one) for one in (other, service)]
                    LOG.warning("address.shared", address=address, services=names)
        await addresses.repair(self._storage, claimed, owners, self._clock.now(), self._rng)

    async def _open_ranges(self) -> tuple[AddressRange, ...]:
        cache = await self._cachers.of(SERVICE_CIDR).ready()
        return open_ranges(self._ranges, [stored.message for stored in cache.select("")])

    async def _pick(self, family: str) -> str:
        """A free address."""
        cache = await self._cachers.of(IP_ADDRESS).ready()
        for one in await self._open_ranges():
            if one.family != family:
                continue
            for candidate in one.candidates(self._rng):
                if cache.get(candidate) is None:
                    return candidate
        raise InternalError("failed to allocate a serviceIP: range is full")

    async def _check_free(self, service: Any, address: str) -> None:
        problem = ""
        ip = ipaddress.ip_address(address)
        inside = [one for one in await self._open_ranges() if ip in one.network]
        if not inside:
            problem = "the provided network does not match the current range"
        elif not any(one.gives(address) for one in inside):
            problem = f"provided IP is not in the valid range. The range of valid IPs is {inside[0].network}"
        elif await self._storage.get(IP_ADDRESS, "", canonical(address)) is not None:
            problem = "provided IP is already allocated"
        if problem:
            detail = f"failed to allocate IP {address}: {problem}"
            wrong = FieldError.invalid("spec.clusterIPs", list(service.spec.cluster_ips), detail)
            raise Invalid(SERVICE, service.metadata.name, [wrong])

    def _claim(self, service: Any, address: str) -> Extra:
        message = addresses.claim(address, service.metadata, self._clock.now(), self._rng)
        return addresses.extra(address, message, guard=0)

    async def _surrender(self, address: str) -> list[Extra]:
        stored = await self._storage.get(IP_ADDRESS, "", address)
        return [addresses.extra(address, None, stored.revision)] if stored is not None else []


def addresses_of(service: Any | None) -> list[str]:
    """The cluster IPs that a Service holds, in the spelling that names their claims."""
    if service is None or service.spec.type == "ExternalName" or service.spec.cluster_ip in ("", HEADLESS):
        return []
    return [canonical(address) for address in service.spec.cluster_ips or [service.spec.cluster_ip]]


def canonical(address: str) -> str:
    """The one spelling of an address."""
    return str(ipaddress.ip_address(address))
