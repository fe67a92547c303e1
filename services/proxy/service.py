"""The proxy of one node as a service: follows Services, EndpointSlices, its Node and the ServiceCIDRs.

Stopping, or dying, leaves the table: traffic goes on as it was led last. `tear_down` removes it.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.protos.k8s.networking import v1_pb2 as networkingv1
from navarch.protos.navarch import proxy_pb2_grpc
from navarch.services.api.meta import key_of
from navarch.services.api.rpc_status import translate
from navarch.services.base.clock import Clock
from navarch.services.base.credentials import Credentials
from navarch.services.base.log import get_logger
from navarch.services.base.metrics import Metrics
from navarch.services.base.serving import GrpcServer
from navarch.services.base.tasks import TaskOwner
from navarch.services.client.client import Client
from navarch.services.client.informer import Informer
from navarch.services.proxy import nft
from navarch.services.proxy.explain import ProxyServicer
from navarch.services.proxy.families import Family, canonical, networks
from navarch.services.proxy.health import HealthServer, ProxyHealth, ServiceHealthServers
from navarch.services.proxy.measures import Measures
from navarch.services.proxy.state import ProxyState
from navarch.services.proxy.structure import Settings
from navarch.services.proxy.synchronizer import Synchronizer

# Services that somebody else serves, and slices that are for names only.
NOT_OURS = "!service.kubernetes.io/service-proxy-name"
NOT_HEADLESS = f"{NOT_OURS},!service.kubernetes.io/headless"
TRIGGER_ANNOTATION = "endpoints.kubernetes.io/last-change-trigger-time"
PRIMARY = "primary"
AUTOSCALER_TAINT = "ToBeDeletedByClusterAutoscaler"
# What one Pod of a bridge answers another would not come by our rules, and its source would not be changed back.
BRIDGE_SWITCHES = (
    Path("/proc/sys/net/bridge/bridge-nf-call-iptables"),
    Path("/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
)


@dataclass(frozen=True, slots=True)
class Config:
    """node_port_addresses: networks, or `primary` for the Node's own addresses. listen: of gRPC; "" for none.

    healthz: "host:port" of /healthz, /livez and /metrics; "" for none. service_cidrs: beside those that the API has.
    """

    api_server: str
    credentials: Credentials | None
    node_name: str
    table: str = "navarch-proxy"
    cluster_cidrs: tuple[str, ...] = ()
    service_cidrs: tuple[str, ...] = ()
    node_port_addresses: tuple[str, ...] = (PRIMARY,)
    listen: str = "127.0.0.1:10249"
    healthz: str = "0.0.0.0:10256"

    @property
    def settings(self) -> Settings:
        """Of the table, as far as is known before the API server answers."""
        fixed = tuple(cidr for cidr in self.node_port_addresses if cidr != PRIMARY)
        return Settings(self.table, self.cluster_cidrs, fixed, self.service_cidrs)


class Proxy:
    """Keeps the table of one node."""

    def __init__(self, config: Config, clock: Clock, client: Client | None = None) -> None:
        self._config = config
        self._clock = clock
        self._client = client or Client.connect(config.api_server, config.credentials, user_agent="navarch-proxy")
        self.state = ProxyState(config.settings, config.node_name)
        self.metrics = Metrics()
        self._measures = Measures(self.metrics)
        self._health = ProxyHealth(clock)
        self._service_health = ServiceHealthServers(self._health)
        self.synchronizer = Synchronizer(self.state, clock, self._measures, self._health, self._service_health.update)
        self._server = GrpcServer(config.credentials, translate=translate, component="proxy", metrics=self.metrics)
        self._healthz = HealthServer(self._health, self.metrics.render, clock)
        self._services = Informer(self._client, corev1.Service, label_selector=NOT_OURS, clock=clock)
        self._slices = Informer(self._client, discoveryv1.EndpointSlice, label_selector=NOT_HEADLESS, clock=clock)
        self._nodes = Informer(
            self._client, corev1.Node, field_selector=f"metadata.name={config.node_name}", clock=clock
        )
        self._cidrs = Informer(self._client, networkingv1.ServiceCIDR, clock=clock)
        self._tasks = TaskOwner()
        self._log = get_logger("proxy")
        self._followed = False

    async def start(self) -> None:
        """Serve, and follow the cluster; the table is set as soon as all lists are here. Raises OSError."""
        for failure in await asyncio.to_thread(filter_bridges):
            self._log.warning("proxy.bridges_not_filtered", error=failure)
        if self._config.listen:
            self._server.add(proxy_pb2_grpc.add_ProxyServicer_to_server, ProxyServicer(self.state))
            await self._server.start(self._config.listen)
        if self._config.healthz:
            await self._healthz.start(self._config.healthz)
        self._services.on_event(self._on_service)
        self._slices.on_event(self._on_slice)
        self._nodes.on_event(self._on_node)
        self._cidrs.on_event(self._on_cidr)
        for informer in self._informers:
            informer.start()
        self._tasks.spawn(self._follow(), "proxy-follow")
        self._tasks.spawn(self.synchronizer.watch(), "proxy-watch")

    async def stop(self) -> None:
        """Cease to follow; the table stays."""
        await self._tasks.close()
        for informer in self._informers:
            await informer.stop()
        await self._service_health.stop()
        await self._healthz.stop()
        await self._server.stop()
        await self._client.close()

    @property
    def address(self) -> str:
        """Of the gRPC server."""
        return self._server.address

    @property
    def healthz_port(self) -> int:
        """Of the HTTP server."""
        return self._healthz.port

    @property
    def _informers(self) -> tuple[Informer[Any], ...]:
        return (self._services, self._slices, self._nodes, self._cidrs)

    async def _follow(self) -> None:
        # With half of the lists, Services that have endpoints would be refused.
        for informer in self._informers:
            await informer.synced()
        self._followed = True
        self._log.info("proxy.lists_complete", services=len(self._services), slices=len(self._slices))
        self._notice()
        await self.synchronizer.run()

    # Events.

    def _on_service(self, old: corev1.Service | None, new: corev1.Service | None) -> None:
        self._measures.service_changes.inc()
        if new is not None:
            self.state.set_service(new)
        elif old is not None:
            self.state.remove_service(key_of(old))
        self._notice()

    def _on_slice(self, old: discoveryv1.EndpointSlice | None, new: discoveryv1.EndpointSlice | None) -> None:
        self._measures.endpoint_changes.inc()
        if old is not None:
            self.state.remove_slice(old)
        if new is not None:
            self.state.set_slice(new)
        self._notice(_triggered(old, new))

    def _on_node(self, old: corev1.Node | None, new: corev1.Node | None) -> None:
        self._health.node_eligible = (
            new is not None
            and not new.metadata.HasField("deletion_timestamp")
            and all(taint.key != AUTOSCALER_TAINT for taint in new.spec.taints)
        )
        if new is not None:
            self.state.set_node(new)
            self._set_node_addresses(new)
            self._notice()

    def _set_node_addresses(self, node: corev1.Node) -> None:
        """Open the node's ports at the first address of each family, if that is wanted."""
        if PRIMARY not in self._config.node_port_addresses:
            return
        first: dict[Family, str] = {}
        internal = [address for address in node.status.addresses if address.type == "InternalIP"]
        for address in (*internal, *node.status.addresses):
            if address.type.endswith("IP") and (found := canonical(address.address)) is not None:
                first.setdefault(found[0], f"{found[1]}/{found[0].bits}")
        addresses = (*self._config.settings.node_addresses, *first.values())
        self.state.set_settings(replace(self.state.settings, node_addresses=addresses))

    def _on_cidr(self, old: networkingv1.ServiceCIDR | None, new: networkingv1.ServiceCIDR | None) -> None:
        cidrs = [*self._config.service_cidrs, *(cidr for each in self._cidrs.list() for cidr in each.spec.cidrs)]
        ordered = tuple(network for family in Family for network in networks(cidrs, family))
        self.state.set_settings(replace(self.state.settings, service_cidrs=ordered))
        self._notice()

    def _notice(self, triggered: float | None = None) -> None:
        if self._followed:
            self.synchronizer.notice(triggered)


def _triggered(old: discoveryv1.EndpointSlice | None, new: discoveryv1.EndpointSlice | None) -> float | None:
    """When that happened which changed the slice, in Unix time, if the slice says so and did not say so before."""
    text = "" if new is None else new.metadata.annotations.get(TRIGGER_ANNOTATION, "")
    if not text or (old is not None and old.metadata.annotations.get(TRIGGER_ANNOTATION) == text):
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def filter_bridges() -> list[str]:
    """Have the kernel show us what bridges pass on. Returns what is wrong, where it cannot be had."""
    failures = []
    for switch in BRIDGE_SWITCHES:
        try:
            if switch.read_text().strip() == "0":
                switch.write_text("1\n")
        except OSError as failure:
            failures.append(str(failure))
    return failures


async def tear_down(tables: Iterable[str]) -> None:
    """Remove the tables. Idempotent. Raises NftError."""
    for table in tables:
        await nft.remove(Settings(table=table))
