"""Places of targets that change as little as possible.

A frontend's n targets stand in slots 0..n-1, without holes, for the kernel draws a number below n. Whoever
stays keeps its slot, unless it has to fill a hole that a lower one left.
"""

from collections.abc import Sequence

from navarch.services.proxy.endpoints import Target


def keep_slots(old: Sequence[Target], new: Sequence[Target]) -> tuple[Target, ...]:
    """The new targets in an order that has as many as possible where they were."""
    wanted = set(new)
    known = set(old)
    fresh = [target for target in new if target not in known]
    slots: list[Target | None] = [target if target in wanted else None for target in old]
    for place, target in enumerate(slots):
        if target is None and fresh:
            slots[place] = fresh.pop(0)
    # Nobody new is left, or no hole: the last ones move into the holes.
    place = 0
    while place < len(slots):
        if slots[place] is None:
            last = slots.pop()
            if place < len(slots):
                slots[place] = last
            continue
        place += 1
    return (*(target for target in slots if target is not None), *fresh)
