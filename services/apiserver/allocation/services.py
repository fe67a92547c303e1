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
from navarch.services.api.errors import FieldError, InternalError, Invalid
from navarch.services.api.kinds import KINDS, Kind
from navarch.services.apiserver.allocation import addresses
from navarch.services.apiserver.allocation.node_ports import NodePorts
from navarch.services.apiserver.cacher.cachers import Cachers
from navarch.services.apiserver.storage.objects import Extra, ObjectStorage
from navarch.services.base.clock import Clock

SERVICE = KINDS.of(corev1.Service)
IP_ADDRESS = KINDS.of(networkingv1.IPAddress)
HEADLESS = "None"
RANDOM_PICKS = 32


def is_service_kind(kind: Kind) -> bool:
    """Whether objects of the kind are given addresses."""
    return kind is SERVICE


class ServiceAllocator:
    """Chooses addresses and ports, and says what has to be written for them to be taken."""

    def __init__(
        self,
        storage: ObjectStorage,
        cachers: Cachers,
        service_cidr: str,
        node_ports: range,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._storage = storage
        self._cachers = cachers
        self._network = ipaddress.ip_network(service_cidr)
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
        return str(self._network[1])

    async def allocate(self, new: Any, old: Any | None) -> Sequence[Extra]:
        """Fill in the addresses and ports of a Service that is about to be stored.

        new: changed in place. old: what is stored now. Returns what is to be written along. Raises Invalid.
        """
        before = _address_of(old)
        wanted = new.spec.cluster_ip
        extras: list[Extra] = []
        if new.spec.type == "ExternalName" or wanted == HEADLESS:
            wanted = ""
        elif not wanted:
            wanted = await self._pick()
        elif wanted != before:
            await self._check_free(new, wanted)
        if wanted and wanted != before:
            new.spec.cluster_ip, new.spec.cluster_ips[:] = wanted, [wanted]
            extras.append(self._claim(new, wanted))
        if before and before != wanted:
            extras += await self._surrender(before)
        extras += await self._ports.allocate(new, old)
        return extras

    async def release(self, old: Any) -> Sequence[Extra]:
        """What is to be written along when a Service is removed."""
        address = _address_of(old)
        freed = await self._surrender(address) if address else []
        return [*freed, *await self._ports.release(old)]

    async def repair(self) -> None:
        """Make addresses and ports agree with the stored Services, as after a takeover of foreign data."""
        claimed, _ = await self._storage.read_all(IP_ADDRESS)
        await self._ports.repair(lambda: self._storage.read_all(SERVICE))
        services = [stored.decode() for stored in (await self._storage.read_all(SERVICE))[0]]
        owners = {address: service for service in services if (address := _address_of(service))}
        await addresses.repair(self._storage, claimed, owners, self._clock.now(), self._rng)

    async def _pick(self) -> str:
        """A free address: at random in the upper part of the range, so that the lower stays for explicit ones."""
        cache = await self._cachers.of(IP_ADDRESS).ready()
        size = self._network.num_addresses
        low = min(max(16, size // 16), 256) if size > 64 else 1
        last = size - 1
        for _ in range(RANDOM_PICKS):
            candidate = str(self._network[self._rng.randrange(low, last)])
            if cache.get(candidate) is None:
                return candidate
        for offset in (*range(low, last), *range(1, low)):
            if cache.get(str(self._network[offset])) is None:
                return str(self._network[offset])
        raise InternalError("failed to allocate a serviceIP: range is full")

    async def _check_free(self, service: Any, address: str) -> None:
        problem = ""
        try:
            if ipaddress.ip_address(address) not in self._network:
                problem = f"provided IP is not in the valid range. The range of valid IPs is {self._network}"
            elif await self._storage.get(IP_ADDRESS, "", address) is not None:
                problem = "provided IP is already allocated"
        except ValueError:
            problem = "not a valid IP"
        if problem:
            detail = f"failed to allocate IP {address}: {problem}"
            wrong = FieldError.invalid("spec.clusterIPs", [address], detail)
            raise Invalid(SERVICE, service.metadata.name, [wrong])

    def _claim(self, service: Any, address: str) -> Extra:
        message = addresses.claim(address, service.metadata, self._clock.now(), self._rng)
        return addresses.extra(address, message, guard=0)

    async def _surrender(self, address: str) -> list[Extra]:
        stored = await self._storage.get(IP_ADDRESS, "", address)
        return [addresses.extra(address, None, stored.revision)] if stored is not None else []


def _address_of(service: Any | None) -> str:
    if service is None or service.spec.type == "ExternalName" or service.spec.cluster_ip == HEADLESS:
        return ""
    return str(service.spec.cluster_ip)
