"""The figures of the summary as metrics: those of /metrics/resource, and of /metrics/cadvisor. Pure.

Source: the stable metrics of the kubelet's resource endpoint; cAdvisor's Prometheus metrics, those that dashboards use.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.navarch import stats_pb2
from navarch.services.kubelet.core.observed import Container
from navarch.services.kubelet.node.host import Host

Labels = dict[str, str]
Usage = stats_pb2.NodeUsage | stats_pb2.PodUsage | stats_pb2.ContainerUsage


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of a series. time: when it was taken; None for now."""

    name: str
    labels: Labels
    value: float
    time: metav1.Time | None = None


HELP = {
    "node_cpu_usage_seconds_total": "[STABLE] Cumulative cpu time consumed by the node in core-seconds",
    "node_memory_working_set_bytes": "[STABLE] Current working set of the node in bytes",
    "node_swap_usage_bytes": "[ALPHA] Current swap usage of the node in bytes. Reported only on non-windows systems",
    "container_cpu_usage_seconds_total": "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
    "container_memory_working_set_bytes": "[STABLE] Current working set of the container in bytes",
    "container_start_time_seconds": "[STABLE] Start time of the container since unix epoch in seconds",
    "container_swap_usage_bytes": "[ALPHA] Current amount of the container swap usage in bytes. "
    "Reported only on non-windows systems",
    "pod_cpu_usage_seconds_total": "[STABLE] Cumulative cpu time consumed by the pod in core-seconds",
    "pod_memory_working_set_bytes": "[STABLE] Current working set of the pod in bytes",
    "pod_swap_usage_bytes": "[ALPHA] Current amount of the pod swap usage in bytes. "
    "Reported only on non-windows systems",
    "resource_scrape_error": "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise",
}


def resource_metrics(summary: stats_pb2.Summary | None) -> bytes:
    """The text of /metrics/resource. None: the figures could not be had."""
    rows: list[Row] = []
    if summary is not None:
        rows += _resources("node", {}, summary.node)
        for pod in summary.pods:
            of_pod = {"namespace": pod.pod_ref.namespace, "pod": pod.pod_ref.name}
            for one in pod.containers:
                labels = {"container": one.name, **of_pod}
                rows += _resources("container", labels, one)
                if one.HasField("start_time"):
                    rows.append(Row("container_start_time_seconds", labels, _seconds(one.start_time)))
            rows += _resources("pod", of_pod, pod)
    rows.append(Row("resource_scrape_error", {}, int(summary is None)))
    return exposition(rows)


def _resources(prefix: str, labels: Labels, usage: Usage) -> Iterator[Row]:
    cpu, memory, swap = usage.cpu, usage.memory, usage.swap
    if cpu.HasField("usage_core_nano_seconds"):
        yield Row(f"{prefix}_cpu_usage_seconds_total", labels, cpu.usage_core_nano_seconds / 1e9, cpu.time)
    if memory.HasField("working_set_bytes"):
        yield Row(f"{prefix}_memory_working_set_bytes", labels, memory.working_set_bytes, memory.time)
    if swap.HasField("swap_usage_bytes"):
        yield Row(f"{prefix}_swap_usage_bytes", labels, swap.swap_usage_bytes, swap.time)


def cadvisor_metrics(host: Host, summary: stats_pb2.Summary, runs: Mapping[tuple[str, str], Container]) -> bytes:
    """The text of /metrics/cadvisor. runs: what runs, by uid of the Pod and name of the container."""
    rows = [
        Row("machine_cpu_cores", {}, host.cpus),
        Row("machine_memory_bytes", {}, host.memory_bytes),
        Row("machine_swap_bytes", {}, host.swap_bytes),
    ]
    node = {"container": "", "id": "/", "image": "", "name": "", "namespace": "", "pod": ""}
    rows += [*_group(node, summary.node), *_traffic(node, summary.node.network)]
    for pod in summary.pods:
        ref = pod.pod_ref
        of_pod = {**node, "id": f"/kubepods/pod{ref.uid}", "namespace": ref.namespace, "pod": ref.name}
        rows += [*_group(of_pod, pod), *_traffic(of_pod, pod.network)]
        if pod.process_stats.HasField("process_count"):
            rows.append(Row("container_processes", of_pod, pod.process_stats.process_count))
        for one in pod.containers:
            if (run := runs.get((ref.uid, one.name))) is not None:
                own = {"id": f"{of_pod['id']}/{run.id}", "image": run.image, "name": run.id, "container": one.name}
                labels = {**of_pod, **own}
                rows += [*_group(labels, one), *_files(labels, one)]
    return exposition(rows)


def _group(labels: Labels, usage: Usage) -> Iterator[Row]:
    cpu, memory, swap = usage.cpu, usage.memory, usage.swap
    yield Row(
        "container_cpu_usage_seconds_total", {**labels, "cpu": "total"}, cpu.usage_core_nano_seconds / 1e9, cpu.time
    )
    yield Row("container_memory_usage_bytes", labels, memory.usage_bytes, memory.time)
    yield Row("container_memory_working_set_bytes", labels, memory.working_set_bytes, memory.time)
    yield Row("container_memory_rss", labels, memory.rss_bytes, memory.time)
    yield Row("container_memory_swap", labels, swap.swap_usage_bytes, memory.time)
    for kind, value in (("pgfault", memory.page_faults), ("pgmajfault", memory.major_page_faults)):
        shown = {**labels, "failure_type": kind, "scope": "hierarchy"}
        yield Row("container_memory_failures_total", shown, value, memory.time)
    if memory.HasField("available_bytes"):
        limit = memory.available_bytes + memory.working_set_bytes
        yield Row("container_spec_memory_limit_bytes", labels, limit)
    for resource, psi in (("cpu", cpu.psi), ("memory", memory.psi), ("io", usage.io.psi)):
        if psi.ListFields():
            yield Row(f"container_pressure_{resource}_stalled_seconds_total", labels, psi.full.total / 1e9)
            yield Row(f"container_pressure_{resource}_waiting_seconds_total", labels, psi.some.total / 1e9)
    if usage.HasField("start_time"):
        yield Row("container_start_time_seconds", labels, _seconds(usage.start_time))
        yield Row("container_last_seen", labels, _seconds(cpu.time))


def _files(labels: Labels, usage: stats_pb2.ContainerUsage) -> Iterator[Row]:
    if usage.HasField("rootfs"):
        shown = {**labels, "device": ""}
        yield Row("container_fs_usage_bytes", shown, usage.rootfs.used_bytes, usage.rootfs.time)
        yield Row("container_fs_limit_bytes", shown, usage.rootfs.capacity_bytes, usage.rootfs.time)
        yield Row("container_fs_inodes_total", shown, usage.rootfs.inodes, usage.rootfs.time)
        yield Row("container_fs_inodes_free", shown, usage.rootfs.inodes_free, usage.rootfs.time)


def _traffic(labels: Labels, network: stats_pb2.NetworkUsage) -> Iterator[Row]:
    for one in network.interfaces:
        shown = {**labels, "interface": one.name}
        for way, total, errors in (
            ("receive", one.rx_bytes, one.rx_errors),
            ("transmit", one.tx_bytes, one.tx_errors),
        ):
            yield Row(f"container_network_{way}_bytes_total", shown, total, network.time)
            yield Row(f"container_network_{way}_errors_total", shown, errors, network.time)


def _seconds(time: metav1.Time) -> float:
    return time.seconds + time.nanos / 1e9


def exposition(rows: Iterable[Row]) -> bytes:
    """Prometheus' text format; the rows of a series come together."""
    series: dict[str, list[str]] = {}
    for row in rows:
        shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in sorted(row.labels.items()))
        moment = f" {int(_seconds(row.time) * 1000)}" if row.time is not None else ""
        line = f"{row.name}{{{shown}}}" if shown else row.name
        series.setdefault(row.name, []).append(f"{line} {row.value:.17g}{moment}")
    lines = []
    for name, values in series.items():
        if name in HELP:
            lines.append(f"# HELP {name} {HELP[name]}")
        lines += [f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}", *values]
    return "".join(f"{line}\n" for line in lines).encode()


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
