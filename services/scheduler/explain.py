"""navarch.v1.Scheduler: the scheduler says what it thinks, without doing it."""

from collections.abc import Callable

import grpc

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import scheduler_pb2, scheduler_pb2_grpc
from navarch.services.api.errors import ServiceUnavailable
from navarch.services.api.meta import key_of
from navarch.services.client.client import Client
from navarch.services.scheduler.cluster import PodInfo
from navarch.services.scheduler.cycle import Cycle
from navarch.services.scheduler.framework import Placement
from navarch.services.scheduler.scheduling import Scheduling

Context = grpc.aio.ServicerContext[object, object]


class SchedulerServicer(scheduler_pb2_grpc.SchedulerServicer):
    """Answers from the cluster as the scheduler sees it now. One that does not lead sees nothing and says so."""

    def __init__(self, current: Callable[[], Scheduling | None], cycle: Cycle, client: Client) -> None:
        self._current = current
        self._cycle = cycle
        self._client = client

    @property
    def _scheduling(self) -> Scheduling:
        if (scheduling := self._current()) is None:
            raise ServiceUnavailable("this scheduler does not lead: another one does, or is about to")
        return scheduling

    async def Explain(self, request: scheduler_pb2.ExplainRequest, context: Context) -> scheduler_pb2.Placement:
        """Place a Pod of the cluster again, as if it had no node."""
        pod = await self._client.get(corev1.Pod, request.name, request.namespace)
        stripped = corev1.Pod()
        stripped.CopyFrom(pod)
        stripped.spec.ClearField("node_name")
        cluster = self._scheduling.cluster
        with cluster.without(key_of(pod)):
            return _answer(self._cycle.place(PodInfo.of(stripped), cluster))

    async def WhatIf(self, request: scheduler_pb2.WhatIfRequest, context: Context) -> scheduler_pb2.Placement:
        """Place a Pod that does not exist."""
        return _answer(self._cycle.place(PodInfo.of(request.pod), self._scheduling.cluster))

    async def Queue(self, request: scheduler_pb2.QueueRequest, context: Context) -> scheduler_pb2.QueueResponse:
        """The Pods that wait, and why."""
        return scheduler_pb2.QueueResponse(
            pods=[
                scheduler_pb2.QueuedPod(
                    namespace=queued.pod.metadata.namespace,
                    name=queued.pod.metadata.name,
                    queue=queued.place.value,
                    attempts=queued.attempts,
                    message=queued.message,
                )
                for queued in self._scheduling.queue
            ]
        )


def _answer(placement: Placement) -> scheduler_pb2.Placement:
    return scheduler_pb2.Placement(
        node=placement.node,
        message=placement.message,
        nodes=[
            scheduler_pb2.NodeVerdict(
                node=verdict.node,
                filter=verdict.filter,
                reason=verdict.reason,
                score=round(verdict.score),
                scores={name: round(value) for name, value in (verdict.scores or {}).items()},
            )
            for verdict in placement.verdicts
        ],
    )
