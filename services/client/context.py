"""What every controller is made with, and what the manager asks of it."""

from typing import Protocol

from navarch.services.base.clock import Clock
from navarch.services.client.client import Client
from navarch.services.client.controller import Controller
from navarch.services.client.events import EventRecorder
from navarch.services.client.informer import Informers
from navarch.services.client.kinds import FollowedKinds


class Context:
    """The world as controllers may touch it. Owned by the manager, shared by all controllers of a term."""

    def __init__(self, client: Client, informers: Informers, clock: Clock, host: str) -> None:
        self.client = client
        self.informers = informers
        self.clock = clock
        self._host = host
        self._kinds: FollowedKinds | None = None
        self._recorders: list[EventRecorder] = []

    @property
    def kinds(self) -> FollowedKinds:
        """All kinds of the cluster; first asked for before the informers have synced."""
        if self._kinds is None:
            self._kinds = FollowedKinds(self.informers)
        return self._kinds

    def recorder(self, component: str) -> EventRecorder:
        """Where a controller writes its Events. Stopped with the context."""
        recorder = EventRecorder(self.client, component, self._host, self.clock)
        self._recorders.append(recorder)
        return recorder

    async def close(self) -> None:
        """End what this made."""
        await self.informers.stop()
        for recorder in self._recorders:
            await recorder.stop()


class Loop(Protocol):
    """A controller: registers for events when made, works once its `controller` is started."""

    controller: Controller
