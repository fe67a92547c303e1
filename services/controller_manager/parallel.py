"""Several calls at once, but not too many."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


async def each(items: Iterable[K], call: Callable[[K], Awaitable[V]], limit: int) -> dict[K, V]:
    """Call for every item, at most `limit` at a time. The first failure cancels the rest and is raised."""
    gate = asyncio.Semaphore(limit)

    async def gated(item: K) -> V:
        async with gate:
            return await call(item)

    tasks = {item: asyncio.ensure_future(gated(item)) for item in items}
    try:
        await asyncio.gather(*tasks.values())
    finally:
        for task in tasks.values():
            task.cancel()
    return {item: task.result() for item, task in tasks.items()}
