"""All paths that are no objects, and "/", which lists them."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from navarch.services.apiserver.doors.rest import discovery, encoding, health, metrics, openapi
from navarch.services.apiserver.doors.rest.call import Call, Handler
from navarch.services.apiserver.doors.rest.health import Health
from navarch.services.apiserver.doors.rest.media import JSON, Format
from navarch.services.apiserver.doors.rest.metrics import RequestMetrics
from navarch.services.apiserver.doors.rest.responses import plain_not_found, send
from navarch.services.apiserver.doors.rest.version import version
from navarch.services.apiserver.registry.core import Core


def paths(
    core: Core,
    health_: Health,
    requests: RequestMetrics,
    remotes: discovery.Remotes,
    others: Mapping[str, Handler],
) -> dict[str, Handler]:
    """The handlers of discovery, OpenAPI, health, metrics and the version, others, and the index of them all."""
    found = {
        **others,
        **discovery.paths(core, remotes),
        **openapi.paths(core),
        **health.paths(health_),
        **metrics.paths(requests),
        "/version": version,
    }

    async def index(call: Call) -> web.StreamResponse:
        if call.request.path != "/":
            return plain_not_found()
        groups = [
            path
            for kind in core.kinds
            for path in ((f"/apis/{kind.group}", f"/apis/{kind.api_version}") if kind.group else ("/api/v1",))
        ]
        listed = sorted({*groups, *(path for path in found if not path.endswith("/"))})
        return await send(call.request, encoding.document({"paths": listed}, Format(JSON, pretty=True)), JSON)

    found["/"] = index
    return {path: _read_only(handler) for path, handler in found.items()}


def _read_only(handler: Handler) -> Handler:
    """These paths can only be read."""

    async def read(call: Call) -> web.StreamResponse:
        if call.request.method not in ("GET", "HEAD"):
            return web.Response(text="405: Method Not Allowed", status=405, headers={"Allow": "GET, HEAD"})
        return await handler(call)

    return read
