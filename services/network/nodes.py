"""The Nodes of the cluster as the agent needs them, followed; and what it says on its own Node."""

from collections.abc import Callable

import grpc

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.codec.times import format_seconds
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.client.client import Client
from navarch.services.client.events import EventRecorder
from navarch.services.client.informer import Informer
from navarch.services.network import condition, wireguard_key
from navarch.services.network.condition import Condition
from navarch.services.network.facts import NodeFacts, node_facts


class Nodes:
    """dial: connects to the API server.

    changed: called when something has changed that the plan depends on, or when the Nodes are first known.
    """

    def __init__(
        self, dial: Callable[[], grpc.aio.Channel], own: str, clock: Clock, changed: Callable[[], None]
    ) -> None:
        self._dial = dial
        self._client = client = Client(dial())
        self._own = own
        self._clock = clock
        self._changed = changed
        self._informer = Informer(client, corev1.Node, clock=clock)
        self._informer.on_event(self._on_node)
        self._facts: dict[str, NodeFacts] = {}
        self._events = EventRecorder(client, "navarch-network", own, clock)
        self._told: set[str] = set()
        self._log = get_logger("network")

    def start(self) -> None:
        """Begin to follow."""
        self._informer.start()

    async def stop(self) -> None:
        """Cease; what has been reported is sent."""
        await self._informer.stop()
        await self._events.stop()
        await self._client.close()

    async def reconnect(self) -> None:
        """Follow over a new connection: the host lost the address of the old one, which would hang till its timeout."""
        for _ in range(2):  # The watches of a connection end when the next but one begins.
            await self._client.move(self._dial())

    @property
    def own(self) -> NodeFacts | None:
        """This node; None while it is not known."""
        return self._facts.get(self._own) if self._informer.has_synced else None

    @property
    def others(self) -> list[NodeFacts]:
        """All other nodes."""
        return [facts for name, facts in sorted(self._facts.items()) if name != self._own]

    async def tell(self, wanted: Condition) -> None:
        """Have the condition on our Node. Raises ApiError."""
        node = self._informer.get(self._own)
        if node is None or condition.is_told(node, wanted):
            return
        patch = condition.patch_of(node, wanted, format_seconds(int(self._clock.now())))
        await self._client.patch(corev1.Node, self._own, "", patch, "strategic", subresource="status")

    async def give_way(self, config: str) -> None:
        """Another network is in charge: say nothing against the node any more. Raises ApiError."""
        node = self._informer.get(self._own)
        if node is not None and (wanted := condition.of_other(node, config)) is not None:
            await self.tell(wanted)

    async def tell_key(self, public_key: str) -> None:
        """Have it on our Node, or, if it is "", none. Raises ApiError."""
        node = self._informer.get(self._own)
        if node is None or node.metadata.annotations.get(wireguard_key.ANNOTATION, "") == public_key:
            return
        patch = {"metadata": {"annotations": {wireguard_key.ANNOTATION: public_key or None}}}
        await self._client.patch(corev1.Node, self._own, "", patch, "strategic", subresource="status")

    def warn(self, reasons: dict[str, str]) -> None:
        """Report what is wrong on our Node, each once while it lasts: message by Event reason and subject."""
        node = self._informer.get(self._own)
        for key, message in sorted(reasons.items()):
            if node is not None and f"{key}: {message}" not in self._told:
                self._events.event(node, "Warning", key.partition("/")[0], message)
        self._told = {f"{key}: {message}" for key, message in reasons.items()}

    def _on_node(self, old: corev1.Node | None, new: corev1.Node | None) -> None:
        if new is None:
            if old is not None and self._facts.pop(old.metadata.name, None) is not None:
                self._changed()
            return
        facts = node_facts(new)
        if self._facts.get(facts.name) != facts:
            self._facts[facts.name] = facts
            self._changed()
