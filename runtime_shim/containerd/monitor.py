"""Follows containerd's events, and makes up for those that nobody heard.

containerd keeps no history: an exit while we, or it, were away is in no event. So after each subscription all
running containers are asked about. A subscription is known to stand when an event of our own comes back through
it; only then is the listing taken, so nothing can fall between the two.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import grpc
from google.protobuf import any_pb2

from navarch.protos.containerd import events_pb2, task_pb2, types_pb2
from navarch.protos.containerd.services.events import v1_pb2 as eventsv1
from navarch.protos.containerd.services.tasks import v1_pb2 as tasksv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.containers import Containers
from navarch.runtime_shim.containerd.world import Sandbox, World
from navarch.runtime_shim.records import ContainerPhase
from navarch.services.base.log import get_logger
from navarch.services.base.tasks import TaskOwner

LOG = get_logger("shim.monitor")
EXIT_TOPIC, OOM_TOPIC, ECHO_TOPIC = "/tasks/exit", "/tasks/oom", "/navarch/echo"
ECHO_RETRY_S = 0.1
RESUBSCRIBE_S = 0.2
STOPPED = task_pb2.Status.STOPPED


class Monitor:
    """Keeps the world's running containers true to containerd."""

    def __init__(
        self,
        client: ContainerdClient,
        world: World,
        containers: Containers,
        recover: Callable[[], Awaitable[None]],
        init_ended: Callable[[Sandbox], Coroutine[Any, Any, None]],
    ) -> None:
        """recover: called once, on the first subscription, before anything else. init_ended: a sandbox's process 1."""
        self._client = client
        self._world = world
        self._containers = containers
        self._recover = recover
        self._init_ended = init_ended
        self.recovered = False
        self._owner = TaskOwner()
        # Exits take their time (logs are drained, tasks deleted) and must not hold up other events.
        self._exits = TaskOwner()
        self.ready = asyncio.Event()

    def start(self) -> None:
        """Follow events until `stop`."""
        self._owner.spawn(self._follow(), "shim-events")

    async def stop(self) -> None:
        """Stop following."""
        await self._owner.close()
        await self._exits.close()

    async def _follow(self) -> None:
        while True:
            await self._client.connected()
            try:
                await self._subscription()
            except (grpc.aio.AioRpcError, errors.ShimError) as failure:
                LOG.warning("containerd.lost", error=getattr(failure, "details", lambda f=failure: f)())
            self.ready.clear()
            await self._world.clock.sleep(RESUBSCRIBE_S)

    async def _subscription(self) -> None:
        namespace = f"namespace=={self._client.namespace}"
        filters = [f'topic=="{topic}",{namespace}' for topic in (EXIT_TOPIC, OOM_TOPIC, ECHO_TOPIC)]
        stream = self._client.events.Subscribe(eventsv1.SubscribeRequest(filters=filters))
        nonce = secrets.token_bytes(16)
        echo = asyncio.ensure_future(self._echo(nonce))
        try:
            async for envelope in stream:
                if envelope.topic == ECHO_TOPIC:
                    if envelope.event.value == nonce and not echo.done():
                        echo.cancel()
                        await self._synchronise()
                else:
                    self._handle(envelope)
        finally:
            echo.cancel()
            stream.cancel()

    async def _echo(self, nonce: bytes) -> None:
        """Publish until cancelled: what is published before the subscription stands is lost."""
        request = eventsv1.PublishRequest(topic=ECHO_TOPIC, event=any_pb2.Any(type_url="navarch.Echo", value=nonce))
        while True:
            try:
                await self._client.events.Publish(request)
            except errors.ShimError as failure:
                LOG.debug("containerd.echo", error=failure)
            await self._world.clock.sleep(ECHO_RETRY_S)

    async def _synchronise(self) -> None:
        if not self.recovered:
            await self._recover()
            self.recovered = True
        await self._containers.remove_abandoned()
        tasks = (await self._client.tasks.List(tasksv1.ListTasksRequest())).tasks
        # In 1.6 a listed process has its container's id as id, and no container_id.
        states = {process.container_id or process.id: process.status for process in tasks}
        for container in list(self._world.containers.values()):
            gone = states.get(container.record.id, STOPPED) == STOPPED
            if container.record.phase == ContainerPhase.RUNNING and gone:
                self._exits.spawn(self._check(container.record.id), f"check-{container.record.id}")
        for sandbox in list(self._world.sandboxes.values()):
            if sandbox.record.pid and states.get(sandbox.record.id, STOPPED) == STOPPED:
                self._exits.spawn(self._init_ended(sandbox), f"exit-{sandbox.record.id}")
        self.ready.set()

    async def _check(self, container_id: str) -> None:
        if (container := self._world.containers.get(container_id)) is not None:
            try:
                await self._containers.check(container)
            except errors.ShimError as failure:
                # The subscription has ended too, then; the next one checks again.
                LOG.warning("container.check", container=container_id, error=failure)

    def _handle(self, envelope: types_pb2.Envelope) -> None:
        if envelope.topic == OOM_TOPIC:
            oom = events_pb2.TaskOOM.FromString(envelope.event.value)
            if (container := self._world.containers.get(oom.container_id)) is not None:
                container.oom_killed = True
            return
        exited = events_pb2.TaskExit.FromString(envelope.event.value)
        if (sandbox := self._world.sandboxes.get(exited.container_id)) is not None:
            self._exits.spawn(self._init_ended(sandbox), f"exit-{exited.container_id}")
            return
        container = self._world.containers.get(exited.container_id)
        # Execs have ids of their own; those who started them wait for them.
        if container is not None and exited.id == exited.container_id:
            moment = exited.exited_at.ToNanoseconds()
            self._exits.spawn(
                self._containers.on_exit(container, exited.exit_status, moment), f"exit-{exited.container_id}"
            )
