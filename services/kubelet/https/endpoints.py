"""The paths that a kubelet serves."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import unquote

import orjson
from aiohttp import web

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import stats_pb2
from navarch.services.api import codec
from navarch.services.api.errors import BadRequest, InternalError, MethodNotSupported, NotFound, UnknownKind
from navarch.services.base.clock import Clock
from navarch.services.base.exposition import TEXT
from navarch.services.base.log import get_logger
from navarch.services.client.streams.front import Upgrade
from navarch.services.kubelet.checkpoints import Checkpoints
from navarch.services.kubelet.config import Config
from navarch.services.kubelet.configuration import configuration, flags
from navarch.services.kubelet.https import pages
from navarch.services.kubelet.https.documents import document
from navarch.services.kubelet.https.paths import query_of, raw_path
from navarch.services.kubelet.https.streams import StreamEndpoints
from navarch.services.kubelet.https.usage import cadvisor_metrics, resource_metrics
from navarch.services.kubelet.measures import Measures
from navarch.services.kubelet.node.host import Host
from navarch.services.kubelet.pod_streams import PodStreams
from navarch.services.kubelet.runtime import RuntimeFailure
from navarch.services.kubelet.stats.sampler import Sampler

LOG = get_logger("kubelet.https")
Answer = Awaitable[web.StreamResponse]
UPGRADED = frozenset({"exec", "attach", "portForward"})
METHODS = {
    **dict.fromkeys(UPGRADED, frozenset({"GET", "POST"})),
    **dict.fromkeys(("run", "checkpoint"), frozenset({"POST"})),
}
READING = frozenset({"GET"})
# What Go reads as true.
TRUE = frozenset({"1", "t", "true"})


class Endpoints:
    """Answers requests that were let in."""

    def __init__(
        self,
        config: Config,
        streams: PodStreams,
        sampler: Sampler,
        host: Host,
        measures: Measures,
        checkpoints: Checkpoints,
        clock: Clock,
    ) -> None:
        self._checkpoints = checkpoints
        self._clock = clock
        self._started_at = clock.now()
        self._checks: dict[str, pages.Check] = {
            "ping": lambda: "",
            "log": lambda: "",
            "syncloop": measures.staleness,
        }
        self._config = config
        self._pods = streams.pods
        self._sampler = sampler
        self._host = host
        self._measures = measures
        self._by_path = by_path = StreamEndpoints(streams)
        self._by_word: dict[str, Callable[[web.BaseRequest, Sequence[str]], Answer]] = {
            "containerLogs": by_path.logs,
            "exec": by_path.exec,
            "attach": by_path.attach,
            "portForward": by_path.port_forward,
            "run": by_path.run,
            "healthz": self._health,
            "logs": self._node_log,
            "checkpoint": self._checkpoint,
        }
        self._documents: dict[str, Callable[[web.BaseRequest], Awaitable[web.Response]]] = {
            "/pods": self._list_pods,
            "/runningpods": self._list_running,
            "/configz": self._configz,
            "/flagz": self._flagz,
            "/statusz": self._statusz,
            "/stats/summary": self._summary,
            "/metrics": self._metrics,
            "/metrics/probes": self._probe_metrics,
            "/metrics/resource": self._resource_metrics,
            "/metrics/cadvisor": self._cadvisor_metrics,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer. Raises ApiError."""
        path = raw_path(request.raw_path)
        # As it was authorized: by its first word as it came.
        word, *words = path.strip("/").split("/")
        document, below = self._documents.get(path.rstrip("/")), self._by_word.get(word)
        if document is None and below is None:
            raise UnknownKind("404 page not found")
        if request.method not in METHODS.get(word, READING):
            raise MethodNotSupported("", request.method)
        if document is not None:
            return await document(request)
        assert below is not None
        return await below(request, [unquote(word) for word in words])

    async def upgraded(self, upgrade: Upgrade) -> None:
        """Serve a connection whose client asks for SPDY. Raises ApiError before it has answered."""
        verb, *words = raw_path(upgrade.target).strip("/").split("/")
        if verb not in UPGRADED:
            raise UnknownKind("404 page not found")
        await self._by_path.upgraded(upgrade, verb, [unquote(word) for word in words], query_of(upgrade.target))

    async def _health(self, request: web.BaseRequest, _: Sequence[str]) -> web.StreamResponse:
        return pages.health(self._checks, request.path, verbose="verbose" in request.query)

    async def _node_log(self, request: web.BaseRequest, words: Sequence[str]) -> web.StreamResponse:
        return await asyncio.to_thread(pages.node_log, request.path.removeprefix("/logs").removeprefix("/"))

    async def _checkpoint(self, request: web.BaseRequest, words: Sequence[str]) -> web.StreamResponse:
        if len(words) != 3:
            raise UnknownKind("404 page not found")
        namespace, pod, container = words
        timeout = request.query.get("timeout", "0")
        if not (timeout.isascii() and timeout.isdecimal()):
            raise BadRequest(f'cannot parse value of timeout parameter "{timeout}"')
        worker = self._pods.find(namespace, pod)
        if worker is None:
            raise NotFound("pods", pod, "pod does not exist")
        archive = await self._checkpoints.make(worker, container, int(timeout))
        return _json({"items": [str(archive)]})

    async def _flagz(self, _: web.BaseRequest) -> web.Response:
        return pages.flagz(flags(self._config))

    async def _statusz(self, _: web.BaseRequest) -> web.Response:
        paths = [*self._documents, *(f"/{word}" for word in self._by_word)]
        return pages.statusz(self._started_at, self._clock.now(), paths)

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
        try:
            # For what is told of volumes.
            await self._sampler.summary()
        except (RuntimeFailure, OSError) as failure:
            LOG.warning("usage.unknown", error=failure)
        return _text(self._measures.metrics.render())

    async def _probe_metrics(self, _: web.BaseRequest) -> web.Response:
        return _text(self._measures.probes.render())

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
