"""The loop of ServiceCIDRs. Keys: their names."""

from contextlib import suppress

from navarch.protos.k8s.networking import v1_pb2 as networkingv1
from navarch.services.api import errors
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller, Result
from navarch.services.controller_manager.service_cidrs.plan import (
    FINALIZER,
    MANAGED_BY,
    MANAGER,
    Finalize,
    Report,
    ServiceCIDR,
    Wait,
    plan,
)

WORKERS = 1


class ServiceCidrController:
    """Reconciles ServiceCIDRs."""

    def __init__(self, context: Context) -> None:
        self.controller = Controller("service-cidr-controller", self.reconcile, WORKERS, context.clock)
        self._client, self._clock = context.client, context.clock
        self._cidrs = context.informers.of(ServiceCIDR)
        self._addresses = context.informers.of(networkingv1.IPAddress)
        self._cidrs.on_event(self._on_cidr)
        self._addresses.on_event(self._on_address)

    async def reconcile(self, name: str) -> Result | None:
        """Bring one a step further."""
        service_cidr = self._cidrs.get(name)
        if service_cidr is None:
            return None
        others = [other for other in self._cidrs.list() if other.metadata.name != name]
        held = [
            address.metadata.name
            for address in self._addresses.list()
            if address.metadata.labels.get(MANAGED_BY) == MANAGER
        ]
        action = plan(service_cidr, others, held, self._clock.now())
        # What is written comes back as an event, and that is the next step.
        with suppress(errors.NotFound):
            match action:
                case Finalize(present):
                    await self._finalize(service_cidr, present)
                case Report(changed):
                    await self._client.update_status(changed)
                case Wait(seconds):
                    return Result(seconds)
        return None

    async def _finalize(self, service_cidr: ServiceCIDR, present: bool) -> None:
        copy = ServiceCIDR()
        copy.CopyFrom(service_cidr)
        if present:
            copy.metadata.finalizers.append(FINALIZER)
        else:
            copy.metadata.finalizers.remove(FINALIZER)
        await self._client.update(copy)

    def _on_cidr(self, old: ServiceCIDR | None, new: ServiceCIDR | None) -> None:
        # One that comes or goes decides for others that overlap it.
        if old is None or new is None:
            for each in self._cidrs.list():
                self.controller.queue.add(each.metadata.name)
        if new is not None:
            self.controller.queue.add(new.metadata.name)

    def _on_address(self, old: networkingv1.IPAddress | None, new: networkingv1.IPAddress | None) -> None:
        if new is None:
            for each in self._cidrs.list():
                if each.metadata.HasField("deletion_timestamp"):
                    self.controller.queue.add(each.metadata.name)
