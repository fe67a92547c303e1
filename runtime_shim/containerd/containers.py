"""Containers: made, started, stopped, removed.

Making one: record, snapshot and containerd container, record again. Starting: pipes, task, record. An exit is
learnt from containerd's events or from a listing after a gap, and ends here in `exited`. Removing runs backwards
and may be repeated.
"""

import asyncio
import contextlib
import secrets
import shutil
import signal
from typing import Any

import orjson
from google.protobuf import any_pb2

from navarch.protos.containerd import task_pb2
from navarch.protos.containerd.services.containers import v1_pb2 as containersv1
from navarch.protos.containerd.services.snapshots import v1_pb2 as snapshotsv1
from navarch.protos.containerd.services.tasks import v1_pb2 as tasksv1
from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors, resources, statuses
from navarch.runtime_shim.containerd import linux, spec
from navarch.runtime_shim.containerd.cgroups import Cgroups
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.images.service import ImageService
from navarch.runtime_shim.containerd.log_keeper_client import LogKeeperClient
from navarch.runtime_shim.containerd.maker import Maker
from navarch.runtime_shim.containerd.output import Output
from navarch.runtime_shim.containerd.tasks import KILL_TIMEOUT_S, Tasks
from navarch.runtime_shim.containerd.user_namespaces import check_container
from navarch.runtime_shim.containerd.world import Container, World
from navarch.runtime_shim.lists import ListAnswers
from navarch.runtime_shim.names import container_name
from navarch.runtime_shim.records import ContainerPhase, ContainerRecord
from navarch.services.base.log import get_logger

LOG = get_logger("shim.containers")
# How long the making of a container that nobody waits for may go on: a volume may hold it up for ever.
ABANDONED_S = 30.0
# The last output is in the pipes when an exit is known; longer than this only a stray process can hold them.
DRAIN_TIMEOUT_S = 2.0
START_FAILED_CODE = 128
UNKNOWN_CODE = 255
SIGKILL_CODE = 128 + signal.SIGKILL


class Containers:
    """The container half of RuntimeService."""

    def __init__(
        self,
        world: World,
        client: ContainerdClient,
        images: ImageService,
        cgroups: Cgroups,
        maker: Maker,
        keeper: LogKeeperClient,
    ) -> None:
        self._world = world
        self._client = client
        self._images = images
        self._cgroups = cgroups
        self._maker = maker
        self._keeper = keeper
        self.tasks = Tasks(client, world)
        self._lists = ListAnswers(self._listed)
        # Half made, and not removed: containerd was away.
        self._abandoned: set[str] = set()

    # Making.

    async def create_container(self, request: criv1.CreateContainerRequest) -> criv1.CreateContainerResponse:
        """Everything but the process; a failed or abandoned call leaves nothing."""
        sandbox = self._world.sandbox(request.pod_sandbox_id)
        if not sandbox.ready:
            raise errors.FailedPrecondition(f"sandbox {sandbox.record.id} is not ready")
        _check_privileges(request.config, sandbox.record.config)
        check_container(request.config, sandbox.record.config)
        config = request.config
        name = container_name(config.metadata)
        exists = any(container_name(other.record.config.metadata) == name for other in sandbox.containers.values())
        with self._world.making(f"container {name} of sandbox {sandbox.record.id}", exists):
            image = await self._images.resolve(config.image.image)
            record = ContainerRecord(secrets.token_hex(32), sandbox.record.id, config, self._world.now_ns())
            container = Container(record, sandbox)
            making = asyncio.ensure_future(self._maker.make(container, image))
            try:
                await asyncio.shield(making)
                if not sandbox.ready:
                    raise errors.FailedPrecondition(f"sandbox {sandbox.record.id} was stopped meanwhile")
            except BaseException:
                await asyncio.shield(asyncio.ensure_future(self._abandon(container, making)))
                raise
            self._world.add(container)
        self._world.publish(sandbox, record.id, criv1.ContainerEventType.CONTAINER_CREATED_EVENT)
        return criv1.CreateContainerResponse(container_id=record.id)

    async def _abandon(self, container: Container, making: asyncio.Future[None]) -> None:
        """Remove what was made so far; where containerd is away, when it is back."""
        container_id = container.record.id
        # What containerd was asked for comes about although nobody waits for it: only then it can be removed.
        try:
            async with asyncio.timeout(ABANDONED_S):
                await asyncio.gather(making, return_exceptions=True)
        except TimeoutError:
            self._abandoned.add(container_id)
        try:
            await self.discard(container_id)
            if not container.sandbox.ready:
                # What the container was made of may have kept the sandbox from removing it.
                await self._maker.roots.collect()
        except errors.ShimError as failure:
            LOG.warning("container.left", container=container_id, error=failure)
            self._abandoned.add(container_id)

    async def remove_abandoned(self) -> None:
        """Remove what could not be removed when its making failed. To be repeated after a failure."""
        for container_id in list(self._abandoned):
            await self.clear(container_id)
            await self.discard(container_id)
            self._abandoned.discard(container_id)

    # Starting.

    async def start_container(self, request: criv1.StartContainerRequest) -> criv1.StartContainerResponse:
        """Run the process. A failure ends the container: exit code 128, reason StartError, runc's words."""
        container = self._world.container(request.container_id)
        async with container.lock:
            if container.record.phase != ContainerPhase.CREATED:
                phase = container.record.phase.value
                raise errors.FailedPrecondition(f"container {container.record.id} is {phase}, not created")
            if not container.sandbox.ready:
                raise errors.FailedPrecondition(f"sandbox {container.record.sandbox_id} is not ready")
            # Whoever asked may go away meanwhile, and yet what has begun to run has run: it is done, and told.
            starting = asyncio.ensure_future(self._start(container))
            try:
                await asyncio.shield(starting)
            except asyncio.CancelledError:
                await asyncio.shield(asyncio.wait((starting,)))
                if not starting.cancelled() and (failure := starting.exception()) is not None:
                    LOG.debug("container.start_abandoned", container=container.record.id, error=failure)
                raise
        return criv1.StartContainerResponse()

    async def _start(self, container: Container) -> None:
        try:
            pid = await self._run(container)
        except (errors.ShimError, OSError) as failure:
            await self._start_failed(container, str(failure))
            raise errors.RuntimeFailure(str(failure)) from None
        self.started(container, pid)

    def started(self, container: Container, pid: int) -> None:
        """The process runs: remember and tell."""
        record = container.record
        record.phase, record.pid, record.started_at_ns = ContainerPhase.RUNNING, pid, self._world.now_ns()
        self._save_fact(record)
        self._world.publish(container.sandbox, record.id, criv1.ContainerEventType.CONTAINER_STARTED_EVENT)

    def open_output(self, container: Container) -> Output:
        """Read the container's pipes from now on. Raises OSError."""
        record = container.record
        folder = self._world.state.container(record.id)
        config = record.config
        output = Output(folder, record.log_path, self._world.clock, stdin=config.stdin, tty=config.tty)
        output.open()
        container.output = output
        self._keeper.hold(record.id, output.pipes.handles)
        return output

    async def _run(self, container: Container) -> int:
        record = container.record
        pipes = self.open_output(container).pipes
        if not container.rootfs:
            mounts = snapshotsv1.MountsRequest(snapshotter=self._maker.roots.snapshotter, key=record.id)
            container.rootfs = (await self._client.snapshots.Mounts(mounts)).mounts
        request = tasksv1.CreateTaskRequest(
            container_id=record.id,
            rootfs=container.rootfs,
            stdin=pipes.stdin,
            stdout=pipes.stdout,
            stderr=pipes.stderr,
            terminal=record.config.tty,
        )
        return await self.tasks.run(container, request)

    async def _start_failed(self, container: Container, message: str) -> None:
        try:
            await self.tasks.delete(container.record.id)
        except errors.ShimError as failure:
            LOG.warning("container.task_left", container=container.record.id, error=failure)
        self.close_output(container, remove=True)
        now = self._world.now_ns()
        container.record.started_at_ns = now
        self._finish(container, START_FAILED_CODE, now, "StartError", message)

    # Ending.

    async def stop_container(self, request: criv1.StopContainerRequest) -> criv1.StopContainerResponse:
        """The stop signal, then after `timeout` seconds SIGKILL. Returns when the container has exited."""
        container = self._world.find_container(request.container_id)
        if container is None or container.record.phase != ContainerPhase.RUNNING:
            return criv1.StopContainerResponse()
        if request.timeout > 0:
            if not container.is_stopping:
                # Once: many programs take a second signal as an order to end at once.
                container.is_stopping = True
                await self.signal(container, container.record.stop_signal)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(container.exited.wait(), request.timeout)
        await self.kill(container)
        return criv1.StopContainerResponse()

    async def kill(self, container: Container) -> None:
        """SIGKILL; returns when it has exited. Idempotent. Raises DeadlineExceeded."""
        async with container.lock:
            # A start that is under way decides first what there is to kill.
            running = container.record.phase == ContainerPhase.RUNNING
        if not running:
            return
        # Without a PID namespace of its own, killing the first process leaves the others.
        options = container.record.config.linux.security_context.namespace_options
        everyone = options.pid != criv1.NamespaceMode.CONTAINER
        await self.signal(container, signal.SIGKILL, everyone=everyone)
        try:
            await asyncio.wait_for(container.exited.wait(), KILL_TIMEOUT_S)
        except TimeoutError:
            raise errors.DeadlineExceeded(
                f"container {container.record.id} lives {KILL_TIMEOUT_S:g} s after SIGKILL"
            ) from None

    async def signal(self, container: Container, number: int, *, everyone: bool = False) -> None:
        """Send a signal; a process that is no more has got it."""
        request = tasksv1.KillRequest(container_id=container.record.id, signal=number, all=everyone)
        try:
            await self._client.tasks.Kill(request)
        except (errors.NotFound, errors.FailedPrecondition):
            await self.check(container)

    async def check(self, container: Container) -> None:
        """Ask containerd about a container that should be running; an exit that went unheard is dealt with."""
        try:
            answer = await self._client.tasks.Get(tasksv1.GetRequest(container_id=container.record.id))
        except errors.NotFound:
            await self.on_exit(container, UNKNOWN_CODE, self._world.now_ns(), reason="Unknown")
            return
        process = answer.process
        if process.status == task_pb2.Status.STOPPED:
            await self.on_exit(container, process.exit_status, process.exited_at.ToNanoseconds())

    async def on_exit(self, container: Container, code: int, finished_at_ns: int, reason: str = "") -> None:
        """The process has ended. Idempotent: events and listings may both say so. reason: where the code tells none."""
        async with container.lock:
            record = container.record
            if record.phase != ContainerPhase.RUNNING:
                return
            if container.output is not None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(container.output.pipes.drain(), DRAIN_TIMEOUT_S)
            if code == SIGKILL_CODE and not container.oom_killed:
                container.oom_killed = self._cgroups.oom_kills(record.cgroup_path) > 0
            told = "OOMKilled" if container.oom_killed else "Completed" if code == 0 else "Error"
            self.close_output(container, remove=True)
            self._finish(container, code, finished_at_ns, reason or told, "")
            # Within the lock: containerd does not bear two deletions of one task at once.
            try:
                await self.tasks.delete(record.id)
            except errors.ShimError as failure:
                # Removing the container tries again.
                LOG.warning("container.task_left", container=record.id, error=failure)

    def _finish(self, container: Container, code: int, finished_at_ns: int, reason: str, message: str) -> None:
        record = container.record
        record.phase, record.pid = ContainerPhase.EXITED, 0
        record.exit_code, record.finished_at_ns = code, max(finished_at_ns, record.started_at_ns)
        record.reason, record.message = reason, message
        self._save_fact(record)
        container.exited.set()
        self._world.publish(container.sandbox, record.id, criv1.ContainerEventType.CONTAINER_STOPPED_EVENT)

    def _save_fact(self, record: ContainerRecord) -> None:
        """What has happened is true also where it can't be written; after a restart containerd tells it again."""
        try:
            self._world.state.save(record)
        except OSError as failure:
            LOG.error("container.not_saved", container=record.id, error=failure)

    def close_output(self, container: Container, *, remove: bool) -> None:
        """Stop reading the container's pipes. remove: the process is over, and all that can be had is in the log."""
        output, container.output = container.output, None
        if output is not None:
            output.close(remove=remove)
        if remove and (output is not None or container.record.phase == ContainerPhase.RUNNING):
            self._keeper.drop(container.record.id)

    async def remove_container(self, request: criv1.RemoveContainerRequest) -> criv1.RemoveContainerResponse:
        """Kill it if it runs, then remove it. Absent is removed."""
        if (container := self._world.find_container(request.container_id)) is not None:
            await self.remove(container)
        return criv1.RemoveContainerResponse()

    async def remove(self, container: Container) -> None:
        """Idempotent, and to be repeated after a failure."""
        await self.kill(container)
        async with container.lock:
            if self._world.containers.get(container.record.id) is not container:
                return
            self.close_output(container, remove=True)
            await self.discard(container.record.id)
            self._world.drop(container)
            deleted = criv1.ContainerEventType.CONTAINER_DELETED_EVENT
            self._world.publish(container.sandbox, container.record.id, deleted)

    async def discard(self, container_id: str) -> None:
        """Remove all that containerd and the disk have of a container, wherever its making or removing stopped."""
        await self.tasks.delete(container_id)
        with contextlib.suppress(errors.NotFound):
            await self._client.containers.Delete(containersv1.DeleteContainerRequest(id=container_id))
        with contextlib.suppress(errors.NotFound):
            snapshotter = self._maker.roots.snapshotter
            await self._client.snapshots.Remove(
                snapshotsv1.RemoveSnapshotRequest(snapshotter=snapshotter, key=container_id)
            )
        folder = self._world.state.container(container_id)
        await self._maker.image_volumes.remove(container_id, folder)
        linux.unpin_namespace(folder / "pid")
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def clear(self, container_id: str) -> None:
        """End a task that containerd does not list but that an interrupted start may have left."""
        await self.tasks.clear(container_id)

    # Reading.

    async def container_status(self, request: criv1.ContainerStatusRequest) -> criv1.ContainerStatusResponse:
        """From memory; verbose adds the specification that the process runs under."""
        container = self._world.container(request.container_id)
        answer = criv1.ContainerStatusResponse(status=statuses.container_status(container.record))
        if request.verbose:
            found = await self._client.containers.Get(containersv1.GetContainerRequest(id=container.record.id))
            info: dict[str, Any] = {
                "sandboxID": container.record.sandbox_id,
                "pid": container.record.pid,
                "snapshotKey": found.container.snapshot_key,
                "snapshotter": found.container.snapshotter,
                "runtimeType": found.container.runtime.name,
                "config": container.record.document()["config"],
                "runtimeSpec": orjson.loads(found.container.spec.value),
            }
            answer.info["info"] = orjson.dumps(info).decode()
        return answer

    async def list_containers(self, request: criv1.ListContainersRequest) -> criv1.ListContainersResponse:
        """From memory."""
        return self._lists.get(request.filter, self._world.change)

    def _listed(self, wanted: criv1.ContainerFilter) -> criv1.ListContainersResponse:
        records = (container.record for container in self._world.containers.values())
        found = (record for record in records if statuses.container_matches(record, wanted))
        return criv1.ListContainersResponse(containers=map(statuses.container_item, found))

    # Changing.

    async def update_container_resources(
        self, request: criv1.UpdateContainerResourcesRequest
    ) -> criv1.UpdateContainerResourcesResponse:
        """New limits, for the process if one runs, and for the record."""
        container = self._world.container(request.container_id)
        async with container.lock:
            record = container.record
            merged = criv1.LinuxContainerResources()
            merged.CopyFrom(record.config.linux.resources)
            resources.merge(merged, request.linux)
            document = spec.linux_resources(merged, self._maker.controllers, self._cgroups.unified)
            if record.phase == ContainerPhase.RUNNING:
                limits = any_pb2.Any(type_url=spec.RESOURCES_TYPE, value=orjson.dumps(document))
                await self._client.tasks.Update(tasksv1.UpdateTaskRequest(container_id=record.id, resources=limits))
            await self._save_resources(record.id, document)
            record.config.linux.resources.CopyFrom(merged)
            self._world.state.save(record)
        return criv1.UpdateContainerResourcesResponse()

    async def _save_resources(self, container_id: str, limits: spec.Document) -> None:
        found = (await self._client.containers.Get(containersv1.GetContainerRequest(id=container_id))).container
        document = orjson.loads(found.spec.value)
        document["linux"]["resources"].update(limits)
        found.spec.value = orjson.dumps(document)
        request = containersv1.UpdateContainerRequest(container=found)
        request.update_mask.paths.append("spec")
        await self._client.containers.Update(request)

    async def reopen_container_log(self, request: criv1.ReopenContainerLogRequest) -> criv1.ReopenContainerLogResponse:
        """The log was renamed: go on in a new one."""
        output = self._world.running(request.container_id).output
        if output is not None:
            output.reopen()
        return criv1.ReopenContainerLogResponse()


def _check_privileges(container: criv1.ContainerConfig, sandbox: criv1.PodSandboxConfig) -> None:
    if container.linux.security_context.privileged and not sandbox.linux.security_context.privileged:
        raise errors.InvalidArgument("no privileged container is allowed in a sandbox that is not")
