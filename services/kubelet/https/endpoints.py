"""The paths that a kubelet serves."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import unquote

import orjson
from aiohttp import web

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import stats_pb2
from navarch.services.api import codec
from navarch.services.api.errors import InternalError, MethodNotSupported, UnknownKind
from navarch.services.base.exposition import TEXT
from navarch.services.kubelet.config import Config
from navarch.services.kubelet.configuration import configuration
from navarch.services.kubelet.https.documents import document
from navarch.services.kubelet.https.streams import StreamEndpoints
from navarch.services.kubelet.https.usage import cadvisor_metrics, resource_metrics
from navarch.services.kubelet.node.host import Host
from navarch.services.kubelet.pod_streams import PodStreams
from navarch.services.kubelet.runtime import RuntimeFailure
from navarch.services.kubelet.stats.sampler import Sampler

Answer = Awaitable[web.StreamResponse]
STREAM_METHODS = frozenset({"GET", "POST"})
# What Go reads as true.
TRUE = frozenset({"1", "t", "true"})


class Endpoints:
    """Answers requests that were let in. render_metrics: the kubelet's own series."""

    def __init__(
        self,
        config: Config,
        streams: PodStreams,
        sampler: Sampler,
        host: Host,
        render_metrics: Callable[[], bytes],
    ) -> None:
        self._config = config
        self._pods = streams.pods
        self._sampler = sampler
        self._host = host
        self._render_metrics = render_metrics
        by_path = StreamEndpoints(streams)
        self._streams: dict[str, Callable[[web.BaseRequest, Sequence[str]], Answer]] = {
            "containerLogs": by_path.logs,
            "exec": by_path.exec,
            "attach": by_path.attach,
            "portForward": by_path.port_forward,
        }
        self._documents: dict[str, Callable[[web.BaseRequest], Awaitable[web.Response]]] = {
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
        answer = self._documents.get(path.rstrip("/"))
        words = [unquote(word) for word in path.strip("/").split("/")]
        stream = self._streams.get(words[0])
        allowed = frozenset({"GET"}) if stream is None else STREAM_METHODS
        if answer is None and stream is None:
            raise UnknownKind("404 page not found")
        if request.method not in allowed:
            raise MethodNotSupported("", request.method)
        if answer is not None:
            return await answer(request)
        assert stream is not None
        return await stream(request, words[1:])

    async def _healthz(self, _: web.BaseRequest) -> web.Response:
        return web.Response(text="ok")

    async def _list_pods(self, _: web.BaseRequest) -> web.Response:
        return _pod_list([self._pods.reported(worker) for worker in self._pods.all()])

    async def _list_running(self, _: web.BaseRequest) -> web.Response:
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

    async def _configz(self, _: web.BaseRequest) -> web.Response:
        return _json({"kubeletconfig": configuration(self._config)})

    async def _metrics(self, _: web.BaseRequest) -> web.Response:
        return _text(self._render_metrics())

    async def _summary(self, request: web.BaseRequest) -> web.Response:
        light = request.query.get("only_cpu_and_memory", "").lower() in TRUE
        return _json(document(await self._usage(light)))

    async def _usage(self, light: bool = False) -> stats_pb2.Summary:
        try:
            return await self._sampler.summary(only_cpu_and_memory=light)
        except (RuntimeFailure, OSError) as failure:
            raise InternalError(str(failure)) from failure

    async def _resource_metrics(self, _: web.BaseRequest) -> web.Response:
        try:
            usage = await self._sampler.summary(only_cpu_and_memory=False)
        except (RuntimeFailure, OSError):
            # Told by a series of its own.
            return _text(resource_metrics(None))
        return _text(resource_metrics(usage))

    async def _cadvisor_metrics(self, _: web.BaseRequest) -> web.Response:
        runs = {(worker.uid, run.name): run for worker in self._pods.all() for run in worker.view.runtime.alive()}
        return _text(cadvisor_metrics(self._host, await self._usage(), runs))


def _pod_list(pods: Sequence[corev1.Pod]) -> web.Response:
    items = []
    for pod in pods:
        item = codec.to_json(pod)
        del item["apiVersion"], item["kind"]
        items.append(item)
    return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})


def _json(content: Any) -> web.Response:
    return web.Response(body=orjson.dumps(content), content_type="application/json")


def _text(metrics: bytes) -> web.Response:
    return web.Response(body=metrics, headers={"Content-Type": TEXT})
