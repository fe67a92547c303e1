"""What containers and sandboxes use: read from control groups, the snapshotter and /proc when asked, never before.

A rate needs two readings; the earlier one is that of the previous question about the same container.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import statuses
from navarch.runtime_shim.containerd.cgroups import Cgroups, Usage
from navarch.runtime_shim.containerd.cni import INTERFACE
from navarch.runtime_shim.containerd.images.usage import KEPT_NS, SnapshotUsages
from navarch.runtime_shim.containerd.interfaces import Interface, interfaces
from navarch.runtime_shim.containerd.world import Container, Sandbox, World
from navarch.runtime_shim.records import ContainerPhase

# Below this the difference of two readings says more about their timing than about the load.
RATE_INTERVAL_NS = 100_000_000


@dataclass(slots=True)
class _Reading:
    at_ns: int
    cpu_ns: int
    nano_cores: int = 0


class Stats:
    """The statistics half of RuntimeService."""

    def __init__(self, world: World, cgroups: Cgroups, usages: SnapshotUsages, root: Path) -> None:
        """root: the file system of writable layers."""
        self._world = world
        self._cgroups = cgroups
        self._usages = usages
        self._root = root
        self._readings: dict[str, _Reading] = {}

    async def container_stats(self, request: criv1.ContainerStatsRequest) -> criv1.ContainerStatsResponse:
        """One container's. Its layer is measured for each question about it alone."""
        container = self._world.container(request.container_id)
        return criv1.ContainerStatsResponse(stats=await self._of_container(container, kept_ns=0))

    async def list_container_stats(self, request: criv1.ListContainerStatsRequest) -> criv1.ListContainerStatsResponse:
        """Of all running containers that the filter leaves."""
        wanted = request.filter
        listing = criv1.ContainerFilter(
            id=wanted.id, pod_sandbox_id=wanted.pod_sandbox_id, label_selector=wanted.label_selector
        )
        containers = self._running(self._world.containers.values(), listing)
        return criv1.ListContainerStatsResponse(stats=await asyncio.gather(*map(self._of_container, containers)))

    async def pod_sandbox_stats(self, request: criv1.PodSandboxStatsRequest) -> criv1.PodSandboxStatsResponse:
        """One sandbox's."""
        sandbox = self._world.sandbox(request.pod_sandbox_id)
        return criv1.PodSandboxStatsResponse(stats=await self._of_sandbox(sandbox))

    async def list_pod_sandbox_stats(
        self, request: criv1.ListPodSandboxStatsRequest
    ) -> criv1.ListPodSandboxStatsResponse:
        """Of all ready sandboxes that the filter leaves."""
        wanted = criv1.PodSandboxFilter(id=request.filter.id, label_selector=request.filter.label_selector)
        sandboxes = [
            sandbox
            for sandbox in self._world.sandboxes.values()
            if sandbox.ready and statuses.sandbox_matches(sandbox.record, wanted)
        ]
        return criv1.ListPodSandboxStatsResponse(stats=await asyncio.gather(*map(self._of_sandbox, sandboxes)))

    def _running(self, containers: Iterable[Container], wanted: criv1.ContainerFilter) -> list[Container]:
        return [
            container
            for container in containers
            if container.record.phase == ContainerPhase.RUNNING and statuses.container_matches(container.record, wanted)
        ]

    async def _of_container(self, container: Container, kept_ns: int = KEPT_NS) -> criv1.ContainerStats:
        record = container.record
        now = self._world.now_ns()
        stats = criv1.ContainerStats(attributes=statuses.container_attributes(record))
        if record.phase == ContainerPhase.RUNNING:
            usage = self._cgroups.usage(record.cgroup_path)
            stats.cpu.CopyFrom(self._cpu(record.id, usage, now))
            stats.memory.CopyFrom(_memory(usage, now))
            stats.swap.CopyFrom(_swap(usage, now))
            self._add_pressure(stats, record.cgroup_path, now)
        stats.writable_layer.timestamp = now
        stats.writable_layer.fs_id.mountpoint = str(self._root)
        if used := await self._usages.of(record.id, now, kept_ns=kept_ns):
            stats.writable_layer.used_bytes.value = used.size
            stats.writable_layer.inodes_used.value = used.inodes
        return stats

    async def _of_sandbox(self, sandbox: Sandbox) -> criv1.PodSandboxStats:
        record, now = sandbox.record, self._world.now_ns()
        config = record.config
        attributes = criv1.PodSandboxAttributes(
            id=record.id, metadata=config.metadata, labels=config.labels, annotations=config.annotations
        )
        running = self._running(sandbox.containers.values(), criv1.ContainerFilter())
        linux = criv1.LinuxPodSandboxStats(containers=await asyncio.gather(*map(self._of_container, running)))
        usage = self._pod_usage(sandbox, running)
        linux.cpu.CopyFrom(self._cpu(record.id, usage, now))
        linux.memory.CopyFrom(_memory(usage, now))
        self._add_pressure(linux, self._cgroups.driver.pod_group(config.linux.cgroup_parent), now)
        linux.process.timestamp = now
        linux.process.process_count.value = usage.processes
        linux.network.CopyFrom(_network(await interfaces(sandbox, self._world.state), now))
        return criv1.PodSandboxStats(attributes=attributes, linux=linux)

    def _pod_usage(self, sandbox: Sandbox, running: list[Container]) -> Usage:
        """The Pod's own group where it has one, else the sum over its containers."""
        group = self._cgroups.driver.pod_group(sandbox.record.config.linux.cgroup_parent)
        if group and self._cgroups.exists(group):
            return self._cgroups.usage(group)
        usages = [self._cgroups.usage(container.record.cgroup_path) for container in running]
        fields = Usage.__dataclass_fields__
        return Usage(**{name: sum(getattr(usage, name) for usage in usages) for name in fields})

    def _add_pressure(self, stats: criv1.ContainerStats | criv1.LinuxPodSandboxStats, group: str, now: int) -> None:
        """What waiting there was, where the kernel counts it."""
        for name in ("cpu", "memory", "io") if group else ():
            found = self._cgroups.pressure(group, name)
            if found:
                usage = getattr(stats, name)
                usage.timestamp = now
                usage.psi.CopyFrom(criv1.PsiStats(Some=_waited(found, "some"), Full=_waited(found, "full")))

    def _cpu(self, key: str, usage: Usage, now: int) -> criv1.CpuUsage:
        cpu = criv1.CpuUsage(timestamp=now, usage_core_nano_seconds=criv1.UInt64Value(value=usage.cpu_ns))
        last = self._readings.get(key)
        if last is None:
            known = self._world.containers.keys() | self._world.sandboxes.keys()
            self._readings = {name: reading for name, reading in self._readings.items() if name in known}
            self._readings[key] = _Reading(now, usage.cpu_ns)
            return cpu
        elapsed = now - last.at_ns
        if elapsed >= RATE_INTERVAL_NS:
            rate = max(0, usage.cpu_ns - last.cpu_ns) * 1_000_000_000 // elapsed
            last = self._readings[key] = _Reading(now, usage.cpu_ns, rate)
        cpu.usage_nano_cores.value = last.nano_cores
        return cpu


def _memory(usage: Usage, now: int) -> criv1.MemoryUsage:
    memory = criv1.MemoryUsage(timestamp=now)
    memory.usage_bytes.value = usage.memory_bytes
    memory.working_set_bytes.value = usage.working_set_bytes
    memory.rss_bytes.value = usage.rss_bytes
    memory.page_faults.value = usage.page_faults
    memory.major_page_faults.value = usage.major_page_faults
    if usage.memory_limit_bytes:
        memory.available_bytes.value = max(0, usage.memory_limit_bytes - usage.working_set_bytes)
    return memory


def _swap(usage: Usage, now: int) -> criv1.SwapUsage:
    swap = criv1.SwapUsage(timestamp=now, swap_usage_bytes=criv1.UInt64Value(value=usage.swap_bytes))
    if usage.swap_limit_bytes:
        swap.swap_available_bytes.value = max(0, usage.swap_limit_bytes - usage.swap_bytes)
    return swap


def _waited(pressure: Mapping[str, Mapping[str, float]], kind: str) -> criv1.PsiData:
    found = pressure.get(kind, {})
    averages = {f"Avg{seconds}": found.get(f"avg{seconds}", 0.0) for seconds in (10, 60, 300)}
    # The kernel counts microseconds, CRI nanoseconds.
    return criv1.PsiData(Total=int(found.get("total", 0)) * 1000, **averages)


def _network(interfaces: Iterable[Interface], now: int) -> criv1.NetworkUsage:
    network = criv1.NetworkUsage(timestamp=now)
    for one in interfaces:
        usage = criv1.NetworkInterfaceUsage(name=one.name)
        usage.rx_bytes.value, usage.rx_errors.value = one.received.bytes, one.received.errors
        usage.tx_bytes.value, usage.tx_errors.value = one.sent.bytes, one.sent.errors
        if one.name == INTERFACE:
            network.default_interface.CopyFrom(usage)
        network.interfaces.append(usage)
    return network
