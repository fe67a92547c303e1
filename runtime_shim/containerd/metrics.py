"""What Pods and containers use, as metrics under the names and labels that cAdvisor made usual (KEP-2371).

The kubelet passes them on to Prometheus as they are, and CRI's values are whole numbers: seconds are whole seconds.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.containerd import counters
from navarch.runtime_shim.containerd.cgroups import Cgroups, text_of
from navarch.runtime_shim.containerd.counters import Counters, DeviceIo
from navarch.runtime_shim.containerd.interfaces import Interface, interfaces
from navarch.runtime_shim.containerd.world import Container, Sandbox, World
from navarch.runtime_shim.records import ContainerPhase, ContainerRecord

LABELS = ("id", "name", "image", "container", "namespace", "pod")
# In nanoseconds.
_SECOND = 1_000_000_000
_COUNTER, _GAUGE = criv1.MetricType.COUNTER, criv1.MetricType.GAUGE
# Values of the labels that a metric has besides `LABELS`, and its value.
Sample = tuple[tuple[str, ...], int]


@dataclass(frozen=True, slots=True)
class _Family:
    """A metric. samples: from a container's counters, or from one interface of a Pod."""

    name: str
    help: str
    samples: Callable[[Counters], Iterable[Sample]]
    kind: "criv1.MetricType" = _COUNTER
    labels: tuple[str, ...] = ()


def _plain(name: str, help: str, value: Callable[[Counters], int], kind: "criv1.MetricType" = _COUNTER) -> _Family:
    return _Family(name, help, lambda read: (((), value(read)),), kind)


def _memory(name: str, help: str, key: str) -> _Family:
    return _plain(name, help, lambda read: read.memory.get(key, 0), _GAUGE)


def _by_device(name: str, help: str, value: Callable[[DeviceIo], int]) -> _Family:
    def samples(read: Counters) -> Iterator[Sample]:
        for numbers, io in read.io.items():
            yield (_device(numbers),), value(io)

    return _Family(name, help, samples, labels=("device",))


def _failures(read: Counters) -> Iterator[Sample]:
    for kind in ("pgfault", "pgmajfault"):
        yield (kind, "container"), read.memory.get(kind, 0)


OF_CONTAINERS = (
    _plain("container_cpu_usage_seconds_total", "CPU time used.", lambda read: read.cpu_ns // _SECOND),
    _plain("container_cpu_user_seconds_total", "CPU time in user mode.", lambda read: read.cpu_user_ns // _SECOND),
    _plain("container_cpu_system_seconds_total", "CPU time in the kernel.", lambda read: read.cpu_system_ns // _SECOND),
    _plain("container_cpu_cfs_periods_total", "Periods in which the CPU limit was watched.", lambda read: read.periods),
    _plain(
        "container_cpu_cfs_throttled_periods_total",
        "Periods in which the CPU limit was reached.",
        lambda read: read.throttled_periods,
    ),
    _plain(
        "container_cpu_cfs_throttled_seconds_total",
        "Time for which the CPU limit held the container up.",
        lambda read: read.throttled_ns // _SECOND,
    ),
    _plain("container_memory_usage_bytes", "Memory, caches included.", lambda read: read.memory_bytes, _GAUGE),
    _plain("container_memory_max_usage_bytes", "The most it has been.", lambda read: read.memory_peak_bytes, _GAUGE),
    _plain(
        "container_memory_working_set_bytes",
        "Memory without the file pages that were not used lately.",
        lambda read: read.working_set_bytes,
        _GAUGE,
    ),
    _plain("container_memory_kernel_usage", "Memory of the kernel, in bytes.", lambda read: read.kernel_bytes, _GAUGE),
    _plain("container_memory_swap", "Swap used, in bytes.", lambda read: read.swap_bytes, _GAUGE),
    _plain("container_memory_failcnt", "How often the memory limit was hit.", lambda read: read.memory_limit_hits),
    _plain("container_oom_events_total", "Processes killed for memory.", lambda read: read.oom_kills),
    _memory("container_memory_cache", "Page cache, in bytes.", "cache"),
    _memory("container_memory_rss", "Anonymous memory, in bytes.", "rss"),
    _memory("container_memory_mapped_file", "Mapped files, in bytes.", "mapped_file"),
    _memory("container_memory_total_active_file_bytes", "File pages in use.", "active_file"),
    _memory("container_memory_total_inactive_file_bytes", "File pages not used lately.", "inactive_file"),
    _Family("container_memory_failures_total", "Page faults.", _failures, labels=("failure_type", "scope")),
    _by_device("container_fs_reads_bytes_total", "Bytes read.", lambda io: io.read_bytes),
    _by_device("container_fs_reads_total", "Reads.", lambda io: io.reads),
    _by_device("container_fs_writes_bytes_total", "Bytes written.", lambda io: io.written_bytes),
    _by_device("container_fs_writes_total", "Writes.", lambda io: io.writes),
    _plain("container_processes", "Processes and threads.", lambda read: read.processes, _GAUGE),
    _plain("container_threads_max", "Their limit; 0: none.", lambda read: read.processes_limit, _GAUGE),
)
# Of a container's record, at a time.
OF_RECORDS: tuple[tuple[str, str, Callable[[ContainerRecord, int], int]], ...] = (
    ("container_last_seen", "When it was last seen, in Unix time.", lambda _, now: now // _SECOND),
    ("container_start_time_seconds", "When it began, in Unix time.", lambda own, _: own.started_at_ns // _SECOND),
    ("container_spec_cpu_period", "Period of the CPU limit.", lambda own, _: _resources(own).cpu_period),
    ("container_spec_cpu_quota", "CPU limit in a period.", lambda own, _: _resources(own).cpu_quota),
    ("container_spec_cpu_shares", "Share of the CPU.", lambda own, _: _resources(own).cpu_shares),
    (
        "container_spec_memory_limit_bytes",
        "Limit of memory; 0: none.",
        lambda own, _: _resources(own).memory_limit_in_bytes,
    ),
    (
        "container_spec_memory_swap_limit_bytes",
        "Limit of memory and swap; 0: none.",
        lambda own, _: _resources(own).memory_swap_limit_in_bytes,
    ),
)
OF_PODS: tuple[tuple[str, str, Callable[[Interface], int]], ...] = (
    ("container_network_receive_bytes_total", "Bytes received.", lambda one: one.received.bytes),
    ("container_network_receive_packets_total", "Packets received.", lambda one: one.received.packets),
    ("container_network_receive_packets_dropped_total", "Received, but dropped.", lambda one: one.received.dropped),
    ("container_network_receive_errors_total", "Errors when receiving.", lambda one: one.received.errors),
    ("container_network_transmit_bytes_total", "Bytes sent.", lambda one: one.sent.bytes),
    ("container_network_transmit_packets_total", "Packets sent.", lambda one: one.sent.packets),
    ("container_network_transmit_packets_dropped_total", "Dropped when sending.", lambda one: one.sent.dropped),
    ("container_network_transmit_errors_total", "Errors when sending.", lambda one: one.sent.errors),
)


class Metrics:
    """The metrics half of RuntimeService."""

    def __init__(self, world: World, cgroups: Cgroups) -> None:
        self._world = world
        self._cgroups = cgroups

    async def list_metric_descriptors(
        self, request: criv1.ListMetricDescriptorsRequest
    ) -> criv1.ListMetricDescriptorsResponse:
        """All metrics that there are."""
        return criv1.ListMetricDescriptorsResponse(descriptors=descriptors())

    async def list_pod_sandbox_metrics(
        self, request: criv1.ListPodSandboxMetricsRequest
    ) -> criv1.ListPodSandboxMetricsResponse:
        """The metrics of all sandboxes that are ready, and of their running containers."""
        ready = [
            (sandbox, [one for one in sandbox.containers.values() if one.record.phase == ContainerPhase.RUNNING])
            for sandbox in self._world.sandboxes.values()
            if sandbox.ready
        ]
        links = [await interfaces(sandbox, self._world.state) for sandbox, _ in ready]
        # A dozen files a container.
        found = await asyncio.to_thread(
            lambda: [self._of_sandbox(*one, seen) for one, seen in zip(ready, links, strict=True)]
        )
        return criv1.ListPodSandboxMetricsResponse(pod_metrics=found)

    def _of_sandbox(
        self, sandbox: Sandbox, running: list[Container], links: Iterable[Interface]
    ) -> criv1.PodSandboxMetrics:
        metrics = criv1.PodSandboxMetrics(
            pod_sandbox_id=sandbox.record.id, container_metrics=map(self._of_container, running)
        )
        now = self._world.now_ns()
        labels = _labels(sandbox)
        for interface in links:
            for name, _, value in OF_PODS:
                metrics.metrics.append(_metric(name, now, _COUNTER, (*labels, interface.name), value(interface)))
        return metrics

    def _of_container(self, container: Container) -> criv1.ContainerMetrics:
        record, now = container.record, self._world.now_ns()
        found = criv1.ContainerMetrics(container_id=record.id)
        read = counters.read(self._cgroups, record.cgroup_path)
        labels = _labels(container.sandbox, record)
        for family in OF_CONTAINERS:
            for more, value in family.samples(read):
                found.metrics.append(_metric(family.name, now, family.kind, (*labels, *more), value))
        for name, _, of_record in OF_RECORDS:
            found.metrics.append(_metric(name, now, _GAUGE, labels, max(0, of_record(record, now))))
        return found


def descriptors() -> Iterator[criv1.MetricDescriptor]:
    """What `list_pod_sandbox_metrics` speaks of."""
    for family in OF_CONTAINERS:
        yield criv1.MetricDescriptor(name=family.name, help=family.help, label_keys=(*LABELS, *family.labels))
    for name, text, _ in OF_RECORDS:
        yield criv1.MetricDescriptor(name=name, help=text, label_keys=LABELS)
    for name, text, _ in OF_PODS:
        yield criv1.MetricDescriptor(name=name, help=text, label_keys=(*LABELS, "interface"))


def _resources(record: ContainerRecord) -> criv1.LinuxContainerResources:
    return record.config.linux.resources


def _labels(sandbox: Sandbox, container: ContainerRecord | None = None) -> tuple[str, ...]:
    """Values of `LABELS`. A Pod's own have no image and container, as with cAdvisor."""
    pod = sandbox.record.config
    if container is None:
        group, name, image, own = pod.linux.cgroup_parent, sandbox.record.id, "", ""
    else:
        image = container.config.image.user_specified_image or container.image_ref
        group, name, own = container.cgroup_path, container.id, container.config.metadata.name
    return (group, name, image, own, pod.metadata.namespace, pod.metadata.name)


def _metric(name: str, at_ns: int, kind: "criv1.MetricType", labels: tuple[str, ...], value: int) -> criv1.Metric:
    return criv1.Metric(
        name=name, timestamp=at_ns, metric_type=kind, label_values=labels, value=criv1.UInt64Value(value=value)
    )


@lru_cache(maxsize=256)
def _device(numbers: str) -> str:
    """The path of a block device, from "major:minor"; the numbers where it has none."""
    for line in text_of(Path(f"/sys/dev/block/{numbers}/uevent")).splitlines():
        if line.startswith("DEVNAME="):
            return f"/dev/{line.removeprefix('DEVNAME=')}"
    return numbers
