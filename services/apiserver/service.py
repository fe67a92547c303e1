"""The API server as an object: parts put together, started, stopped. No global state."""

import asyncio
import random
from dataclasses import dataclass, field

from navarch.services.api import rpc_status
from navarch.services.api.errors import ApiError
from navarch.services.api.kinds import KINDS, KindTable
from navarch.services.apiserver.advertising import LEASE_TTL_S, Advertiser
from navarch.services.apiserver.aggregation.aggregator import Aggregator
from navarch.services.apiserver.allocation.services import ServiceAllocator
from navarch.services.apiserver.auth.authentication import Authentication
from navarch.services.apiserver.auth.bound_objects import BoundObjects
from navarch.services.apiserver.auth.references import PodReferences
from navarch.services.apiserver.auth.rules import ComponentRules
from navarch.services.apiserver.auth.tokens import TokenConfig, Tokens
from navarch.services.apiserver.bootstrap import make_defaults
from navarch.services.apiserver.cacher.cachers import Cachers
from navarch.services.apiserver.custom.addresses import ServiceAddresses
from navarch.services.apiserver.custom.definitions import DefinitionController
from navarch.services.apiserver.custom.webhooks import Converter
from navarch.services.apiserver.doors.grpc.nodes import NodeServicer, add_node_to_server
from navarch.services.apiserver.doors.grpc.objects import ObjectsServicer, add_objects_to_server
from navarch.services.apiserver.doors.rest import index, openid
from navarch.services.apiserver.doors.rest.door import RestDoor
from navarch.services.apiserver.doors.rest.health import Health
from navarch.services.apiserver.doors.rest.metrics import RequestMetrics
from navarch.services.apiserver.doors.rest.routes import RouteTable
from navarch.services.apiserver.doors.rest.server import CONNECTIONS, RestServer
from navarch.services.apiserver.doors.rest.streams.parts import parts
from navarch.services.apiserver.doors.rest.streams.proxy import Proxy
from navarch.services.apiserver.kubelets.directory import Kubelets
from navarch.services.apiserver.registry.core import Core
from navarch.services.apiserver.storage.compaction import Compactor
from navarch.services.apiserver.storage.etcd import Etcd
from navarch.services.apiserver.storage.objects import ObjectStorage
from navarch.services.apiserver.storage.revision import RevisionReader
from navarch.services.apiserver.storage.timekeeper import Timekeeper
from navarch.services.base.clock import Clock, SystemClock
from navarch.services.base.log import get_logger
from navarch.services.base.metrics import Metrics
from navarch.services.base.serving import GrpcServer
from navarch.services.base.tasks import TaskOwner
from navarch.services.base.tls import Credentials

LOG = get_logger("apiserver")
STORE_RETRY_S = 0.2


@dataclass(frozen=True, slots=True)
class Config:
    """How an API server runs.

    credentials: what it serves with. store_credentials: towards the store; None for plain text, then kubelets
    are called with `credentials`.
    """

    store_endpoints: tuple[str, ...]
    credentials: Credentials | None
    store_credentials: Credentials | None
    listen: str = "127.0.0.1:7443"
    # The Kubernetes door; "" leaves it closed.
    rest_listen: str = ""
    # That it has open at a time, in this process.
    rest_connections: int = CONNECTIONS
    # Let other processes listen there, too (`workers`).
    share_ports: bool = False
    advertise_address: str = "127.0.0.1"
    # How long a server that died stays among the endpoints of the service `kubernetes`, at most about twice.
    advertise_ttl_s: int = LEASE_TTL_S
    # One, or one of each family; the primary one first.
    service_cidrs: tuple[str, ...] = ("10.96.0.0/16",)
    node_ports: range = range(30000, 32768)
    # Overwritten revisions are kept at least this long; 0 keeps them for ever.
    history_s: float = 300.0
    # What extension servers are shown, signed by an authority of its own where that is wanted; None: `credentials`.
    proxy_credentials: Credentials | None = None
    tokens: TokenConfig = field(default_factory=TokenConfig)


class ApiServer:
    """One API server. Any number of them may share a store."""

    def __init__(self, config: Config, *, clock: Clock | None = None, rng: random.Random | None = None) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._rng = rng or random.SystemRandom()
        self._tasks = TaskOwner()
        self._etcd: Etcd | None = None
        self._core: Core | None = None
        self._server: GrpcServer | None = None
        self._kubelets: Kubelets | None = None
        self._proxy: Proxy | None = None
        self._aggregator: Aggregator | None = None
        self._rest: RestServer | None = None
        self._health: Health | None = None
        self._advertiser: Advertiser | None = None
        self._advertising: asyncio.Task[None] | None = None
        self.port = 0
        self.rest_port = 0

    async def start(self) -> None:
        """Wait for the store, make what every cluster has, and serve."""
        config = self._config
        self._etcd = Etcd(config.store_endpoints, config.store_credentials)
        await self._await_store(self._etcd)
        core = self._core = self._assemble(self._etcd)
        # What a node may read follows from its Pods, so they are known before anybody is let in.
        references = self._tasks.spawn(PodReferences(core.cachers).ready(), "references")
        await make_defaults(core)
        definitions = DefinitionController(core)
        await definitions.kinds.start()
        self._tasks.spawn(definitions.kinds.run(), "custom-kinds")
        self._tasks.spawn(definitions.run(), "definitions")
        await references
        authentication = Authentication(core.tokens, core.authorizer, core.clock)
        self._aggregator = Aggregator(core, config.credentials, config.proxy_credentials)
        await self._aggregator.start()
        self._tasks.spawn(self._aggregator.run(), "aggregator")
        self._kubelets = Kubelets(core, config.store_credentials or config.credentials)
        self._proxy = Proxy(self._kubelets)
        metrics = Metrics()
        self._server = GrpcServer(
            config.credentials,
            translate=rpc_status.translate,
            component="apiserver",
            light=True,
            # Others show a token.
            need_certificate=False,
            reuse_port=config.share_ports,
            metrics=metrics,
        )
        self._server.add(add_objects_to_server, ObjectsServicer(core, authentication))
        self._server.add(add_node_to_server, NodeServicer(core, authentication, self._kubelets))
        self.port = await self._server.start(config.listen)
        if config.rest_listen:
            self._health = Health(core)
            requests = RequestMetrics(metrics, core.kinds)
            keys = openid.paths(core.tokens, config.advertise_address, config.rest_listen)
            paths = index.paths(core, self._health, requests, self._aggregator.groups, keys)
            routes = RouteTable(paths, parts(self._kubelets, self._proxy))
            door = RestDoor(core, authentication, routes, self._aggregator.handler_for, requests)
            self._rest = RestServer(door.handle, config.credentials, connections=config.rest_connections)
            self.rest_port = await self._rest.start(config.rest_listen, reuse_port=config.share_ports)
        if config.history_s:
            self._tasks.spawn(Compactor(self._etcd, self._clock, config.history_s).run(), "compactor")
        await self._advertise(core)
        LOG.info("apiserver.serving", address=self._server.address)

    async def _advertise(self, core: Core) -> None:
        config = self._config
        advertiser = Advertiser(
            core,
            config.advertise_address,
            self.rest_port or self.port,
            lease_ttl_s=config.advertise_ttl_s,
            shared=config.share_ports,
        )
        if not advertiser.is_reachable:
            LOG.info("advertise.skipped", address=config.advertise_address, reason="Pods cannot reach it")
            return
        await advertiser.start()
        self._advertiser = advertiser
        self._advertising = self._tasks.spawn(advertiser.run(), "advertiser")

    async def _withdraw(self) -> None:
        if self._advertiser is None or self._advertising is None:
            return
        self._advertising.cancel()
        await asyncio.wait([self._advertising])
        await self._advertiser.withdraw()
        self._advertiser = None

    async def stop(self) -> None:
        """End all calls and watches, then everything else. Safe after a failed start."""
        if self._health is not None:
            self._health.is_stopping = True
        await self._withdraw()
        if self._core is not None:
            self._core.cachers.end_watches()
        if self._rest is not None:
            await self._rest.stop()
        if self._server is not None:
            await self._server.stop(0.5)
        await self._tasks.close()
        if self._aggregator is not None:
            await self._aggregator.close()
        if self._proxy is not None:
            await self._proxy.close()
        if self._kubelets is not None:
            await self._kubelets.close()
        if self._etcd is not None:
            await self._etcd.close()

    def _assemble(self, etcd: Etcd) -> Core:
        config = self._config
        timekeeper = Timekeeper(etcd, self._clock)
        self._tasks.spawn(timekeeper.run(), "timekeeper")
        storage = ObjectStorage(etcd, self._clock, timekeeper.wrote)
        storage.convert_by(Converter(ServiceAddresses(storage, self._rng).resolve, self._rng).convert)
        cachers = Cachers(storage, self._clock, self._tasks)
        return Core(
            kinds=KindTable(KINDS),
            storage=storage,
            cachers=cachers,
            revisions=RevisionReader(etcd.revision, self._tasks),
            authorizer=ComponentRules(PodReferences(cachers)),
            tokens=Tokens(config.tokens, BoundObjects(cachers, storage), storage, self._clock),
            services=ServiceAllocator(
                storage, cachers, config.service_cidrs, config.node_ports, self._clock, self._rng
            ),
            clock=self._clock,
            rng=self._rng,
        )

    async def _await_store(self, etcd: Etcd) -> None:
        while True:
            try:
                await etcd.probe()
                return
            except ApiError as failure:
                LOG.warning("store.not_available", endpoints=self._config.store_endpoints, error=failure.message)
                await self._clock.sleep(STORE_RETRY_S)
