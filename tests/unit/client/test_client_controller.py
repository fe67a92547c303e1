import asyncio

import pytest

from navarch.services.api import errors
from navarch.services.base.clock import VirtualClock, settle
from navarch.services.client.controller import Controller, Result


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


async def test_a_failed_key_comes_back_until_it_succeeds(clock: VirtualClock) -> None:
    outcomes: list[Exception | None] = [errors.NotFound("pods", "a"), ValueError("a bug"), None]
    seen: list[float] = []

    async def reconcile(key: str) -> None:
        seen.append(clock.monotonic())
        if failure := outcomes[len(seen) - 1]:
            raise failure

    controller = Controller("test", reconcile, 1, clock)
    controller.queue.add("a")
    controller.start()
    await clock.elapse(60)
    await controller.close()
    assert len(seen) == 3
    assert seen == sorted(set(seen)), "retries back off"
    assert (controller.statistics.reconciles, controller.statistics.errors) == (3, 2)
    assert controller.statistics.last_error == "a: a bug"
    assert controller.queue.retrying == 0


async def test_a_conflict_is_retried_without_counting_as_an_error(clock: VirtualClock) -> None:
    failures: list[Exception] = [errors.Conflict("pods", "a")]

    async def reconcile(key: str) -> None:
        if failures:
            raise failures.pop()

    controller = Controller("test", reconcile, 1, clock)
    controller.queue.add("a")
    controller.start()
    await clock.elapse(1)
    await controller.close()
    assert (controller.statistics.reconciles, controller.statistics.errors) == (2, 0)


async def test_a_result_brings_the_key_back_later(clock: VirtualClock) -> None:
    seen: list[float] = []

    async def reconcile(key: str) -> Result:
        seen.append(clock.monotonic())
        return Result(requeue_after_s=10)

    controller = Controller("test", reconcile, 1, clock)
    controller.queue.add("a")
    controller.start()
    await clock.elapse(25)
    await controller.close()
    assert seen == [0, 10, 20]


async def test_one_key_is_never_at_two_workers(clock: VirtualClock) -> None:
    running: list[str] = []
    most: dict[str, int] = {}

    async def reconcile(key: str) -> None:
        running.append(key)
        most[key] = max(most.get(key, 0), running.count(key))
        await clock.sleep(1)
        running.remove(key)

    controller = Controller("test", reconcile, 4, clock)
    controller.start()
    for _ in range(5):
        controller.queue.add("a")
        controller.queue.add("b")
        await clock.elapse(0.5)
    await clock.elapse(10)
    await controller.close()
    assert most == {"a": 1, "b": 1}


async def test_a_key_whose_work_was_stopped_is_worked_on_after_the_next_start(clock: VirtualClock) -> None:
    begun = 0

    async def reconcile(key: str) -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            await asyncio.Event().wait()

    controller = Controller("test", reconcile, 2, clock)
    controller.queue.add("a")
    controller.start()
    await settle()
    await controller.stop()
    assert not controller.running
    controller.start()
    await settle()
    assert begun == 2
    await controller.close()
