"""/healthz, /livez and /readyz: is the server alive, and shall it get requests?

Each endpoint is a row of named checks, which can also be asked one by one (/readyz/etcd). The texts are those of
Kubernetes, for the tools that read them; why a check fails stands in the log only, since anyone may ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from navarch.services.api.errors import ApiError
from navarch.services.apiserver.doors.rest.call import Call, Handler
from navarch.services.apiserver.doors.rest.responses import plain_not_found
from navarch.services.apiserver.registry.core import Core
from navarch.services.base.log import get_logger

LOG = get_logger("apiserver.health")
STORE_DEADLINE_S: Final = 2.0
_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache, private"}


class Failed(Exception):
    """A check that did not pass."""


Check = Callable[[], Awaitable[None]]


async def _passes() -> None:
    """Being able to answer is all that is asked."""


@dataclass(slots=True)
class Health:
    """The checks of a server. is_stopping: set it when the server shall get no more requests."""

    core: Core
    is_stopping: bool = False
    # Checks of others, for readiness.
    more: dict[str, Check] = field(default_factory=dict)

    def checks(self, endpoint: str) -> dict[str, Check]:
        """The checks of "healthz", "livez" or "readyz"."""
        common: dict[str, Check] = {"ping": _passes, "log": _passes, "etcd": self._store}
        if endpoint != "readyz":
            return common
        ready = {
            "etcd-readiness": self._store,
            "informer-sync": self._caches,
            **self.more,
            "shutdown": self._not_stopping,
        }
        return {**common, **ready}

    async def _store(self) -> None:
        try:
            async with asyncio.timeout(STORE_DEADLINE_S):
                await self.core.revisions.read()
        except (TimeoutError, ApiError) as failure:
            raise Failed(f"the store does not answer: {failure}") from failure

    async def _caches(self) -> None:
        filling = [cacher.kind.qualified_resource for cacher in self.core.cachers if not cacher.is_ready]
        if filling:
            raise Failed(f"caches are being filled: {', '.join(filling)}")

    async def _not_stopping(self) -> None:
        if self.is_stopping:
            raise Failed("the process is shutting down")

    async def endpoint(self, call: Call) -> web.StreamResponse:
        """/readyz, /readyz?verbose&exclude=etcd, /readyz/etcd."""
        name, _, one = call.request.path.strip("/").partition("/")
        checks = self.checks(name)
        if not one:
            return await self._all(call, name, checks)
        if one not in checks:
            return plain_not_found()
        failure = await _run(one, checks[one])
        return _text("ok") if failure is None else _text(f"internal server error: {failure}\n", 500)

    async def _all(self, call: Call, name: str, checks: dict[str, Check]) -> web.StreamResponse:
        excluded = {each for text in call.request.query.getall("exclude", []) for each in text.split(",")} - {""}
        asked = [check for check in checks if check not in excluded]
        failures = dict(zip(asked, await asyncio.gather(*(_run(each, checks[each]) for each in asked)), strict=True))
        lines = [_line(check, check in excluded, failures.get(check)) for check in checks]
        if unknown := excluded - set(checks):
            lines.append(f"warn: some health checks cannot be excluded: no matches for {_quoted(unknown)}\n")
        if any(failures.values()):
            return _text(f"{''.join(lines)}{name} check failed\n", 500)
        return _text(f"{''.join(lines)}{name} check passed\n" if "verbose" in call.query else "ok")


async def _run(name: str, check: Check) -> str | None:
    try:
        await check()
    except Failed as failure:
        LOG.warning("health.check_failed", check=name, error=str(failure))
        return str(failure)
    return None


def _line(check: str, is_excluded: bool, failure: str | None) -> str:
    if is_excluded:
        return f"[+]{check} excluded: ok\n"
    return f"[+]{check} ok\n" if failure is None else f"[-]{check} failed: reason withheld\n"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in sorted(names))


def _text(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, headers=_HEADERS)


def paths(health: Health) -> dict[str, Handler]:
    """The handlers by path, those of single checks for the index included."""
    found: dict[str, Handler] = {}
    for name in ("healthz", "livez", "readyz"):
        found[f"/{name}"] = found[f"/{name}/"] = health.endpoint
        found.update({f"/{name}/{check}": health.endpoint for check in health.checks(name)})
    return found
