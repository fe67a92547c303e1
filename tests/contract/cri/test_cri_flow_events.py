"""GetContainerEvents over reconnects: whoever lists once the stream stands knows everything, and nothing twice."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from navarch.protos.cri import v1_pb2 as criv1

from .conftest import Peer
from .test_cri_events import STORY, served

PODS = 8


@contextlib.asynccontextmanager
async def subscribed(cri: Peer) -> AsyncIterator["AsyncIterator[criv1.ContainerEventResponse]"]:
    """The stream, which stands."""
    call = cri.runtime.GetContainerEvents(criv1.GetEventsRequest())
    await call.initial_metadata()
    yield aiter(call)
    call.cancel()


async def churn(cri: Peer) -> list[str]:
    """Sandboxes that come and go; returns their ids."""
    ids: list[str] = []
    for _ in range(PODS):
        ids.append(await cri.sandbox())
        await cri.remove(ids[-1])
    return ids


async def test_the_stream_stands_before_anything_happens(cri: Peer) -> None:
    if not await served(cri):
        return
    async with subscribed(cri) as events:
        ids = await churn(cri)
        told = [await anext(events) for _ in range(len(STORY) * PODS)]
    assert [(e.container_id, e.container_event_type) for e in told] == [(i, kind) for i in ids for kind in STORY]


async def test_a_reader_who_leaves_and_comes_back_misses_and_doubles_nothing(cri: Peer) -> None:
    """It takes three events, reconnects and lists, again and again; then knows what is there, and what is not."""
    if not await served(cri):
        return
    known: set[str] = set()
    changes: set[tuple[str, int]] = set()
    keeper = await cri.sandbox()
    busy = asyncio.create_task(churn(cri))
    while not busy.done():
        async with subscribed(cri) as events:
            listed = (await cri.runtime.ListPodSandbox(criv1.ListPodSandboxRequest())).items
            known = {item.id for item in listed}
            with contextlib.suppress(TimeoutError):
                for _ in range(3):
                    event = await asyncio.wait_for(anext(events), 1)
                    change = (event.container_id, event.container_event_type)
                    assert change not in changes
                    changes.add(change)
    ids = await busy
    async with subscribed(cri) as events:
        listed = (await cri.runtime.ListPodSandbox(criv1.ListPodSandboxRequest())).items
        known = {item.id for item in listed}
    assert keeper in known
    assert not known & {*ids}


async def test_a_reader_who_sleeps_holds_nobody_up_and_is_told_later(cri: Peer) -> None:
    if not await served(cri):
        return
    async with subscribed(cri) as sleeping, subscribed(cri) as awake:
        ids = await churn(cri)
        for events in (awake, sleeping):
            told = [(await anext(events)).container_id for _ in range(len(STORY) * PODS)]
            assert told == [i for i in ids for _ in STORY]
