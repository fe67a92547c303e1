"""Pod sandboxes: pinned namespaces, a network, and a few files that all containers of the Pod share.

No process belongs to a sandbox, unless its containers share a PID namespace, which ends with its first process. All
namespaces live because they are bound to files; containers join them by path. Making one: record, namespaces,
init, network, files, record again. Unmaking runs backwards, does each step that is left to do, and may be repeated
after a failure or a kill. What can't be unmade (a network plugin fails) stays listed as not ready, for its client
to stop it until that works.
"""

import asyncio
import secrets
import shutil
from pathlib import Path
from typing import Protocol

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors, statuses
from navarch.runtime_shim.containerd import cni, linux
from navarch.runtime_shim.containerd.cgroups import Cgroups
from navarch.runtime_shim.containerd.handlers import Handlers
from navarch.runtime_shim.containerd.pod_init import PodInit
from navarch.runtime_shim.containerd.rootfs import RootFilesystems
from navarch.runtime_shim.containerd.sandbox_files import (
    PINNED,
    build,
    check_config,
    network_capabilities,
    on_host_network,
    pinned_kinds,
    shares_pid,
    verbose_info,
    write_files,
)
from navarch.runtime_shim.containerd.world import Container, Sandbox, World
from navarch.runtime_shim.lists import ListAnswers
from navarch.runtime_shim.names import sandbox_name
from navarch.runtime_shim.records import SandboxPhase, SandboxRecord
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

    async def discard(self, container_id: str) -> None:
        """Remove all that containerd has of a container, or of a sandbox's init."""
        ...

    async def clear(self, container_id: str) -> None:
        """End a task that containerd does not list but that an interrupted start may have left."""
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
        handlers: Handlers,
        init: PodInit,
        roots: RootFilesystems,
    ) -> None:
        self._world = world
        self._cni = executor
        self._cni_conf_dir = cni_conf_dir
        self._cgroups = cgroups
        self._containers = containers
        self._handlers = handlers
        self._init = init
        self._roots = roots
        self._lists = ListAnswers(self._listed)

    async def run_pod_sandbox(self, request: criv1.RunPodSandboxRequest) -> criv1.RunPodSandboxResponse:
        """Make a sandbox; a failed or abandoned call leaves nothing, or something not ready that can be stopped."""
        config = request.config
        name = sandbox_name(config.metadata)
        check_config(config)
        self._handlers.check(request.runtime_handler)
        self._cgroups.driver.check_parent(config.linux.cgroup_parent)
        exists = any(sandbox_name(s.record.config.metadata) == name for s in self._world.sandboxes.values())
        with self._world.making(f"sandbox {name}", exists):
            record = SandboxRecord(secrets.token_hex(32), config, self._world.now_ns(), request.runtime_handler)
            sandbox = Sandbox(record)
            async with sandbox.lock:
                try:
                    await self._make(sandbox)
                except BaseException:
                    await asyncio.shield(asyncio.ensure_future(self._give_up(sandbox)))
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
                await self._unmake(sandbox)
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
        return self._lists.get(request.filter, self._world.change)

    def _listed(self, wanted: criv1.PodSandboxFilter) -> criv1.ListPodSandboxResponse:
        records = (sandbox.record for sandbox in self._world.sandboxes.values())
        found = (record for record in records if statuses.sandbox_matches(record, wanted))
        return criv1.ListPodSandboxResponse(items=map(statuses.sandbox_item, found))

    async def update_pod_sandbox_resources(
        self, request: criv1.UpdatePodSandboxResourcesRequest
    ) -> criv1.UpdatePodSandboxResourcesResponse:
        """What the Pod as a whole may use now. The kubelet sets its control group; here it is remembered."""
        sandbox = self._world.sandbox(request.pod_sandbox_id)
        async with sandbox.lock:
            linux_config = sandbox.record.config.linux
            linux_config.overhead.CopyFrom(request.overhead)
            linux_config.resources.CopyFrom(request.resources)
            self._world.state.save(sandbox.record)
        return criv1.UpdatePodSandboxResourcesResponse()

    async def stop(self, sandbox: Sandbox) -> None:
        """NOTREADY from now on. Idempotent; raises what CNI says, and is then to be repeated."""
        sandbox.closing = True
        await asyncio.gather(*map(self._containers.kill, sandbox.containers.values()))
        async with sandbox.lock:
            if sandbox.record.phase == SandboxPhase.STOPPED:
                return
            if sandbox.record.phase == SandboxPhase.READY:
                # Also where its network resists.
                self._end(sandbox, SandboxPhase.LOST)
            await self._detach(sandbox)
            self._end(sandbox, SandboxPhase.STOPPED)

    async def init_ended(self, sandbox: Sandbox) -> None:
        """The first process of its PID namespace is no more, and so is everything in there. Idempotent."""
        async with sandbox.lock:
            if sandbox.ready:
                LOG.warning("sandbox.init_ended", sandbox=sandbox.record.id)
                self._end(sandbox, SandboxPhase.LOST)

    def _end(self, sandbox: Sandbox, phase: SandboxPhase) -> None:
        was_ready = sandbox.record.phase == SandboxPhase.READY
        sandbox.record.phase, sandbox.record.pid = phase, 0
        self._save_fact(sandbox.record)
        if was_ready:
            self._world.publish(sandbox, sandbox.record.id, criv1.ContainerEventType.CONTAINER_STOPPED_EVENT)

    def _save_fact(self, record: SandboxRecord) -> None:
        """What has ended has also where it can't be written: a full disk must not keep anything from going."""
        try:
            self._world.state.save(record)
        except OSError as failure:
            LOG.error("sandbox.not_saved", sandbox=record.id, error=failure)

    def network(self) -> cni.NetworkConfig:
        """The configuration for new sandboxes. Raises Unavailable where there is none yet."""
        network = cni.load_config(self._cni_conf_dir)
        if network is None:
            raise errors.Unavailable(f"network not ready: no CNI configuration in {self._cni_conf_dir}")
        return network

    async def working_network(self) -> cni.NetworkConfig:
        """The configuration for new sandboxes, if its plugins say that they work. Raises ShimError."""
        network = self.network()
        await self._cni.check_status(network)
        return network

    async def collect_networks(self) -> None:
        """Let plugins free what they hold for sandboxes of which not even a record is left."""
        network = cni.load_config(self._cni_conf_dir)
        if network is not None:
            records = [sandbox.record for sandbox in self._world.sandboxes.values()]
            await self._cni.collect(network, [r.id for r in records if r.network and r.phase != SandboxPhase.STOPPED])

    async def discard(self, record: SandboxRecord) -> None:
        """Remove the leftovers of a sandbox that was never finished, or whose record is lost."""
        if shares_pid(record.config):
            await self._containers.clear(record.id)
        await self._give_up(Sandbox(record))

    async def _make(self, sandbox: Sandbox) -> None:
        record = sandbox.record
        folder = self._world.state.sandbox(record.id)
        await asyncio.to_thread(folder.mkdir, parents=True)
        group = self._cgroups.driver.pod_group(record.config.linux.cgroup_parent)
        record.owns_cgroup = bool(group) and not self._cgroups.exists(group)
        network = None if on_host_network(record.config) else self.network()
        if network is not None:
            self._cni.check_installed(network)
            capabilities = network_capabilities(record.config)
            record.network = {"config": network.document(), "capabilities": capabilities, "result": None}
        self._world.state.save(record)
        await linux.in_doomed_thread(lambda: build(folder, record.config))
        if shares_pid(record.config):
            await self._init.make(record, folder)
        if network is not None:
            attachment = self._attachment(record)
            result = await self._cni.add(network, attachment, record.network["capabilities"])
            record.network["result"] = result
            record.ips = cni.addresses(result)
            if not record.ips:
                raise errors.RuntimeFailure(f"CNI network {network.name} gave the Pod no address")
        write_files(folder, record.config, record.ips)
        if record.pid and not self._init.lives(record, folder):
            raise errors.RuntimeFailure("the init of the sandbox has ended")
        record.phase = SandboxPhase.READY
        self._world.state.save(record)

    async def _detach(self, sandbox: Sandbox) -> None:
        record = sandbox.record
        folder = self._world.state.sandbox(record.id)
        if shares_pid(record.config):
            await self._containers.discard(record.id)
        if record.network and record.phase != SandboxPhase.STOPPED:
            config = cni.NetworkConfig.read(record.network["config"])
            details = (self._attachment(record), record.network["capabilities"], record.network["result"])
            await self._cni.delete(config, *details)
        for kind in PINNED:
            linux.unpin_namespace(folder / kind)
        mounting.unmount(folder / "shm")

    async def _give_up(self, sandbox: Sandbox) -> None:
        """Unmake it; where something resists, it stays as a sandbox that is not ready."""
        record = sandbox.record
        try:
            await self._unmake(sandbox)
        except (errors.ShimError, OSError) as failure:
            LOG.warning("sandbox.left", sandbox=record.id, error=failure)
            if not record.config.HasField("metadata"):
                return
            record.phase = SandboxPhase.LOST
            self._world.sandboxes[record.id] = sandbox
            self._world.publish(sandbox, record.id, criv1.ContainerEventType.CONTAINER_STOPPED_EVENT)
            self._save_fact(record)

    async def _unmake(self, sandbox: Sandbox) -> None:
        await self._detach(sandbox)
        group = self._cgroups.driver.pod_group(sandbox.record.config.linux.cgroup_parent)
        if sandbox.record.owns_cgroup and group:
            self._cgroups.remove(group)
        if "user" in pinned_kinds(sandbox.record.config):
            await self._roots.collect()
        await asyncio.to_thread(shutil.rmtree, self._world.state.sandbox(sandbox.record.id), ignore_errors=True)

    def _attachment(self, record: SandboxRecord) -> cni.Attachment:
        netns = self._world.state.sandbox(record.id) / "net"
        metadata = record.config.metadata
        path = str(netns) if linux.is_pinned(netns) else ""
        return cni.Attachment(record.id, path, metadata.namespace, metadata.name, metadata.uid)
