"""The navarch.v1.Node service: logs, processes and statistics of the Pods on this node.

Only the API server and administrators may call it: they authorized the user, or are the user.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import grpc

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2, node_pb2_grpc, streaming_pb2
from navarch.services.api.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    InternalError,
    NotFound,
    ServiceUnavailable,
    Unauthorized,
)
from navarch.services.api.meta import time_from
from navarch.services.base.clock import Clock
from navarch.services.base.tls import identity
from navarch.services.client import requests
from navarch.services.kubelet.core.observed import CONTAINER_LABEL, RUNNING, UID_LABEL, Container
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.log_reader import LogOptions, read_log
from navarch.services.kubelet.pod_worker import PodWorker
from navarch.services.kubelet.runtime import Runtime, RuntimeFailure

ADMINISTRATORS = "system:masters"
DEFAULT_CONTAINER_ANNOTATION = "kubectl.kubernetes.io/default-container"
Context = grpc.aio.ServicerContext[Any, Any]


class Pods(Protocol):
    """Where the servicer finds Pods."""

    def find(self, namespace: str, name: str) -> PodWorker | None:
        """A Pod of this node by name."""
        ...

    def all(self) -> Iterable[PodWorker]:
        """All Pods of this node."""
        ...

    def reported(self, worker: PodWorker) -> corev1.Pod:
        """A Pod with its status as the kubelet sees it."""
        ...


class NodeServicer(node_pb2_grpc.NodeServicer):
    """Serves navarch.v1.Node. secure: callers are known by their certificates."""

    def __init__(self, pods: Pods, runtime: Runtime, layout: Layout, clock: Clock, *, secure: bool) -> None:
        self._pods = pods
        self._runtime = runtime
        self._layout = layout
        self._clock = clock
        self._secure = secure

    def _authorize(self, context: Context) -> None:
        if not self._secure:
            return
        certificates = list(context.auth_context().get("x509_pem_cert", ()))
        if not certificates:
            raise Unauthorized
        name, groups = identity(certificates[0])
        if ADMINISTRATORS not in groups:
            raise Forbidden("nodes/proxy", name, f'User "{name}" cannot use the kubelet directly')

    def _pod(self, namespace: str, name: str) -> PodWorker:
        worker = self._pods.find(namespace, name)
        if worker is None:
            raise NotFound("pods", name)
        return worker

    async def Logs(self, request: node_pb2.LogsRequest, context: Context) -> AsyncIterator[node_pb2.LogsResponse]:
        """The log of a container, as the container wrote it."""
        self._authorize(context)
        worker, options = self._pod(request.namespace, request.pod), request.options
        container = _container_of(worker, options.container)
        run = _run_for_logs(worker, container, previous=options.previous)
        path = Path(self._layout.log_file(worker.view.pod, container, run.attempt))

        def is_alive() -> bool:
            known = worker.view.runtime.containers.get(run.id)
            return known is not None and known.alive

        async for data in read_log(path, self._log_options(options), is_alive, self._clock):
            yield node_pb2.LogsResponse(data=data)

    def _log_options(self, options: corev1.PodLogOptions) -> LogOptions:
        since = None
        if options.HasField("since_time"):
            since = float(options.since_time.seconds)
        elif options.HasField("since_seconds"):
            since = self._clock.now() - options.since_seconds
        return LogOptions(
            follow=options.follow,
            since=since,
            tail_lines=options.tail_lines if options.HasField("tail_lines") else None,
            limit_bytes=options.limit_bytes if options.HasField("limit_bytes") else None,
            timestamps=options.timestamps,
            stream="" if options.stream in ("", "All") else options.stream,
        )

    async def Exec(
        self, request_iterator: AsyncIterator[node_pb2.ExecRequest], context: Context
    ) -> AsyncIterator[node_pb2.ExecResponse]:
        """A process in a container, its streams passed on to and from the runtime."""
        self._authorize(context)
        start = (await _first(request_iterator)).start
        run = self._running(start.namespace, start.pod, start.container)

        async def passed_on() -> AsyncIterator[streaming_pb2.ContainerExecRequest]:
            yield streaming_pb2.ContainerExecRequest(
                start=streaming_pb2.ContainerExecStart(
                    container_id=run.id, command=start.command, stdin=start.stdin, tty=start.tty
                )
            )
            async for request in request_iterator:
                yield _renamed(request, streaming_pb2.ContainerExecRequest)

        try:
            async for answer in self._runtime.streaming.Exec(passed_on()):
                yield answer
        except grpc.aio.AioRpcError as failure:
            if failure.code() is not grpc.StatusCode.UNIMPLEMENTED or start.stdin or start.tty:
                raise _stream_failure(failure) from failure
            async for answer in self._exec_sync(run, list(start.command)):
                yield answer

    async def _exec_sync(self, run: Container, command: list[str]) -> AsyncIterator[node_pb2.ExecResponse]:
        """Without input and terminal any CRI runtime will do."""
        try:
            result = await self._runtime.exec_sync(run.id, command, 0)
        except RuntimeFailure as failure:
            raise BadRequest(str(failure)) from failure
        if result.stdout:
            yield node_pb2.ExecResponse(stdout=result.stdout)
        if result.stderr:
            yield node_pb2.ExecResponse(stderr=result.stderr)
        yield node_pb2.ExecResponse(exit_code=result.exit_code)

    async def Attach(
        self, request_iterator: AsyncIterator[node_pb2.AttachRequest], context: Context
    ) -> AsyncIterator[node_pb2.ExecResponse]:
        """The streams of a container's own process."""
        self._authorize(context)
        start = (await _first(request_iterator)).start
        run = self._running(start.namespace, start.pod, start.container)

        async def passed_on() -> AsyncIterator[streaming_pb2.ContainerAttachRequest]:
            yield streaming_pb2.ContainerAttachRequest(
                start=streaming_pb2.ContainerAttachStart(container_id=run.id, stdin=start.stdin, tty=start.tty)
            )
            async for request in request_iterator:
                yield _renamed(request, streaming_pb2.ContainerAttachRequest)

        async for answer in _translated(self._runtime.streaming.Attach(passed_on())):
            yield answer

    async def PortForward(
        self, request_iterator: AsyncIterator[node_pb2.PortForwardRequest], context: Context
    ) -> AsyncIterator[node_pb2.PortForwardResponse]:
        """One connection to a port of a Pod."""
        self._authorize(context)
        start = (await _first(request_iterator)).start
        box = self._pod(start.namespace, start.pod).view.runtime.ready_sandbox()
        if box is None:
            raise BadRequest(f"unable to forward port because pod is not running: {start.pod}")

        async def passed_on() -> AsyncIterator[streaming_pb2.SandboxPortForwardRequest]:
            yield streaming_pb2.SandboxPortForwardRequest(
                start=streaming_pb2.SandboxPortForwardStart(pod_sandbox_id=box.id, port=start.port)
            )
            async for request in request_iterator:
                yield streaming_pb2.SandboxPortForwardRequest(data=request.data)

        async for answer in _translated(self._runtime.streaming.PortForward(passed_on())):
            yield answer

    def _running(self, namespace: str, pod: str, name: str) -> Container:
        worker = self._pod(namespace, pod)
        container = _container_of(worker, name)
        run = worker.view.runtime.latest(container)
        if run is None or run.state != RUNNING:
            raise BadRequest(f'container {container} in pod "{pod}" is not running')
        return run

    async def Stats(self, request: node_pb2.StatsRequest, context: Context) -> node_pb2.StatsResponse:
        """CPU and memory that containers use."""
        self._authorize(context)
        try:
            found = await self._runtime.container_stats()
        except RuntimeFailure as failure:
            raise ServiceUnavailable(str(failure)) from failure
        answer = node_pb2.StatsResponse(time=time_from(self._clock.now()))
        for worker in self._pods.all():
            metadata = worker.view.pod.metadata
            if (request.namespace and request.namespace != metadata.namespace) or (
                request.pod and request.pod != metadata.name
            ):
                continue
            pod = answer.pods.add(namespace=metadata.namespace, name=metadata.name, uid=metadata.uid)
            pod.containers.extend(
                _stats_of(stats) for stats in found if stats.attributes.labels.get(UID_LABEL) == metadata.uid
            )
        return answer

    async def Pods(self, request: node_pb2.PodsRequest, context: Context) -> node_pb2.PodsResponse:
        """The Pods of this node as the kubelet sees them."""
        self._authorize(context)
        return node_pb2.PodsResponse(pods=[requests.pack(self._pods.reported(worker)) for worker in self._pods.all()])


def _stats_of(stats: criv1.ContainerStats) -> node_pb2.ContainerStats:
    return node_pb2.ContainerStats(
        name=stats.attributes.labels.get(CONTAINER_LABEL, stats.attributes.metadata.name),
        cpu_usage_ns=stats.cpu.usage_core_nano_seconds.value,
        memory_working_set_bytes=stats.memory.working_set_bytes.value,
        filesystem_used_bytes=stats.writable_layer.used_bytes.value,
    )


async def _first(requests_: AsyncIterator[Any]) -> Any:
    async for request in requests_:
        if request.HasField("start"):
            return request
        break
    raise BadRequest("the first request of the stream must say what to start")


def _renamed(request: Any, cls: Callable[[], Any]) -> Any:
    """The later requests have the same shape on both sides."""
    renamed = cls()
    renamed.MergeFromString(request.SerializeToString())
    return renamed


async def _translated(call: AsyncIterable[Any]) -> AsyncIterator[Any]:
    try:
        async for answer in call:
            yield answer
    except grpc.aio.AioRpcError as failure:
        raise _stream_failure(failure) from failure


def _stream_failure(failure: grpc.aio.AioRpcError) -> ApiError:
    """What the runtime says of a stream; only when it cannot be reached is it worth another try."""
    words = failure.details() or "the runtime ended the stream"
    return ServiceUnavailable(words) if failure.code() is grpc.StatusCode.UNAVAILABLE else InternalError(words)


def _container_of(worker: PodWorker, name: str) -> str:
    pod = worker.view.pod
    names = [container.name for container in pod.spec.containers]
    every = [*names, *(container.name for container in pod.spec.init_containers)]
    if not name:
        name = pod.metadata.annotations.get(DEFAULT_CONTAINER_ANNOTATION, "")
        if not name and len(names) != 1:
            raise BadRequest(
                f"a container name must be specified for pod {pod.metadata.name}, choose one of: [{' '.join(every)}]"
            )
        name = name or names[0]
    if name not in every:
        raise BadRequest(f"container {name} is not valid for pod {pod.metadata.name}")
    return name


def _run_for_logs(worker: PodWorker, container: str, *, previous: bool) -> Container:
    runtime, pod = worker.view.runtime, worker.view.pod.metadata.name
    latest = runtime.latest(container)
    run = latest
    if previous:
        # While a crashed container waits for its next run, the run that crashed is the previous one.
        crashed_now = latest is not None and not latest.alive and container in worker.view.waiting
        run = latest if crashed_now else runtime.previous(container)
        if run is None:
            raise BadRequest(f'previous terminated container "{container}" in pod "{pod}" not found')
    if run is None:
        waiting = worker.view.waiting.get(container)
        reason = waiting.reason if waiting else "ContainerCreating"
        raise BadRequest(f'container "{container}" in pod "{pod}" is waiting to start: {reason}')
    return run
