"""The navarch.v1.Node service: logs, processes and statistics of the Pods on this node.

Who may call it is decided as at the HTTPS endpoints of the same purpose.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import orjson

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2, node_pb2_grpc, stats_pb2
from navarch.services.api.errors import BadRequest, ServiceUnavailable
from navarch.services.api.meta import time_from
from navarch.services.base.clock import Clock
from navarch.services.client import requests
from navarch.services.kubelet import unit_logs
from navarch.services.kubelet.access import Access
from navarch.services.kubelet.config import Config
from navarch.services.kubelet.configuration import configuration
from navarch.services.kubelet.inspection import inspect, moment
from navarch.services.kubelet.node.image_gc import ImageGc, ImageUse
from navarch.services.kubelet.pod_streams import PodStreams
from navarch.services.kubelet.runtime import RuntimeFailure
from navarch.services.kubelet.stats.sampler import Sampler

# Tells a caller that there is a log, before its first line.
ACCEPTED = (("navarch-accepted", "true"),)
Context = grpc.aio.ServicerContext[Any, Any]


class NodeServicer(node_pb2_grpc.NodeServicer):
    """Serves navarch.v1.Node. access: None to serve anybody, in tests."""

    def __init__(
        self,
        config: Config,
        streams: PodStreams,
        images: ImageGc,
        volume: Callable[[corev1.Pod, str], Path | None],
        sampler: Sampler,
        clock: Clock,
        access: Access | None,
    ) -> None:
        self._config = config
        self._streams = streams
        self._images = images
        self._volume = volume
        self._sampler = sampler
        self._pods = streams.pods
        self._clock = clock
        self._access = access

    async def _authorize(self, context: Context, method: str, path: str) -> None:
        if self._access is not None:
            certificates = list(context.auth_context().get("x509_pem_cert", ()))
            header = dict(context.invocation_metadata() or ()).get("authorization", "")
            await self._access.require(certificates[0] if certificates else None, str(header), method, path)

    async def Logs(self, request: node_pb2.LogsRequest, context: Context) -> AsyncIterator[node_pb2.LogsResponse]:
        """The log of a container, as the container wrote it."""
        await self._authorize(context, "GET", "/containerLogs")
        lines = self._streams.logs(request.namespace, request.pod, request.options)
        await context.send_initial_metadata(ACCEPTED)
        async with aclosing(lines):  # type: ignore[type-var]
            async for data in lines:
                yield node_pb2.LogsResponse(data=data)

    async def Exec(
        self, request_iterator: AsyncIterator[node_pb2.ExecRequest], context: Context
    ) -> AsyncIterator[node_pb2.ExecResponse]:
        """A process in a container."""
        await self._authorize(context, "POST", "/exec")
        start = (await _first(request_iterator)).start
        async with aclosing(self._streams.exec(start, request_iterator)) as answers:  # type: ignore[type-var]
            async for answer in answers:
                yield answer

    async def Attach(
        self, request_iterator: AsyncIterator[node_pb2.AttachRequest], context: Context
    ) -> AsyncIterator[node_pb2.ExecResponse]:
        """The streams of a container's own process."""
        await self._authorize(context, "POST", "/attach")
        start = (await _first(request_iterator)).start
        # What follows the start has the same shape as in Exec.
        later: Any = request_iterator
        async with aclosing(self._streams.attach(start, later)) as answers:  # type: ignore[type-var]
            async for answer in answers:
                yield answer

    async def PortForward(
        self, request_iterator: AsyncIterator[node_pb2.PortForwardRequest], context: Context
    ) -> AsyncIterator[node_pb2.PortForwardResponse]:
        """One connection to a port of a Pod."""
        await self._authorize(context, "POST", "/portForward")
        start = (await _first(request_iterator)).start
        inputs = (request.data async for request in request_iterator)
        answers = self._streams.forward(start.namespace, start.pod, start.port, inputs)
        async with aclosing(answers):  # type: ignore[type-var]
            async for data in answers:
                yield node_pb2.PortForwardResponse(data=data)

    async def Stats(self, request: node_pb2.StatsRequest, context: Context) -> node_pb2.StatsResponse:
        """CPU and memory that containers use."""
        await self._authorize(context, "GET", "/stats")
        answer = node_pb2.StatsResponse(time=time_from(self._clock.now()))
        for pod in (await self._summary()).pods:
            ref = pod.pod_ref
            if request.namespace in ("", ref.namespace) and request.pod in ("", ref.name):
                containers = map(_stats_of, pod.containers)
                answer.pods.add(namespace=ref.namespace, name=ref.name, uid=ref.uid, containers=containers)
        return answer

    async def Pods(self, request: node_pb2.PodsRequest, context: Context) -> node_pb2.PodsResponse:
        """The Pods of this node as the kubelet sees them."""
        await self._authorize(context, "GET", "/pods")
        return node_pb2.PodsResponse(pods=[requests.pack(self._pods.reported(worker)) for worker in self._pods.all()])

    async def Summarize(self, request: node_pb2.SummarizeRequest, context: Context) -> stats_pb2.Summary:
        """What the node and its Pods use."""
        await self._authorize(context, "GET", "/stats/summary")
        return await self._summary(only_cpu_and_memory=request.only_cpu_and_memory)

    async def _summary(self, *, only_cpu_and_memory: bool = False) -> stats_pb2.Summary:
        try:
            return await self._sampler.summary(only_cpu_and_memory=only_cpu_and_memory)
        except (RuntimeFailure, OSError) as failure:
            raise ServiceUnavailable(str(failure)) from failure

    async def Configuration(
        self, request: node_pb2.ConfigurationRequest, context: Context
    ) -> node_pb2.ConfigurationResponse:
        """What this kubelet was told."""
        await self._authorize(context, "GET", "/configz")
        return node_pb2.ConfigurationResponse(json=orjson.dumps({"kubeletconfig": configuration(self._config)}))

    async def Images(self, request: node_pb2.ImagesRequest, context: Context) -> node_pb2.ImagesResponse:
        """The images on this node, the largest first."""
        await self._authorize(context, "GET", "/images")
        try:
            found = await self._images.report()
        except RuntimeFailure as failure:
            raise ServiceUnavailable(str(failure)) from failure
        return node_pb2.ImagesResponse(time=time_from(self._clock.now()), images=map(_image, found))

    async def UnitLogs(self, request: node_pb2.UnitLogsRequest, context: Context) -> node_pb2.UnitLogsResponse:
        """What a service of the host has written last."""
        await self._authorize(context, "GET", "/logs")
        found = await unit_logs.read(request.unit, request.tail_lines)
        return node_pb2.UnitLogsResponse(data=found.data, source=found.source)

    async def Inspect(self, request: node_pb2.InspectRequest, context: Context) -> node_pb2.InspectResponse:
        """All that is known of one Pod."""
        await self._authorize(context, "GET", "/pods")
        worker = self._streams.pod(request.namespace, request.pod)
        return inspect(worker, self._pods.reported(worker), self._volume, self._clock.now())


def _image(use: ImageUse) -> node_pb2.NodeImage:
    return node_pb2.NodeImage(
        id=use.image.id,
        tags=use.image.repo_tags,
        digests=use.image.repo_digests,
        size_bytes=use.image.size,
        pinned=use.image.pinned,
        used_by=use.used_by,
        last_used=moment(use.used_at),
    )


def _stats_of(usage: stats_pb2.ContainerUsage) -> node_pb2.ContainerStats:
    return node_pb2.ContainerStats(
        name=usage.name,
        cpu_usage_ns=usage.cpu.usage_core_nano_seconds,
        memory_working_set_bytes=usage.memory.working_set_bytes,
        filesystem_used_bytes=usage.rootfs.used_bytes,
    )


async def _first(requests_: AsyncIterator[Any]) -> Any:
    async for request in requests_:
        if request.HasField("start"):
            return request
        break
    raise BadRequest("the first request of the stream must say what to start")
