"""Mirror Pods: static Pods as the API shows them, made by the node that runs them.

Level-triggered: each step compares the mirrors that the API server has with the static Pods that are to run. Whoever
deletes a mirror or changes it changes nothing on the node; the mirror comes back.
"""

import asyncio
from collections.abc import Callable, Iterable

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import ApiError, Conflict, NotFound
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.client.client import Client
from navarch.services.kubelet.core.static_pods import mirror_of, shows

RETRY_S, LONGEST_RETRY_S = 0.5, 20.0


class Mirrors:
    """The mirrors of one node. wanted: the static Pods; node: as the API server has it, or None; on_change: a mirror
    of this static Pod has come, and wants a status."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        wanted: Callable[[], Iterable[corev1.Pod]],
        node: Callable[[], corev1.Node | None],
        on_change: Callable[[corev1.Pod], None],
    ) -> None:
        self._client = client
        self._clock = clock
        self._wanted = wanted
        self._node = node
        self._on_change = on_change
        self._log = get_logger("kubelet.mirrors")
        # By namespace/name, as the informer has them.
        self._known: dict[str, corev1.Pod] = {}
        self._due = asyncio.Event()

    def changed(self, old: corev1.Pod | None, new: corev1.Pod | None) -> None:
        """A mirror as the API has it has changed."""
        for pod in (old, new):
            if pod is not None:
                self._known.pop(_name(pod), None)
        if new is not None:
            self._known[_name(new)] = new
        self._due.set()

    def look(self) -> None:
        """Other static Pods are to run."""
        self._due.set()

    def of(self, pod: corev1.Pod) -> corev1.Pod | None:
        """The mirror of a static Pod; None when the API has none of it as it is now."""
        mirror = self._known.get(_name(pod))
        return mirror if mirror is not None and shows(mirror, pod) else None

    async def run(self) -> None:
        """Keep the mirrors true, for ever. The mirrors that there are have to be known."""
        failures = 0
        while True:
            self._due.clear()
            try:
                await self._sync()
                failures = 0
            except ApiError as failure:
                failures += 1
                self._log.warning("mirror.failed", error=failure)
                await self._clock.sleep(min(RETRY_S * 2.0 ** min(failures, 10), LONGEST_RETRY_S))
                continue
            await self._due.wait()

    async def _sync(self) -> None:
        wanted = {_name(pod): pod for pod in self._wanted()}
        for name, mirror in list(self._known.items()):
            pod = wanted.get(name)
            if pod is None or not shows(mirror, pod) or mirror.metadata.HasField("deletion_timestamp"):
                await self._delete(mirror)
        node = self._node()
        if node is None:
            return
        for name, pod in wanted.items():
            if name not in self._known:
                made = await self._client.create(mirror_of(pod, node.metadata.uid))
                self._known.setdefault(name, made)
                self._on_change(pod)

    async def _delete(self, mirror: corev1.Pod) -> None:
        metadata = mirror.metadata
        try:
            await self._client.delete(
                corev1.Pod, metadata.name, metadata.namespace, grace_period_seconds=0, uid=metadata.uid
            )
        except (NotFound, Conflict) as gone:
            self._log.info("mirror.gone", cause=gone)
        known = self._known.get(_name(mirror))
        if known is not None and known.metadata.uid == metadata.uid:
            del self._known[_name(mirror)]


def _name(pod: corev1.Pod) -> str:
    return f"{pod.metadata.namespace}/{pod.metadata.name}"
