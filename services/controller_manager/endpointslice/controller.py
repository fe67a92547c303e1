"""The EndpointSlice loop."""

from collections.abc import Iterable

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import is_being_deleted
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller, Result
from navarch.services.controller_manager import backends
from navarch.services.controller_manager.endpointslice.content import MANAGER
from navarch.services.controller_manager.endpointslice.plan import SLICE_LIMIT, Plan, plan
from navarch.services.controller_manager.endpointslice.writer import SliceWriter
from navarch.services.controller_manager.own_writes import TTL_S
from navarch.services.controller_manager.service_watch import ServiceWatch
from navarch.services.controller_manager.trigger_times import TriggerTimes, annotate

WORKERS = 5
ZONE = "topology.kubernetes.io/zone"


class EndpointSliceController:
    """Reconciles Services by "namespace/name". limit: endpoints in a slice."""

    def __init__(self, context: Context, limit: int = SLICE_LIMIT) -> None:
        self.controller = Controller("endpointslice", self.reconcile, WORKERS, context.clock)
        self._limit = limit
        self._watch = ServiceWatch(context, self.controller.queue.add)
        self._writer = SliceWriter(context, MANAGER, self.controller.queue.add)
        self._nodes = context.informers.of(corev1.Node)
        self._triggers = TriggerTimes()
        self._nodes.on_event(self._on_node)

    async def reconcile(self, key: str) -> Result | None:
        """Bring one Service's slices up to date. Those of a deleted Service are garbage-collected."""
        if not self._writer.settled(key):
            return Result(TTL_S)
        service = self._watch.services.get(key)
        if service is None:
            self._triggers.forget(key)
            return None
        if is_being_deleted(service):
            return None
        if service.spec.type == "ExternalName":
            # A mere alias: what it once selected is not behind it any more.
            await self._writer.apply(key, Plan(delete=self._writer.of(key)))
        elif backends.selects(service):
            behind = self._watch.behind(service)
            step = plan(service, behind, self._zones(behind), self._writer.of(key), self._limit)
            trigger = self._triggers.look(service, behind)
            for each in (*step.create, *step.update):
                annotate(each.metadata, trigger)
            await self._writer.apply(key, step)
        return None

    def _zones(self, behind: Iterable[corev1.Pod]) -> dict[str, str]:
        """Of those Nodes of the Pods that exist."""
        found = (self._nodes.get(name) for name in {pod.spec.node_name for pod in behind})
        return {node.metadata.name: node.metadata.labels.get(ZONE, "") for node in found if node is not None}

    def _on_node(self, old: corev1.Node | None, new: corev1.Node | None) -> None:
        """A Node came, went or moved to another zone."""
        if (node := new or old) is None:
            return
        if old is None or new is None or old.metadata.labels.get(ZONE, "") != new.metadata.labels.get(ZONE, ""):
            self._watch.wake_node(node.metadata.name)
