"""CRI's calls about containers: changes of `Pods`, and waits on the injected clock between them."""

import asyncio
import re
import shlex
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import orjson

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import resources, statuses
from navarch.runtime_shim.errors import InvalidArgument, RuntimeFailure
from navarch.runtime_shim.lists import ListAnswers
from navarch.runtime_shim.simulated.behavior import Behavior
from navarch.runtime_shim.simulated.images import SimulatedImages
from navarch.runtime_shim.simulated.pods import SIGKILL_CODE, Container, Pods
from navarch.services.base.clock import Clock
from navarch.services.base.tasks import TaskOwner


class Containers:
    """The container half of RuntimeService."""

    def __init__(self, pods: Pods, images: SimulatedImages, clock: Clock) -> None:
        self._pods = pods
        self._images = images
        self._clock = clock
        self._container_lists = ListAnswers(self._listed_containers)
        self._timers = TaskOwner()

    async def close(self) -> None:
        """End the timers; the hollow containers end with them."""
        await self._timers.close()

    async def create_container(self, request: criv1.CreateContainerRequest) -> criv1.CreateContainerResponse:
        """Raises NotFound without the sandbox or the image."""
        sandbox = self._pods.sandbox(request.pod_sandbox_id)
        image_id = self._images.require(request.config.image.image)
        return criv1.CreateContainerResponse(
            container_id=self._pods.create(sandbox, request.config, image_id).record.id
        )

    async def start_container(self, request: criv1.StartContainerRequest) -> criv1.StartContainerResponse:
        """Takes as long as the annotations say, and sets the end of the process if they name one."""
        container = self._pods.container(request.container_id)
        behavior = container.behavior
        self._pods.begin(container)
        try:
            if behavior.start_delay_seconds:
                await self._clock.sleep(behavior.start_delay_seconds)
            self._pods.check(container)
            if behavior.start_error:
                raise RuntimeFailure(behavior.start_error)
            self._write_log(container)
        except (RuntimeFailure, OSError) as failure:
            self._pods.fail(container, str(failure))
            raise RuntimeFailure(str(failure)) from None
        finally:
            container.is_starting = False
        self._pods.start(container)
        if behavior.oom_after_seconds is not None:
            self._at(container, behavior.oom_after_seconds, SIGKILL_CODE, "OOMKilled")
        if behavior.exit_after_seconds is not None:
            self._at(container, behavior.exit_after_seconds, behavior.exit_code)
        return criv1.StartContainerResponse()

    async def stop_container(self, request: criv1.StopContainerRequest) -> criv1.StopContainerResponse:
        """The stop signal ends a process at once, unless it ignores it: then SIGKILL after the timeout."""
        container = self._pods.find_container(request.container_id)
        if container is None or not container.runs:
            return criv1.StopContainerResponse()
        code = 128 + container.record.stop_signal
        if request.timeout <= 0:
            code = SIGKILL_CODE
        elif container.behavior.ignore_sigterm:
            code = SIGKILL_CODE
            with suppress(TimeoutError):
                await self._within(request.timeout, container)
        self._pods.exit(container, code)
        return criv1.StopContainerResponse()

    async def remove_container(self, request: criv1.RemoveContainerRequest) -> criv1.RemoveContainerResponse:
        """Idempotent."""
        if container := self._pods.find_container(request.container_id):
            self._pods.remove(container)
        return criv1.RemoveContainerResponse()

    async def container_status(self, request: criv1.ContainerStatusRequest) -> criv1.ContainerStatusResponse:
        """Raises NotFound."""
        record = self._pods.container(request.container_id).record
        answer = criv1.ContainerStatusResponse(status=statuses.container_status(record))
        if request.verbose:
            answer.info["info"] = orjson.dumps({"config": record.document()["config"]}).decode()
        return answer

    async def list_containers(self, request: criv1.ListContainersRequest) -> criv1.ListContainersResponse:
        """Filtered."""
        return self._container_lists.get(request.filter, self._pods.change)

    def _listed_containers(self, wanted: criv1.ContainerFilter) -> criv1.ListContainersResponse:
        records = (container.record for container in self._pods.containers.values())
        found = (record for record in records if statuses.container_matches(record, wanted))
        return criv1.ListContainersResponse(containers=map(statuses.container_item, found))

    async def update_container_resources(
        self, request: criv1.UpdateContainerResourcesRequest
    ) -> criv1.UpdateContainerResourcesResponse:
        """Kept in the container's configuration; what is not named stays as it was."""
        resources.merge(self._pods.container(request.container_id).record.config.linux.resources, request.linux)
        return criv1.UpdateContainerResourcesResponse()

    async def reopen_container_log(self, request: criv1.ReopenContainerLogRequest) -> criv1.ReopenContainerLogResponse:
        """A new file at the log's path; nothing holds the old one open."""
        path = self._pods.running(request.container_id).record.log_path
        if path:
            Path(path).touch()
        return criv1.ReopenContainerLogResponse()

    async def exec_sync(self, request: criv1.ExecSyncRequest) -> criv1.ExecSyncResponse:
        """Says what it is asked to run, or what annotations say; so exec probes can be simulated."""
        if not request.cmd:
            raise InvalidArgument("no command specified")
        behavior = self._pods.running(request.container_id).behavior
        output, code = executed(behavior, request.cmd)
        return criv1.ExecSyncResponse(stdout=output, exit_code=code)

    def get_container_events(self, request: criv1.GetEventsRequest) -> AsyncIterator[criv1.ContainerEventResponse]:
        """Every change from now on. Raises ResourceExhausted for a reader who is too slow."""
        return self._pods.events.follow()

    def running(self, container_id: str) -> Container:
        """Raises NotFound, FailedPrecondition."""
        return self._pods.running(container_id)

    def end(self, container: Container) -> None:
        """The process ends by itself."""
        self._pods.exit(container, container.behavior.exit_code)

    async def exited(self, container: Container) -> None:
        """Return when the container does not run any more."""
        if container.runs:
            ended = asyncio.Event()
            container.on_exit.append(ended.set)
            await ended.wait()

    async def _within(self, seconds: float, container: Container) -> None:
        """Return when the container has ended, or its time is over."""
        waits = [asyncio.ensure_future(self.exited(container)), asyncio.ensure_future(self._clock.sleep(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _at(self, container: Container, seconds: float, code: int, reason: str = "") -> None:
        """Let the process end then, unless it has ended before."""

        async def end() -> None:
            await self._clock.sleep(seconds)
            # It is this that calls it.
            container.on_exit.remove(cancel)
            self._pods.exit(container, code, reason)

        cancel = self._timers.spawn(end(), f"end-{container.record.id}").cancel
        container.on_exit.append(cancel)

    def _write_log(self, container: Container) -> None:
        record = container.record
        if not record.log_path:
            return
        text = container.behavior.log
        lines = f"{record.config.metadata.name}: simulated, no process runs" if text is None else text
        path = Path(record.log_path)
        path.parent.mkdir(parents=True, exist_ok=True)
        stamp = datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
        with path.open("a") as log:
            log.writelines(f"{stamp} stdout F {line}\n" for line in lines.splitlines())


def executed(behavior: Behavior, command: Sequence[str]) -> tuple[bytes, int]:
    """Output and exit code of a command: those of the annotations; else itself, and what ``exit N`` asks for."""
    output = f"{shlex.join(command)}\n" if behavior.exec_output is None else behavior.exec_output
    words = " ".join(command[2:] if command[1:2] == ["-c"] else command).split()
    asks = len(words) == 2 and words[0] == "exit" and re.fullmatch(r"[0-9]{1,9}", words[1]) is not None
    return output.encode(), int(words[1]) & 0xFF if asks else behavior.exec_exit_code
