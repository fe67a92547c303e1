"""The announcer of one node: hears the others, holds what falls to it, lets go of the rest.

It looks at each heartbeat of its own, and whenever Services, Nodes or endpoints change. While the API server is away it
goes on with what it knows. When it stops in order it lets go at once.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.services.base.clock import Clock, SystemClock
from navarch.services.base.log import get_logger
from navarch.services.base.tasks import TaskOwner
from navarch.services.base.tls import Credentials
from navarch.services.client.client import Client
from navarch.services.client.informer import Informers
from navarch.services.cloud_controller.announcer.holders import held
from navarch.services.cloud_controller.announcer.link import HolderLink, LinkRefused
from navarch.services.cloud_controller.announcer.members import BEAT_S, Members, heartbeat, read
from navarch.services.cloud_controller.announcer.serving import ServingNodes

# A greeting may be lost: it is told again so often, one heartbeat apart.
GREETINGS = 4


@dataclass(frozen=True, slots=True)
class Config:
    """How an announcer runs. link: the bridge that it makes.

    key_file: what heartbeats are signed with, the same on all nodes; None does not sign them, and goes by the addresses
    of their senders alone.
    """

    api_server: str
    credentials: Credentials | None
    node_name: str
    node_addresses: tuple[str, ...]
    port: int = 7946
    link: str = "navarch-lb"
    key_file: Path | None = None


class Announcer:
    """See the module."""

    def __init__(self, config: Config, *, clock: Clock | None = None) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._log = get_logger("announcer")
        self._tasks = TaskOwner()
        self._key = config.key_file.read_bytes().strip() if config.key_file is not None else b""
        self._link = HolderLink(config.link, list(config.node_addresses))
        self._members = Members(config.node_name, self._clock.monotonic())
        self._alive: frozenset[str] = frozenset()
        self._serving = ServingNodes()
        self._look = asyncio.Event()
        self._greetings: dict[str, int] = {}
        self._client: Client | None = None
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        """Begin to listen; nothing is held before the others could be heard. Raises OSError."""
        config = self._config
        loop = asyncio.get_running_loop()
        self._members.since = self._clock.monotonic()
        where = (config.node_addresses[0], config.port)
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Ear(self._hear), where)
        self._client = Client.connect(config.api_server, config.credentials, f"navarch-announcer/{config.node_name}")
        self._informers = Informers(self._client, self._clock)
        self._nodes = self._informers.of(corev1.Node)
        self._services = self._informers.of(corev1.Service)
        for informer in (self._nodes, self._services):
            informer.on_event(lambda *_: self._look.set())
        self._informers.of(discoveryv1.EndpointSlice).on_event(self._endpoints_changed)
        self._informers.start()
        self._tasks.spawn(self._beat(), "heartbeats")
        self._tasks.spawn(self._hold(), "holding")

    async def stop(self) -> None:
        """Let go of everything. Safe after a failed start."""
        await self._tasks.close()
        if self._transport is not None:
            self._transport.close()
        if self._client is not None:
            await self._informers.stop()
            await self._client.close()
            await asyncio.to_thread(self._link.remove)

    async def _beat(self) -> None:
        while True:
            # Counts on over restarts.
            datagram = heartbeat(self._config.node_name, int(self._clock.now() * 1000), self._key)
            for address in self._others():
                if self._transport is not None:
                    self._transport.sendto(datagram, (address, self._config.port))
            alive = self._members.alive(self._clock.monotonic())
            if alive != self._alive:
                self._log.info("members.changed", alive=",".join(sorted(alive)))
                self._alive = alive
                self._look.set()
            await self._greet_again()
            await self._clock.sleep(BEAT_S)

    def _others(self) -> list[str]:
        version = ":" in self._config.node_addresses[0]
        return [
            one.address
            for node in self._nodes.list()
            if node.metadata.name != self._config.node_name
            for one in node.status.addresses
            if one.type == "InternalIP" and (":" in one.address) == version
        ]

    def _hear(self, datagram: bytes, sender: str) -> None:
        found = read(datagram, self._key)
        if found is None:
            return
        node = self._nodes.get(found[0])
        if node is not None and any(one.address == sender for one in node.status.addresses):
            self._members.heard(*found, self._clock.monotonic())

    async def _hold(self) -> None:
        await self._informers.synced()
        while True:
            await self._look.wait()
            self._look.clear()
            if not self._alive:
                continue
            own = self._config.node_name
            wanted = held(own, self._services.list(), self._nodes.list(), self._alive, self._serving.get)
            try:
                gained = await asyncio.to_thread(self._link.change, wanted)
            except LinkRefused as failure:
                self._log.warning("addresses.not_changed", error=failure)
                continue
            self._greetings = {one: left for one, left in self._greetings.items() if one in wanted}
            self._greetings |= dict.fromkeys(gained, GREETINGS)
            for address in sorted(gained):
                self._log.info("address.held", address=address)

    def _endpoints_changed(self, old: discoveryv1.EndpointSlice | None, new: discoveryv1.EndpointSlice | None) -> None:
        if self._serving.change(old, new):
            self._look.set()

    async def _greet_again(self) -> None:
        due = {address for address, left in self._greetings.items() if left}
        self._greetings = {address: left - 1 for address, left in self._greetings.items() if left}
        try:
            await asyncio.to_thread(self._link.greet, due)
        except LinkRefused as failure:
            self._log.warning("addresses.not_told", error=failure)


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, hear: Callable[[bytes, str], None]) -> None:
        self._hear = hear

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._hear(data, addr[0])
