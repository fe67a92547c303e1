"""The EndpointSlice loop."""

from collections.abc import Iterable, Mapping
from fractions import Fraction

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import condition_is, is_being_deleted, key_of
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller, Result
from navarch.services.controller_manager import backends
from navarch.services.controller_manager.endpointslice import topology
from navarch.services.controller_manager.endpointslice.content import MANAGER
from navarch.services.controller_manager.endpointslice.plan import SLICE_LIMIT, Plan, plan
from navarch.services.controller_manager.endpointslice.writer import SliceWriter
from navarch.services.controller_manager.own_writes import TTL_S
from navarch.services.controller_manager.service_watch import ServiceWatch
from navarch.services.controller_manager.trigger_times import TriggerTimes, annotate

WORKERS = 5
ASKING = "topology-mode"


class EndpointSliceController:
    """Reconciles Services by "namespace/name". limit: endpoints in a slice."""

    def __init__(self, context: Context, limit: int = SLICE_LIMIT) -> None:
        self.controller = Controller("endpointslice", self.reconcile, WORKERS, context.clock)
        self._limit = limit
        self._watch = ServiceWatch(context, self.controller.queue.add)
        self._writer = SliceWriter(context, MANAGER, self.controller.queue.add)
        self._nodes = context.informers.of(corev1.Node)
        self._triggers = TriggerTimes()
        self._events = context.recorder("endpoint-slice-controller")
        context.informers.of(corev1.Service, {ASKING: _if_asking})
        # Of zones; None until somebody asks again.
        self._shares: Mapping[str, Fraction] | None = None
        self._without_hints: dict[str, dict[str, str]] = {}
        self._nodes.on_event(self._on_node)

    async def reconcile(self, key: str) -> Result | None:
        """Bring one Service's slices up to date. Those of a deleted Service are garbage-collected."""
        if not self._writer.settled(key):
            return Result(TTL_S)
        service = self._watch.services.get(key)
        if service is None:
            self._triggers.forget(key)
            self._without_hints.pop(key, None)
            return None
        if is_being_deleted(service):
            return None
        if service.spec.type == "ExternalName":
            # A mere alias: what it once selected is not behind it any more.
            await self._writer.apply(key, Plan(delete=self._writer.of(key)))
        elif backends.selects(service):
            behind = self._watch.behind(service)
            step = plan(service, behind, self._zones(behind), self._writer.of(key), self._limit, self._share)
            self._tell_hints(key, service, step)
            trigger = self._triggers.look(service, behind)
            for each in (*step.create, *step.update):
                annotate(each.metadata, trigger)
            await self._writer.apply(key, step)
        return None

    def _share(self) -> Mapping[str, Fraction]:
        if self._shares is None:
            self._shares = topology.shares(self._nodes.list())
        return self._shares

    def _tell_hints(self, key: str, service: corev1.Service, step: Plan) -> None:
        """In Events, whenever that changes."""
        before = self._without_hints.pop(key, {})
        for family, reason in step.without_hints.items():
            if before.get(family) == reason:
                continue
            if reason:
                self._events.event(service, "Warning", "TopologyAwareHintsDisabled", f"{reason}, addressType: {family}")
            else:
                text = f"Topology Aware Hints has been enabled, addressType: {family}"
                self._events.event(service, "Normal", "TopologyAwareHintsEnabled", text)
        if step.without_hints:
            self._without_hints[key] = step.without_hints

    def _zones(self, behind: Iterable[corev1.Pod]) -> dict[str, str]:
        """Of those Nodes of the Pods that exist."""
        found = (self._nodes.get(name) for name in {pod.spec.node_name for pod in behind})
        return {node.metadata.name: node.metadata.labels.get(topology.ZONE, "") for node in found if node is not None}

    def _on_node(self, old: corev1.Node | None, new: corev1.Node | None) -> None:
        """A Node came, went or moved to another zone."""
        if (node := new or old) is None:
            return
        if _zone_of(old) != _zone_of(new):
            self._watch.wake_node(node.metadata.name)
        if _shares_of(old) != _shares_of(new):
            self._shares = None
            for service in self._watch.services.by_index(ASKING, ""):
                self.controller.queue.add(key_of(service))


def _zone_of(node: corev1.Node | None) -> str | None:
    return node.metadata.labels.get(topology.ZONE, "") if node is not None else None


def _shares_of(node: corev1.Node | None) -> object:
    """What of a Node the shares depend on."""
    if node is None:
        return None
    labels = {name: value for name, value in node.metadata.labels.items() if name in topology.LABELS}
    cpu = node.status.allocatable["cpu"].string if "cpu" in node.status.allocatable else ""
    return labels, condition_is(node.status.conditions, "Ready"), cpu


def _if_asking(service: corev1.Service) -> tuple[str, ...]:
    """An indexer: all that ask for hints together."""
    return ("",) if topology.is_asked(service) else ()
