"""The taint eviction loop. A Pod's time is computed anew at each look, so a taint that goes away ends it."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import errors
from navarch.services.api.meta import is_being_deleted, key_of, unix
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller, Result
from navarch.services.controller_manager import pods
from navarch.services.controller_manager.taint_eviction.plan import NO_EXECUTE, condemned, evict_at

WORKERS = 5


class TaintEvictionController:
    """Reconciles Pods by "namespace/name"."""

    def __init__(self, context: Context) -> None:
        self.controller = Controller("taint-eviction", self.reconcile, WORKERS, context.clock)
        self._client, self._clock = context.client, context.clock
        self._events = context.recorder("taint-eviction-controller")
        self._nodes = context.informers.of(corev1.Node)
        self._pods = context.informers.of(corev1.Pod, {"node": pods.by_node})
        # When taints without a time of their own were first seen, by Node.
        self._noticed: dict[str, dict[tuple[str, str], float]] = {}
        self._nodes.on_event(self._on_node)
        self._pods.on_event(self._on_pod)

    async def reconcile(self, key: str) -> Result | None:
        """Evict one Pod if its time has come, else wait for it."""
        pod = self._pods.get(key)
        node = self._nodes.get(pod.spec.node_name) if pod is not None else None
        if pod is None or node is None or is_being_deleted(pod) or pods.has_ended(pod):
            return None
        noticed = self._noticed.get(node.metadata.name, {})
        now = self._clock.now()

        def since(taint: corev1.Taint) -> float:
            return unix(taint.time_added) if taint.HasField("time_added") else noticed.get(_identity(taint), now)

        at = evict_at(pod, node.spec.taints, since)
        if at > now:
            return Result(at - now) if at < float("inf") else None
        await self._evict(pod, now)
        return None

    async def _evict(self, pod: corev1.Pod, now: float) -> None:
        metadata = pod.metadata
        self._events.event(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {key_of(pod)}")
        try:
            await self._client.update_status(condemned(pod, now))
            await self._client.delete(corev1.Pod, metadata.name, metadata.namespace, uid=metadata.uid)
        except errors.NotFound:
            return

    def _on_node(self, old: corev1.Node | None, new: corev1.Node | None) -> None:
        node = new or old
        if node is None:
            return
        name = node.metadata.name
        current = [each for each in new.spec.taints if each.effect == NO_EXECUTE] if new is not None else []
        before = self._noticed.get(name, {})
        after = {_identity(each): before.get(_identity(each), self._clock.now()) for each in current}
        if before == after:
            return
        if after:
            self._noticed[name] = after
        else:
            del self._noticed[name]
        for pod in self._pods.by_index("node", name):
            self.controller.queue.add(key_of(pod))

    def _on_pod(self, old: corev1.Pod | None, new: corev1.Pod | None) -> None:
        if new is None or new.spec.node_name not in self._noticed:
            return
        moved = old is None or old.spec.node_name != new.spec.node_name
        if moved or old is None or list(old.spec.tolerations) != list(new.spec.tolerations):
            self.controller.queue.add(key_of(new))


def _identity(taint: corev1.Taint) -> tuple[str, str]:
    return taint.key, taint.value
