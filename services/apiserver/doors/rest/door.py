"""From a request to its handler, and from a refusal to a Status.

Every request is authenticated first. Then a path is a resource (or a part of one that has a handler of its own),
a group that another server serves, or one of the paths that are no objects.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from aiohttp import web

from navarch.services.api.errors import ApiError, InternalError, TooManyRequests
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.doors.rest import paths, resources
from navarch.services.apiserver.doors.rest.call import FALSE, Call, Handler
from navarch.services.apiserver.doors.rest.metrics import RequestMetrics
from navarch.services.apiserver.doors.rest.responses import plain_not_found, refusal
from navarch.services.apiserver.doors.rest.routes import RouteTable
from navarch.services.apiserver.registry.core import Core
from navarch.services.base.log import get_logger

LOG = get_logger("apiserver.rest")
# As many requests as Kubernetes works on at a time; watches and other streams do not count.
READS_IN_FLIGHT = 400
WRITES_IN_FLIGHT = 200
_READS = frozenset({"GET", "HEAD", "OPTIONS"})


class Authentication(Protocol):
    """Who makes a request (`auth`)."""

    async def authenticate(self, request: web.BaseRequest) -> User:
        """The user. Raises Unauthorized."""
        ...


# Serves a group and version that is not ours, if it is known: APIService.
Aggregated = Callable[[str, str], Handler | None]


class RestDoor:
    """Answers requests. Holds no connection."""

    def __init__(
        self,
        core: Core,
        authentication: Authentication,
        routes: RouteTable,
        aggregated: Aggregated,
        metrics: RequestMetrics,
    ) -> None:
        self._core = core
        self._authentication = authentication
        self._routes = routes
        self._aggregated = aggregated
        self._metrics = metrics
        self._reads = 0
        self._writes = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to a request; every failure is one, too."""
        raw_path = request.raw_path.partition("?")[0]
        try:
            path = paths.parse(raw_path)
        except ApiError as error:
            return refusal(request, error)
        monotonic = self._core.clock.monotonic
        begin = monotonic()
        series = self._metrics.of(request.method, path, request.query.get("watch", "") not in FALSE)
        series.begin()
        # What the books say of a client that has left.
        code, size = 499, 0
        try:
            response = await self._guarded(request, raw_path, path)
            code, size = response.status, response.body_length
            return response
        finally:
            series.end(code, monotonic() - begin, size)

    async def _guarded(
        self, request: web.BaseRequest, raw_path: str, path: paths.ResourcePath | None
    ) -> web.StreamResponse:
        try:
            return await self._answer(request, raw_path, path)
        except ApiError as error:
            return refusal(request, error)
        except (ConnectionError, asyncio.CancelledError):
            # The client has left.
            raise
        except Exception:
            LOG.exception("request.failed", method=request.method, path=request.path)
            return refusal(request, InternalError("an unexpected failure; the server's log has more"))

    async def _answer(
        self, request: web.BaseRequest, raw_path: str, path: paths.ResourcePath | None
    ) -> web.StreamResponse:
        user = await self._authentication.authenticate(request)
        call = Call(request, self._core, user, path)
        if path is None:
            return await self._path(call, raw_path)
        remote = self._aggregated(path.group, path.version)
        if remote is not None:
            return await remote(call)
        part = self._routes.part(path.group, path.resource, path.subresource) if path.subresource else None
        if part is not None:
            return await part(call)
        if request.method in _READS:
            return await self._read(call, path)
        # Cut off half way a write may or may not have happened; so it goes on when its client leaves.
        return await asyncio.shield(self._write(call, path))

    async def _path(self, call: Call, raw_path: str) -> web.StreamResponse:
        self._core.admit_url(call.user, call.request.method.lower(), raw_path)
        segments = raw_path.rstrip("/").split("/")
        # Only what it looks like: behind "/apis/group/version//secrets" the other server might see secrets.
        if len(segments) == 4 and segments[1] == "apis" and (remote := self._aggregated(segments[2], segments[3])):
            return await remote(call)
        handler = self._routes.path(raw_path)
        return plain_not_found() if handler is None else await handler(call)

    async def _read(self, call: Call, path: paths.ResourcePath) -> web.StreamResponse:
        if path.is_watch or call.flag("watch"):
            return await resources.serve(call, path)
        if self._reads >= READS_IN_FLIGHT:
            raise TooManyRequests("Too many requests, please try again later.")
        self._reads += 1
        try:
            return await resources.serve(call, path)
        finally:
            self._reads -= 1

    async def _write(self, call: Call, path: paths.ResourcePath) -> web.StreamResponse:
        if self._writes >= WRITES_IN_FLIGHT:
            raise TooManyRequests("Too many requests, please try again later.")
        self._writes += 1
        try:
            return await resources.serve(call, path)
        finally:
            self._writes -= 1
