"""The Service loop. A finalizer holds each Service until the cloud has taken its load balancer away."""

from collections.abc import Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.log import get_logger
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller
from navarch.services.cloud_controller.load_balancer.plan import (
    may_have,
    pool,
    takes_traffic,
    wants,
    with_finalizer,
    with_ingress,
)
from navarch.services.cloud_controller.provider import Provider, ProviderFailure

WORKERS = 5
Pool = tuple[tuple[str, str, tuple[str, ...]], ...]


class LoadBalancerController:
    """Reconciles Services by "namespace/name"."""

    def __init__(self, context: Context, provider: Provider) -> None:
        self.controller = Controller("service-lb", self.reconcile, WORKERS, context.clock)
        self._client, self._provider = context.client, provider
        self._events = context.recorder("service-controller")
        self._log = get_logger("service-lb")
        self._nodes = context.informers.of(corev1.Node)
        self._services = context.informers.of(corev1.Service)
        self._nodes.on_event(self._on_node)
        self._services.on_event(self._on_service)
        # By key: what was last asked of the cloud, and for which nodes. A new leader asks once for all.
        self._done: dict[str, tuple[bytes, Pool]] = {}

    async def reconcile(self, key: str) -> None:
        """Have one Service's load balancer as it should be."""
        service = self._services.get(key)
        if service is None:
            self._done.pop(key, None)
        elif wants(service):
            await self._ensure(key, service)
        elif may_have(service):
            await self._remove(key, service)

    async def _ensure(self, key: str, service: corev1.Service) -> None:
        nodes = [node for node in self._nodes.list() if takes_traffic(node)]
        asked = (_asked(service), pool(nodes))
        if self._done.get(key) == asked and service.status.load_balancer.ingress:
            return
        if not may_have(service):
            service = await self._client.update(with_finalizer(service, present=True))
        first = key not in self._done
        self._events.event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
        ingress = await self._try(service, nodes)
        if (changed := with_ingress(service, ingress)) is not None:
            await self._client.update_status(changed)
        self._done[key] = asked
        if not nodes:
            message = "There are no available nodes for LoadBalancer"
            self._events.event(service, "Warning", "UnAvailableLoadBalancer", message)
        reason, done = ("EnsuredLoadBalancer", "Ensured load balancer")
        if not first:
            reason, done = ("UpdatedLoadBalancer", "Updated load balancer with new hosts")
        self._events.event(service, "Normal", reason, done)
        self._log.info("load_balancer.ensured", service=key, nodes=len(nodes))

    async def _try(self, service: corev1.Service, nodes: Sequence[corev1.Node]) -> Sequence[corev1.LoadBalancerIngress]:
        try:
            return await self._provider.ensure_load_balancer(service, nodes)
        except ProviderFailure as failure:
            message = f"Error syncing load balancer: failed to ensure load balancer: {failure}"
            self._events.event(service, "Warning", "SyncLoadBalancerFailed", message)
            raise

    async def _remove(self, key: str, service: corev1.Service) -> None:
        self._events.event(service, "Normal", "DeletingLoadBalancer", "Deleting load balancer")
        try:
            await self._provider.delete_load_balancer(service)
        except ProviderFailure as failure:
            message = f"Error syncing load balancer: failed to delete load balancer: {failure}"
            self._events.event(service, "Warning", "SyncLoadBalancerFailed", message)
            raise
        self._done.pop(key, None)
        if (changed := with_ingress(service, [])) is not None:
            service = await self._client.update_status(changed)
        await self._client.update(with_finalizer(service, present=False))
        self._events.event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")
        self._log.info("load_balancer.deleted", service=key)

    def _on_service(self, old: corev1.Service | None, new: corev1.Service | None) -> None:
        for each in (old, new):
            if each is not None and (wants(each) or may_have(each)):
                self.controller.queue.add(f"{each.metadata.namespace}/{each.metadata.name}")

    def _on_node(self, old: corev1.Node | None, new: corev1.Node | None) -> None:
        before, after = (pool([each]) if each is not None else () for each in (old, new))
        if before != after:
            for service in self._services.list():
                self._on_service(None, service)


def _asked(service: corev1.Service) -> bytes:
    """What the cloud's answer depends on."""
    spec = service.spec.SerializeToString(deterministic=True)
    return b"\0".join((spec, *(f"{k}={v}".encode() for k, v in sorted(service.metadata.annotations.items()))))
