"""The Node loop: initialises Nodes that wait for their cloud, keeps their addresses, deletes those that are no more."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import NotFound
from navarch.services.api.meta import is_being_deleted
from navarch.services.base.log import get_logger
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller, Result
from navarch.services.cloud_controller.node.plan import (
    awaits_cloud,
    initialized,
    is_doubtful,
    readdressed,
    with_shutdown,
)
from navarch.services.cloud_controller.provider import Provider, ProviderFailure

WORKERS = 5
# How soon the cloud is asked again about a Node that is well, and about one that is not.
REFRESH_S = 300.0
DOUBT_S = 5.0


class NodeController:
    """Reconciles Nodes by name."""

    def __init__(self, context: Context, provider: Provider) -> None:
        self.controller = Controller("cloud-node", self.reconcile, WORKERS, context.clock)
        self._client, self._provider = context.client, provider
        self._events = context.recorder("cloud-node-controller")
        self._log = get_logger("cloud-node")
        self._nodes = context.informers.of(corev1.Node)
        self._nodes.on_event(self._on_node)

    async def reconcile(self, name: str) -> Result | None:
        """Have one Node be as its cloud says."""
        node = self._nodes.get(name)
        if node is None or is_being_deleted(node):
            return None
        instance = await self._provider.instance(name, node.spec.provider_id)
        if instance is None and awaits_cloud(node):
            raise ProviderFailure(f"the cloud has no instance for node {name}")
        if instance is None:
            return await self._missed(node)
        if (changed := readdressed(node, instance)) is not None:
            node = await self._client.update_status(changed)
        if awaits_cloud(node):
            node = await self._client.update(initialized(node, instance))
            self._log.info("node.initialized", node=name, provider_id=node.spec.provider_id)
            self._events.event(node, "Normal", "Synced", "Node synced successfully")
        if (changed := with_shutdown(node, shutdown=instance.shutdown)) is not None:
            node = await self._client.update(changed)
        return Result(DOUBT_S if is_doubtful(node) else REFRESH_S)

    async def _missed(self, node: corev1.Node) -> Result:
        """The cloud has no instance. One that reports all the same is left alone: the cloud may err."""
        name = node.metadata.name
        if not is_doubtful(node):
            self._log.warning("node.unknown_to_cloud", node=name, provider_id=node.spec.provider_id)
            return Result(REFRESH_S)
        message = f"Deleting node {name} because it does not exist in the cloud provider"
        self._events.event(node, "Normal", "DeletingNode", message)
        self._log.warning("node.deleted", node=name, provider_id=node.spec.provider_id)
        try:
            await self._client.delete(corev1.Node, name, uid=node.metadata.uid)
        except NotFound:
            self._log.debug("node.gone", node=name)
        return Result(DOUBT_S)

    def _on_node(self, old: corev1.Node | None, new: corev1.Node | None) -> None:
        """A Node is looked at when it comes, and when it ceases to be well."""
        if new is not None and (old is None or is_doubtful(new) != is_doubtful(old) or awaits_cloud(new)):
            self.controller.queue.add(new.metadata.name)
