"""The route loop: one key for all, for routes are listed whole."""

import asyncio
from collections.abc import Sequence

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch.cloud_pb2 import CloudRoute
from navarch.services.base.log import get_logger
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller, Result
from navarch.services.cloud_controller.provider import Provider, ProviderFailure
from navarch.services.cloud_controller.route.plan import plan, with_network

KEY = "routes"
# Others change routes, too.
PERIOD_S = 10.0
AT_ONCE = 10


class RouteController:
    """Reconciles the routes of the whole cluster."""

    def __init__(self, context: Context, provider: Provider, cluster_cidrs: Sequence[str]) -> None:
        self.controller = Controller("route", self.reconcile, 1, context.clock)
        self._client, self._clock, self._provider = context.client, context.clock, provider
        self._cluster_cidrs = cluster_cidrs
        self._log = get_logger("route")
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._nodes = context.informers.of(corev1.Node)
        self._nodes.on_event(self._on_node)

    async def reconcile(self, _: str) -> Result:
        """Have the cloud's routes lead to the nodes, and say of each Node whether they do."""
        nodes = self._nodes.list()
        step = plan(nodes, await self._provider.routes(), self._cluster_cidrs)
        await asyncio.gather(*(self._delete(route) for route in step.delete))
        failed = {name for name in await asyncio.gather(*(self._create(route) for route in step.create)) if name}
        for node in nodes:
            available = bool(node.spec.pod_cidrs) and node.metadata.name not in failed
            if (changed := with_network(node, available=available, now=self._clock.now())) is not None:
                await self._client.update_status(changed)
        return Result(PERIOD_S)

    async def _delete(self, route: CloudRoute) -> None:
        async with self._gate:
            try:
                await self._provider.delete_route(route)
                self._log.info("route.deleted", node=route.node_name, cidr=route.destination_cidr)
            except ProviderFailure as failure:
                self._log.warning("route.not_deleted", cidr=route.destination_cidr, error=failure)

    async def _create(self, route: CloudRoute) -> str:
        """The node that has no route now, or ""."""
        async with self._gate:
            try:
                await self._provider.create_route(route)
            except ProviderFailure as failure:
                self._log.warning("route.not_created", node=route.node_name, error=failure)
                return route.node_name
            self._log.info("route.created", node=route.node_name, cidr=route.destination_cidr)
            return ""

    def _on_node(self, old: corev1.Node | None, new: corev1.Node | None) -> None:
        if old is None or new is None or list(old.spec.pod_cidrs) != list(new.spec.pod_cidrs):
            self.controller.queue.add(KEY)
