"""The Node life cycle loop: heartbeats in, conditions and taints out.

A heartbeat is any change of the Node's Lease or of the times in its Ready condition, dated by this process'
own monotonic clock, so clocks of Nodes do not matter. A Node costs one wake-up each grace period, not one each
heartbeat: the timer looks how old the last one is, and waits for the rest.
"""

from navarch.protos.k8s.coordination import v1_pb2 as coordinationv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import errors
from navarch.services.base.log import get_logger
from navarch.services.client import requests
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller, Result
from navarch.services.controller_manager import pods
from navarch.services.controller_manager.node_lifecycle.plan import (
    READY,
    Grace,
    condition,
    marked_not_ready,
    silenced,
    taints,
    to_mark_not_ready,
)

WORKERS = 5
LEASES = "kube-node-lease"


class NodeLifecycleController:
    """Reconciles Nodes by name."""

    def __init__(self, context: Context, grace: Grace = Grace()) -> None:  # noqa: B008 frozen
        self.controller = Controller("node-lifecycle", self.reconcile, WORKERS, context.clock)
        self._client, self._clock = context.client, context.clock
        self._events = context.recorder("node-controller")
        self._grace = grace
        self._log = get_logger("node-lifecycle")
        self._heard: dict[str, float] = {}
        self._nodes = context.informers.of(corev1.Node)
        self._leases = context.informers.of(coordinationv1.Lease)
        self._pods = context.informers.of(corev1.Pod, {"node": pods.by_node})
        self._nodes.on_event(self._on_node)
        self._leases.on_event(self._on_lease)

    async def reconcile(self, name: str) -> Result | None:
        """Judge one Node, and look again when its silence would be too long."""
        node = self._nodes.get(name)
        if node is None:
            return None
        silent_s = self._clock.monotonic() - self._heard.setdefault(name, self._clock.monotonic())
        left_s = self._grace.of(node) - silent_s
        if left_s <= 0:
            node = await self._silence(node, silent_s)
        node = await self._taint(node)
        await self._mark_pods(node)
        return Result(left_s) if left_s > 0 else None

    async def _silence(self, node: corev1.Node, silent_s: float) -> corev1.Node:
        status = silenced(node, self._clock.now())
        if status is None:
            return node
        self._log.warning("node.silent", node=node.metadata.name, silent_s=round(silent_s, 1))
        changed = _copy(node)
        changed.status.CopyFrom(status)
        written = await self._client.update_status(changed)
        self._events.event(node, "Normal", "NodeNotReady", f"Node {node.metadata.name} status is now: NodeNotReady")
        return written

    async def _taint(self, node: corev1.Node) -> corev1.Node:
        wanted = taints(node, self._clock.now())
        if wanted is None:
            return node
        changed = _copy(node)
        del changed.spec.taints[:]
        changed.spec.taints.extend(wanted)
        return await self._client.update(changed)

    async def _mark_pods(self, node: corev1.Node) -> None:
        """Take the Pods of a lost Node out of their Services."""
        now = self._clock.now()
        stale = to_mark_not_ready(node, self._pods.by_index("node", node.metadata.name))
        changed = [requests.update_request(marked_not_ready(pod, now), subresource="status") for pod in stale]
        results = await self._client.batch([requests.mutation(each) for each in changed])
        for pod, result in zip(stale, results, strict=True):
            if not isinstance(result, errors.ApiError):
                self._events.event(pod, "Warning", "NodeNotReady", "Node is not ready")
            elif not isinstance(result, errors.NotFound):
                raise result

    def _on_node(self, old: corev1.Node | None, new: corev1.Node | None) -> None:
        if new is None:
            if old is not None:
                self._heard.pop(old.metadata.name, None)
            return
        if old is None or _reported_at(old) != _reported_at(new):
            self._hear(new.metadata.name)
        self.controller.queue.add(new.metadata.name)

    def _on_lease(self, old: coordinationv1.Lease | None, new: coordinationv1.Lease | None) -> None:
        if new is None or new.metadata.namespace != LEASES or self._nodes.get(new.metadata.name) is None:
            return
        if old is None or old.spec.renew_time != new.spec.renew_time:
            self._hear(new.metadata.name)

    def _hear(self, node: str) -> None:
        self._heard[node] = self._clock.monotonic()


def _reported_at(node: corev1.Node) -> tuple[int, str] | None:
    ready = condition(node, READY)
    return (ready.last_heartbeat_time.seconds, ready.status) if ready is not None else None


def _copy(node: corev1.Node) -> corev1.Node:
    copy = corev1.Node()
    copy.CopyFrom(node)
    return copy
