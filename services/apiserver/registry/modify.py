"""The loop under every change of a stored object: look, decide, write if nobody else did meanwhile.

`decide` sees the object at one revision and answers with an order. The write is guarded by that revision; when
somebody was faster, `decide` is asked again about what is there now. A first guess (out of the watch cache)
saves a read. What is decided on a guess only counts once the store has confirmed it: by the guarded write, or,
for refusals and for "nothing to do", by reading the store.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from navarch.services.api.errors import ApiError, Conflict
from navarch.services.apiserver.registry.core import Core, Target
from navarch.services.apiserver.storage.objects import Extra, ExtraOutdated, Outdated
from navarch.services.apiserver.stored import StoredObject

# Each failed attempt means that another writer got through, so this ends; the bound is against livelock.
ATTEMPTS = 64


@dataclass(frozen=True, slots=True)
class Write:
    """Store this message in place of the object. extras: what is to be written in the same transaction."""

    message: Any
    extras: Sequence[Extra] = field(default=())


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the object."""

    extras: Sequence[Extra] = field(default=())


@dataclass(frozen=True, slots=True)
class Keep:
    """Nothing to do: the object is as it should be."""


Order = Write | Remove | Keep
Decide = Callable[[StoredObject], Awaitable[Order]]


@dataclass(frozen=True, slots=True)
class Modified:
    """What became of an object. removed: it is gone, and this is what it was last."""

    stored: StoredObject
    removed: bool = False


async def modify(
    core: Core,
    target: Target,
    decide: Decide,
    *,
    guess: StoredObject | None = None,
    dry_run: bool = False,
) -> Modified:
    """Change one object. Raises what `decide` raises, NotFound, and Conflict after too many attempts."""
    current = guess or await core.newest(target)
    is_confirmed = guess is None
    for _ in range(ATTEMPTS):
        refusal: ApiError | None = None
        async with core.services.turn(target.kind):
            try:
                order = await decide(current)
            except ApiError as failure:
                if is_confirmed:
                    raise
                order, refusal = Keep(), failure
            if is_confirmed or not isinstance(order, Keep):
                # A failure in here goes to the caller: the write may have happened, so it is not tried again.
                try:
                    return await _carry_out(core, current, order, dry_run)
                except Outdated as race:
                    newest = race.newest
                except ExtraOutdated:
                    # Something written along with the object changed; the object may have, too.
                    newest = await core.newest(target)
            else:
                newest = await core.newest(target)
                if newest.revision == current.revision:
                    if refusal is not None:
                        raise refusal
                    return Modified(current)
        if newest is None:
            raise target.not_found()
        current, is_confirmed = newest, True
    raise Conflict(target.kind, target.name)


async def _carry_out(core: Core, current: StoredObject, order: Order, dry_run: bool) -> Modified:
    match order:
        case Keep():
            return Modified(current)
        case Write(message) if dry_run:
            return Modified(StoredObject.of_message(current.kind, message, current.revision))
        case Write(message, extras):
            storage = core.storage
            return Modified(await storage.update(current.kind, message, current.revision, extras=extras))
        case Remove(extras):
            return Modified(current if dry_run else await core.storage.delete(current, extras=extras), removed=True)
