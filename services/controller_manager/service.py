"""The controller manager as an object: serves, contends for the Lease, works while it holds it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network

from navarch.protos.navarch import controllers_pb2_grpc
from navarch.services.api.rpc_status import translate
from navarch.services.base.clock import Clock, SystemClock
from navarch.services.base.serving import GrpcServer
from navarch.services.base.tasks import TaskOwner
from navarch.services.base.tls import Credentials
from navarch.services.client.client import Client
from navarch.services.client.leader import LeaderElector
from navarch.services.controller_manager.certificates.signing import Signing
from navarch.services.controller_manager.endpointslice.plan import SLICE_LIMIT
from navarch.services.controller_manager.endpointslice_mirroring.plan import SUBSET_LIMIT
from navarch.services.controller_manager.node_ipam.plan import NODE_PREFIX, ranges_of
from navarch.services.controller_manager.node_lifecycle.plan import Grace
from navarch.services.controller_manager.rpc import ControllerManagerServicer
from navarch.services.controller_manager.term import Settings, Term

LEASE = "kube-controller-manager"


@dataclass(frozen=True, slots=True)
class Config:
    """How a controller manager runs.

    identity: names this process in the Lease; stable over restarts, unique among running ones.
    leader_elect: False works at once, for a cluster that has only this one.
    signing: with what requests for certificates are answered; None leaves them to others.
    approve_kubelet_serving: approve serving certificates of kubelets for the addresses of their Nodes, too.
    cluster_cidrs: Pod addresses; one range, or one of each IP version. node_prefixes: length of a Node's part, by
    version. service_cidrs: Service addresses, which no Node gets.
    slice_limit: endpoints in a slice. mirrored_subset_limit: addresses of an Endpoints subset that slices mirror.
    """

    api_server: str
    credentials: Credentials | None
    listen: str = "127.0.0.1:10257"
    identity: str = "controller-manager"
    cluster_cidrs: tuple[str, ...] = ("10.244.0.0/16",)
    node_monitor_grace_s: float = 40.0
    node_startup_grace_s: float = 60.0
    publish_root_certificate: bool = True
    leader_elect: bool = True
    signing: Signing | None = None
    approve_kubelet_serving: bool = False
    node_prefixes: Mapping[int, int] = field(default_factory=lambda: dict(NODE_PREFIX))
    service_cidrs: tuple[str, ...] = ()
    slice_limit: int = SLICE_LIMIT
    mirrored_subset_limit: int = SUBSET_LIMIT


class ControllerManager:
    """See the module. Of several running ones a single one works."""

    def __init__(self, config: Config, *, clock: Clock | None = None) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        certificate = config.credentials.ca.decode() if config.credentials and config.publish_root_certificate else ""
        self._settings = Settings(
            cluster_cidrs=ranges_of(config.cluster_cidrs, config.node_prefixes),
            service_cidrs=tuple(map(ip_network, config.service_cidrs)),
            slice_limit=config.slice_limit,
            mirrored_subset_limit=config.mirrored_subset_limit,
            grace=Grace(config.node_monitor_grace_s, config.node_startup_grace_s),
            root_certificate=certificate,
            host=config.identity,
            signing=config.signing,
            approve_serving=config.approve_kubelet_serving,
        )
        self._tasks = TaskOwner()
        self._client: Client | None = None
        self._server: GrpcServer | None = None
        self.term: Term | None = None
        self.port = 0

    async def start(self) -> None:
        """Serve and begin to contend; returns before the Lease is held."""
        config = self._config
        self._server = GrpcServer(config.credentials, translate=translate, component="controller-manager")
        self._server.add(
            controllers_pb2_grpc.add_ControllerManagerServicer_to_server,
            ControllerManagerServicer(lambda: self.term),
        )
        self.port = await self._server.start(config.listen)
        self._client = Client.connect(config.api_server, config.credentials, "navarch-controller-manager")
        if not config.leader_elect:
            await self._begin()
            return
        elector = LeaderElector(self._client, name=LEASE, identity=config.identity, clock=self._clock)
        self._tasks.spawn(elector.run(self._begin, self._end), "leader-election")

    async def stop(self) -> None:
        """End the work, give the Lease up, then stop serving. Safe after a failed start."""
        await self._tasks.close()
        await self._end()
        if self._client is not None:
            await self._client.close()
        if self._server is not None:
            await self._server.stop(0.5)

    async def _begin(self) -> None:
        if self._client is not None:
            self.term = Term(self._client, self._clock, self._settings)
            self.term.start()

    async def _end(self) -> None:
        term, self.term = self.term, None
        if term is not None:
            await term.stop()
