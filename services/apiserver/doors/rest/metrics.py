"""/metrics: what the server counts, in series named as those of kube-apiserver.

The door asks for the series `of` each request, calls `begin` on them and `end` with the answer. A watch counts as
one request, and as an open stream while it lasts. Labels come from the table of kinds, never from what a client
made up, so the number of series is bounded; they are looked up once per kind of request.
"""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from navarch.services.api.errors import UnknownKind
from navarch.services.api.kinds import KindTable
from navarch.services.apiserver.doors.rest.call import Call, Handler
from navarch.services.apiserver.doors.rest.paths import ResourcePath
from navarch.services.base.metrics import Metrics

# verb, group, version, resource, subresource, scope
Labels = tuple[str, str, str, str, str, str]
_OBJECT: Final = ("verb", "group", "version", "resource", "subresource", "scope")
_VERBS: Final = {"GET": "GET", "HEAD": "GET", "POST": "POST", "PUT": "PUT", "PATCH": "PATCH", "DELETE": "DELETE"}
_READS: Final = frozenset({"GET", "LIST", "WATCH"})
_CONNECTIONS: Final = frozenset({"attach", "exec", "portforward", "proxy"})
_BUCKETS_S: Final = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 60)


class Series:
    """The series of requests with the same labels."""

    def __init__(self, total: Any, running: Any, duration: Any, size: Any) -> None:
        """total: counter that still lacks the code. running: gauge. duration, size: None for streams."""
        self._total = total
        self._by_code: dict[int, Any] = {}
        self._running = running
        self._duration = duration
        self._size = size

    def begin(self) -> None:
        """A request has come."""
        self._running.inc()

    def end(self, code: int, seconds: float, size: int = 0) -> None:
        """It has been answered, or has ended. size: bytes of the answer's body."""
        counter = self._by_code.get(code)
        if counter is None:
            counter = self._by_code[code] = self._total(str(code))
        counter.inc()
        self._running.dec()
        if self._duration is not None:
            self._duration.observe(seconds)
            self._size.inc(size)


class RequestMetrics:
    """The series of the Kubernetes door."""

    def __init__(self, metrics: Metrics, kinds: KindTable) -> None:
        self._metrics = metrics
        self._kinds = kinds
        self._series: dict[Labels, Series] = {}
        self._total = metrics.counter("apiserver_request", "Requests answered, by code.", (*_OBJECT, "code"))
        self._duration = metrics.histogram(
            "apiserver_request_duration_seconds", "Time to answer requests that end.", _OBJECT, _BUCKETS_S
        )
        self._inflight = metrics.gauge("apiserver_current_inflight_requests", "Requests at work.", ("request_kind",))
        self._streams = metrics.gauge(
            "apiserver_longrunning_requests", "Watches and other streams that are open.", _OBJECT
        )
        self._sizes = metrics.counter("apiserver_response_bytes", "Bytes of answers, streams excepted.", ("verb",))

    def of(self, method: str, path: ResourcePath | None, is_watch: bool = False) -> Series:
        """The series of a request. path: None where it is about no object; is_watch: the query says so."""
        labels = self._labels(method, path, is_watch)
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = self._make(labels)
        return series

    def _labels(self, method: str, path: ResourcePath | None, is_watch: bool) -> Labels:
        verb = _VERBS.get(method, "OTHER")
        nothing = verb, "", "", "", "", ""
        if path is None:
            return nothing
        try:
            kind = self._kinds.by_resource(path.group, path.version, path.resource)
        except UnknownKind:
            return nothing
        part = path.subresource if path.subresource and kind.subresource(path.subresource) else ""
        if part in _CONNECTIONS:
            verb = "CONNECT"
        elif verb == "GET" and (path.is_watch or (is_watch and not path.name)):
            verb = "WATCH"
        elif not path.name:
            verb = {"GET": "LIST", "DELETE": "DELETECOLLECTION"}.get(verb, verb)
        scope = "resource" if path.name else "namespace" if path.namespace else "cluster"
        return verb, kind.group, kind.version, kind.resource, part, scope

    def _make(self, labels: Labels) -> Series:
        verb = labels[0]

        def total(code: str) -> Any:
            return self._total.labels(*labels, code)

        if verb in ("WATCH", "CONNECT"):
            return Series(total, self._streams.labels(*labels), None, None)
        running = self._inflight.labels("readOnly" if verb in _READS else "mutating")
        return Series(total, running, self._duration.labels(*labels), self._sizes.labels(verb))

    async def handler(self, call: Call) -> web.StreamResponse:
        """Answer /metrics."""
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def paths(metrics: RequestMetrics) -> dict[str, Handler]:
    """The handler by path."""
    return {"/metrics": metrics.handler}
