"""The scheduler's process: it serves navarch.v1.Scheduler, and schedules while it holds the Lease."""

from dataclasses import dataclass
from random import Random

from navarch.protos.navarch import scheduler_pb2_grpc
from navarch.services.api.rpc_status import translate
from navarch.services.base.clock import Clock
from navarch.services.base.serving import GrpcServer
from navarch.services.base.tasks import TaskOwner
from navarch.services.base.tls import Credentials
from navarch.services.client.client import Client
from navarch.services.client.events import EventRecorder
from navarch.services.client.leader import LeaderElector
from navarch.services.scheduler.cycle import Cycle
from navarch.services.scheduler.explain import SchedulerServicer
from navarch.services.scheduler.scheduling import Scheduling


@dataclass(frozen=True)
class Config:
    """Where the API server is, who we are, and what we serve."""

    api_server: str
    credentials: Credentials | None
    listen: str = "127.0.0.1:10259"
    identity: str = "scheduler"
    scheduler_name: str = "default-scheduler"
    leader_elect: bool = True


class SchedulerService:
    """See the module. Of several running ones a single one schedules."""

    def __init__(self, config: Config, clock: Clock, rng: Random) -> None:
        self._config = config
        self._clock = clock
        self._cycle = Cycle(rng)
        self._client = Client.connect(config.api_server, config.credentials, user_agent="navarch-scheduler")
        self._events = EventRecorder(self._client, config.scheduler_name, config.identity, clock)
        self._server = GrpcServer(config.credentials, translate=translate, component="scheduler")
        self._tasks = TaskOwner()
        self.scheduling: Scheduling | None = None
        self.port = 0

    async def start(self) -> None:
        """Serve, then campaign for the Lease in the background."""
        config = self._config
        self._server.add(
            scheduler_pb2_grpc.add_SchedulerServicer_to_server,
            SchedulerServicer(lambda: self.scheduling, self._cycle, self._client),
        )
        self.port = await self._server.start(config.listen)
        if config.leader_elect:
            elector = LeaderElector(self._client, name="kube-scheduler", identity=config.identity, clock=self._clock)
            self._tasks.spawn(elector.run(self._begin, self._end), "leader-election")
        else:
            await self._begin()

    async def stop(self) -> None:
        """End the work, give the Lease back, close."""
        await self._tasks.close()
        await self._end()
        await self._events.stop()
        await self._server.stop(1.0)
        await self._client.close()

    async def _begin(self) -> None:
        config = self._config
        self.scheduling = Scheduling(self._client, self._events, self._clock, self._cycle, config.scheduler_name)
        self.scheduling.start()

    async def _end(self) -> None:
        scheduling, self.scheduling = self.scheduling, None
        if scheduling is not None:
            await scheduling.stop()
