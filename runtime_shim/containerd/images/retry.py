"""Asks again when a registry stumbles or a download breaks: a bounded number of times without progress."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.images.endpoint import Overloaded
from navarch.runtime_shim.containerd.images.options import PullOptions

# Less than this between two failures is no progress: a peer must not keep us for ever, byte by byte.
PROGRESS_BYTES = 1 << 20

T = TypeVar("T")


async def persistently(
    operation: Callable[[], Awaitable[T]], options: PullOptions, received: Callable[[], int] = lambda: 0
) -> T:
    """The result of an operation that goes on where it was, or begins again, when the registry is unavailable.

    received: bytes so far; tries count anew when it has grown.
    """
    tries, mark = 0, received()
    while True:
        try:
            return await operation()
        except errors.Unavailable as failure:
            if received() - mark >= PROGRESS_BYTES:
                tries, mark = 0, received()
            tries += 1
            wait_s = failure.retry_after_s if isinstance(failure, Overloaded) else options.retry_s * 2 ** (tries - 1)
            if tries >= options.tries or wait_s > options.retry_after_s:
                raise
            await asyncio.sleep(wait_s)
