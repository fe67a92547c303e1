"""The endpoints of the service `kubernetes`: the addresses of all API servers that are alive.

Each server keeps a key of its own in the store, under a lease that it renews; Kubernetes' own servers keep theirs at
the same place. At every turn a server makes the endpoints those of all keys that are there: so a server that died is
taken out by the others when its lease has run out, and one that stops takes itself out at once. Where there is no key
at all, the endpoints stay as they are.
"""

import asyncio
import ipaddress
from collections.abc import Sequence
from typing import Any

from navarch.protos.etcd import rpc_pb2
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.api import envelope
from navarch.services.api.errors import AlreadyExists, ApiError, NotFound
from navarch.services.api.kinds import KINDS
from navarch.services.apiserver.registry.core import Core, Target
from navarch.services.apiserver.registry.create import create_object
from navarch.services.apiserver.registry.modify import Decide, Keep, Order, Remove, modify
from navarch.services.apiserver.registry.update import replace
from navarch.services.apiserver.stored import StoredObject
from navarch.services.base.log import get_logger

LOG = get_logger("apiserver.advertising")
SERVICE_NAME, NAMESPACE = "kubernetes", "default"
PORT_NAME = "https"
LEASES = "/registry/masterleases/"
# As in Kubernetes: a lease outlives one failed turn.
LEASE_TTL_S = 15
TURN_SHARE = 2 / 3
# What a server that stops spends on saying so.
WITHDRAW_S = 2.0


class Advertiser:
    """Keeps one server among the endpoints. address: where Pods reach it. lease_ttl_s: how long it is missed.

    shared: other processes serve at the same address, so that one which stops does not speak for the address.
    """

    def __init__(
        self, core: Core, address: str, port: int, *, lease_ttl_s: int = LEASE_TTL_S, shared: bool = False
    ) -> None:
        self._core = core
        self._address = address
        self._port = port
        self._ttl_s = lease_ttl_s
        self._shared = shared

    @property
    def is_reachable(self) -> bool:
        """Whether Pods can reach the address at all."""
        return not ipaddress.ip_address(self._address).is_loopback

    async def start(self) -> None:
        """Be among the endpoints, at this server's port."""
        await self._renew()
        await self._reconcile(set_port=True)

    async def run(self) -> None:
        """Stay among them, and see to the others; forever."""
        while True:
            await self._core.clock.sleep(self._ttl_s * TURN_SHARE)
            try:
                await self._renew()
                await self._reconcile(set_port=False)
            except ApiError as failure:
                LOG.warning("endpoints.not_renewed", address=self._address, error=failure.message)

    async def withdraw(self) -> None:
        """Be no endpoint any more. Best effort: where it fails, the lease runs out."""
        if self._shared:
            return
        request = rpc_pb2.TxnRequest()
        request.success.add().request_delete_range.key = self._key
        try:
            async with asyncio.timeout(WITHDRAW_S):
                await self._core.storage.etcd.txn(request)
                await self._reconcile(set_port=False)
        except (ApiError, TimeoutError) as failure:
            LOG.warning("endpoints.not_withdrawn", address=self._address, error=str(failure))

    @property
    def _key(self) -> bytes:
        return f"{LEASES}{self._address}".encode()

    async def _renew(self) -> None:
        etcd = self._core.storage.etcd
        lease = await etcd.grant(self._ttl_s)
        endpoints = corev1.Endpoints()
        endpoints.subsets.add().addresses.add(ip=self._address)
        put = rpc_pb2.TxnRequest()
        operation = put.success.add().request_put
        operation.key, operation.lease = self._key, lease
        operation.value = envelope.to_stored(endpoints, KINDS.of(endpoints))
        await etcd.txn(put)

    async def _reconcile(self, *, set_port: bool) -> None:
        """set_port: for all of them this server's, otherwise what is there stays, lest servers contend for it."""
        request = rpc_pb2.RangeRequest(key=LEASES.encode(), range_end=_after(LEASES), keys_only=True)
        answer = await self._core.storage.etcd.range(request)
        found = [pair.key.decode()[len(LEASES) :] for pair in answer.kvs]
        alive = same_family(found, self._address)
        if not alive:
            return
        port = self._port if set_port else None
        await self._ensure(endpoints_of(alive, self._port), port)
        await self._ensure(slice_of(alive, self._port), port)

    async def _ensure(self, wanted: Any, port: int | None) -> None:
        kind = KINDS.of(wanted)
        target = Target(kind, NAMESPACE, SERVICE_NAME)
        try:
            modified = await modify(self._core, target, _changed_to(self._core, target, wanted, port))
            if not modified.removed:
                return
        except NotFound:
            pass
        try:
            await create_object(self._core, target, wanted)
        except AlreadyExists:
            # Another server makes the same; the next turn sees to the difference.
            LOG.debug("endpoints.made_by_another", kind=kind.kind)


def _changed_to(core: Core, target: Target, wanted: Any, port: int | None) -> Decide:
    async def decide(current: StoredObject) -> Order:
        new = current.decode()
        if isinstance(new, discoveryv1.EndpointSlice) and new.address_type != wanted.address_type:
            # That is what cannot be changed.
            return Remove()
        bring(new, wanted, port)
        return Keep() if new == current.decode() else await replace(core, target, current, new)

    return decide


def bring(obj: Any, wanted: Any, port: int | None) -> None:
    """Give an object the addresses of another; and its ports, if `port` is given or there are none."""
    if isinstance(obj, corev1.Endpoints):
        ports = [] if port is not None or not obj.subsets else list(obj.subsets[0].ports)
        del obj.subsets[:]
        obj.subsets.extend(wanted.subsets)
        if ports:
            del obj.subsets[0].ports[:]
            obj.subsets[0].ports.extend(ports)
        return
    del obj.endpoints[:]
    obj.endpoints.extend(wanted.endpoints)
    if port is not None or not obj.ports:
        del obj.ports[:]
        obj.ports.extend(wanted.ports)


def same_family(addresses: Sequence[str], own: str) -> list[str]:
    """Those of the family of one's own address, in order; a slice has one family."""
    version = ipaddress.ip_address(own).version
    found = {ip for address in addresses if (ip := _parsed(address)) is not None and ip.version == version}
    return [str(ip) for ip in sorted(found, key=int)]


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None


def endpoints_of(addresses: Sequence[str], port: int) -> corev1.Endpoints:
    """The Endpoints of the service."""
    endpoints = corev1.Endpoints()
    endpoints.metadata.name, endpoints.metadata.namespace = SERVICE_NAME, NAMESPACE
    # The endpoint slice below is ours; no controller shall mirror these endpoints into another.
    endpoints.metadata.labels["endpointslice.kubernetes.io/skip-mirror"] = "true"
    subset = endpoints.subsets.add()
    for address in addresses:
        subset.addresses.add(ip=address)
    subset.ports.add(name=PORT_NAME, port=port, protocol="TCP")
    return endpoints


def slice_of(addresses: Sequence[str], port: int) -> discoveryv1.EndpointSlice:
    """The EndpointSlice of the service."""
    family = f"IPv{ipaddress.ip_address(addresses[0]).version}"
    endpoint_slice = discoveryv1.EndpointSlice(address_type=family)
    endpoint_slice.metadata.name, endpoint_slice.metadata.namespace = SERVICE_NAME, NAMESPACE
    endpoint_slice.metadata.labels["kubernetes.io/service-name"] = SERVICE_NAME
    for address in addresses:
        endpoint_slice.endpoints.add(addresses=[address]).conditions.ready = True
    endpoint_slice.ports.add(name=PORT_NAME, port=port, protocol="TCP")
    return endpoint_slice


def _after(prefix: str) -> bytes:
    """Where the keys with a prefix end."""
    raw = prefix.encode()
    return raw[:-1] + bytes([raw[-1] + 1])
