"""Logs, processes and ports of the Pods on this node: what both of the kubelet's servers stream.

Whoever calls has been authorized by the server that took the call.
"""

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Protocol

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2
from navarch.services.api.errors import BadRequest, NotFound
from navarch.services.base.clock import Clock
from navarch.services.kubelet.core.ephemeral import ephemeral_containers
from navarch.services.kubelet.core.observed import RUNNING, Container
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.log_reader import LogOptions, read_log
from navarch.services.kubelet.pod_worker import PodWorker
from navarch.services.kubelet.runtime import Runtime
from navarch.services.kubelet.runtime_streams import RuntimeStreams

DEFAULT_CONTAINER_ANNOTATION = "kubectl.kubernetes.io/default-container"
Inputs = AsyncIterator[node_pb2.ExecRequest]


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


class PodStreams:
    """The streams of this node's Pods. They raise ApiError."""

    def __init__(self, pods: Pods, runtime: Runtime, layout: Layout, clock: Clock) -> None:
        self.pods = pods
        self._streams = RuntimeStreams(runtime)
        self._layout = layout
        self._clock = clock

    def pod(self, namespace: str, name: str) -> PodWorker:
        """A Pod of this node. Raises NotFound."""
        worker = self.pods.find(namespace, name)
        if worker is None:
            raise NotFound("pods", name)
        return worker

    def logs(self, namespace: str, pod: str, options: corev1.PodLogOptions) -> AsyncIterator[bytes]:
        """The log of a container, as the container wrote it. Refuses at once, not when it is read."""
        worker = self.pod(namespace, pod)
        container = _container_of(worker, options.container)
        run = _run_for_logs(worker, container, previous=options.previous)
        path = Path(self._layout.log_file(worker.view.pod, container, run.attempt))

        def is_alive() -> bool:
            known = worker.view.runtime.containers.get(run.id)
            return known is not None and known.alive

        return read_log(path, self._log_options(options), is_alive, self._clock)

    def _log_options(self, options: corev1.PodLogOptions) -> LogOptions:
        since = None
        if options.HasField("since_time"):
            since = options.since_time.seconds + options.since_time.nanos / 1e9
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

    def exec(self, start: node_pb2.ExecStart, inputs: Inputs) -> AsyncIterator[node_pb2.ExecResponse]:
        """A process in a container, its streams passed on to and from the runtime."""
        run = self._running(start.namespace, start.pod, start.container)
        return self._streams.exec(run.id, start, inputs)

    def attach(self, start: node_pb2.AttachStart, inputs: Inputs) -> AsyncIterator[node_pb2.ExecResponse]:
        """The streams of a container's own process."""
        run = self._running(start.namespace, start.pod, start.container)
        return self._streams.attach(run.id, start, inputs)

    def forward(self, namespace: str, pod: str, port: int, inputs: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """One connection to a port of a Pod."""
        box = self.pod(namespace, pod).view.runtime.ready_sandbox()
        if box is None:
            raise BadRequest(f"unable to forward port because pod is not running: {pod}")
        return self._streams.forward(box.id, port, inputs)

    def _running(self, namespace: str, pod: str, name: str) -> Container:
        worker = self.pod(namespace, pod)
        container = _container_of(worker, name)
        run = worker.view.runtime.latest(container)
        if run is None or run.state != RUNNING:
            raise BadRequest(f'container {container} in pod "{pod}" is not running')
        return run


def _container_of(worker: PodWorker, name: str) -> str:
    pod = worker.view.pod
    names = [container.name for container in pod.spec.containers]
    every = [container.name for container in pod.spec.init_containers] + names
    every += [container.name for container in ephemeral_containers(pod)]
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
