"""The EndpointSlice mirroring loop."""

from google.protobuf.message import Message

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import key_of
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller, Result
from navarch.services.controller_manager.endpointslice.plan import Plan
from navarch.services.controller_manager.endpointslice.writer import SliceWriter
from navarch.services.controller_manager.endpointslice_mirroring.plan import (
    MANAGER,
    SUBSET_LIMIT,
    Mirrored,
    is_mirrored,
    mirrored,
    plan,
)
from navarch.services.controller_manager.own_writes import TTL_S

WORKERS = 5


class EndpointSliceMirroringController:
    """Reconciles Endpoints by "namespace/name". limit: addresses of a subset that are mirrored."""

    def __init__(self, context: Context, limit: int = SUBSET_LIMIT) -> None:
        self.controller = Controller("endpointslicemirroring", self.reconcile, WORKERS, context.clock)
        self._limit = limit
        self._events = context.recorder("endpoint-slice-mirroring-controller")
        self._services = context.informers.of(corev1.Service)
        self._endpoints = context.informers.of(corev1.Endpoints)
        self._writer = SliceWriter(context, MANAGER, self.controller.queue.add)
        self._services.on_event(self._wake)
        self._endpoints.on_event(self._wake)

    async def reconcile(self, key: str) -> Result | None:
        """See that slices show these Endpoints, or that none do."""
        if not self._writer.settled(key):
            return Result(TTL_S)
        endpoints, slices = self._endpoints.get(key), self._writer.of(key)
        if endpoints is None or not is_mirrored(endpoints, self._services.get(key)):
            await self._writer.apply(key, Plan(delete=slices))
            return None
        found = mirrored(endpoints, self._limit)
        step = plan(endpoints, found, slices)
        if step != Plan():
            self._tell(endpoints, found)
            await self._writer.apply(key, step)
        return None

    def _tell(self, endpoints: corev1.Endpoints, found: Mirrored) -> None:
        if found.invalid:
            text = f"Skipped {found.invalid} invalid IP addresses when mirroring to EndpointSlices"
            self._events.event(endpoints, "Warning", "InvalidIPAddress", text)
        if found.skipped > found.invalid:
            text = (
                f"A max of {self._limit} addresses can be mirrored to EndpointSlices per Endpoints subset. "
                f"{found.skipped} addresses were skipped"
            )
            self._events.event(endpoints, "Warning", "TooManyAddressesToMirror", text)

    def _wake(self, old: Message | None, new: Message | None) -> None:
        if (obj := new or old) is not None:
            self.controller.queue.add(key_of(obj))
