"""One term as leader: the loops that the cloud has something for."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.base.tasks import TaskOwner
from navarch.services.client.client import Client
from navarch.services.client.context import Context, Loop
from navarch.services.client.informer import Informers
from navarch.services.cloud_controller.load_balancer.controller import LoadBalancerController
from navarch.services.cloud_controller.node.controller import NodeController
from navarch.services.cloud_controller.provider import Abilities, Provider, ProviderFailure
from navarch.services.cloud_controller.route.controller import RouteController

RETRY_S = 2.0
# Makes a provider that may look at all Services.
MakeProvider = Callable[[Callable[[], Iterable[corev1.Service]]], Provider]


@dataclass(frozen=True, slots=True)
class Settings:
    """host: shown in Events. cluster_cidrs: the Pod network, for routes; without it there are none."""

    host: str
    cluster_cidrs: Sequence[str] = ()


class Term:
    """Starts the loops and ends them."""

    def __init__(self, client: Client, clock: Clock, make: MakeProvider, settings: Settings) -> None:
        self._clock = clock
        self._context = Context(client, Informers(client, clock), clock, settings.host)
        self._services = self._context.informers.of(corev1.Service)
        self._provider = make(self._services.list)
        self._settings = settings
        self._tasks = TaskOwner()
        self._loops: list[Loop] = []
        self._log = get_logger("cloud-controller")

    def start(self) -> None:
        """Begin; loops take up work once the cloud has said what it has."""
        self._tasks.spawn(self._run(), "loops")

    async def stop(self) -> None:
        """End all loops where they stand."""
        await self._tasks.close()
        for loop in self._loops:
            await loop.controller.close()
        await self._context.close()
        await self._provider.close()

    async def _run(self) -> None:
        abilities = await self._abilities()
        self._loops = self._make(abilities)
        self._context.informers.start()
        await self._context.informers.synced()
        for loop in self._loops:
            loop.controller.start()
        names = ",".join(loop.controller.name for loop in self._loops)
        self._log.info("controllers.started", provider=abilities.name, names=names)

    async def _abilities(self) -> Abilities:
        while True:
            try:
                return await self._provider.describe()
            except ProviderFailure as failure:
                self._log.warning("provider.not_available", error=failure)
                await self._clock.sleep(RETRY_S)

    def _make(self, abilities: Abilities) -> list[Loop]:
        loops: list[Loop] = []
        if abilities.instances:
            loops.append(NodeController(self._context, self._provider))
        if abilities.load_balancers:
            loops.append(LoadBalancerController(self._context, self._provider))
        if abilities.routes and self._settings.cluster_cidrs:
            loops.append(RouteController(self._context, self._provider, self._settings.cluster_cidrs))
        return loops
