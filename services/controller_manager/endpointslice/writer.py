"""Carries out plans for slices and waits until the cache shows them. For each loop that makes slices."""

from collections.abc import Callable, Iterable

from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.protos.navarch import objects_pb2
from navarch.services.api import errors
from navarch.services.client import requests
from navarch.services.client.context import Context
from navarch.services.client.informer import Informer
from navarch.services.controller_manager.endpointslice.content import MANAGED_BY, SERVICE_NAME
from navarch.services.controller_manager.endpointslice.plan import Plan
from navarch.services.controller_manager.own_writes import OwnWrites


class SliceWriter:
    """The slices that one manager (a value of the label managed-by) made, by the key of their Service.

    wake: called with the key of each Service whose slices changed: by somebody else, or the echo of an own write.
    """

    def __init__(self, context: Context, manager: str, wake: Callable[[str], None]) -> None:
        self._client, self._clock = context.client, context.clock
        self._manager, self._wake = manager, wake
        self._written = OwnWrites()
        self._slices: Informer[discoveryv1.EndpointSlice] = context.informers.of(
            discoveryv1.EndpointSlice, {manager: self._keys}
        )
        self._slices.on_event(self._on_slice)

    def settled(self, key: str) -> bool:
        """Whether the cache shows all that was written."""
        return self._written.settled(key, self._slices.get, self._clock.monotonic())

    def of(self, key: str) -> list[discoveryv1.EndpointSlice]:
        """Those of a Service, in the order of their names."""
        return sorted(self._slices.by_index(self._manager, key), key=lambda each: each.metadata.name)

    async def apply(self, key: str, plan: Plan) -> None:
        """Create and update, then delete. Raises the first refusal, after all was tried."""
        creates = [requests.mutation(requests.create_request(each)) for each in plan.create]
        updates = [requests.mutation(requests.update_request(each)) for each in plan.update]
        await self._write(key, [*creates, *updates])
        await self._write(key, [_deletion(each) for each in plan.delete])
        self._written.deleted(key, plan.delete, self._clock.monotonic())

    async def _write(self, key: str, mutations: Iterable[objects_pb2.Mutation]) -> None:
        results = await self._client.batch(list(mutations))
        written = [each for each in results if isinstance(each, discoveryv1.EndpointSlice)]
        self._written.wrote(key, written, self._clock.monotonic())
        for result in results:
            if isinstance(result, errors.ApiError) and not isinstance(result, errors.NotFound):
                raise result

    def _keys(self, slice_: discoveryv1.EndpointSlice) -> tuple[str, ...]:
        labels = slice_.metadata.labels
        if labels.get(MANAGED_BY) != self._manager or SERVICE_NAME not in labels:
            return ()
        return (f"{slice_.metadata.namespace}/{labels[SERVICE_NAME]}",)

    def _on_slice(self, old: discoveryv1.EndpointSlice | None, new: discoveryv1.EndpointSlice | None) -> None:
        for key in sorted({key for each in (old, new) if each is not None for key in self._keys(each)}):
            if new is None and old is not None:
                self._written.saw_deletion(key, old)
            self._wake(key)


def _deletion(slice_: discoveryv1.EndpointSlice) -> objects_pb2.Mutation:
    metadata = slice_.metadata
    options = requests.delete_options(uid=metadata.uid)
    return requests.mutation(
        requests.delete_request(discoveryv1.EndpointSlice, metadata.name, metadata.namespace, options)
    )
