"""A service's metrics and health over plain HTTP, for Prometheus and load balancers.

GET /metrics: all series in Prometheus' text format. GET /health: {"health":"true","reason":""}, with status 503 and
a reason where the service is not well; that is etcd's form.
"""

from collections.abc import Awaitable, Callable, Mapping

import orjson
from aiohttp import web

TEXT = "text/plain; version=0.0.4; charset=utf-8"

# Gets the query; returns what is wrong, "" for nothing.
Health = Callable[[Mapping[str, str]], Awaitable[str]]


class Exposition:
    """Serves both. Not restartable."""

    def __init__(self, render: Callable[[], Awaitable[bytes]], health: Health) -> None:
        self.address = ""
        self._render = render
        self._health = health
        self._runner: web.AppRunner | None = None

    async def start(self, address: str) -> None:
        """Listen on "host:port" (port 0: any). Raises OSError."""
        application = web.Application()
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/health", self._healthy)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        host, _, port = address.rpartition(":")
        await web.TCPSite(self._runner, host.strip("[]"), int(port)).start()
        self.address = f"{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop listening. Idempotent."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=await self._render(), headers={"Content-Type": TEXT})

    async def _healthy(self, request: web.Request) -> web.Response:
        reason = await self._health(request.query)
        body = orjson.dumps({"health": "false" if reason else "true", "reason": reason})
        return web.Response(body=body, status=503 if reason else 200, content_type="application/json")
