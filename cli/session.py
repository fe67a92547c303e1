"""A connection of the command line to its cluster."""

import asyncio
import gc
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
import typer

from navarch.cli.cluster.host import default_data_dir
from navarch.cli.errors import UsageError
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import ApiError
from navarch.services.api.kinds import KINDS, Kind
from navarch.services.base.kubeconfig import Kubeconfig, KubeconfigError, load_kubeconfig
from navarch.services.client.client import Client
from navarch.services.client.kinds import list_kinds

# Long enough for a server that restarts, short enough for a person.
CONNECT_TIMEOUT_S = 3.0
# How long an interrupted command may take to end.
INTERRUPT_S = 1.0
# The exit code of a command that the user interrupted, as shells have it.
INTERRUPTED = 130

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Session:
    """The client and what commands need beside it."""

    client: Client
    default_namespace: str

    def namespace(self, chosen: str) -> str:
        """The namespace to work in."""
        return chosen or self.default_namespace

    def scope(self, kind: Kind, chosen: str, everywhere: bool = False) -> str:
        """The namespace for objects of a kind; "" for all, and for kinds that have none."""
        return self.namespace(chosen) if kind.namespaced and not everywhere else ""


def find_kubeconfig(chosen: Path | None) -> Path:
    """The credentials to use. Raises UsageError when there are none."""
    if chosen is not None:
        return chosen
    if named := os.environ.get("KUBECONFIG"):
        paths = [Path(part) for part in named.split(os.pathsep) if part]
        found = next((path for path in paths if path.exists()), None)
        if found is None:
            raise UsageError(f"$KUBECONFIG names {named}, which does not exist")
        return found
    default = default_data_dir() / "admin.kubeconfig"
    if not default.exists():
        raise UsageError(f"no cluster found: {default} does not exist. Start one with: navarch up")
    return default


def credentials(chosen: Path | None) -> Kubeconfig:
    """The current context. Raises UsageError that names the file and what is wrong with it."""
    try:
        return load_kubeconfig(find_kubeconfig(chosen))
    except KubeconfigError as error:
        raise UsageError(str(error)) from error


@asynccontextmanager
async def connect(kubeconfig: Path | None) -> AsyncIterator[Session]:
    """Open a session; it is closed on the way out."""
    context = credentials(kubeconfig)
    client = Client.connect(context.address, context.credentials, user_agent="navarch-cli")
    try:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await client.channel.channel_ready()
        except TimeoutError:
            why = await _why_unreachable(client.channel)
            raise UsageError(
                f"the API server at {context.address} does not answer{why}. Is the cluster up? navarch status"
            ) from None
        await _learn_kinds(client)
        yield Session(client, context.namespace)
    finally:
        KINDS.replace_custom(())
        await client.close()


async def _learn_kinds(client: Client) -> None:
    """Know the cluster's custom kinds while the session lasts; without the right to ask for them there are none."""
    try:
        KINDS.replace_custom(kind for kind in await list_kinds(client) if kind.is_custom)
    except ApiError:
        KINDS.replace_custom(())


async def _why_unreachable(channel: grpc.aio.Channel) -> str:
    """What the connection fails with: a call that does not wait is told."""
    try:
        await Client(channel, deadline_s=1, wait_for_ready=False).get(corev1.Namespace, "default")
    except ApiError as error:
        return f" ({error.message.rpartition('last error: ')[2].strip()})"
    return ""


def run(work: Coroutine[Any, Any, R]) -> R:
    """Run a command's coroutine to its end, or until the user interrupts it."""
    gc.freeze()
    gc.enable()
    try:
        return asyncio.run(_interruptible(work))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(INTERRUPTED) from None


async def _interruptible(work: Coroutine[Any, Any, R]) -> R:
    """A stream can be lost in the library below at the moment of its cancellation: the user does not wait for it."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def interrupt() -> None:
        if task is not None:
            task.cancel()
        loop.call_later(INTERRUPT_S, os._exit, INTERRUPTED)

    if threading.current_thread() is threading.main_thread():
        loop.add_signal_handler(signal.SIGINT, interrupt)
    return await work


def with_session(kubeconfig: Path | None, work: Callable[[Session], Awaitable[R]]) -> R:
    """Connect, do the work, close."""

    async def connected() -> R:
        async with connect(kubeconfig) as session:
            return await work(session)

    return run(connected())
