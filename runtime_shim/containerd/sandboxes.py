"""Pod sandboxes: pinned namespaces, a network, and a few files that all containers of the Pod share.

No process belongs to a sandbox. Its namespaces live because they are bound to files; containers join them by
path. Making one: record, namespaces, files, network, record again. Unmaking runs backwards, does each step that
is left to do, and may be repeated after a failure or a kill.
"""

import asyncio
import secrets
import shutil
from pathlib import Path
from typing import Protocol

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd import cni, linux, statuses
from navarch.runtime_shim.containerd.cgroups import Cgroups
from navarch.runtime_shim.containerd.records import SandboxPhase, SandboxRecord
from navarch.runtime_shim.containerd.sandbox_files import (
    PINNED,
    build,
    check_config,
    network_capabilities,
    on_host_network,
    sandbox_name,
    verbose_info,
    write_files,
)
from navarch.runtime_shim.containerd.world import Container, Sandbox, World
from navarch.services.base import mounting
from navarch.services.base.log import get_logger

LOG = get_logger("shim.sandboxes")


class ContainerKeeper(Protocol):
    """What stopping and removing a sandbox asks of its containers' keeper. Both are idempotent."""

    async def kill(self, container: Container) -> None:
        """SIGKILL; returns when it has exited."""
        ...

    async def remove(self, container: Container) -> None:
        """Kill it if it runs, then remove it."""
        ...


class Sandboxes:
    """The sandbox half of RuntimeService."""

    def __init__(
        self,
        world: World,
        executor: cni.Executor,
        cni_conf_dir: Path,
        cgroups: Cgroups,
        containers: ContainerKeeper,
    ) -> None:
        self._world = world
        self._cni = executor
        self._cni_conf_dir = cni_conf_dir
        self._cgroups = cgroups
        self._containers = containers

    async def run_pod_sandbox(self, request: criv1.RunPodSandboxRequest) -> criv1.RunPodSandboxResponse:
        """Make a sandbox; a failed or abandoned call leaves nothing."""
        config = request.config
        check_config(config, request.runtime_handler)
        name = sandbox_name(config.metadata)
        exists = any(sandbox_name(s.record.config.metadata) == name for s in self._world.sandboxes.values())
        with self._world.making(f"sandbox {name}", exists):
            record = SandboxRecord(secrets.token_hex(32), config, self._world.now_ns(), request.runtime_handler)
            sandbox = Sandbox(record)
            async with sandbox.lock:
                try:
                    await self._make(sandbox)
                except BaseException:
                    await asyncio.shield(asyncio.ensure_future(self._unmake(sandbox, best_effort=True)))
                    raise
            self._world.sandboxes[record.id] = sandbox
        self._world.publish(sandbox, record.id, criv1.ContainerEventType.CONTAINER_CREATED_EVENT)
        self._world.publish(sandbox, record.id, criv1.ContainerEventType.CONTAINER_STARTED_EVENT)
        return criv1.RunPodSandboxResponse(pod_sandbox_id=record.id)

    async def stop_pod_sandbox(self, request: criv1.StopPodSandboxRequest) -> criv1.StopPodSandboxResponse:
        """Kill what runs in it and take its network away."""
        if (sandbox := self._world.find_sandbox(request.pod_sandbox_id)) is not None:
            await self.stop(sandbox)
        return criv1.StopPodSandboxResponse()

    async def remove_pod_sandbox(self, request: criv1.RemovePodSandboxRequest) -> criv1.RemovePodSandboxResponse:
        """Stop it, remove its containers, forget it."""
        if (sandbox := self._world.find_sandbox(request.pod_sandbox_id)) is None:
            return criv1.RemovePodSandboxResponse()
        await self.stop(sandbox)
        for container in list(sandbox.containers.values()):
            await self._containers.remove(container)
        async with sandbox.lock:
            if self._world.sandboxes.get(sandbox.record.id) is sandbox:
                await self._unmake(sandbox, best_effort=False)
                del self._world.sandboxes[sandbox.record.id]
                deleted = criv1.ContainerEventType.CONTAINER_DELETED_EVENT
                self._world.publish(sandbox, sandbox.record.id, deleted)
        return criv1.RemovePodSandboxResponse()

    async def pod_sandbox_status(self, request: criv1.PodSandboxStatusRequest) -> criv1.PodSandboxStatusResponse:
        """A sandbox and its containers, of one moment."""
        sandbox = self._world.sandbox(request.pod_sandbox_id)
        answer = criv1.PodSandboxStatusResponse(
            status=statuses.sandbox_status(sandbox.record),
            containers_statuses=[statuses.container_status(c.record) for c in sandbox.containers.values()],
            timestamp=self._world.now_ns(),
        )
        if request.verbose:
            answer.info.update(verbose_info(sandbox.record, self._world.state.sandbox(sandbox.record.id)))
        return answer

    async def list_pod_sandbox(self, request: criv1.ListPodSandboxRequest) -> criv1.ListPodSandboxResponse:
        """From memory."""
        records = (sandbox.record for sandbox in self._world.sandboxes.values())
        found = (record for record in records if statuses.sandbox_matches(record, request.filter))
        return criv1.ListPodSandboxResponse(items=map(statuses.sandbox_item, found))

    async def stop(self, sandbox: Sandbox) -> None:
        """NOTREADY from now on. Idempotent; raises what CNI says, and is then to be repeated."""
        sandbox.closing = True
        await asyncio.gather(*map(self._containers.kill, sandbox.containers.values()))
        async with sandbox.lock:
            if sandbox.record.phase == SandboxPhase.STOPPED:
                return
            await self._detach(sandbox, best_effort=False)
            sandbox.record.phase = SandboxPhase.STOPPED
            self._world.state.save(sandbox.record)
            self._world.publish(sandbox, sandbox.record.id, criv1.ContainerEventType.CONTAINER_STOPPED_EVENT)

    def network(self) -> cni.NetworkConfig:
        """The configuration for new sandboxes. Raises Unavailable where there is none yet."""
        network = cni.load_config(self._cni_conf_dir)
        if network is None:
            raise errors.Unavailable(f"network not ready: no CNI configuration in {self._cni_conf_dir}")
        return network

    async def discard(self, record: SandboxRecord) -> None:
        """Remove the leftovers of a sandbox that was never finished, or whose record is lost."""
        await self._unmake(Sandbox(record), best_effort=True)

    async def _make(self, sandbox: Sandbox) -> None:
        record = sandbox.record
        folder = self._world.state.sandbox(record.id)
        await asyncio.to_thread(folder.mkdir, parents=True)
        parent = record.config.linux.cgroup_parent
        record.owns_cgroup = bool(parent.strip("/")) and not self._cgroups.exists(parent)
        network = None if on_host_network(record.config) else self.network()
        if network is not None:
            capabilities = network_capabilities(record.config)
            record.network = {"config": network.document(), "capabilities": capabilities, "result": None}
        self._world.state.save(record)
        await linux.in_doomed_thread(lambda: build(folder, record.config))
        if network is not None:
            attachment = self._attachment(record)
            result = await self._cni.add(network, attachment, record.network["capabilities"])
            record.network["result"] = result
            record.ips = cni.addresses(result)
            if not record.ips:
                raise errors.RuntimeFailure(f"CNI network {network.name} gave the Pod no address")
        write_files(folder, record.config, record.ips)
        record.phase = SandboxPhase.READY
        self._world.state.save(record)

    async def _detach(self, sandbox: Sandbox, *, best_effort: bool) -> None:
        record = sandbox.record
        folder = self._world.state.sandbox(record.id)
        if record.network and record.phase != SandboxPhase.STOPPED:
            config = cni.NetworkConfig.read(record.network["config"])
            details = (self._attachment(record), record.network["capabilities"], record.network["result"])
            try:
                await self._cni.delete(config, *details)
            except errors.ShimError as failure:
                if not best_effort:
                    raise
                LOG.warning("sandbox.network_left", sandbox=record.id, error=failure)
        for kind in PINNED:
            linux.unpin_namespace(folder / kind)
        mounting.unmount(folder / "shm")

    async def _unmake(self, sandbox: Sandbox, *, best_effort: bool) -> None:
        await self._detach(sandbox, best_effort=best_effort)
        parent = sandbox.record.config.linux.cgroup_parent
        if sandbox.record.owns_cgroup and parent:
            self._cgroups.remove(parent)
        await asyncio.to_thread(shutil.rmtree, self._world.state.sandbox(sandbox.record.id), ignore_errors=True)

    def _attachment(self, record: SandboxRecord) -> cni.Attachment:
        netns = self._world.state.sandbox(record.id) / "net"
        metadata = record.config.metadata
        path = str(netns) if linux.is_pinned(netns) else ""
        return cni.Attachment(record.id, path, metadata.namespace, metadata.name, metadata.uid)
