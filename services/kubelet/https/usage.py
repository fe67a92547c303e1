"""What containers, Pods and the node use: figures in, documents and metrics out. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from navarch.services.api.codec.times import format_seconds

Labels = dict[str, str]
Row = tuple[str, Labels, float]


@dataclass(frozen=True, slots=True)
class ContainerUse:
    """One running container. cpu_ns: since its start."""

    name: str
    id: str
    image: str
    started_at: float
    cpu_ns: int
    memory_bytes: int
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class PodUse:
    """One Pod."""

    namespace: str
    name: str
    uid: str
    started_at: float
    containers: tuple[ContainerUse, ...]


@dataclass(frozen=True, slots=True)
class NodeUse:
    """The node. cpu_ns: of all its CPUs since it booted."""

    name: str
    cpus: int
    memory_bytes: int
    memory_available_bytes: int
    cpu_ns: int
    disk_bytes: int
    disk_available_bytes: int
    booted_at: float


def summary(node: NodeUse, pods: Sequence[PodUse], now: float) -> dict[str, Any]:
    """The document of /stats/summary."""
    time = format_seconds(int(now))
    used = node.memory_bytes - node.memory_available_bytes
    return {
        "node": {
            "nodeName": node.name,
            "startTime": format_seconds(int(node.booted_at)),
            "cpu": {"time": time, "usageCoreNanoSeconds": node.cpu_ns},
            "memory": {
                "time": time,
                "availableBytes": node.memory_available_bytes,
                "usageBytes": used,
                "workingSetBytes": used,
            },
            "fs": {
                "time": time,
                "availableBytes": node.disk_available_bytes,
                "capacityBytes": node.disk_bytes,
                "usedBytes": node.disk_bytes - node.disk_available_bytes,
            },
        },
        "pods": [_pod_summary(pod, time) for pod in pods],
    }


def _pod_summary(pod: PodUse, time: str) -> dict[str, Any]:
    return {
        "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "startTime": format_seconds(int(pod.started_at)),
        "containers": [
            {
                "name": one.name,
                "startTime": format_seconds(int(one.started_at)),
                "cpu": {"time": time, "usageCoreNanoSeconds": one.cpu_ns},
                "memory": {"time": time, "usageBytes": one.memory_bytes, "workingSetBytes": one.memory_bytes},
                "rootfs": {"time": time, "usedBytes": one.disk_bytes},
            }
            for one in pod.containers
        ],
        "cpu": {"time": time, "usageCoreNanoSeconds": sum(one.cpu_ns for one in pod.containers)},
        "memory": {"time": time, "workingSetBytes": sum(one.memory_bytes for one in pod.containers)},
    }


def resource_metrics(node: NodeUse, pods: Sequence[PodUse]) -> str:
    """The text of /metrics/resource."""
    rows: list[Row] = [
        ("node_cpu_usage_seconds_total", {}, node.cpu_ns / 1e9),
        ("node_memory_working_set_bytes", {}, node.memory_bytes - node.memory_available_bytes),
    ]
    for pod in pods:
        of_pod = {"namespace": pod.namespace, "pod": pod.name}
        for one in pod.containers:
            labels = {"container": one.name, **of_pod}
            rows.append(("container_cpu_usage_seconds_total", labels, one.cpu_ns / 1e9))
            rows.append(("container_memory_working_set_bytes", labels, one.memory_bytes))
            rows.append(("container_start_time_seconds", labels, one.started_at))
        rows.append(("pod_cpu_usage_seconds_total", of_pod, sum(one.cpu_ns for one in pod.containers) / 1e9))
        rows.append(("pod_memory_working_set_bytes", of_pod, sum(one.memory_bytes for one in pod.containers)))
    rows.append(("resource_scrape_error", {}, 0))
    return exposition(rows)


def cadvisor_metrics(node: NodeUse, pods: Sequence[PodUse]) -> str:
    """The text of /metrics/cadvisor: those of its series that dashboards look at first."""
    rows: list[Row] = [
        ("machine_cpu_cores", {}, node.cpus),
        ("machine_memory_bytes", {}, node.memory_bytes),
    ]
    for pod in pods:
        for one in pod.containers:
            labels = {
                "container": one.name,
                "id": one.id,
                "image": one.image,
                "name": one.id,
                "namespace": pod.namespace,
                "pod": pod.name,
            }
            rows.append(("container_cpu_usage_seconds_total", {**labels, "cpu": "total"}, one.cpu_ns / 1e9))
            rows.append(("container_memory_working_set_bytes", labels, one.memory_bytes))
            rows.append(("container_fs_usage_bytes", labels, one.disk_bytes))
            rows.append(("container_start_time_seconds", labels, one.started_at))
    return exposition(rows)


def exposition(rows: Iterable[Row]) -> str:
    """Prometheus' text format; the rows of a series come together."""
    series: dict[str, list[str]] = {}
    for name, labels, value in rows:
        shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in sorted(labels.items()))
        series.setdefault(name, []).append(f"{name}{{{shown}}} {value:.17g}" if shown else f"{name} {value:.17g}")
    lines = []
    for name, values in series.items():
        kind = "counter" if name.endswith("_total") else "gauge"
        lines += [f"# TYPE {name} {kind}", *values]
    return "".join(f"{line}\n" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
