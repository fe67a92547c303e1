"""History: the revisions of one object that the store still has.

The state at the oldest revision that can be read, then every write of the key since, deletions and later objects of
that name included.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from navarch.protos.etcd import kv_pb2
from navarch.services.api.errors import Expired
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.registry.core import Core, Target
from navarch.services.apiserver.storage import moments
from navarch.services.apiserver.storage.etcd import Compacted
from navarch.services.apiserver.storage.moments import Moment
from navarch.services.apiserver.storage.objects import readable
from navarch.services.apiserver.storage.watch import Batch, StoreFeed
from navarch.services.apiserver.stored import StoredObject

# How often a feed that says nothing is asked how far it is.
PROGRESS_S = 0.05
# A store that cannot say that is taken to have no more to tell after this much silence.
SILENCE_S = 1.0


@dataclass(frozen=True, slots=True)
class Revision:
    """What became of an object at a revision. unix_s: 0.0 where that is not known. stored: None for its deletion."""

    revision: int
    unix_s: float
    stored: StoredObject | None


async def history(core: Core, user: User, target: Target) -> AsyncGenerator[Sequence[Revision], None]:
    """The revisions of an object, oldest first. Raises NotFound for none, Expired when they are forgotten meanwhile."""
    core.admit_user(user, "get", target.named())
    is_empty = True
    try:
        async with aclosing(_revisions(core, target)) as groups:
            async for group in groups:
                is_empty = is_empty and not group
                yield group
    except Compacted as failure:
        raise Expired(f"the history of {target.kind.resource} {target.name!r} was compacted meanwhile") from failure
    if is_empty:
        raise target.not_found()


async def _revisions(core: Core, target: Target) -> AsyncGenerator[Sequence[Revision], None]:
    etcd, place = core.storage.etcd, (target.kind, target.namespace, target.name)
    present = await core.revisions.read()
    oldest = await moments.oldest_revision(etcd, core.clock)
    noted = await moments.all_noted(etcd, core.clock, oldest)
    if not noted or noted[-1].revision < present:
        noted.append(Moment(present, core.clock.now()))
    first = await core.storage.get(*place, oldest)
    if first is not None:
        # What was written before the history begins was written at a time that nobody knows any more.
        yield [Revision(first.revision, 0.0 if first.revision < oldest else moments.when(noted, oldest), first)]
    now = await core.storage.get(*place, present)
    # The last event is the one of the present state. Of a deletion only is known that it was before now.
    last = now.revision if now is not None else present
    if last <= oldest:
        return
    feed = StoreFeed(etcd, target.kind.key(*place[1:]).encode(), oldest + 1, core.clock, single=True)
    async with aclosing(_up_to(feed, last, can_ask=etcd.precise_progress, may_be_over=now is None)) as batches:
        async for batch in batches:
            yield await _group(core, target, [one for one in batch.events if one.kv.mod_revision <= present], noted)


async def _up_to(feed: StoreFeed, last: int, *, can_ask: bool, may_be_over: bool) -> AsyncGenerator[Batch, None]:
    """The batches of a feed up to a revision. may_be_over: no event has to come."""
    silent_s = 0.0
    async with aclosing(aiter(feed)) as batches:
        following = asyncio.ensure_future(anext(batches))
        try:
            while can_ask or not may_be_over or silent_s < SILENCE_S:
                if (await asyncio.wait({following}, timeout=PROGRESS_S))[0]:
                    batch, silent_s = following.result(), 0.0
                    yield batch
                    if batch.revision >= last:
                        return
                    following = asyncio.ensure_future(anext(batches))
                elif can_ask:
                    await feed.request_progress()
                else:
                    silent_s += PROGRESS_S
        finally:
            following.cancel()
            await asyncio.wait({following})


async def _group(core: Core, target: Target, events: Sequence[kv_pb2.Event], noted: Sequence[Moment]) -> list[Revision]:
    deleted = kv_pb2.Event.DELETE
    stored = [None if event.type == deleted else readable(target.kind, event.kv) for event in events]
    if target.kind.is_custom:
        stored = await core.storage.converted(target.kind, stored)
    return [
        Revision(event.kv.mod_revision, moments.when(noted, event.kv.mod_revision), one)
        for event, one in zip(events, stored, strict=True)
        # Damaged ones are passed over.
        if one is not None or event.type == deleted
    ]
