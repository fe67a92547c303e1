"""Which endpoint goes into which slice of those with the same ports, in the fewest writes. Pure.

An endpoint stays in the slice where it is. New ones go where something is written anyway: into slices that change,
the fullest first, then into those that would be deleted. What is left after that fills new slices; a remainder goes
into the one slice with the least room that takes all of it, if there is one. So slices may stay half empty: every
watcher of every node pays for a write, an empty place costs nobody.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Packed(Generic[K]):
    """slices: contents of the given ones, in their order; an empty one is not needed. fresh: of those to be made."""

    slices: list[list[K]]
    fresh: list[list[K]] = field(default_factory=list)


def pack(kept: Sequence[Sequence[K]], changed: Collection[int], new: Sequence[K], limit: int) -> Packed[K]:
    """Find a place for `new`. kept: what stays of each slice. changed: indices of slices to be written in any case."""
    slices = [list(each) for each in kept]
    rest = list(new)
    for index in sorted(changed, key=lambda each: (-len(slices[each]), each)):
        if slices[index]:
            rest = _fill(slices[index], rest, limit)
    for content in slices:
        if rest and not content:
            rest = _fill(content, rest, limit)
    # Whole slices of new ones; the remainder goes where it fits.
    whole = len(rest) // limit * limit
    fresh, rest = [rest[at : at + limit] for at in range(0, whole, limit)], rest[whole:]
    fitting = [content for content in slices if content and len(content) + len(rest) <= limit]
    if rest and fitting:
        rest = _fill(max(fitting, key=len), rest, limit)
    return Packed(slices, [*fresh, rest] if rest else fresh)


def _fill(content: list[K], rest: list[K], limit: int) -> list[K]:
    """Move as many as there is room for; what is left of the rest. A slice of an older, larger limit has none."""
    room = max(0, limit - len(content))
    content += rest[:room]
    return rest[room:]
