"""The Endpoints loop.

Endpoints have no owner in their metadata, yet they go with their Service: those that were made here whenever it is
found missing, those that somebody else made when its deletion is seen. Endpoints that never had a Service stay.
"""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import errors
from navarch.services.api.meta import is_being_deleted, key_of, split_key
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller, Result
from navarch.services.controller_manager import backends
from navarch.services.controller_manager.endpoints.plan import LEADER, MANAGED_BY, MANAGER, plan
from navarch.services.controller_manager.own_writes import TTL_S, OwnWrites
from navarch.services.controller_manager.service_watch import ServiceWatch
from navarch.services.controller_manager.trigger_times import TriggerTimes, annotate

WORKERS = 5


class EndpointsController:
    """Reconciles Services by "namespace/name"; their Endpoints have the same key."""

    def __init__(self, context: Context) -> None:
        self.controller = Controller("endpoints", self.reconcile, WORKERS, context.clock)
        self._client, self._clock = context.client, context.clock
        self._watch = ServiceWatch(context, self.controller.queue.add)
        self._endpoints = context.informers.of(corev1.Endpoints)
        self._written = OwnWrites()
        self._triggers = TriggerTimes()
        self._endpoints.on_event(self._on_endpoints)
        # Keys of Services that went while others' Endpoints may be left.
        self._bereft: set[str] = set()
        self._watch.services.on_event(self._on_service)

    async def reconcile(self, key: str) -> Result | None:
        """Bring one Service's Endpoints up to date, or remove those of a Service that is gone."""
        if not self._written.settled(key, self._endpoints.get, self._clock.monotonic()):
            return Result(TTL_S)
        service, current = self._watch.services.get(key), self._endpoints.get(key)
        if service is None:
            self._triggers.forget(key)
            if current is not None and (_is_own(current) or (key in self._bereft and not _is_lock(current))):
                await self._remove(key, current)
            self._bereft.discard(key)
            return None
        self._bereft.discard(key)
        if is_being_deleted(service):
            return None
        if service.spec.type == "ExternalName" and current is not None and _is_own(current):
            await self._remove(key, current)
        if not backends.selects(service):
            return None
        behind = self._watch.behind(service)
        trigger = self._triggers.look(service, behind)
        wanted = plan(service, behind, current)
        if wanted is not None:
            annotate(wanted.metadata, trigger)
            written = await (self._client.create(wanted) if current is None else self._client.update(wanted))
            self._written.wrote(key, [written], self._clock.monotonic())
        return None

    async def _remove(self, key: str, current: corev1.Endpoints) -> None:
        namespace, name = split_key(key)
        try:
            await self._client.delete(corev1.Endpoints, name, namespace, uid=current.metadata.uid)
        except errors.NotFound:
            return
        self._written.deleted(key, [current], self._clock.monotonic())

    def _on_service(self, old: corev1.Service | None, new: corev1.Service | None) -> None:
        if new is None and old is not None:
            self._bereft.add(key_of(old))

    def _on_endpoints(self, old: corev1.Endpoints | None, new: corev1.Endpoints | None) -> None:
        if (endpoints := new or old) is not None:
            if new is None:
                self._written.saw_deletion(key_of(endpoints), endpoints)
            self.controller.queue.add(key_of(endpoints))


def _is_own(endpoints: corev1.Endpoints) -> bool:
    return endpoints.metadata.labels.get(MANAGED_BY) == MANAGER


def _is_lock(endpoints: corev1.Endpoints) -> bool:
    """Whether a leader keeps its record there: a Service of that name is a coincidence."""
    return LEADER in endpoints.metadata.annotations
