"""HTTP servers that load balancers ask: how many endpoints of a Service are here, and whether the proxy is well.

Each Service of type LoadBalancer with policy `Local` has a health-check node port of its own. Answers are those
of kube-proxy: status 200 where there are endpoints and the proxy is well, 503 otherwise.
"""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from aiohttp import web

from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.proxy.frontends import HealthCheck

# Whoever has had something to do for longer than this, and did not get it done, is not well.
SICK_AFTER_S = 60.0


class ProxyHealth:
    """Whether the table follows the cluster. Reads the clock when asked."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queued: float | None = None
        self.last_updated = clock.now()
        self.node_eligible = True

    def queued(self) -> None:
        """There is something to do."""
        if self._queued is None:
            self._queued = self._clock.monotonic()

    def updated(self) -> None:
        """All that was to be done is done."""
        self._queued = None
        self.last_updated = self._clock.now()

    @property
    def healthy(self) -> bool:
        """Whether what was to do is done soon enough."""
        return self._queued is None or self._clock.monotonic() - self._queued < SICK_AFTER_S


class HealthServer:
    """/healthz, for load balancers (whether this node may get traffic), and /livez, and /metrics."""

    def __init__(self, health: ProxyHealth, render: Callable[[], bytes], clock: Clock) -> None:
        self._health = health
        self._render = render
        self._clock = clock
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, address: str) -> None:
        """Listen on "host:port". Raises OSError."""
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        host, _, port = address.rpartition(":")
        await web.TCPSite(self._runner, host.strip("[]") or None, int(port)).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening. Idempotent."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, request: web.Request) -> web.Response:
        return self._answer(self._health.healthy and self._health.node_eligible, eligible=self._health.node_eligible)

    async def _livez(self, request: web.Request) -> web.Response:
        return self._answer(self._health.healthy)

    def _answer(self, well: bool, eligible: bool | None = None) -> web.Response:
        now = self._clock.now()
        # Of one that is well, nothing is to be done, so it is up to date now.
        updated = now if well else self._health.last_updated
        body: dict[str, object] = {"lastUpdated": _text(updated), "currentTime": _text(now)}
        if eligible is not None:
            body["nodeEligible"] = eligible
        headers = {"X-Content-Type-Options": "nosniff"}
        return web.json_response(body, status=200 if well else 503, headers=headers)

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._render(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def _text(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat().replace("+00:00", "Z")


class ServiceHealthServers:
    """One server for each health-check node port."""

    def __init__(self, health: ProxyHealth, hosts: tuple[str, ...] = ("0.0.0.0", "::")) -> None:
        self._health = health
        self._hosts = hosts
        self._checks: dict[int, HealthCheck] = {}
        self._runners: dict[int, web.ServerRunner] = {}
        self._log = get_logger("proxy")

    async def update(self, checks: Iterable[HealthCheck]) -> None:
        """Have exactly these."""
        self._checks = {check.port: check for check in checks}
        for port in [port for port in self._runners if port not in self._checks]:
            await self._runners.pop(port).cleanup()
        for port, check in self._checks.items():
            if port not in self._runners:
                await self._open(port, check)

    async def stop(self) -> None:
        """Close all. Idempotent."""
        await self.update(())

    async def _open(self, port: int, check: HealthCheck) -> None:
        async def answer(request: web.BaseRequest) -> web.Response:
            return self._answer(port)

        runner = web.ServerRunner(web.Server(answer, access_log=None))
        await runner.setup()
        for host in self._hosts:
            try:
                await web.TCPSite(runner, host, port).start()
            except OSError as failure:
                name = f"{check.namespace}/{check.name}"
                self._log.warning("proxy.health_port_failed", service=name, host=host, port=port, error=failure)
        self._runners[port] = runner

    def _answer(self, port: int) -> web.Response:
        check = self._checks.get(port)
        count = check.local_endpoints if check is not None else 0
        name = {"namespace": check.namespace, "name": check.name} if check is not None else {}
        body = {"service": name, "localEndpoints": count, "serviceProxyHealthy": self._health.healthy}
        return web.Response(
            text=json.dumps(body, indent="\t"),
            status=200 if count and self._health.healthy else 503,
            content_type="application/json",
            headers={"X-Content-Type-Options": "nosniff", "X-Load-Balancing-Endpoint-Weight": str(count)},
        )
