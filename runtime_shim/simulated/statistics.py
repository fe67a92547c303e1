"""CRI's calls about use: what the annotations say, for as long as a container runs."""

from collections.abc import Iterable

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import statuses
from navarch.runtime_shim.simulated.pods import Container, Pods, Sandbox

INTERFACE = "eth0"
_LABELS = ("id", "name", "image", "container", "namespace", "pod")
_CPU = ("container_cpu_usage_seconds_total", "CPU time used.", criv1.MetricType.COUNTER)
_MEMORY = ("container_memory_working_set_bytes", "Memory in use.", criv1.MetricType.GAUGE)
_START = ("container_start_time_seconds", "When it began, in Unix time.", criv1.MetricType.GAUGE)


class Statistics:
    """The statistics half of RuntimeService."""

    def __init__(self, pods: Pods) -> None:
        self._pods = pods

    async def container_stats(self, request: criv1.ContainerStatsRequest) -> criv1.ContainerStatsResponse:
        """Raises NotFound."""
        return criv1.ContainerStatsResponse(stats=self._of_container(self._pods.container(request.container_id)))

    async def list_container_stats(self, request: criv1.ListContainerStatsRequest) -> criv1.ListContainerStatsResponse:
        """Of the running containers that pass the filter."""
        wanted = criv1.ContainerFilter(
            id=request.filter.id,
            pod_sandbox_id=request.filter.pod_sandbox_id,
            label_selector=request.filter.label_selector,
        )
        running = (container for container in self._pods.containers.values() if container.runs)
        found = (container for container in running if statuses.container_matches(container.record, wanted))
        return criv1.ListContainerStatsResponse(stats=map(self._of_container, found))

    async def pod_sandbox_stats(self, request: criv1.PodSandboxStatsRequest) -> criv1.PodSandboxStatsResponse:
        """Raises NotFound."""
        return criv1.PodSandboxStatsResponse(stats=self._of_sandbox(self._pods.sandbox(request.pod_sandbox_id)))

    async def list_pod_sandbox_stats(
        self, request: criv1.ListPodSandboxStatsRequest
    ) -> criv1.ListPodSandboxStatsResponse:
        """Of the ready sandboxes that pass the filter."""
        wanted = criv1.PodSandboxFilter(id=request.filter.id, label_selector=request.filter.label_selector)
        ready = (sandbox for sandbox in self._pods.sandboxes.values() if sandbox.ready)
        found = (sandbox for sandbox in ready if statuses.sandbox_matches(sandbox.record, wanted))
        return criv1.ListPodSandboxStatsResponse(stats=map(self._of_sandbox, found))

    async def list_metric_descriptors(
        self, request: criv1.ListMetricDescriptorsRequest
    ) -> criv1.ListMetricDescriptorsResponse:
        """The few metrics that there are."""
        return criv1.ListMetricDescriptorsResponse(
            descriptors=[
                criv1.MetricDescriptor(name=name, help=text, label_keys=_LABELS)
                for name, text, _ in (_CPU, _MEMORY, _START)
            ]
        )

    async def list_pod_sandbox_metrics(
        self, request: criv1.ListPodSandboxMetricsRequest
    ) -> criv1.ListPodSandboxMetricsResponse:
        """Of all ready sandboxes and their running containers."""
        return criv1.ListPodSandboxMetricsResponse(
            pod_metrics=[
                criv1.PodSandboxMetrics(
                    pod_sandbox_id=sandbox.record.id, container_metrics=map(self._metrics, _running(sandbox))
                )
                for sandbox in self._pods.sandboxes.values()
                if sandbox.ready
            ]
        )

    def _cpu_ns(self, container: Container) -> int:
        record = container.record
        if not record.started_at_ns:
            return 0
        ran_ns = (record.finished_at_ns or self._pods.now()) - record.started_at_ns
        return max(0, ran_ns) * container.behavior.cpu_millicores // 1000

    def _of_container(self, container: Container) -> criv1.ContainerStats:
        now = self._pods.now()
        stats = criv1.ContainerStats(attributes=statuses.container_attributes(container.record))
        if container.runs:
            use = container.behavior
            stats.cpu.CopyFrom(_cpu(now, self._cpu_ns(container), use.cpu_millicores))
            stats.memory.CopyFrom(_memory(now, use.memory_bytes))
            stats.swap.timestamp = now
            stats.swap.swap_usage_bytes.value = 0
        layer = stats.writable_layer
        layer.timestamp, layer.fs_id.mountpoint = now, "/"
        layer.used_bytes.value = layer.inodes_used.value = 0
        return stats

    def _of_sandbox(self, sandbox: Sandbox) -> criv1.PodSandboxStats:
        now, running, config = self._pods.now(), list(_running(sandbox)), sandbox.record.config
        stats = criv1.PodSandboxStats(
            attributes=criv1.PodSandboxAttributes(
                id=sandbox.record.id, metadata=config.metadata, labels=config.labels, annotations=config.annotations
            )
        )
        cpu_ns = sum(map(self._cpu_ns, sandbox.containers.values()))
        stats.linux.cpu.CopyFrom(_cpu(now, cpu_ns, sum(one.behavior.cpu_millicores for one in running)))
        stats.linux.memory.CopyFrom(_memory(now, sum(one.behavior.memory_bytes for one in running)))
        stats.linux.network.timestamp = stats.linux.process.timestamp = now
        if sandbox.record.ips:
            stats.linux.network.interfaces.add(name=INTERFACE)
            stats.linux.network.default_interface.name = INTERFACE
        stats.linux.process.process_count.value = len(running)
        stats.linux.containers.extend(map(self._of_container, running))
        return stats

    def _metrics(self, container: Container) -> criv1.ContainerMetrics:
        record, pod, now = container.record, container.sandbox.record.config.metadata, self._pods.now()
        name = record.config.metadata.name
        labels = (record.id, record.id, record.config.image.image, name, pod.namespace, pod.name)
        seconds = 1_000_000_000
        values = (self._cpu_ns(container) // seconds, container.behavior.memory_bytes, record.started_at_ns // seconds)
        metrics = [
            criv1.Metric(
                name=family[0],
                timestamp=now,
                metric_type=family[2],
                label_values=labels,
                value=criv1.UInt64Value(value=value),
            )
            for family, value in zip((_CPU, _MEMORY, _START), values, strict=True)
        ]
        return criv1.ContainerMetrics(container_id=record.id, metrics=metrics)


def _running(sandbox: Sandbox) -> Iterable[Container]:
    return (container for container in sandbox.containers.values() if container.runs)


def _cpu(now: int, used_ns: int, millicores: int) -> criv1.CpuUsage:
    return criv1.CpuUsage(
        timestamp=now,
        usage_core_nano_seconds=criv1.UInt64Value(value=used_ns),
        usage_nano_cores=criv1.UInt64Value(value=millicores * 1_000_000),
    )


def _memory(now: int, used_bytes: int) -> criv1.MemoryUsage:
    used = criv1.UInt64Value(value=used_bytes)
    return criv1.MemoryUsage(timestamp=now, working_set_bytes=used, usage_bytes=used, rss_bytes=used)
