"""Who is told of changes, and what becomes of those who don't listen."""

import asyncio
from pathlib import Path

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.world import Sandbox, World
from navarch.runtime_shim.events import EVENT_QUEUE
from navarch.runtime_shim.records import SandboxRecord, StateDir
from navarch.services.base.clock import SystemClock

CREATED = criv1.ContainerEventType.CONTAINER_CREATED_EVENT


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(StateDir(tmp_path), SystemClock())


def publish(world: World, count: int, begin: int = 0) -> None:
    sandbox = Sandbox(SandboxRecord("s", criv1.PodSandboxConfig(), 0))
    for number in range(begin, begin + count):
        world.publish(sandbox, str(number), CREATED)


async def test_a_slow_reader_has_all_that_fits_and_is_then_told_to_list_anew(world: World) -> None:
    slow, quick = world.events(), world.events()
    first = [asyncio.ensure_future(anext(events)) for events in (slow, quick)]
    await asyncio.sleep(0)
    publish(world, EVENT_QUEUE)
    assert [event.container_id for event in await asyncio.gather(*first)] == ["0", "0"]
    assert [(await anext(quick)).container_id for _ in range(EVENT_QUEUE - 1)][-1] == str(EVENT_QUEUE - 1)
    publish(world, 2, EVENT_QUEUE)
    assert [(await anext(quick)).container_id for _ in range(2)] == [str(EVENT_QUEUE), str(EVENT_QUEUE + 1)]
    told: list[str] = []

    async def read_on() -> None:
        async for event in slow:
            told.append(event.container_id)

    with pytest.raises(errors.ResourceExhausted, match="list, then subscribe again"):
        await read_on()
    # No gap, no second time: up to where it was cut off.
    assert told == [str(number) for number in range(1, len(told) + 1)]
    await quick.aclose()  # type: ignore[attr-defined]


async def test_who_has_gone_costs_nothing(world: World) -> None:
    events = world.events()
    first = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    publish(world, 1)
    await first
    await events.aclose()  # type: ignore[attr-defined]
    assert not world._events._readers
