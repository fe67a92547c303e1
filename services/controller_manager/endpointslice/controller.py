"""The EndpointSlice loop."""

from collections.abc import Iterable

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.protos.navarch import objects_pb2
from navarch.services.api import errors
from navarch.services.api.meta import is_being_deleted
from navarch.services.client import requests
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller, Result
from navarch.services.controller_manager import backends
from navarch.services.controller_manager.endpointslice.plan import MANAGED_BY, MANAGER, SERVICE_NAME, Plan, plan
from navarch.services.controller_manager.own_writes import TTL_S, OwnWrites
from navarch.services.controller_manager.service_watch import ServiceWatch

WORKERS = 5
ZONE = "topology.kubernetes.io/zone"


def by_service(slice_: discoveryv1.EndpointSlice) -> tuple[str, ...]:
    """An indexer: key of the Service for which this controller made a slice."""
    labels = slice_.metadata.labels
    if labels.get(MANAGED_BY) != MANAGER or SERVICE_NAME not in labels:
        return ()
    return (f"{slice_.metadata.namespace}/{labels[SERVICE_NAME]}",)


class EndpointSliceController:
    """Reconciles Services by "namespace/name"."""

    def __init__(self, context: Context) -> None:
        self.controller = Controller("endpointslice", self.reconcile, WORKERS, context.clock)
        self._client, self._clock = context.client, context.clock
        self._watch = ServiceWatch(context, self.controller.queue.add)
        self._slices = context.informers.of(discoveryv1.EndpointSlice, {"service": by_service})
        self._nodes = context.informers.of(corev1.Node)
        self._written = OwnWrites()
        self._slices.on_event(self._on_slice)
        self._nodes.on_event(self._on_node)

    async def reconcile(self, key: str) -> Result | None:
        """Bring one Service's slices up to date. Those of a deleted Service are garbage-collected."""
        if not self._written.settled(key, self._slices.get, self._clock.monotonic()):
            return Result(TTL_S)
        service = self._watch.services.get(key)
        if service is None or not backends.selects(service) or is_being_deleted(service):
            return None
        pods = self._watch.pods.by_index("namespace", service.metadata.namespace)
        slices = sorted(self._slices.by_index("service", key), key=lambda each: each.metadata.name)
        await self._apply(key, plan(service, pods, self._zones(), slices))
        return None

    def _zones(self) -> dict[str, str]:
        return {node.metadata.name: zone for node in self._nodes.list() if (zone := node.metadata.labels.get(ZONE, ""))}

    async def _apply(self, key: str, step: Plan) -> None:
        creates = [requests.mutation(requests.create_request(each)) for each in step.create]
        updates = [requests.mutation(requests.update_request(each)) for each in step.update]
        await self._write(key, [*creates, *updates])
        await self._write(key, [_deletion(each) for each in step.delete])
        self._written.deleted(key, step.delete, self._clock.monotonic())

    async def _write(self, key: str, mutations: Iterable[objects_pb2.Mutation]) -> None:
        """Write all, remember what was written, then raise the first refusal."""
        results = await self._client.batch(list(mutations))
        written = [each for each in results if isinstance(each, discoveryv1.EndpointSlice)]
        self._written.wrote(key, written, self._clock.monotonic())
        for result in results:
            if isinstance(result, errors.ApiError) and not isinstance(result, errors.NotFound):
                raise result

    def _on_slice(self, old: discoveryv1.EndpointSlice | None, new: discoveryv1.EndpointSlice | None) -> None:
        """Somebody may have changed a slice, or this is the echo of an own write that was waited for."""
        for key in {key for each in (old, new) if each is not None for key in by_service(each)}:
            if new is None and old is not None:
                self._written.saw_deletion(key, old)
            self.controller.queue.add(key)

    def _on_node(self, old: corev1.Node | None, new: corev1.Node | None) -> None:
        before = old.metadata.labels.get(ZONE, "") if old is not None else ""
        after = new.metadata.labels.get(ZONE, "") if new is not None else ""
        if before != after:
            for service in self._watch.services.list():
                self.controller.queue.add(f"{service.metadata.namespace}/{service.metadata.name}")


def _deletion(slice_: discoveryv1.EndpointSlice) -> objects_pb2.Mutation:
    metadata = slice_.metadata
    options = requests.delete_options(uid=metadata.uid)
    return requests.mutation(
        requests.delete_request(discoveryv1.EndpointSlice, metadata.name, metadata.namespace, options)
    )
