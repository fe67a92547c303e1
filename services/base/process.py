"""The life of a service process: start, serve until told to stop, stop, exit code.

SIGTERM and SIGINT ask for a graceful stop; a second one ends the process at once. A failed background task
(see `tasks`) stops the process with exit code 1, so that its supervisor starts it again.
"""

import asyncio
import gc
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from navarch.services.base import log
from navarch.services.base.tasks import FATAL

# Less than the supervisor waits before it kills.
STOP_TIMEOUT_S = 8.0


class Service(Protocol):
    """What a process runs. Usable in-process just as well: no global state."""

    async def start(self) -> None:
        """Return when the service serves."""
        ...

    async def stop(self) -> None:
        """End everything that start began. Safe after a failed start."""
        ...


def run(factory: Callable[[], Awaitable[Service]], name: str) -> None:
    """Run the service that `factory` makes until a signal, then exit the process.

    factory: called on the loop. Raises SystemExit: 0 after a requested stop, 1 after a failure.
    """
    log.configure(os.environ.get("NAVARCH_LOG_LEVEL", "info"), name)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        code = runner.run(_Process(name).live(factory))
    sys.exit(code)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


class _Process:
    """What the process knows of its own end: whether it was asked for, and the exit code."""

    def __init__(self, name: str) -> None:
        self._log = log.get_logger(name)
        self._stopping = asyncio.Event()
        self._code = 0

    async def live(self, factory: Callable[[], Awaitable[Service]]) -> int:
        """Make, start and stop the service. Returns the exit code."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_exception)
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._on_signal, signum)
        try:
            service = await factory()
        except Exception:
            self._fail("process.start_failed")
            return self._code
        try:
            await self._run(service)
        except Exception:
            self._fail("process.start_failed")
        try:
            await asyncio.wait_for(service.stop(), STOP_TIMEOUT_S)
        except Exception:
            self._fail("process.stop_failed")
        self._log.info("process.stopped")
        return self._code

    async def _run(self, service: Service) -> None:
        """Start, then wait for the stop, which may come during the start."""
        # What start builds lives as long as the process: collections need not look at it, neither now nor later.
        gc.disable()
        starting = asyncio.ensure_future(service.start())
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait((starting,))
            return
        try:
            starting.result()
            gc.collect()
            gc.freeze()
            gc.enable()
            self._log.info("process.started", pid=os.getpid())
            await stopping
        finally:
            stopping.cancel()

    def _on_signal(self, signum: signal.Signals) -> None:
        if self._stopping.is_set():
            self._log.warning("process.exits_at_once", signal=signum.name)
            os._exit(128 + signum)
        self._log.info("process.stopping", signal=signum.name)
        self._stopping.set()

    def _on_exception(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        failure = context.get("exception")
        trace = "".join(traceback.format_exception(failure)) if failure is not None else ""
        self._log.error("process.unhandled", message=context.get("message"), error=repr(failure), traceback=trace)
        if context.get(FATAL):
            self._code = 1
            self._stopping.set()

    def _fail(self, event: str) -> None:
        """Note the exception that is being handled as the reason for a bad end."""
        self._log.exception(event)
        self._code = 1
