"""Waiting for a cluster to be ready, with the reason when it does not become so."""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

from navarch.cli.cluster.certificates import credentials
from navarch.cli.cluster.layout import Layout
from navarch.cli.errors import UsageError
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import ApiError
from navarch.services.api.meta import condition_is, find_condition
from navarch.services.base import supervisor
from navarch.services.client.client import Client

# A service that ended this often since the start is not going to come up by waiting.
HOPELESS_RESTARTS = 5
RETRY_S = 0.1
# What a start takes on a machine that is not busy.
USUAL_S = 5.0


async def wait_ready(layout: Layout, timeout_s: float, tell: Callable[[str], None]) -> None:
    """Return when the node is Ready. Raises UsageError that names what is missing."""
    client = Client.connect(layout.address("apiserver"), credentials(layout, "admin"), user_agent="navarch-cli")
    began, waiting_for = time.monotonic(), ["the API server"]

    def waits(what: str) -> None:
        """Tell for what, where that takes longer than usual."""
        if waiting_for[0] != what:
            waiting_for[0] = what
            if time.monotonic() - began > USUAL_S:
                tell(what)

    try:
        async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
            guard = group.create_task(_guard(layout))
            await client.channel.channel_ready()
            waits("the node")
            await _node_ready(client, layout.node_name, waits)
            guard.cancel()
    except TimeoutError as error:
        raise UsageError(
            f"the cluster is not ready after {timeout_s:g} s: still waiting for {waiting_for[0]}. "
            f"Logs: {layout.data_dir / 'logs'}"
        ) from error
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    finally:
        await client.close()


async def _node_ready(client: Client, name: str, waits: Callable[[str], None]) -> None:
    while True:
        try:
            watching = client.watch(corev1.Node, field_selector=f"metadata.name={name}")
            async with aclosing(watching) as events:
                async for event in events:
                    if event.type not in ("ADDED", "MODIFIED"):
                        continue
                    if condition_is(event.object.status.conditions, "Ready"):
                        return
                    ready = find_condition(event.object.status.conditions, "Ready")
                    waits(f"the node to be Ready{f' ({ready.message})' if ready and ready.message else ''}")
        except ApiError:
            await asyncio.sleep(RETRY_S)


async def _guard(layout: Layout) -> None:
    """Raise UsageError as soon as a process keeps dying."""
    while True:
        await asyncio.sleep(0.5)
        state = supervisor.status(layout.data_dir)
        if not state.running:
            raise UsageError(f"the supervisor ended; its log: {layout.data_dir / 'logs' / 'supervisor.log'}")
        for child in state.children:
            if child.restarts >= HOPELESS_RESTARTS:
                log = layout.data_dir / "logs" / f"{child.name}.log"
                raise UsageError(f"{child.name} keeps ending ({child.last_exit}); the end of {log}:\n{_tail(log)}")


def _tail(log: Path, lines: int = 5) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
