"""Finds the Services because of which nft refuses the whole table: one must not stop the others. Pure."""

from collections.abc import Awaitable, Callable, Sequence

# With more than these, it is hardly the Services that are at fault.
MOST = 8


async def culprits(keys: Sequence[str], is_refused: Callable[[Sequence[str]], Awaitable[bool]]) -> list[str]:
    """Those without which the rest is taken; none if it is not due to single ones.

    is_refused: whether nft refuses a table of these alone; asked a logarithmic number of times for each that is found.
    """
    if await is_refused(()):
        return []
    found: list[str] = []
    rest = list(keys)
    while await is_refused(rest):
        if len(found) == MOST:
            return []
        suspects = rest
        while len(suspects) > 1:
            half = suspects[: len(suspects) // 2]
            suspects = half if await is_refused(half) else suspects[len(half) :]
        if not suspects or not await is_refused(suspects):
            return []
        found += suspects
        rest.remove(suspects[0])
    return found
