"""The cloud controller as an object: serves health and metrics, contends for the Lease, works while it holds it."""

from dataclasses import dataclass

from navarch.services.api.rpc_status import translate
from navarch.services.base.clock import Clock, SystemClock
from navarch.services.base.serving import GrpcServer
from navarch.services.base.tasks import TaskOwner
from navarch.services.base.tls import Credentials
from navarch.services.client.client import Client
from navarch.services.client.leader import LeaderElector
from navarch.services.cloud_controller.term import MakeProvider, Settings, Term

LEASE = "cloud-controller-manager"


@dataclass(frozen=True, slots=True)
class Config:
    """How a cloud controller runs. identity: names this process in the Lease; stable and unique.

    provider: makes the cloud anew for each term. listen: "" serves nothing. cluster_cidrs: the Pod network; without it
    routes are left alone.
    """

    api_server: str
    credentials: Credentials | None
    provider: MakeProvider
    identity: str = "cloud-controller"
    listen: str = ""
    cluster_cidrs: tuple[str, ...] = ()


class CloudController:
    """See the module. Of several running ones a single one works."""

    def __init__(self, config: Config, *, clock: Clock | None = None) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._tasks = TaskOwner()
        self._client: Client | None = None
        self._server: GrpcServer | None = None
        self._term: Term | None = None
        self.port = 0

    async def start(self) -> None:
        """Serve and begin to contend; returns before the Lease is held."""
        config = self._config
        if config.listen:
            self._server = GrpcServer(config.credentials, translate=translate, component="cloud-controller")
            self.port = await self._server.start(config.listen)
        self._client = Client.connect(config.api_server, config.credentials, "navarch-cloud-controller")
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
            settings = Settings(self._config.identity, self._config.cluster_cidrs)
            self._term = Term(self._client, self._clock, self._config.provider, settings)
            self._term.start()

    async def _end(self) -> None:
        term, self._term = self._term, None
        if term is not None:
            await term.stop()
