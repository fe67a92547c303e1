"""How Pods find this instance: the Service kube-dns has the cluster IP, and each instance its own EndpointSlice of it.

An instance shows that it lives by a Lease of its own, which it renews every `RENEW_S`. Whoever sees another's Lease not
renewed for `LEASE_S`, by the own clock, takes the other's slice away: so a dead instance gets no queries for long, no
matter which died. One that stops in order takes its own slice with it; one that was only cut off puts it back.

A Service that selects Pods means that somebody runs a DNS server as Pods: that is left alone, and nothing registered.
`plan` is pure; `Registration` carries it out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from navarch.protos.k8s.coordination import v1_pb2 as coordinationv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.protos.k8s.intstr_pb2 import IntOrString
from navarch.services.api import errors
from navarch.services.api.equality import same
from navarch.services.api.meta import micro_time_from
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.client.client import Client
from navarch.services.client.informer import Informer
from navarch.services.dns.facts import SERVICE_NAME

NAMESPACE = "kube-system"
SERVICE = "kube-dns"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "navarch-dns"
# An indexer's name: slices by "namespace/name" of their Service.
BY_SERVICE = "service"
RENEW_S = 2.0
LEASE_S = 6.0
DNS_PORT = 53
METRICS_PORT = 9153


@dataclass(frozen=True, slots=True)
class Instance:
    """This server. address, port: where Pods reach it. metrics_port: 0 where metrics are not served over HTTP."""

    identity: str
    address: str
    port: int
    cluster_ips: tuple[str, ...]
    metrics_port: int = 0
    node_name: str = ""

    @property
    def name(self) -> str:
        """Of its slice and its Lease."""
        cleaned = "".join(each if each.isascii() and each.isalnum() else "-" for each in self.identity.lower())
        return f"{SERVICE}-{cleaned.strip('-')[:200] or 'instance'}"


@dataclass(slots=True)
class Plan:
    """Writes. stands_aside: somebody else's DNS is behind the Service."""

    create_service: corev1.Service | None = None
    create: discoveryv1.EndpointSlice | None = None
    update: discoveryv1.EndpointSlice | None = None
    delete: list[discoveryv1.EndpointSlice] = field(default_factory=list)
    stands_aside: bool = False


def plan(
    instance: Instance,
    service: corev1.Service | None,
    slices: Sequence[discoveryv1.EndpointSlice],
    dead: Collection[str],
) -> Plan:
    """What to write. slices: all of the Service. dead: names of slices whose instances' Leases have run out."""
    ours = [each for each in slices if each.metadata.labels.get(MANAGED_BY) == MANAGER]
    own = next((each for each in ours if each.metadata.name == instance.name), None)
    result = Plan()
    if service is not None and service.spec.selector:
        result.stands_aside = True
        result.delete = [own] if own is not None else []
        return result
    if service is None:
        result.create_service = wanted_service(instance)
    wanted = wanted_slice(instance)
    if own is None:
        result.create = wanted
    elif not _is_as_wanted(own, wanted):
        changed = discoveryv1.EndpointSlice()
        changed.CopyFrom(own)
        changed.metadata.labels.update(wanted.metadata.labels)
        del changed.endpoints[:], changed.ports[:]
        changed.endpoints.extend(wanted.endpoints)
        changed.ports.extend(wanted.ports)
        result.update = changed
    result.delete = [each for each in ours if each is not own and each.metadata.name in dead]
    return result


def wanted_service(instance: Instance) -> corev1.Service:
    """The Service as it is made where there is none: that of every Kubernetes cluster, but without a selector."""
    service = corev1.Service()
    service.metadata.name, service.metadata.namespace = SERVICE, NAMESPACE
    service.metadata.labels.update(
        {"k8s-app": SERVICE, "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}
    )
    service.spec.type = "ClusterIP"
    service.spec.cluster_ip = instance.cluster_ips[0]
    service.spec.cluster_ips.extend(instance.cluster_ips)
    for name, protocol, port in (
        ("dns", "UDP", DNS_PORT),
        ("dns-tcp", "TCP", DNS_PORT),
        ("metrics", "TCP", METRICS_PORT),
    ):
        target = IntOrString(type=0, int_val=port)
        service.spec.ports.add(name=name, protocol=protocol, port=port, target_port=target)
    return service


def wanted_slice(instance: Instance) -> discoveryv1.EndpointSlice:
    """The slice of one instance."""
    family = "IPv6" if ip_address(instance.address).version == 6 else "IPv4"
    result = discoveryv1.EndpointSlice(address_type=family)
    result.metadata.name, result.metadata.namespace = instance.name, NAMESPACE
    result.metadata.labels.update({SERVICE_NAME: SERVICE, MANAGED_BY: MANAGER})
    endpoint = result.endpoints.add(addresses=[instance.address])
    endpoint.conditions.ready = endpoint.conditions.serving = True
    endpoint.conditions.terminating = False
    if instance.node_name:
        endpoint.node_name = instance.node_name
    result.ports.add(name="dns", protocol="UDP", port=instance.port)
    result.ports.add(name="dns-tcp", protocol="TCP", port=instance.port)
    if instance.metrics_port:
        result.ports.add(name="metrics", protocol="TCP", port=instance.metrics_port)
    return result


def _is_as_wanted(own: discoveryv1.EndpointSlice, wanted: discoveryv1.EndpointSlice) -> bool:
    labels = own.metadata.labels
    return (
        len(own.endpoints) == 1
        and same(own.endpoints[0], wanted.endpoints[0])
        and len(own.ports) == len(wanted.ports)
        and all(same(one, other) for one, other in zip(own.ports, wanted.ports, strict=True))
        and all(labels.get(key) == value for key, value in wanted.metadata.labels.items())
    )


class Leases:
    """Judges by the local clock which instances have not renewed their Lease. Pure: fed with what was read and when."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, float]] = {}
        self._observed = 0.0

    def observe(self, versions: dict[str, str], now: float) -> None:
        """Note the Leases of others as read: their versions by name, "" for one that does not exist.

        Time in which nobody looked, because the API server was away, counts for none: the others could not renew, too.
        """
        blind_s = max(0.0, now - self._observed - RENEW_S)
        self._observed = now
        self._seen = {
            name: (version, seen[1] + blind_s)
            if (seen := self._seen.get(name)) is not None and seen[0] == version
            else (version, now)
            for name, version in versions.items()
        }

    def dead(self, now: float) -> set[str]:
        """Those that have not changed for a whole Lease's time."""
        return {name for name, (_, since) in self._seen.items() if now >= since + LEASE_S}


class Registration:
    """Keeps an instance registered. services, slices: followed and synced."""

    def __init__(
        self,
        client: Client,
        services: Informer[corev1.Service],
        slices: Informer[discoveryv1.EndpointSlice],
        instance: Instance,
        clock: Clock,
    ) -> None:
        self._client = client
        self._services = services
        self._slices = slices
        self._instance = instance
        self._clock = clock
        self._leases = Leases()
        self._log = get_logger("dns.registration").bind(identity=instance.identity)
        self._said = ""

    async def run(self) -> None:
        """Look after it until cancelled."""
        while True:
            try:
                async with asyncio.timeout(LEASE_S):
                    await self.sync()
            except (errors.ApiError, TimeoutError) as failure:
                self._log.warning("dns.registration_failed", error=failure)
            await self._clock.sleep(RENEW_S)

    async def sync(self) -> None:
        """Renew the Lease, and bring Service and slices to what they should be. Raises ApiError."""
        key = f"{NAMESPACE}/{SERVICE}"
        slices = self._slices.by_index(BY_SERVICE, key)
        await self._renew()
        await self._observe(slices)
        wanted = plan(self._instance, self._services.get(key), slices, self._leases.dead(self._clock.monotonic()))
        self._say("dns.stands_aside" if wanted.stands_aside else "dns.registered")
        if wanted.create_service is not None:
            await self._create(wanted.create_service)
        if wanted.create is not None:
            await self._create(wanted.create)
        if wanted.update is not None:
            await self._client.update(wanted.update)
        for each in wanted.delete:
            await self._delete(discoveryv1.EndpointSlice, each.metadata.name, each.metadata.uid)
            if each.metadata.name != self._instance.name:
                self._log.warning("dns.instance_gone", name=each.metadata.name)
                await self._delete(coordinationv1.Lease, each.metadata.name)

    async def leave(self) -> None:
        """Take the own slice and Lease away. Raises ApiError."""
        for cls in (discoveryv1.EndpointSlice, coordinationv1.Lease):
            await self._delete(cls, self._instance.name)

    async def _renew(self) -> None:
        lease = coordinationv1.Lease()
        name = self._instance.name
        try:
            lease.CopyFrom(await self._client.get(coordinationv1.Lease, name, NAMESPACE))
        except errors.NotFound:
            lease.metadata.name, lease.metadata.namespace = name, NAMESPACE
        lease.spec.holder_identity = self._instance.identity
        lease.spec.lease_duration_seconds = round(LEASE_S)
        lease.spec.renew_time.CopyFrom(micro_time_from(self._clock.now()))
        if lease.metadata.uid:
            await self._client.update(lease)
        else:
            await self._client.create(lease)

    async def _observe(self, slices: Sequence[discoveryv1.EndpointSlice]) -> None:
        others = [
            each.metadata.name
            for each in slices
            if each.metadata.labels.get(MANAGED_BY) == MANAGER and each.metadata.name != self._instance.name
        ]
        versions = {}
        for name in others:
            try:
                lease = await self._client.get(coordinationv1.Lease, name, NAMESPACE)
                versions[name] = lease.metadata.resource_version
            except errors.NotFound:
                versions[name] = ""
        self._leases.observe(versions, self._clock.monotonic())

    async def _create(self, message: corev1.Service | discoveryv1.EndpointSlice) -> None:
        try:
            await self._client.create(message)
        except errors.AlreadyExists:
            # Another instance was first, or our informer has not seen it yet.
            self._log.debug("dns.exists", name=message.metadata.name)

    async def _delete(
        self, cls: type[discoveryv1.EndpointSlice] | type[coordinationv1.Lease], name: str, uid: str | None = None
    ) -> None:
        try:
            await self._client.delete(cls, name, NAMESPACE, uid=uid)
        except (errors.NotFound, errors.Conflict):
            # Gone, or another one of that name: not what was meant.
            self._log.debug("dns.gone_already", name=name)

    def _say(self, event: str) -> None:
        if event != self._said:
            self._said = event
            self._log.info(event, address=self._instance.address, port=self._instance.port)
