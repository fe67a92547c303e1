"""After a restart: rediscover what was finished, adopt what runs, remove what was half made.

Records lead to everything; containerd is asked only for what they can't know: whether a task runs. What is
ours in containerd without a record was being removed, or lost its folder: it goes too.
"""

from collections.abc import Awaitable

import grpc

from navarch.protos.containerd import task_pb2
from navarch.protos.containerd.services.containers import v1_pb2 as containersv1
from navarch.protos.containerd.services.snapshots import v1_pb2 as snapshotsv1
from navarch.protos.containerd.services.tasks import v1_pb2 as tasksv1
from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd import linux
from navarch.runtime_shim.containerd.client import ContainerdClient, shim_error
from navarch.runtime_shim.containerd.containers import Containers
from navarch.runtime_shim.containerd.image_volumes import ImageVolumes, owner
from navarch.runtime_shim.containerd.log_keeper_client import LogKeeperClient
from navarch.runtime_shim.containerd.rootfs import OWNER, OWNER_LABEL, RootFilesystems
from navarch.runtime_shim.containerd.sandbox_files import pinned_kinds
from navarch.runtime_shim.containerd.sandboxes import Sandboxes
from navarch.runtime_shim.containerd.tasks import parent_of
from navarch.runtime_shim.containerd.world import Container, Sandbox, World
from navarch.runtime_shim.records import ContainerPhase, ContainerRecord, SandboxPhase, SandboxRecord
from navarch.services.base.log import get_logger

LOG = get_logger("shim.recovery")


class Recovery:
    """Fills the world from disk and containerd, once, before anybody is answered."""

    def __init__(
        self,
        world: World,
        client: ContainerdClient,
        sandboxes: Sandboxes,
        containers: Containers,
        roots: RootFilesystems,
        image_volumes: ImageVolumes,
        keeper: LogKeeperClient,
    ) -> None:
        self._world = world
        self._client = client
        self._sandboxes = sandboxes
        self._containers = containers
        self._roots = roots
        self._image_volumes = image_volumes
        self._keeper = keeper

    async def recover(self) -> None:
        """May be repeated after a failure. Raises ShimError where containerd can't be asked."""
        for container in self._world.containers.values():
            self._containers.close_output(container, remove=False)
        self._world.sandboxes.clear()
        self._world.containers.clear()
        for sandbox_id, record in list(self._world.state.sandboxes()):
            if record is not None and record.phase != SandboxPhase.CREATING:
                self._world.sandboxes[sandbox_id] = Sandbox(self._checked(record))
        for container_id, found in list(self._world.state.containers()):
            await self._attempt(container_id, self._restore(container_id, found))
        for sandbox_id, record in list(self._world.state.sandboxes()):
            if sandbox_id not in self._world.sandboxes:
                LOG.info("sandbox.leftover", sandbox=sandbox_id)
                await self._attempt(sandbox_id, self._sandboxes.discard(record or _unknown(sandbox_id)))
        await self._remove_strays()
        await self._attempt("root file systems", self._roots.collect())
        await self._attempt("networks", self._sandboxes.collect_networks())
        self._keeper.take_over()
        LOG.info("recovered", sandboxes=len(self._world.sandboxes), containers=len(self._world.containers))

    async def _attempt(self, subject: str, work: Awaitable[None]) -> None:
        """One that resists must not keep the others from being served; the next start tries again."""
        try:
            await work
        except errors.Unavailable:
            raise
        except (errors.ShimError, OSError) as failure:
            LOG.error("recovery.failed", subject=subject, error=failure)

    def _checked(self, record: SandboxRecord) -> SandboxRecord:
        """A sandbox without its namespaces (the host was restarted) is not ready; its network is to be undone."""
        folder = self._world.state.sandbox(record.id)
        pinned = all(linux.is_pinned(folder / kind) for kind in pinned_kinds(record.config))
        if record.phase == SandboxPhase.READY and not pinned:
            record.phase = SandboxPhase.LOST
        return record

    async def _restore(self, container_id: str, record: ContainerRecord | None) -> None:
        sandbox = self._world.sandboxes.get(record.sandbox_id) if record else None
        if record is None or sandbox is None or record.phase == ContainerPhase.CREATING:
            LOG.info("container.leftover", container=container_id)
            await self._containers.discard(container_id)
            return
        container = Container(record, sandbox)
        self._world.add(container)
        if record.phase == ContainerPhase.EXITED:
            container.exited.set()
            return
        await self._adopt(container)

    async def _adopt(self, container: Container) -> None:
        """Go on with a container that may run. Exits that were missed are found by the monitor's listing."""
        record = container.record
        try:
            process = (await self._client.tasks.Get(tasksv1.GetRequest(container_id=record.id))).process
            container.shim_pid = parent_of(process.pid)
        except errors.NotFound:
            if record.phase == ContainerPhase.CREATED:
                await self._containers.clear(record.id)
            else:
                # It has ended; what it wrote before may be in its pipes.
                self._containers.open_output(container)
            return
        if record.phase == ContainerPhase.CREATED and process.status == task_pb2.Status.CREATED:
            # Killed between the task's creation and its start: as if neither had been.
            await self._containers.tasks.delete(record.id)
            return
        if record.phase == ContainerPhase.CREATED:
            self._containers.started(container, process.pid)
        self._containers.open_output(container)

    async def _remove_strays(self) -> None:
        mine = f'labels."{OWNER_LABEL}"=={OWNER}'
        found = await self._client.containers.List(containersv1.ListContainersRequest(filters=[mine]))
        views: set[str] = set()
        strays = {container.id for container in found.containers}
        request = snapshotsv1.ListSnapshotsRequest(snapshotter=self._roots.snapshotter, filters=[mine])
        try:
            async for answer in self._client.snapshots.List(request):
                strays.update(info.name for info in answer.info if owner(info.name) == info.name)
                views.update(info.name for info in answer.info if owner(info.name) != info.name)
        except grpc.aio.AioRpcError as failure:
            raise shim_error(failure) from None
        for stray in strays - self._world.containers.keys() - self._world.sandboxes.keys():
            LOG.info("container.stray", container=stray)
            await self._attempt(stray, self._remove_stray(stray))
        for view in views:
            if owner(view) not in self._world.containers:
                await self._attempt(view, self._image_volumes.remove_view(view))

    async def _remove_stray(self, container_id: str) -> None:
        await self._containers.clear(container_id)
        await self._containers.discard(container_id)


def _unknown(sandbox_id: str) -> SandboxRecord:
    """Stands for a sandbox whose record was never written or is unreadable."""
    return SandboxRecord(sandbox_id, criv1.PodSandboxConfig(), 0)
