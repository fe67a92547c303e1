"""The Pod garbage collector's loop.

Keys: "node/NAME" for the Pods of a Node that is gone, "stranded" for Pods deleted before they were scheduled,
"ended" for the limit on ended Pods. Deletions are without grace: nobody is left who could stop anything.
"""

from collections.abc import Iterable

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import errors
from navarch.services.base.log import get_logger
from navarch.services.client import requests
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller
from navarch.services.controller_manager import pods
from navarch.services.controller_manager.pod_gc.plan import (
    QUARANTINE_S,
    TERMINATED_LIMIT,
    is_stranded,
    lost,
    surplus,
)

STRANDED = "stranded"
ENDED = "ended"
_NODE = "node/"
# Writes in one call.
_CHUNK = 100


def by_fate(pod: corev1.Pod) -> tuple[str, ...]:
    """An indexer: STRANDED or ENDED Pods."""
    if is_stranded(pod):
        return (STRANDED,)
    return (ENDED,) if pods.has_ended(pod) else ()


class PodGarbageCollector:
    """Reconciles the groups of Pods that the keys name."""

    def __init__(self, context: Context, terminated_limit: int = TERMINATED_LIMIT) -> None:
        self.controller = Controller("pod-gc", self.reconcile, 1, context.clock)
        self._client, self._clock = context.client, context.clock
        self._limit = terminated_limit
        self._log = get_logger("pod-gc")
        self._nodes = context.informers.of(corev1.Node)
        self._pods = context.informers.of(corev1.Pod, {"node": pods.by_node, "fate": by_fate})
        self._nodes.on_event(self._on_node)
        self._pods.on_event(self._on_pod)

    async def reconcile(self, key: str) -> None:
        """Remove what of this group nobody else will."""
        if key == STRANDED:
            await self._delete(pod for pod in self._pods.by_index("fate", STRANDED) if is_stranded(pod))
        elif key == ENDED:
            await self._delete(surplus(self._pods.by_index("fate", ENDED), self._limit))
        else:
            await self._bury(key.removeprefix(_NODE))

    async def _bury(self, node: str) -> None:
        """Remove the Pods of a Node that the API confirms to be gone."""
        doomed = self._pods.by_index("node", node)
        if not doomed or self._nodes.get(node) is not None:
            return
        try:
            await self._client.get(corev1.Node, node)
        except errors.NotFound:
            self._log.info("node.pods_removed", node=node, pods=len(doomed))
        else:
            return
        now = self._clock.now()
        ends = [requests.update_request(end, subresource="status") for pod in doomed if (end := lost(pod, now))]
        await self._client.batch([requests.mutation(each) for each in ends])
        await self._delete(doomed)

    async def _delete(self, doomed: Iterable[corev1.Pod]) -> None:
        mutations = [
            requests.mutation(
                requests.delete_request(
                    corev1.Pod,
                    pod.metadata.name,
                    pod.metadata.namespace,
                    requests.delete_options(grace_period_seconds=0, uid=pod.metadata.uid),
                )
            )
            for pod in doomed
        ]
        for start in range(0, len(mutations), _CHUNK):
            for result in await self._client.batch(mutations[start : start + _CHUNK]):
                if isinstance(result, errors.ApiError) and not isinstance(result, errors.NotFound):
                    raise result

    def _on_node(self, old: corev1.Node | None, new: corev1.Node | None) -> None:
        if new is None and old is not None:
            self.controller.queue.add_after(_NODE + old.metadata.name, QUARANTINE_S)

    def _on_pod(self, old: corev1.Pod | None, new: corev1.Pod | None) -> None:
        if new is None:
            return
        for fate in by_fate(new):
            self.controller.queue.add(fate)
        node = new.spec.node_name
        if node and (old is None or not old.spec.node_name) and self._nodes.get(node) is None:
            self.controller.queue.add_after(_NODE + node, QUARANTINE_S)
