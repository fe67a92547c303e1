"""postStart and preStop."""

import asyncio
import math
from typing import Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import Clock
from navarch.services.kubelet.actions import ActionError, port_number, run_exec
from navarch.services.kubelet.core.observed import Container
from navarch.services.kubelet.http_actions import call_http
from navarch.services.kubelet.runtime import Runtime

HTTP_TIMEOUT_S = 60.0


class Hooks:
    """Runs the hooks of containers."""

    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock

    async def run(
        self,
        handler: corev1.LifecycleHandler,
        container: corev1.Container,
        run: Container,
        pod_ip: str,
        limit_s: float | None,
    ) -> str | None:
        """Run one hook for at most limit_s. Returns why it failed, or None."""
        work = asyncio.ensure_future(self._run(handler, container, run, pod_ip, limit_s))
        waits: list[asyncio.Future[Any]] = [work]
        if limit_s is not None:
            waits.append(asyncio.ensure_future(self._clock.sleep(limit_s)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return work.result() if work.done() else f"not finished after the grace period of {limit_s:.0f} seconds"
        except ActionError as failure:
            return str(failure)
        finally:
            for wait in waits:
                wait.cancel()

    async def _run(
        self,
        handler: corev1.LifecycleHandler,
        container: corev1.Container,
        run: Container,
        pod_ip: str,
        limit_s: float | None,
    ) -> str | None:
        if handler.HasField("exec"):
            command = list(handler.exec.command)
            return await run_exec(self._runtime, run.id, command, math.ceil(limit_s or 0))
        if handler.HasField("sleep"):
            await self._clock.sleep(float(handler.sleep.seconds))
            return None
        if handler.HasField("http_get"):
            port = port_number(container, handler.http_get.port)
            return await call_http(handler.http_get, pod_ip, port, limit_s or HTTP_TIMEOUT_S)
        return None
