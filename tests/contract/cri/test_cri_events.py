"""GetContainerEvents."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from navarch.protos.cri import v1_pb2 as criv1

from .conftest import Code, Peer, refused

Event = criv1.ContainerEventType
STORY = [
    Event.CONTAINER_CREATED_EVENT,
    Event.CONTAINER_STARTED_EVENT,
    Event.CONTAINER_STOPPED_EVENT,
    Event.CONTAINER_DELETED_EVENT,
]
OLDER = "GetContainerEvents came to CRI after containerd 1.6"


@contextlib.asynccontextmanager
async def recorded(cri: Peer) -> AsyncIterator["asyncio.Queue[criv1.ContainerEventResponse]"]:
    """All events from now on. A probe of ours shows that the stream stands."""
    call = cri.runtime.GetContainerEvents(criv1.GetEventsRequest())
    events: asyncio.Queue[criv1.ContainerEventResponse] = asyncio.Queue()

    async def read() -> None:
        async for event in call:
            events.put_nowait(event)

    reader = asyncio.create_task(read())
    try:
        while events.empty():
            await cri.remove(await cri.sandbox())
        probe = await cri.sandbox()
        await cri.remove(probe)
        await seen(events, probe, Event.CONTAINER_DELETED_EVENT)
        yield events
    finally:
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reader


async def seen(
    events: "asyncio.Queue[criv1.ContainerEventResponse]", subject: str, kind: "criv1.ContainerEventType"
) -> list[criv1.ContainerEventResponse]:
    """The events up to this one."""
    story: list[criv1.ContainerEventResponse] = []
    async with asyncio.timeout(30):
        while not story or (story[-1].container_id, story[-1].container_event_type) != (subject, kind):
            story.append(await events.get())
    return story


async def served(cri: Peer) -> bool:
    """Whether the peer has events at all."""
    if cri.where(shim=True, plugin=False, because=OLDER):
        return True
    with refused(Code.UNIMPLEMENTED):
        await anext(aiter(cri.runtime.GetContainerEvents(criv1.GetEventsRequest())))
    return False


async def test_events_tell_the_whole_story_once(cri: Peer) -> None:
    if not await served(cri):
        return
    async with recorded(cri) as events:
        sandbox = await cri.sandbox()
        container = await cri.container(sandbox, cri.container_config("sh", "-c", "exit 3"))
        await cri.exited(container)
        await cri.remove_container(container)
        await cri.stop(sandbox)
        await cri.remove(sandbox)
        story = await seen(events, sandbox, Event.CONTAINER_DELETED_EVENT)
    assert [e.container_event_type for e in story if e.container_id == sandbox] == STORY
    of_container = [e for e in story if e.container_id == container]
    assert [e.container_event_type for e in of_container] == STORY
    assert [e.created_at for e in story] == sorted(e.created_at for e in story)
    assert {e.pod_sandbox_status.id for e in story} == {sandbox}
    _, started, stopped, deleted = of_container
    assert started.containers_statuses[0].state == criv1.ContainerState.CONTAINER_RUNNING
    assert (stopped.containers_statuses[0].exit_code, stopped.containers_statuses[0].reason) == (3, "Error")
    assert not deleted.containers_statuses


async def test_every_reader_is_told(cri: Peer) -> None:
    if not await served(cri):
        return
    async with recorded(cri) as one, recorded(cri) as two:
        sandbox = await cri.sandbox()
        await cri.remove(sandbox)
        stories = [await seen(events, sandbox, Event.CONTAINER_DELETED_EVENT) for events in (one, two)]
    told = [[e.container_event_type for e in story if e.container_id == sandbox] for story in stories]
    assert told == [STORY, STORY]


async def test_what_fails_to_start_is_told_to_have_stopped(cri: Peer) -> None:
    if not await served(cri):
        return
    async with recorded(cri) as events:
        sandbox = await cri.sandbox()
        container = await cri.create(sandbox, cri.container_config("/no/such/program"))
        with refused(Code.UNKNOWN, Code.NOT_FOUND):
            await cri.runtime.StartContainer(criv1.StartContainerRequest(container_id=container))
        story = await seen(events, container, Event.CONTAINER_STOPPED_EVENT)
    assert story[-1].containers_statuses[0].exit_code == 128
