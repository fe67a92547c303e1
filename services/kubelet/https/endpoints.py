"""The paths that a kubelet serves."""

import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson
from aiohttp import web

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import codec
from navarch.services.api.errors import MethodNotSupported, ServiceUnavailable, UnknownKind
from navarch.services.base.clock import Clock
from navarch.services.base.exposition import TEXT
from navarch.services.kubelet.config import Config
from navarch.services.kubelet.core.observed import UID_LABEL, Container
from navarch.services.kubelet.https.streams import StreamEndpoints
from navarch.services.kubelet.https.usage import (
    ContainerUse,
    NodeUse,
    PodUse,
    cadvisor_metrics,
    resource_metrics,
    summary,
)
from navarch.services.kubelet.node.host import Host, read_cpu_ns, read_load
from navarch.services.kubelet.pod_streams import PodStreams
from navarch.services.kubelet.pod_worker import PodWorker
from navarch.services.kubelet.runtime import Runtime, RuntimeFailure

Answer = Awaitable[web.StreamResponse]
STREAM_METHODS = frozenset({"GET", "POST"})


class Endpoints:
    """Answers requests that were let in. render_metrics: the kubelet's own series."""

    def __init__(
        self,
        config: Config,
        streams: PodStreams,
        runtime: Runtime,
        host: Host,
        clock: Clock,
        render_metrics: Callable[[], bytes],
    ) -> None:
        self._config = config
        self._pods = streams.pods
        self._runtime = runtime
        self._host = host
        self._clock = clock
        self._render_metrics = render_metrics
        by_path = StreamEndpoints(streams)
        self._streams: dict[str, Callable[[web.BaseRequest, Sequence[str]], Answer]] = {
            "containerLogs": by_path.logs,
            "exec": by_path.exec,
            "attach": by_path.attach,
            "portForward": by_path.port_forward,
        }
        self._documents: dict[str, Callable[[], Awaitable[web.Response]]] = {
            "/healthz": self._healthz,
            "/pods": self._list_pods,
            "/runningpods": self._list_running,
            "/configz": self._configz,
            "/stats/summary": self._summary,
            "/metrics": self._metrics,
            "/metrics/resource": self._resource_metrics,
            "/metrics/cadvisor": self._cadvisor_metrics,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer. Raises ApiError."""
        path = request.raw_path.partition("?")[0]
        document = self._documents.get(path.rstrip("/"))
        words = [unquote(word) for word in path.strip("/").split("/")]
        stream = self._streams.get(words[0])
        allowed = frozenset({"GET"}) if stream is None else STREAM_METHODS
        if document is None and stream is None:
            raise UnknownKind("404 page not found")
        if request.method not in allowed:
            raise MethodNotSupported("", request.method)
        if document is not None:
            return await document()
        assert stream is not None
        return await stream(request, words[1:])

    async def _healthz(self) -> web.Response:
        return web.Response(text="ok")

    async def _list_pods(self) -> web.Response:
        return _pod_list([self._pods.reported(worker) for worker in self._pods.all()])

    async def _list_running(self) -> web.Response:
        """Only what runs: names and images of the containers that have a process."""
        found = []
        for worker in self._pods.all():
            alive = {run.name for run in worker.view.runtime.alive()}
            if alive:
                metadata = worker.view.pod.metadata
                pod = corev1.Pod()
                pod.metadata.name, pod.metadata.namespace, pod.metadata.uid = (
                    metadata.name,
                    metadata.namespace,
                    metadata.uid,
                )
                for container in worker.view.pod.spec.containers:
                    if container.name in alive:
                        pod.spec.containers.add(name=container.name, image=container.image)
                found.append(pod)
        return _pod_list(found)

    async def _configz(self) -> web.Response:
        config = self._config
        shown = {
            "kind": "KubeletConfiguration",
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "address": config.listen.rpartition(":")[0],
            "port": int(config.listen.rpartition(":")[2]),
            "nodeStatusUpdateFrequency": f"{config.heartbeat_s:g}s",
            "clusterDomain": config.cluster_domain,
            "clusterDNS": list(config.cluster_dns),
            "maxPods": config.max_pods,
            "podCIDR": config.pod_cidr,
            "cgroupRoot": config.groups.names.root,
            "cgroupDriver": config.groups.names.driver.value,
            "cgroupsPerQOS": config.groups.names.per_qos,
            "enforceNodeAllocatable": sorted(config.groups.enforced) or ["none"],
            "podPidsLimit": config.groups.pod_max_pids,
            "containerRuntimeEndpoint": config.runtime_endpoint,
        }
        return _json({"kubeletconfig": shown})

    async def _metrics(self) -> web.Response:
        return web.Response(body=self._render_metrics(), headers={"Content-Type": TEXT})

    async def _summary(self) -> web.Response:
        return _json(summary(self._node(), await self._usage(), self._clock.now()))

    async def _resource_metrics(self) -> web.Response:
        text = resource_metrics(self._node(), await self._usage())
        return web.Response(body=text.encode(), headers={"Content-Type": TEXT})

    async def _cadvisor_metrics(self) -> web.Response:
        text = cadvisor_metrics(self._node(), await self._usage())
        return web.Response(body=text.encode(), headers={"Content-Type": TEXT})

    def _node(self) -> NodeUse:
        load = read_load(Path(self._config.root_dir))
        return NodeUse(
            name=self._config.node_name,
            cpus=self._host.cpus,
            memory_bytes=self._host.memory_bytes,
            memory_available_bytes=load.memory_available_bytes,
            cpu_ns=read_cpu_ns(),
            disk_bytes=load.disk_bytes,
            disk_available_bytes=load.disk_available_bytes,
            booted_at=self._clock.now() - time.clock_gettime(time.CLOCK_BOOTTIME),
        )

    async def _usage(self) -> list[PodUse]:
        try:
            stats = await self._runtime.container_stats()
        except RuntimeFailure as failure:
            raise ServiceUnavailable(str(failure)) from failure
        by_uid: dict[str, list[criv1.ContainerStats]] = {}
        for one in stats:
            by_uid.setdefault(one.attributes.labels.get(UID_LABEL, ""), []).append(one)
        return [_pod_use(worker, by_uid.get(worker.uid, [])) for worker in self._pods.all()]


def _pod_use(worker: PodWorker, stats: Sequence[criv1.ContainerStats]) -> PodUse:
    metadata = worker.view.pod.metadata
    box = worker.view.runtime.sandbox()
    runs = worker.view.runtime.containers
    known = ((runs[one.attributes.id], one) for one in stats if one.attributes.id in runs)
    containers = tuple(_container_use(run, one) for run, one in known)
    return PodUse(metadata.namespace, metadata.name, metadata.uid, box.created_at if box else 0.0, containers)


def _container_use(run: Container, stats: criv1.ContainerStats) -> ContainerUse:
    return ContainerUse(
        name=run.name,
        id=run.id,
        image=run.image,
        started_at=run.started_at,
        cpu_ns=stats.cpu.usage_core_nano_seconds.value,
        memory_bytes=stats.memory.working_set_bytes.value,
        disk_bytes=stats.writable_layer.used_bytes.value,
    )


def _pod_list(pods: Sequence[corev1.Pod]) -> web.Response:
    items = []
    for pod in pods:
        item = codec.to_json(pod)
        del item["apiVersion"], item["kind"]
        items.append(item)
    return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})


def _json(document: Any) -> web.Response:
    return web.Response(body=orjson.dumps(document), content_type="application/json")
