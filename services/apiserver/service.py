"""The API server as an object: parts put together, started, stopped. No global state."""

import random
from dataclasses import dataclass

from navarch.services.api import rpc_status
from navarch.services.api.errors import ApiError
from navarch.services.api.kinds import KINDS
from navarch.services.apiserver.allocation.services import ServiceAllocator
from navarch.services.apiserver.auth.certificates import CertificateAuthenticator
from navarch.services.apiserver.auth.references import POD, PodReferences
from navarch.services.apiserver.auth.rules import ComponentRules
from navarch.services.apiserver.bootstrap import advertise, make_defaults
from navarch.services.apiserver.cacher.cachers import Cachers
from navarch.services.apiserver.doors.grpc.nodes import NodeServicer, add_node_to_server
from navarch.services.apiserver.doors.grpc.objects import ObjectsServicer, add_objects_to_server
from navarch.services.apiserver.doors.rest.door import RestDoor
from navarch.services.apiserver.doors.rest.peer import RestCertificates
from navarch.services.apiserver.doors.rest.routes import RouteTable
from navarch.services.apiserver.doors.rest.server import RestServer
from navarch.services.apiserver.registry.core import Core
from navarch.services.apiserver.storage.compaction import Compactor
from navarch.services.apiserver.storage.etcd import Etcd
from navarch.services.apiserver.storage.objects import ObjectStorage
from navarch.services.apiserver.storage.revision import RevisionReader
from navarch.services.base.clock import Clock, SystemClock
from navarch.services.base.log import get_logger
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
    advertise_address: str = "127.0.0.1"
    service_cidr: str = "10.96.0.0/16"
    node_ports: range = range(30000, 32768)
    # Overwritten revisions are kept at least this long; 0 keeps them for ever.
    history_s: float = 300.0


class ApiServer:
    """One API server. Any number of them may share a store."""

    def __init__(self, config: Config, *, clock: Clock | None = None, rng: random.Random | None = None) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._rng = rng or random.SystemRandom()
        self._tasks = TaskOwner()
        self._etcd: Etcd | None = None
        self._server: GrpcServer | None = None
        self._nodes: NodeServicer | None = None
        self._rest: RestServer | None = None
        self.port = 0
        self.rest_port = 0

    async def start(self) -> None:
        """Wait for the store, make what every cluster has, and serve."""
        config = self._config
        self._etcd = Etcd(config.store_endpoints, config.store_credentials)
        await self._await_store(self._etcd)
        core = self._assemble(self._etcd)
        # What a node may read follows from its Pods, so they are known before anybody is let in.
        pods = core.cachers.of(POD)
        await make_defaults(core)
        await pods.ready()
        authenticator = CertificateAuthenticator()
        self._nodes = NodeServicer(core, authenticator, config.store_credentials or config.credentials)
        self._server = GrpcServer(config.credentials, translate=rpc_status.translate, component="apiserver")
        self._server.add(add_objects_to_server, ObjectsServicer(core, authenticator))
        self._server.add(add_node_to_server, self._nodes)
        self.port = await self._server.start(config.listen)
        if config.rest_listen:
            routes = RouteTable({}, {})
            door = RestDoor(core, RestCertificates(authenticator), routes, lambda group, version: None)
            self._rest = RestServer(door.handle, config.credentials)
            self.rest_port = await self._rest.start(config.rest_listen)
        if config.history_s:
            self._tasks.spawn(Compactor(self._etcd, self._clock, config.history_s).run(), "compactor")
        await advertise(core, config.advertise_address, self.port)
        LOG.info("apiserver.serving", address=self._server.address)

    async def stop(self) -> None:
        """End all calls and watches, then everything else. Safe after a failed start."""
        if self._rest is not None:
            await self._rest.stop()
        if self._server is not None:
            await self._server.stop(0.5)
        await self._tasks.close()
        if self._nodes is not None:
            await self._nodes.close()
        if self._etcd is not None:
            await self._etcd.close()

    def _assemble(self, etcd: Etcd) -> Core:
        config = self._config
        storage = ObjectStorage(etcd, self._clock)
        cachers = Cachers(storage, self._clock, self._tasks)
        return Core(
            kinds=KINDS,
            storage=storage,
            cachers=cachers,
            revisions=RevisionReader(etcd.revision, self._tasks),
            authorizer=ComponentRules(PodReferences(cachers)),
            services=ServiceAllocator(storage, cachers, config.service_cidr, config.node_ports, self._clock, self._rng),
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
