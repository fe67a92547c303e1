"""A connection of the command line to its cluster."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from navarch.cli.cluster.layout import UsageError, default_data_dir
from navarch.services.base.kubeconfig import load_kubeconfig
from navarch.services.client.client import Client

# Long enough for a server that restarts, short enough for a person.
CONNECT_TIMEOUT_S = 10.0

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Session:
    """The client and what commands need beside it."""

    client: Client
    address: str


def find_kubeconfig(chosen: Path | None) -> Path:
    """The credentials to use. Raises UsageError when there are none."""
    if chosen is not None:
        return chosen
    from_environment = os.environ.get("KUBECONFIG")
    candidates = [Path(from_environment)] if from_environment else []
    candidates.append(default_data_dir() / "admin.kubeconfig")
    for path in candidates:
        if path.exists():
            return path
    raise UsageError(f"no cluster found: {candidates[-1]} does not exist. Start one with: navarch up")


@asynccontextmanager
async def connect(kubeconfig: Path | None) -> AsyncIterator[Session]:
    """Open a session; it is closed on the way out."""
    loaded = load_kubeconfig(find_kubeconfig(kubeconfig))
    client = Client.connect(loaded.address, loaded.credentials, user_agent="navarch-cli")
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await client.channel.channel_ready()
    except TimeoutError as error:
        await client.close()
        raise UsageError(
            f"the API server at {loaded.address} does not answer. Is the cluster up? navarch status"
        ) from error
    try:
        yield Session(client, loaded.address)
    finally:
        await client.close()


def run(work: Coroutine[Any, Any, R]) -> R:
    """Run a command's coroutine to its end."""
    return asyncio.run(work)


def with_session(kubeconfig: Path | None, work: Callable[[Session], Awaitable[R]]) -> R:
    """Connect, do the work, close."""

    async def connected() -> R:
        async with connect(kubeconfig) as session:
            return await work(session)

    return run(connected())
