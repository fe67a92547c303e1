"""When the store was at which revision.

A store counts revisions and knows no time. So API servers note the time in a key of the store while they write
objects (`Timekeeper`), and what that key held at a revision tells how late it was then. The past of the key is kept as
long as the past of the objects, so there is nothing to clean up. As the time is noted at most once a second, after the
writes that it is for, answers are right to about a second; servers whose clocks differ add that difference.
"""

from bisect import bisect_left
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from navarch.protos.etcd import kv_pb2, rpc_pb2
from navarch.services.apiserver.storage.etcd import Compacted, Etcd
from navarch.services.apiserver.storage.watch import StoreFeed
from navarch.services.base.clock import Clock

# Outside of /registry, where a genuine kube-apiserver keeps its objects.
KEY = b"/navarch/clock"


@dataclass(frozen=True, slots=True)
class Moment:
    """A revision, and the unix time at which all up to it had been written."""

    revision: int
    unix_s: float


NEVER = Moment(0, 0.0)


def moment_of(pair: kv_pb2.KeyValue) -> Moment:
    """What is noted in a version of the key."""
    try:
        return Moment(pair.mod_revision, float(pair.value))
    except ValueError:
        return Moment(pair.mod_revision, 0.0)


async def last_noted(etcd: Etcd, revision: int = 0) -> Moment:
    """What was noted last, as of a revision (0: now). Raises Compacted or FutureRevision."""
    answer = await etcd.range(rpc_pb2.RangeRequest(key=KEY, revision=revision))
    return moment_of(answer.kvs[0]) if answer.kvs else NEVER


async def oldest_revision(etcd: Etcd, clock: Clock) -> int:
    """The oldest revision that can be read."""
    try:
        await etcd.range(rpc_pb2.RangeRequest(key=KEY, revision=1, count_only=True))
    except Compacted:
        pass
    else:
        return 1
    # A watch from there is told what a read is not: how far the store has been compacted.
    try:
        async with aclosing(aiter(StoreFeed(etcd, KEY, 1, clock, single=True))) as batches:
            await anext(batches)
    except Compacted as failure:
        return failure.oldest
    raise AssertionError("the store shows revisions to a watch that it does not show to a read")


async def revision_at(etcd: Etcd, clock: Clock, unix_s: float) -> int | None:
    """The revision at which the store was at a moment; None where that is before everything that is kept."""
    newest = await last_noted(etcd)
    if newest.unix_s <= unix_s:
        return newest.revision or None
    oldest = await oldest_revision(etcd, clock)
    found = await last_noted(etcd, oldest)
    if found.unix_s > unix_s:
        return None
    # Noted by `low`: nothing, or not later than the moment; by `high`: later.
    low, high = oldest, newest.revision
    while high - low > 1:
        middle = await last_noted(etcd, (low + high) // 2)
        if middle.unix_s > unix_s:
            high = middle.revision
        else:
            low, found = (low + high) // 2, middle
    return max(found.revision, oldest) if found is not NEVER else None


async def all_noted(etcd: Etcd, clock: Clock, oldest: int) -> list[Moment]:
    """Everything noted since a revision, in order. Raises Compacted."""
    last = await last_noted(etcd)
    found: list[Moment] = []
    if last.revision < oldest:
        return found
    async with aclosing(aiter(StoreFeed(etcd, KEY, oldest, clock, single=True))) as batches:
        async for batch in batches:
            found += [moment_of(event.kv) for event in batch.events if event.type == kv_pb2.Event.PUT]
            if batch.revision >= last.revision:
                return found
    return found


def when(moments: Sequence[Moment], revision: int) -> float:
    """The unix time at which a revision was written; 0.0 where that is not known."""
    index = bisect_left(moments, revision, key=lambda moment: moment.revision)
    return moments[index].unix_s if index < len(moments) else 0.0
