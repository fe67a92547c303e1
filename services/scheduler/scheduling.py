"""One term as leader: what this process knows and does from taking the Lease to losing it.

Watch events keep the cluster and the queue up to date. One task tries the Pods that are due, without awaiting
anything between two of them; what came of a batch (bindings, and the conditions of Pods that fit nowhere) is
written in one call while the next batch is tried, for placed Pods are assumed on their nodes. A binding that
fails takes the assumption back, and the Pod is tried again. Results are matched by Pod, not by name: meanwhile
the Pod may have been deleted and another have taken its name. Nothing is carried over to a next term.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import objects_pb2
from navarch.services.api.errors import ApiError, Conflict, NotFound
from navarch.services.api.meta import find_condition, is_being_deleted, key_of
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.base.tasks import TaskOwner
from navarch.services.client import requests
from navarch.services.client.client import Client
from navarch.services.client.events import EventRecorder
from navarch.services.client.informer import Informers
from navarch.services.scheduler.cluster import Cluster, PodInfo
from navarch.services.scheduler.cycle import Cycle
from navarch.services.scheduler.queue import Change, QueuedPod, SchedulingQueue

log = get_logger("scheduler")

# Pods tried in one go: enough to hide the round trip of their writes, few enough to answer others soon.
BATCH = 64
# Batches whose writes are under way; beyond that the API server is the limit, and trying more would not help.
WRITES = 4
TERMINAL_PHASES = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Attempt:
    """A Pod that was tried: the node it is assumed on, or nothing and why."""

    queued: QueuedPod
    info: PodInfo
    node: str
    message: str


class Scheduling:
    """Scheduling from ``start`` to ``stop``; not to be started again."""

    def __init__(self, client: Client, events: EventRecorder, clock: Clock, cycle: Cycle, scheduler_name: str) -> None:
        self.cluster = Cluster()
        self.queue = SchedulingQueue(cycle.wakes)
        self._client = client
        self._events = events
        self._clock = clock
        self._cycle = cycle
        self._scheduler_name = scheduler_name
        self._informers = Informers(client, clock)
        self._wakeup = asyncio.Event()
        self._writes = asyncio.Semaphore(WRITES)
        self._tasks = TaskOwner()

    def start(self) -> None:
        """Follow the cluster, and schedule once it is known."""
        self._informers.of(corev1.Namespace).on_event(self._on_namespace)
        self._informers.of(corev1.Node).on_event(self._on_node)
        self._informers.of(corev1.Pod).on_event(self._on_pod)
        self._informers.start()
        self._tasks.spawn(self._run(), "scheduling")

    async def stop(self) -> None:
        """End where it stands: who leads next finds in the API what was done."""
        await self._tasks.close()
        await self._informers.stop()

    # Watch events.

    def _on_namespace(self, old: corev1.Namespace | None, new: corev1.Namespace | None) -> None:
        if new is not None:
            self.cluster.namespaces[new.metadata.name] = dict(new.metadata.labels)
        elif old is not None:
            self.cluster.namespaces.pop(old.metadata.name, None)

    def _on_node(self, old: corev1.Node | None, new: corev1.Node | None) -> None:
        if new is not None:
            self.cluster.set_node(new)
            if old is None:
                self._change(Change.NODE_ADDED)
            elif _placement_differs(old, new):
                self._change(Change.NODE_UPDATED)
        elif old is not None:
            self.cluster.remove_node(old.metadata.name)
            self._change(Change.NODE_REMOVED)

    def _on_pod(self, old: corev1.Pod | None, new: corev1.Pod | None) -> None:
        if new is None or new.status.phase in TERMINAL_PHASES:
            if (gone := new or old) is not None:
                self._on_pod_gone(key_of(gone))
        elif new.spec.node_name:
            self.queue.remove(key_of(new))
            self.cluster.set_pod(new)
            if old is None or not old.spec.node_name or old.metadata.labels != new.metadata.labels:
                self._change(Change.POD_PLACED)
        elif not self._is_ours(new):
            self.queue.remove(key_of(new))
        elif not self.cluster.is_assumed(key_of(new)) or key_of(new) in self.queue:
            self.queue.add(new)
            self._wakeup.set()

    def _on_pod_gone(self, key: str) -> None:
        self.queue.remove(key)
        if self.cluster.remove_pod(key):
            self._change(Change.POD_REMOVED)

    def _is_ours(self, pod: corev1.Pod) -> bool:
        return (
            pod.spec.scheduler_name in ("", self._scheduler_name)
            and not pod.spec.scheduling_gates
            and not is_being_deleted(pod)
        )

    def _change(self, change: Change) -> None:
        self.queue.change(change, self._clock.monotonic())
        self._wakeup.set()

    # Scheduling.

    async def _run(self) -> None:
        await self._informers.synced()
        while True:
            self._wakeup.clear()
            if attempts := self._try_batch():
                await self._writes.acquire()
                self._tasks.spawn(self._write(attempts), "write")
                await asyncio.sleep(0)
            else:
                await self._wait_for_work()

    async def _wait_for_work(self) -> None:
        due = self.queue.next_due()
        if due is None:
            await self._wakeup.wait()
            return
        waits = [
            asyncio.ensure_future(self._wakeup.wait()),
            asyncio.ensure_future(self._clock.sleep(max(0.0, due - self._clock.monotonic()))),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _try_batch(self) -> list[Attempt]:
        """Try the Pods that are due, up to a batch; those that fit are assumed, the others parked."""
        attempts: list[Attempt] = []
        while len(attempts) < BATCH and (queued := self.queue.pop(self._clock.monotonic())):
            attempts.append(self._try(queued))
        return attempts

    def _try(self, queued: QueuedPod) -> Attempt:
        info = PodInfo.of(queued.pod)
        placement = self._cycle.place(info, self.cluster)
        if placement.node:
            self.cluster.assume(info, placement.node)
        else:
            self.queue.park(queued, placement.refused_by, placement.message, self._clock.monotonic())
            self._events.event(queued.pod, "Warning", "FailedScheduling", placement.message)
        return Attempt(queued, info, placement.node, placement.message)

    async def _write(self, attempts: Sequence[Attempt]) -> None:
        """Tell the API server what came of a batch."""
        now = datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        written = [one for one in attempts if one.node or not _says(one.info.pod, one.message)]
        results: Sequence[object]
        try:
            results = await self._client.batch([_mutation(one, now) for one in written])
        except ApiError as failure:
            results = [failure] * len(written)
        finally:
            self._writes.release()
        for attempt, result in zip(written, results, strict=True):
            error = result if isinstance(result, ApiError) else None
            if attempt.node:
                self._bound(attempt, error)
            elif error is not None and not isinstance(error, NotFound | Conflict):
                log.warning("pod.condition_not_written", pod=attempt.info.key, error=error)

    def _bound(self, attempt: Attempt, error: ApiError | None) -> None:
        queued, info, node = attempt.queued, attempt.info, attempt.node
        if error is None:
            self.queue.done(queued)
            self._events.event(info.pod, "Normal", "Scheduled", f"Successfully assigned {info.key} to {node}")
            return
        log.info("pod.binding_failed", pod=info.key, node=node, error=error)
        # Also when the Pod is not there any more: the watch will say so, and only it knows about which Pod.
        self.queue.retry(queued, f"binding to {node} failed: {error}", self._clock.monotonic())
        if self.cluster.forget(info):
            self._change(Change.POD_REMOVED)
        self._wakeup.set()


def _placement_differs(old: corev1.Node, new: corev1.Node) -> bool:
    """Whether a node changed in what filters look at; heartbeats do not."""
    return (
        old.spec != new.spec
        or old.metadata.labels != new.metadata.labels
        or old.status.allocatable != new.status.allocatable
    )


def _says(pod: corev1.Pod, message: str) -> bool:
    """Whether a Pod's status names this very reason for which it waits."""
    condition = find_condition(pod.status.conditions, "PodScheduled")
    return condition is not None and condition.status == "False" and condition.message == message


def _mutation(attempt: Attempt, now: str) -> objects_pb2.Mutation:
    metadata = attempt.info.pod.metadata
    if attempt.node:
        bind = requests.bind_request(metadata.namespace, metadata.name, attempt.node, metadata.uid)
        return objects_pb2.Mutation(create=bind)
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": attempt.message}
    known = find_condition(attempt.info.pod.status.conditions, "PodScheduled")
    if known is None or known.status != "False":
        condition["lastTransitionTime"] = now
    patch = {"metadata": {"uid": metadata.uid}, "status": {"conditions": [condition]}}
    return objects_pb2.Mutation(
        patch=requests.patch_request(corev1.Pod, metadata.name, metadata.namespace, patch, subresource="status")
    )
