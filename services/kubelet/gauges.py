"""Series that are counted when somebody asks: how many Pods there are, how full volumes are."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import stats_pb2
from navarch.services.kubelet.core.static_pods import is_static
from navarch.services.kubelet.node.status import VERSION
from navarch.services.kubelet.pod_worker import PodWorker

STATES: dict[int, str] = {
    criv1.CONTAINER_CREATED: "created",
    criv1.CONTAINER_RUNNING: "running",
    criv1.CONTAINER_EXITED: "exited",
    criv1.CONTAINER_UNKNOWN: "unknown",
}
VOLUME_FIELDS = ("available_bytes", "capacity_bytes", "used_bytes", "inodes", "inodes_free", "inodes_used")
CLAIM_LABELS = ("namespace", "persistentvolumeclaim")


class Gauges(Collector):
    """Of one kubelet. volume: where a volume of a Pod is, None while it is not; usage: the newest summary."""

    def __init__(
        self,
        node: str,
        workers: Callable[[], Iterable[PodWorker]],
        volume: Callable[[corev1.Pod, str], Path | None],
        usage: Callable[[], stats_pb2.Summary | None],
    ) -> None:
        self._volume = volume
        self._node = node
        self._workers = workers
        self._usage = usage

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        yield _one("kubelet_node_name", "The node's name. The count is always 1.", {"node": self._node})
        yield _one(
            "kubernetes_build_info",
            "What this is.",
            {
                "git_version": VERSION,
                "major": VERSION.split(".")[0].removeprefix("v"),
                "minor": VERSION.split(".")[1],
                "platform": "linux",
                "compiler": "cpython",
            },
        )
        workers = list(self._workers())
        yield GaugeMetricFamily(
            "kubelet_running_pods",
            "Pods that have a running sandbox.",
            sum(worker.view.runtime.ready_sandbox() is not None for worker in workers),
        )
        yield _counted("kubelet_running_containers", "Containers by state.", "container_state", _states(workers))
        static = Counter("true" if is_static(worker.view.pod) else "false" for worker in workers)
        yield _counted("kubelet_desired_pods", "Pods that this kubelet is to run.", "static", static)
        yield self._volume_counts(workers)
        yield from self._volumes()

    def _volume_counts(self, workers: Iterable[PodWorker]) -> Metric:
        family = GaugeMetricFamily(
            "volume_manager_total_volumes", "Volumes that there are to be, and are.", labels=["plugin_name", "state"]
        )
        wanted = [(worker.view.pod, volume) for worker in workers for volume in worker.view.pod.spec.volumes]
        ready = [(pod, volume) for pod, volume in wanted if self._volume(pod, volume.name) is not None]
        for state, volumes in (("desired_state_of_world", wanted), ("actual_state_of_world", ready)):
            for plugin, count in Counter(_plugin(volume) for _, volume in volumes).items():
                family.add_metric([plugin, state], count)
        return family

    def _volumes(self) -> Iterator[Metric]:
        usage = self._usage() or stats_pb2.Summary()
        volumes = {
            (volume.pvc_ref.namespace, volume.pvc_ref.name): volume
            for pod in usage.pods
            for volume in pod.volume
            if volume.HasField("pvc_ref")
        }
        for field in VOLUME_FIELDS:
            family = GaugeMetricFamily(f"kubelet_volume_stats_{field}", "Volumes by claim.", labels=CLAIM_LABELS)
            for labels, volume in volumes.items():
                if volume.HasField(field):
                    family.add_metric(labels, getattr(volume, field))
            yield family


def _plugin(volume: corev1.Volume) -> str:
    """As the genuine kubelet calls it; of a claim, whatever is behind it."""
    sources = volume.volume_source.ListFields()
    member = sources[0][0].name if sources else "empty_dir"
    return f"kubernetes.io/{'configmap' if member == 'config_map' else member.replace('_', '-')}"


def _states(workers: Iterable[PodWorker]) -> Counter[str]:
    states = Counter(dict.fromkeys(STATES.values(), 0))
    states.update(
        STATES.get(run.state, "unknown") for worker in workers for run in worker.view.runtime.containers.values()
    )
    return states


def _one(name: str, text: str, labels: dict[str, str]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=list(labels))
    family.add_metric(list(labels.values()), 1)
    return family


def _counted(name: str, text: str, label: str, counts: Counter[str]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family
