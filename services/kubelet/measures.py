"""The kubelet's own series, named and labelled as the genuine kubelet's, so that its dashboards and alerts work.

The parts of the kubelet tell what they do by plain calls; what can be counted when it is asked for is counted then
(`gauges.py`). Probes have a page of their own, /metrics/probes.
"""

import re
from collections.abc import Callable
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import unix
from navarch.services.base.clock import Clock
from navarch.services.base.metrics import Metrics
from navarch.services.kubelet.core.deeds import Deed
from navarch.services.kubelet.core.orders import (
    Done,
    EnsureImage,
    Failed,
    Order,
    PrepareVolumes,
    ProbeKind,
    RunSandbox,
    StartContainer,
    StopContainer,
    StopSandbox,
)
from navarch.services.kubelet.core.restart import is_sidecar
from navarch.services.kubelet.pod_worker import CarriesOut, PodWorker

DEFAULT_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
RUNTIME_BUCKETS_S = tuple(0.005 * 2.5**step for step in range(14))
STORAGE_BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 25.0, 50.0, 120.0, 300.0, 600.0)
START_BUCKETS_S = (0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1800, 3600)
# As long as the genuine kubelet waits for a list of all before it calls itself sick.
SILENT_S = 180.0
# Requests that last as long as somebody wants them to.
LONG_RUNNING = frozenset({"exec", "attach", "portForward", "containerLogs", "run"})
PROBE_TYPES = {ProbeKind.LIVENESS: "Liveness", ProbeKind.READINESS: "Readiness", ProbeKind.STARTUP: "Startup"}


class Measures:
    """What is counted as it happens. metrics: the registry of /metrics."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self.metrics = metrics
        self._clock = clock
        counter, histogram = metrics.counter, metrics.histogram
        operation = ("operation_type",)
        self._runtime = counter("kubelet_runtime_operations", "Calls of the runtime.", operation)
        self._runtime_errors = counter("kubelet_runtime_operations_errors", "Calls that it refused.", operation)
        self._runtime_s = histogram(
            "kubelet_runtime_operations_duration_seconds", "Calls of the runtime.", operation, RUNTIME_BUCKETS_S
        )
        self._relist_s = histogram("kubelet_pleg_relist_duration_seconds", "Lists of all.", (), DEFAULT_BUCKETS_S)
        self._relist_interval_s = histogram(
            "kubelet_pleg_relist_interval_seconds", "Time from list to list.", (), DEFAULT_BUCKETS_S
        )
        self._relisted = metrics.gauge("kubelet_pleg_last_seen_seconds", "When the runtime was listed last.")
        self._worker_s = histogram(
            "kubelet_pod_worker_duration_seconds", "Steps of Pods' lives.", operation, DEFAULT_BUCKETS_S
        )
        self._pods = counter("kubelet_started_pods", "Sandboxes started.")
        self._pod_errors = counter("kubelet_started_pods_errors", "Sandboxes that did not start.")
        kind = ("container_type",)
        self._containers = counter("kubelet_started_containers", "Containers started.", kind)
        self._container_errors = counter(
            "kubelet_started_containers_errors", "Containers that did not start.", (*kind, "code")
        )
        self._start_s, self._start_sli_s, self._start_total_s = (
            histogram(f"kubelet_pod_start_{name}_seconds", text, (), START_BUCKETS_S)
            for name, text in (
                ("duration", "From the first sight of a Pod until all its containers run."),
                ("sli_duration", "From a Pod's creation until all its containers run, without pulls."),
                ("total_duration", "From a Pod's creation until all its containers run."),
            )
        )
        self._evictions = counter("kubelet_evictions", "Pods evicted.", ("eviction_signal",))
        self._preemptions = counter("kubelet_preemptions", "Pods that left for critical ones.", ("preemption_signal",))
        self._storage_s = histogram(
            "storage_operation_duration_seconds",
            "Work on volumes.",
            ("volume_plugin", "operation_name", "status", "migrated"),
            STORAGE_BUCKETS_S,
        )
        request = ("method", "path", "server_type", "long_running")
        self._requests = counter("kubelet_http_requests", "HTTP requests.", request)
        self._requests_s = histogram("kubelet_http_requests_duration_seconds", "HTTP requests.", request)
        self._calls = counter("rest_client_requests", "Requests to the API server.", ("code", "method", "host"))
        self._calls_s = histogram("rest_client_request_duration_seconds", "Requests to it.", ("verb", "host"))
        self.probes = Probes()
        self._listed_at: float | None = None
        self._began = clock.monotonic()
        self._started: set[str] = set()

    def called(self, request: str, seconds: float, failed: bool) -> None:
        """The runtime was called. request: the name of the message."""
        operation = operation_of(request)
        self._runtime.labels(operation).inc()
        self._runtime_s.labels(operation).observe(seconds)
        if failed:
            self._runtime_errors.labels(operation).inc()

    def relisted(self, began: float) -> None:
        """Everything in the runtime was listed. began: monotonic."""
        self._relist_s.observe(self._clock.monotonic() - began)
        if self._listed_at is not None:
            self._relist_interval_s.observe(began - self._listed_at)
        self._listed_at = began
        self._relisted.set(self._clock.now())

    def staleness(self) -> str:
        """What is wrong when nothing was heard of the runtime for long; "" when all is well."""
        known = self._began if self._listed_at is None else self._listed_at
        silent_s = self._clock.monotonic() - known
        return f"the runtime was listed {silent_s:.0f} s ago, which is too long" if silent_s > SILENT_S else ""

    def evicted(self, signal: str) -> None:
        """A Pod was evicted for what is short, or over a limit."""
        self._evictions.labels(signal).inc()

    def preempted(self, resource: str) -> None:
        """A Pod had to leave for a critical one, for which there was too little of something."""
        self._preemptions.labels(resource).inc()

    def volume(self, plugin: str, operation: str, seconds: float, failed: bool) -> None:
        """A volume was mounted or unmounted. plugin: as its directory is called."""
        name, status = plugin.replace("~", "/"), "fail-unknown" if failed else "success"
        self._storage_s.labels(name, operation, status, "false").observe(seconds)

    def served(self, method: str, path: str, seconds: float) -> None:
        """An HTTP request was answered. path: one that is served, with nothing of the caller's in it."""
        labels = (method, path, "readwrite", "true" if path in LONG_RUNNING else "false")
        self._requests.labels(*labels).inc()
        self._requests_s.labels(*labels).observe(seconds)

    def requested(self, host: str, verb: str, code: int, seconds: float) -> None:
        """The API server has answered."""
        self._calls_s.labels(verb, host).observe(seconds)
        self._calls.labels(str(code), verb, host).inc()

    def carried_out(self, worker: PodWorker, answer: Done | Failed, seconds: float) -> None:
        """An order was."""
        order, failed = answer.order, isinstance(answer, Failed)
        self._worker_s.labels(_operation(order)).observe(seconds)
        match order:
            case RunSandbox():
                (self._pod_errors if failed else self._pods).inc()
            case StartContainer(name):
                kind = _container_type(worker.view.pod, name)
                self._containers.labels(kind).inc()
                if isinstance(answer, Failed):
                    self._container_errors.labels(kind, answer.reason).inc()

    def changed(self, worker: PodWorker) -> None:
        """Something happened to a Pod: it may be up for the first time."""
        if worker.uid in self._started or not _is_up(worker):
            return
        self._started.add(worker.uid)
        created_at, now = unix(worker.view.pod.metadata.creation_timestamp), self._clock.now()
        deeds = list(worker.deeds.all())
        if not any(deed.order == RunSandbox.__name__ for deed in deeds):
            # It ran before this kubelet did.
            return
        self._start_s.observe(max(0.0, now - worker.seen_at))
        self._start_total_s.observe(max(0.0, now - created_at))
        self._start_sli_s.observe(max(0.0, now - created_at - _pulling_s(deeds)))

    def forget(self, uid: str) -> None:
        """A Pod is no more."""
        self._started.discard(uid)
        self.probes.forget(uid)


class Probes:
    """The series of /metrics/probes."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ("probe_type", "container", "pod", "namespace")
        self._total = Counter(
            "prober_probe", "Probes of containers, by result.", (*labels, "result", "pod_uid"), registry=self._registry
        )
        self._seconds = Histogram(
            "prober_probe_duration_seconds", "Probes.", labels, registry=self._registry, buckets=DEFAULT_BUCKETS_S
        )
        self._known: dict[str, set[tuple[str, ...]]] = {}

    def probed(self, pod: corev1.Pod, container: str, kind: ProbeKind, seconds: float, healthy: bool) -> None:
        """A probe has spoken."""
        metadata = pod.metadata
        labels = (PROBE_TYPES[kind], container, metadata.name, metadata.namespace)
        result = "successful" if healthy else "failed"
        self._total.labels(*labels, result, metadata.uid).inc()
        self._seconds.labels(*labels).observe(seconds)
        self._known.setdefault(metadata.uid, set()).add((*labels, result))

    def forget(self, uid: str) -> None:
        """A Pod is no more, and neither are its series."""
        known = self._known.pop(uid, set())
        for *labels, result in known:
            self._total.remove(*labels, result, uid)
        for duration in {labels[:-1] for labels in known}:
            self._seconds.remove(*duration)

    def render(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)


class MeasuredExecutor:
    """Carries out orders by another, and tells how long that took."""

    def __init__(self, inner: CarriesOut, measures: Measures, monotonic: Callable[[], float]) -> None:
        self._inner = inner
        self._measures = measures
        self._monotonic = monotonic

    async def carry_out(self, worker: PodWorker, order: Order) -> Done | Failed:
        """Carry one order out."""
        began = self._monotonic()
        answer = await self._inner.carry_out(worker, order)
        self._measures.carried_out(worker, answer, self._monotonic() - began)
        return answer


@lru_cache(maxsize=64)
def operation_of(request: str) -> str:
    """What Kubernetes calls a call of CRI: "RunPodSandboxRequest" is "run_podsandbox"."""
    words = request.removesuffix("Request").replace("PodSandbox", "Podsandbox")
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", words).lower()
    return "update_container" if name == "update_container_resources" else name


def _operation(order: Order) -> str:
    match order:
        case PrepareVolumes() | RunSandbox() | EnsureImage() | StartContainer():
            return "create"
        case StopContainer() | StopSandbox():
            return "kill"
    return "sync"


def _container_type(pod: corev1.Pod, name: str) -> str:
    if any(one.name == name for one in pod.spec.init_containers):
        return "init_container"
    return "container" if any(one.name == name for one in pod.spec.containers) else "ephemeral_container"


def _is_up(worker: PodWorker) -> bool:
    view = worker.view
    spec = view.pod.spec
    wanted = [*spec.containers, *(one for one in spec.init_containers if is_sidecar(one))]
    runs = (view.runtime.latest(one.name) for one in wanted)
    return bool(spec.containers) and all(run is not None and run.started_at > 0 for run in runs)


def _pulling_s(deeds: list[Deed]) -> float:
    """How long some image was being pulled."""
    total, until = 0.0, 0.0
    spans = [(deed.given_at, deed.answered_at) for deed in deeds if deed.order == EnsureImage.__name__]
    for given_at, answered_at in sorted((given, answered) for given, answered in spans if answered is not None):
        total += max(0.0, answered_at - max(given_at, until))
        until = max(until, answered_at)
    return total
