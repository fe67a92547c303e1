"""The scheduler's process: watches Pods and nodes, places Pods, writes bindings.

One task drains the queue without awaiting anything between two Pods; the bindings of one drain leave in
one batch while the next drain goes on, for the Pods are assumed on their nodes. A binding that fails takes
the assumption back and the Pod is tried again.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from google.protobuf import any_pb2

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import objects_pb2, scheduler_pb2_grpc
from navarch.services.api.errors import ApiError, Conflict, NotFound
from navarch.services.api.meta import key_of
from navarch.services.api.rpc_status import translate
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.base.serving import GrpcServer
from navarch.services.base.tasks import TaskOwner
from navarch.services.base.tls import Credentials
from navarch.services.client.client import Client
from navarch.services.client.events import EventRecorder
from navarch.services.client.informer import Informers
from navarch.services.client.leader import LeaderElector
from navarch.services.scheduler.cluster import Cluster, PodInfo
from navarch.services.scheduler.cycle import Cycle
from navarch.services.scheduler.explain import SchedulerServicer
from navarch.services.scheduler.framework import Placement
from navarch.services.scheduler.queue import Change, QueuedPod, SchedulingQueue

log = get_logger("scheduler")

# Bindings that leave in one call; enough to hide the round trip, small enough to answer soon.
BIND_BATCH = 64
TERMINAL_PHASES = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True)
class Config:
    """Where the API server is, who we are, and what we serve."""

    api_server: str
    credentials: Credentials | None
    listen: str = "127.0.0.1:10259"
    identity: str = "scheduler"
    scheduler_name: str = "default-scheduler"
    leader_elect: bool = True


class SchedulerService:
    """See the module. ``start`` returns when the server answers; scheduling begins with the lease."""

    def __init__(self, config: Config, clock: Clock, rng: Random) -> None:
        self._config = config
        self._clock = clock
        self.cluster = Cluster()
        self.cycle = Cycle(rng)
        self.queue = SchedulingQueue(self.cycle.wakes)
        self._client = Client.connect(config.api_server, config.credentials, user_agent="navarch-scheduler")
        self._events = EventRecorder(self._client, config.scheduler_name, config.identity, clock)
        self._elector = LeaderElector(self._client, name="kube-scheduler", identity=config.identity, clock=clock)
        self._informers: Informers | None = None
        self._server = GrpcServer(config.credentials, translate=translate, component="scheduler")
        self._wakeup = asyncio.Event()
        self._tasks = TaskOwner()
        self.port = 0

    async def start(self) -> None:
        """Serve, then campaign for the lease in the background."""
        self._server.add(
            scheduler_pb2_grpc.add_SchedulerServicer_to_server,
            SchedulerServicer(self.cluster, self.queue, self.cycle, self._client),
        )
        self.port = await self._server.start(self._config.listen)
        if self._config.leader_elect:
            self._tasks.spawn(self._elector.run(self._lead, self._follow), "leader-election")
        else:
            await self._lead()

    async def stop(self) -> None:
        """End the work, give the lease back, close."""
        await self._tasks.close()
        await self._follow()
        await self._events.stop()
        await self._server.stop(1.0)
        await self._client.close()

    async def _lead(self) -> None:
        informers = self._informers = Informers(self._client, self._clock)
        informers.of(corev1.Namespace).on_event(self._on_namespace)
        informers.of(corev1.Node).on_event(self._on_node)
        informers.of(corev1.Pod).on_event(self._on_pod)
        informers.start()
        await informers.synced()
        self._tasks.spawn(self._schedule_forever(), "scheduling")

    async def _follow(self) -> None:
        if self._informers is not None:
            informers, self._informers = self._informers, None
            await informers.stop()

    # Watch events.

    def _on_namespace(self, old: corev1.Namespace | None, new: corev1.Namespace | None) -> None:
        if new is not None:
            self.cluster.namespaces[new.metadata.name] = dict(new.metadata.labels)
        elif old is not None:
            self.cluster.namespaces.pop(old.metadata.name, None)

    def _on_node(self, old: corev1.Node | None, new: corev1.Node | None) -> None:
        if new is None:
            if old is not None:
                self.cluster.remove_node(old.metadata.name)
            return
        self.cluster.set_node(new)
        if old is None:
            self._change(Change.NODE_ADDED)
        elif _placement_differs(old, new):
            self._change(Change.NODE_UPDATED)

    def _on_pod(self, old: corev1.Pod | None, new: corev1.Pod | None) -> None:
        gone = new is None or new.status.phase in TERMINAL_PHASES
        pod = new if new is not None else old
        if pod is None:
            return
        key = key_of(pod)
        if gone:
            self.queue.remove(key)
            if old is not None and old.spec.node_name:
                self.cluster.remove_pod(key)
                self._change(Change.POD_REMOVED)
            else:
                self.cluster.forget(key)
        elif pod.spec.node_name:
            self.queue.remove(key)
            self.cluster.set_pod(pod)
            if old is None or not old.spec.node_name:
                self._change(Change.POD_PLACED)
        elif self._is_ours(pod) and not self.cluster.is_assumed(key):
            self.queue.add(pod)
            self._wakeup.set()

    def _is_ours(self, pod: corev1.Pod) -> bool:
        return (
            pod.spec.scheduler_name in ("", self._config.scheduler_name)
            and not pod.spec.scheduling_gates
            and not pod.metadata.HasField("deletion_timestamp")
        )

    def _change(self, change: Change) -> None:
        self.queue.change(change, self._clock.monotonic())
        self._wakeup.set()

    # Scheduling.

    async def _schedule_forever(self) -> None:
        informers = self._informers
        while self._informers is informers:
            self._wakeup.clear()
            while drained := self._drain():
                self._tasks.spawn(self._bind(drained), "bind")
                await asyncio.sleep(0)
            await self._wait_for_work()

    async def _wait_for_work(self) -> None:
        due = self.queue.next_due()
        if due is None:
            await self._wakeup.wait()
            return
        waiting = asyncio.ensure_future(self._wakeup.wait())
        sleeping = asyncio.ensure_future(self._clock.sleep(max(0.0, due - self._clock.monotonic())))
        try:
            await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            sleeping.cancel()

    def _drain(self) -> list[tuple[QueuedPod, PodInfo, str]]:
        """Place the Pods that are due, up to a batch; refused ones are parked."""
        placed: list[tuple[QueuedPod, PodInfo, str]] = []
        while len(placed) < BIND_BATCH and (queued := self.queue.pop(self._clock.monotonic())):
            info = PodInfo.of(queued.pod)
            placement = self.cycle.place(info, self.cluster)
            if placement.node:
                self.cluster.assume(info, placement.node)
                placed.append((queued, info, placement.node))
            else:
                self._refuse(queued, placement)
        return placed

    def _refuse(self, queued: QueuedPod, placement: Placement) -> None:
        news = queued.message != placement.message
        self.queue.park(queued, placement.refused_by, placement.message, self._clock.monotonic())
        self._events.event(queued.pod, "Warning", "FailedScheduling", placement.message)
        if news:
            self._tasks.spawn(self._report_unschedulable(queued.pod, placement.message), "condition")

    async def _report_unschedulable(self, pod: corev1.Pod, message: str) -> None:
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        try:
            await self._client.patch(
                corev1.Pod,
                pod.metadata.name,
                pod.metadata.namespace,
                {"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}},
                subresource="status",
            )
        except (NotFound, Conflict):
            log.debug("pod.gone", pod=key_of(pod))
        except ApiError as error:
            log.warning("pod.condition_not_written", pod=key_of(pod), error=error)

    async def _bind(self, placed: Sequence[tuple[QueuedPod, PodInfo, str]]) -> None:
        mutations = [_binding(info.pod, node) for _, info, node in placed]
        results: Sequence[object]
        try:
            results = await self._client.batch(mutations)
        except ApiError as error:
            results = [error] * len(placed)
        for (queued, info, node), result in zip(placed, results, strict=True):
            if isinstance(result, ApiError):
                self._binding_failed(queued, info, node, result)
            else:
                self.queue.remove(info.key)
                message = f"Successfully assigned {info.key} to {node}"
                self._events.event(info.pod, "Normal", "Scheduled", message)

    def _binding_failed(self, queued: QueuedPod, info: PodInfo, node: str, error: ApiError) -> None:
        self.cluster.forget(info.key)
        if isinstance(error, NotFound):
            self.queue.remove(info.key)
            return
        log.warning("pod.binding_failed", pod=info.key, node=node, error=error)
        self.queue.retry(queued, f"binding to {node} failed: {error}", self._clock.monotonic())
        self._wakeup.set()


def _placement_differs(old: corev1.Node, new: corev1.Node) -> bool:
    """Whether a node changed in what filters look at; heartbeats do not."""
    return (
        old.spec != new.spec
        or old.metadata.labels != new.metadata.labels
        or old.status.allocatable != new.status.allocatable
    )


def _binding(pod: corev1.Pod, node: str) -> objects_pb2.Mutation:
    binding = corev1.Binding()
    binding.metadata.name = pod.metadata.name
    binding.metadata.namespace = pod.metadata.namespace
    binding.metadata.uid = pod.metadata.uid
    binding.target.kind, binding.target.name = "Node", node
    packed = any_pb2.Any()
    packed.Pack(binding)
    return objects_pb2.Mutation(
        create=objects_pb2.CreateRequest(
            resource=objects_pb2.Resource(version="v1", resource="pods"),
            namespace=pod.metadata.namespace,
            name=pod.metadata.name,
            subresource="binding",
            object=packed,
        )
    )
