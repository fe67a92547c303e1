"""Batch: many mutations in one request.

Each is carried out and answered on its own. Those of one object keep their order; the others run side by side,
so that the store sees them together and commits them together.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TypeVar

from navarch.services.api.errors import ApiError

AT_ONCE = 64
Result = TypeVar("Result")


async def run_batch(
    work: Sequence[tuple[Hashable, Callable[[], Awaitable[Result]]]],
) -> list[Result | ApiError]:
    """Run all work; pieces with the same key one after the other. Results in the order of the work."""
    results: dict[int, Result | ApiError] = {}
    queues: dict[Hashable, list[int]] = {}
    for index, (key, _) in enumerate(work):
        queues.setdefault(key, []).append(index)
    turn = asyncio.Semaphore(AT_ONCE)

    async def run_queue(indexes: list[int]) -> None:
        async with turn:
            for index in indexes:
                try:
                    results[index] = await work[index][1]()
                except ApiError as refusal:
                    results[index] = refusal

    async with asyncio.TaskGroup() as group:
        for indexes in queues.values():
            group.create_task(run_queue(indexes))
    return [results[index] for index in range(len(work))]
