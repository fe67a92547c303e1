"""The DNS server's process: names of the cluster from informers, others from upstream servers; registered for Pods.

It answers on UDP and TCP from its start on, questions about the cluster with SERVFAIL until it knows the cluster. Only
then it serves navarch.v1.Dns, with which the health check begins to succeed, and registers. When stopped it leaves the
Service first and goes on answering for `drain_s`, while the nodes' rules still lead here.
"""

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.protos.navarch import dns_pb2_grpc
from navarch.services.api import errors
from navarch.services.api.meta import metadata_of
from navarch.services.api.rpc_status import translate
from navarch.services.base.addresses import split_address
from navarch.services.base.clock import Clock
from navarch.services.base.exposition import Exposition
from navarch.services.base.log import get_logger
from navarch.services.base.serving import GrpcServer
from navarch.services.base.tasks import TaskOwner
from navarch.services.base.tls import Credentials
from navarch.services.client.client import Client
from navarch.services.client.informer import Informers
from navarch.services.client.requests import M
from navarch.services.dns.answers import Resolver, Settings
from navarch.services.dns.facts import SERVICE_NAME, service_facts, slice_facts
from navarch.services.dns.forward.forwarder import Forwarder
from navarch.services.dns.forward.upstreams import Policy, Upstream
from navarch.services.dns.listing import Changes, Listing
from navarch.services.dns.metrics import DnsCollector
from navarch.services.dns.registration import BY_SERVICE, DNS_PORT, Instance, Registration
from navarch.services.dns.responder import Responder
from navarch.services.dns.rpc import DnsServicer
from navarch.services.dns.tcp import TcpServer
from navarch.services.dns.udp import UdpServer
from navarch.services.dns.zone import Topics, Zone

LEAVE_S = 2.0
# Another program may have taken the one of UDP's port for TCP.
BIND_ATTEMPTS = 5
_ANYWHERE = frozenset({"0.0.0.0", "::", ""})


@dataclass(frozen=True, slots=True)
class Config:
    """listen_dns: "host[,host...]:port" for UDP and TCP. listen_metrics: "" for none over HTTP.

    advertise_address: where Pods reach this instance; "" registers nothing. cidrs: of Pods and Services.
    """

    api_server: str
    credentials: Credentials | None
    listen_dns: str = "127.0.0.1:53"
    listen: str = "127.0.0.1:9154"
    listen_metrics: str = ""
    domain: str = "cluster.local"
    cluster_ips: tuple[str, ...] = ("10.96.0.10",)
    cidrs: tuple[str, ...] = ()
    upstreams: tuple[Upstream, ...] = ()
    upstream_policy: Policy = "random"
    serve_stale_s: float = 0.0
    identity: str = "dns"
    advertise_address: str = ""
    node_name: str = ""
    drain_s: float = 2.0


class DnsService:
    """See the module."""

    def __init__(self, config: Config, clock: Clock, rng: Random) -> None:
        """Raises ValueError for a domain, range or address that is none."""
        self._config = config
        self._clock = clock
        self._log = get_logger("dns")
        self._hosts, self._asked_port = split_address(config.listen_dns)
        settings = Settings.of(config.domain, config.cluster_ips, config.cidrs)
        self.zone = Zone()
        self._resolver = Resolver(self.zone, settings)
        self.responder = Responder(self._resolver)
        self._listing = Listing(self.zone, self._resolver, settings.domain)
        self._changes = Changes(self._listing, self.zone)
        self.forwarder = Forwarder(
            config.upstreams,
            self.responder,
            clock,
            rng,
            policy=config.upstream_policy,
            stale_s=config.serve_stale_s,
        )
        self._udp: list[UdpServer] = []
        self._tcp: list[TcpServer] = []
        self._client = Client.connect(config.api_server, config.credentials, user_agent="navarch-dns")
        self._informers = Informers(self._client, clock)
        self._server = GrpcServer(config.credentials, translate=translate, component="dns")
        self._exposition: Exposition | None = None
        self._registration: Registration | None = None
        self._tasks = TaskOwner()
        # Of DNS, and of gRPC.
        self.port = 0
        self.grpc_port = 0

    async def start(self) -> None:
        """Answer; then wait for the cluster, serve gRPC and register. Raises OSError."""
        config = self._config
        await self._bind()
        self.forwarder.start(self._is_own)
        self._follow()
        self._informers.start()
        self._log.info("dns.serving", address=config.listen_dns, port=self.port, upstreams=len(config.upstreams))
        collector = DnsCollector(self.responder.traffic, self.forwarder, self.zone, self._unsent)
        self._server.metrics.registry.register(collector)
        if config.listen_metrics:
            self._exposition = Exposition(self._render, self._health)
            await self._exposition.start(config.listen_metrics)
        await self._informers.synced()
        self._resolver.ready = True
        self._server.add(
            dns_pb2_grpc.add_DnsServicer_to_server,
            DnsServicer(self.responder, self.forwarder.forward, self._listing, self._changes),
        )
        self.grpc_port = await self._server.start(config.listen)
        if config.advertise_address:
            self._register()

    async def stop(self) -> None:
        """Leave the Service, answer a while longer, close."""
        await self._tasks.close()
        registration, self._registration = self._registration, None
        if registration is not None:
            await self._leave(registration)
        for udp in self._udp:
            udp.stop()
        for tcp in self._tcp:
            await tcp.stop()
        await self.forwarder.stop()
        await self._informers.stop()
        if self._exposition is not None:
            await self._exposition.stop()
        await self._server.stop(1.0)
        await self._client.close()

    async def _bind(self) -> None:
        """Have the same port for UDP and TCP at all addresses. Raises OSError."""
        for attempt in range(BIND_ATTEMPTS):
            port = self._asked_port
            try:
                for host in self._hosts:
                    udp, tcp = self._servers()
                    port = udp.start(host or "0.0.0.0", port)
                    await tcp.start(host or "0.0.0.0", port)
                self.port = port
                return
            except OSError:
                if self._asked_port or attempt == BIND_ATTEMPTS - 1:
                    raise
                for each in self._udp:
                    each.stop()
                for other in self._tcp:
                    await other.stop()
                self._udp, self._tcp = [], []

    def _servers(self) -> tuple[UdpServer, TcpServer]:
        udp = UdpServer(self.responder, self.forwarder.forward, self._clock)
        tcp = TcpServer(self.responder, self.forwarder.forward, self._clock)
        self._udp.append(udp)
        self._tcp.append(tcp)
        return udp, tcp

    def _follow(self) -> None:
        """Have the zone follow the cluster."""

        def on_namespace(old: corev1.Namespace | None, new: corev1.Namespace | None) -> None:
            metadata = metadata_of(_either(old, new))
            self.zone.seen(metadata.resource_version)
            self._touch(self.zone.put_namespace(metadata.name, new is not None))

        def on_service(old: corev1.Service | None, new: corev1.Service | None) -> None:
            metadata = metadata_of(_either(old, new))
            self.zone.seen(metadata.resource_version)
            facts = service_facts(new) if new is not None else None
            key = (metadata.namespace, metadata.name)
            self._touch(self.zone.put_service(*key, facts), key)

        def on_slice(old: discoveryv1.EndpointSlice | None, new: discoveryv1.EndpointSlice | None) -> None:
            metadata = metadata_of(_either(old, new))
            self.zone.seen(metadata.resource_version)
            facts = slice_facts(new) if new is not None else None
            names = {each.metadata.labels.get(SERVICE_NAME, "") for each in (old, new) if each is not None}
            topics = self.zone.put_slice(metadata.namespace, metadata.name, facts)
            self._touch(topics, *((metadata.namespace, name) for name in names))

        self._informers.of(corev1.Namespace).on_event(on_namespace)
        self._informers.of(corev1.Service).on_event(on_service)
        self._informers.of(discoveryv1.EndpointSlice, {BY_SERVICE: _by_service}).on_event(on_slice)

    def _touch(self, topics: Topics, *keys: tuple[str, str]) -> None:
        if topics:
            self.responder.touch(topics)
            self._changes.touch(keys)

    def _register(self) -> None:
        config = self._config
        metrics = self._exposition.address if self._exposition is not None else ":0"
        instance = Instance(
            config.identity,
            config.advertise_address,
            self.port,
            config.cluster_ips,
            int(metrics.rpartition(":")[2]),
            config.node_name,
        )
        services, slices = self._informers.of(corev1.Service), self._informers.of(discoveryv1.EndpointSlice)
        self._registration = Registration(self._client, services, slices, instance, self._clock)
        self._tasks.spawn(self._registration.run(), "dns-registration")

    async def _leave(self, registration: Registration) -> None:
        try:
            async with asyncio.timeout(LEAVE_S):
                await registration.leave()
        except (errors.ApiError, TimeoutError) as failure:
            # The other instance will do it.
            self._log.warning("dns.not_unregistered", error=failure)
        else:
            await self._clock.sleep(self._config.drain_s)

    def _is_own(self, upstream: Upstream) -> bool:
        if upstream.port == DNS_PORT and upstream.host in self._config.cluster_ips:
            return True
        if upstream.port != self.port:
            return False
        return upstream.host in self._hosts or (not _ANYWHERE.isdisjoint(self._hosts) and _is_local(upstream.host))

    def _unsent(self) -> int:
        return sum(each.unsent for each in self._udp)

    async def _render(self) -> bytes:
        return self._server.metrics.render()

    async def _health(self, _: object) -> str:
        return "" if self._resolver.ready else "the cluster is not known yet"


def _either(old: M | None, new: M | None) -> M:
    """The object of an event, as it is or as it was."""
    found = new if new is not None else old
    assert found is not None
    return found


def _by_service(message: discoveryv1.EndpointSlice) -> Iterable[str]:
    return (f"{message.metadata.namespace}/{message.metadata.labels.get(SERVICE_NAME, '')}",)


def _is_local(host: str) -> bool:
    """Whether an address is one of this host."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True
