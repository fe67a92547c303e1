"""The simulated backend: CRI calls become changes of ``Pods``, delays become waits on the injected clock."""

import asyncio
import shlex
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.navarch import node_pb2, streaming_pb2
from navarch.runtime_shim.errors import FailedPrecondition, InvalidArgument, NotFound
from navarch.runtime_shim.lists import ListAnswers
from navarch.runtime_shim.simulated.behavior import Behavior
from navarch.runtime_shim.simulated.images import SimulatedImages
from navarch.runtime_shim.simulated.pods import SIGKILL_CODE, SIGTERM_CODE, Container, Pods, Sandbox
from navarch.services.base.clock import Clock
from navarch.services.base.tasks import TaskOwner

RUNTIME_NAME = "navarch-simulated"
RUNTIME_VERSION = "0.1.0"
# A reader of events that falls this far behind is cut off; it lists again and goes on.
EVENT_QUEUE = 10_000
# Pieces of output that nobody has read.
ECHOES = 64


class SimulatedRuntime:
    """Sandboxes, containers, statistics and the runtime's own state."""

    def __init__(self, images: SimulatedImages, pod_cidr: str, clock: Clock, new_id: Callable[[], str]) -> None:
        self._images = images
        self._clock = clock
        self._pods = Pods(pod_cidr, new_id, self._publish)
        self._sandbox_lists = ListAnswers(self._listed_sandboxes)
        self._container_lists = ListAnswers(self._listed_containers)
        self._watchers: set[asyncio.Queue[criv1.ContainerEventResponse | None]] = set()
        self._timers = TaskOwner()
        # Of containers that somebody waits for.
        self._exits: dict[str, asyncio.Event] = {}

    async def close(self) -> None:
        """End the timers; the hollow containers end with them."""
        await self._timers.close()

    # Sandboxes.

    async def run_pod_sandbox(self, request: criv1.RunPodSandboxRequest) -> criv1.RunPodSandboxResponse:
        """Ready at once."""
        return criv1.RunPodSandboxResponse(pod_sandbox_id=self._pods.run_sandbox(request.config, self._now()).id)

    async def stop_pod_sandbox(self, request: criv1.StopPodSandboxRequest) -> criv1.StopPodSandboxResponse:
        """Idempotent."""
        if sandbox := self._known_sandbox(request.pod_sandbox_id):
            self._pods.stop_sandbox(sandbox, self._now())
        return criv1.StopPodSandboxResponse()

    async def remove_pod_sandbox(self, request: criv1.RemovePodSandboxRequest) -> criv1.RemovePodSandboxResponse:
        """Idempotent."""
        if sandbox := self._known_sandbox(request.pod_sandbox_id):
            self._pods.remove_sandbox(sandbox, self._now())
        return criv1.RemovePodSandboxResponse()

    async def pod_sandbox_status(self, request: criv1.PodSandboxStatusRequest) -> criv1.PodSandboxStatusResponse:
        """With the statuses of its containers."""
        sandbox = self._pods.sandbox(request.pod_sandbox_id)
        return criv1.PodSandboxStatusResponse(
            status=sandbox.status(),
            containers_statuses=[container.status() for container in sandbox.containers.values()],
            timestamp=self._now(),
        )

    async def list_pod_sandbox(self, request: criv1.ListPodSandboxRequest) -> criv1.ListPodSandboxResponse:
        """Filtered."""
        return self._sandbox_lists.get(request.filter, self._pods.change)

    def _listed_sandboxes(self, wanted: criv1.PodSandboxFilter) -> criv1.ListPodSandboxResponse:
        return criv1.ListPodSandboxResponse(items=[one.item() for one in self._pods.list_sandboxes(wanted)])

    # Containers.

    async def create_container(self, request: criv1.CreateContainerRequest) -> criv1.CreateContainerResponse:
        """Raises NotFound without the image."""
        sandbox = self._pods.sandbox(request.pod_sandbox_id)
        image_id = self._images.require(request.config.image.image)
        behavior = Behavior.of(sandbox.config.annotations, request.config.metadata.name)
        container = self._pods.create(sandbox, request.config, behavior, image_id, self._now())
        return criv1.CreateContainerResponse(container_id=container.id)

    async def start_container(self, request: criv1.StartContainerRequest) -> criv1.StartContainerResponse:
        """Takes as long as the annotations say, and sets the end of the process if they name one."""
        container = self._pods.container(request.container_id)
        if container.behavior.start_delay_s:
            await self._clock.sleep(container.behavior.start_delay_s)
        self._write_log(container)
        self._pods.start(container, self._now())
        if container.behavior.exit_after_s is not None:
            self._timers.spawn(self._exit_later(container), f"exit-{container.id}")
        return criv1.StartContainerResponse()

    async def stop_container(self, request: criv1.StopContainerRequest) -> criv1.StopContainerResponse:
        """SIGTERM ends a process at once, unless it ignores it: then SIGKILL after the timeout."""
        container = self._known_container(request.container_id)
        if container is None:
            return criv1.StopContainerResponse()
        code = SIGTERM_CODE if request.timeout > 0 else SIGKILL_CODE
        if container.behavior.ignore_sigterm and request.timeout > 0:
            await self._clock.sleep(request.timeout)
            code = SIGKILL_CODE
        self._pods.exit(container, code, self._now())
        return criv1.StopContainerResponse()

    async def remove_container(self, request: criv1.RemoveContainerRequest) -> criv1.RemoveContainerResponse:
        """Idempotent."""
        if container := self._known_container(request.container_id):
            self._pods.remove(container, self._now())
        return criv1.RemoveContainerResponse()

    async def container_status(self, request: criv1.ContainerStatusRequest) -> criv1.ContainerStatusResponse:
        """Raises NotFound."""
        return criv1.ContainerStatusResponse(status=self._pods.container(request.container_id).status())

    async def list_containers(self, request: criv1.ListContainersRequest) -> criv1.ListContainersResponse:
        """Filtered."""
        return self._container_lists.get(request.filter, self._pods.change)

    def _listed_containers(self, wanted: criv1.ContainerFilter) -> criv1.ListContainersResponse:
        return criv1.ListContainersResponse(containers=[one.item() for one in self._pods.list_containers(wanted)])

    async def update_container_resources(
        self, request: criv1.UpdateContainerResourcesRequest
    ) -> criv1.UpdateContainerResourcesResponse:
        """Kept in the container's configuration."""
        self._pods.container(request.container_id).config.linux.resources.CopyFrom(request.linux)
        return criv1.UpdateContainerResourcesResponse()

    async def reopen_container_log(self, request: criv1.ReopenContainerLogRequest) -> criv1.ReopenContainerLogResponse:
        """Nothing holds the file open."""
        self.require_running(request.container_id)
        return criv1.ReopenContainerLogResponse()

    async def exec_sync(self, request: criv1.ExecSyncRequest) -> criv1.ExecSyncResponse:
        """Echoes the command; ``exit N`` gives that code, so that exec probes can be simulated."""
        self.require_running(request.container_id)
        output = f"{shlex.join(request.cmd)}\n".encode()
        return criv1.ExecSyncResponse(stdout=output, exit_code=_exit_code(request.cmd))

    async def get_container_events(
        self, request: criv1.GetEventsRequest
    ) -> AsyncIterator[criv1.ContainerEventResponse]:
        """Every change from now on; the stream ends for a reader that is too slow."""
        queue: asyncio.Queue[criv1.ContainerEventResponse | None] = asyncio.Queue(EVENT_QUEUE)
        self._watchers.add(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._watchers.discard(queue)

    # Statistics.

    async def container_stats(self, request: criv1.ContainerStatsRequest) -> criv1.ContainerStatsResponse:
        """Raises NotFound."""
        return criv1.ContainerStatsResponse(stats=self._stats(self._pods.container(request.container_id)))

    async def list_container_stats(self, request: criv1.ListContainerStatsRequest) -> criv1.ListContainerStatsResponse:
        """Of the running containers that pass the filter."""
        wanted = criv1.ContainerFilter(
            id=request.filter.id,
            pod_sandbox_id=request.filter.pod_sandbox_id,
            label_selector=request.filter.label_selector,
            state=criv1.ContainerStateValue(state=criv1.CONTAINER_RUNNING),
        )
        return criv1.ListContainerStatsResponse(
            stats=[self._stats(container) for container in self._pods.list_containers(wanted)]
        )

    # The runtime.

    async def version(self, request: criv1.VersionRequest) -> criv1.VersionResponse:
        """Of this simulation."""
        return criv1.VersionResponse(
            version="0.1.0",
            runtime_name=RUNTIME_NAME,
            runtime_version=RUNTIME_VERSION,
            runtime_api_version="v1",
        )

    async def status(self, request: criv1.StatusRequest) -> criv1.StatusResponse:
        """Always ready."""
        conditions = [criv1.RuntimeCondition(type=name, status=True) for name in ("RuntimeReady", "NetworkReady")]
        return criv1.StatusResponse(status=criv1.RuntimeStatus(conditions=conditions))

    async def runtime_config(self, request: criv1.RuntimeConfigRequest) -> criv1.RuntimeConfigResponse:
        """No cgroups, so the simplest driver."""
        return criv1.RuntimeConfigResponse(linux=criv1.LinuxRuntimeConfiguration(cgroup_driver=criv1.CGROUPFS))

    async def update_runtime_config(
        self, request: criv1.UpdateRuntimeConfigRequest
    ) -> criv1.UpdateRuntimeConfigResponse:
        """The Pod CIDR was given at the start."""
        return criv1.UpdateRuntimeConfigResponse()

    # Inside.

    def _now(self) -> int:
        return int(self._clock.now() * 1e9)

    def _known_sandbox(self, sandbox_id: str) -> Sandbox | None:
        try:
            return self._pods.sandbox(sandbox_id)
        except NotFound:
            return None

    def _known_container(self, container_id: str) -> Container | None:
        try:
            return self._pods.container(container_id)
        except NotFound:
            return None

    def require_running(self, container_id: str) -> Container:
        """A container that runs. Raises NotFound, FailedPrecondition."""
        container = self._pods.container(container_id)
        if container.state != criv1.CONTAINER_RUNNING:
            raise FailedPrecondition(f"container {container_id} is not running")
        return container

    def end(self, container: Container) -> None:
        """The process ends by itself."""
        self._pods.exit(container, container.behavior.exit_code, self._now())

    async def exited(self, container: Container) -> None:
        """Return when the container does not run any more."""
        if container.state == criv1.CONTAINER_RUNNING:
            await self._exits.setdefault(container.id, asyncio.Event()).wait()

    async def _exit_later(self, container: Container) -> None:
        await self._clock.sleep(container.behavior.exit_after_s or 0)
        self.end(container)

    def _write_log(self, container: Container) -> None:
        if container.log_path:
            path = Path(container.log_path)
            path.parent.mkdir(parents=True, exist_ok=True)
            stamp = datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
            with path.open("a") as log:
                log.writelines(f"{stamp} stdout F {line}\n" for line in container.behavior.log.splitlines())

    def _stats(self, container: Container) -> criv1.ContainerStats:
        now = self._now()
        running_ns = now - container.started_at
        return criv1.ContainerStats(
            attributes=criv1.ContainerAttributes(
                id=container.id, metadata=container.config.metadata, labels=container.config.labels
            ),
            cpu=criv1.CpuUsage(
                timestamp=now,
                usage_core_nano_seconds=criv1.UInt64Value(value=running_ns * container.behavior.cpu_millicores // 1000),
            ),
            memory=criv1.MemoryUsage(
                timestamp=now, working_set_bytes=criv1.UInt64Value(value=container.behavior.memory_bytes)
            ),
        )

    def _publish(self, container: Container, kind: int) -> None:
        if kind == criv1.CONTAINER_STOPPED_EVENT and (waited_for := self._exits.pop(container.id, None)) is not None:
            waited_for.set()
        if not self._watchers:
            return
        sandbox = container.sandbox
        event = criv1.ContainerEventResponse(
            container_id=container.id,
            container_event_type=criv1.ContainerEventType.Name(kind),
            created_at=self._now(),
            pod_sandbox_status=sandbox.status(),
            containers_statuses=[one.status() for one in sandbox.containers.values()],
        )
        for queue in list(self._watchers):
            if queue.full():
                self._watchers.discard(queue)
                queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(event)


def _exit_code(command: Sequence[str]) -> int:
    """What ``exit N``, by itself or for a shell, asks for; 0 for every other command."""
    words = " ".join(command[2:] if command[1:2] == ["-c"] else command).split()
    return int(words[1]) if len(words) == 2 and words[0] == "exit" and words[1].isdigit() else 0


class SimulatedStreaming:
    """Streams of processes that are not there: what is sent comes back."""

    def __init__(self, runtime: SimulatedRuntime) -> None:
        self._runtime = runtime

    async def exec(
        self, requests: AsyncIterator[streaming_pb2.ContainerExecRequest]
    ) -> AsyncIterator[node_pb2.ExecResponse]:
        """Echoes the command, as ExecSync does, then its input."""
        code = 0
        async for request in requests:
            if request.HasField("start"):
                self._runtime.require_running(request.start.container_id)
                code = _exit_code(request.start.command)
                yield node_pb2.ExecResponse(stdout=f"{shlex.join(request.start.command)}\n".encode())
                if not request.start.stdin:
                    break
            elif request.stdin:
                yield node_pb2.ExecResponse(stdout=request.stdin)
            elif request.close_stdin:
                break
        yield node_pb2.ExecResponse(exit_code=code)

    async def attach(
        self, requests: AsyncIterator[streaming_pb2.ContainerAttachRequest]
    ) -> AsyncIterator[node_pb2.ExecResponse]:
        """Echoes input until the container ends; the end of input ends one that takes it once."""
        start = (await _first(requests)).start
        container = self._runtime.require_running(start.container_id)
        answers: asyncio.Queue[node_pb2.ExecResponse | None] = asyncio.Queue(ECHOES)

        async def echo() -> None:
            async for request in requests:
                if request.close_stdin:
                    break
                if request.stdin:
                    await answers.put(node_pb2.ExecResponse(stdout=request.stdin))
            if start.stdin and container.config.stdin_once:
                self._runtime.end(container)

        async def end() -> None:
            await self._runtime.exited(container)
            await answers.put(None)

        tasks = [asyncio.ensure_future(echo()), asyncio.ensure_future(end())]
        try:
            while (answer := await answers.get()) is not None:
                yield answer
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        yield node_pb2.ExecResponse(exit_code=container.exit_code)

    async def port_forward(
        self, requests: AsyncIterator[streaming_pb2.SandboxPortForwardRequest]
    ) -> AsyncIterator[node_pb2.PortForwardResponse]:
        """Every port echoes."""
        await _first(requests)
        async for request in requests:
            yield node_pb2.PortForwardResponse(data=request.data)


async def _first(requests: AsyncIterator[Any]) -> Any:
    async for request in requests:
        if request.HasField("start"):
            return request
        break
    raise InvalidArgument("the first message of the stream must have 'start'")


class SimulatedBackend:
    """A whole runtime without containers. State lives as long as the process."""

    def __init__(self, pod_cidr: str, clock: Clock, new_id: Callable[[], str]) -> None:
        self.images = SimulatedImages(clock)
        self.runtime = SimulatedRuntime(self.images, pod_cidr, clock, new_id)
        self.streaming = SimulatedStreaming(self.runtime)

    async def start(self) -> None:
        """Nothing to wait for."""

    async def stop(self) -> None:
        """End the timers."""
        await self.runtime.close()
