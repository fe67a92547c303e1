import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.services.base.clock import VirtualClock, settle
from navarch.services.client.workqueue import QueueClosed, WorkQueue


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def queue(clock: VirtualClock) -> WorkQueue[str]:
    return WorkQueue(clock)


async def test_hands_keys_out_once_in_the_order_of_their_arrival(queue: WorkQueue[str]) -> None:
    for key in ("a", "b", "a", "c", "b"):
        queue.add(key)
    assert [await queue.get() for _ in range(3)] == ["a", "b", "c"]
    assert len(queue) == 0


async def test_a_key_added_during_its_work_is_handed_out_again_after_it(queue: WorkQueue[str]) -> None:
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0, "two workers must not have one key"
    queue.done("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_waiting_workers_are_served_first_come_first_served(queue: WorkQueue[str]) -> None:
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await settle()
    queue.add("a")
    queue.add("b")
    assert (await first, await second) == ("a", "b")


async def test_a_cancelled_worker_does_not_swallow_a_key(queue: WorkQueue[str]) -> None:
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await settle()
    queue.add("a")
    first.cancel()
    assert await second == "a"


async def test_delays_pass_by_the_clock_and_the_earliest_counts(queue: WorkQueue[str], clock: VirtualClock) -> None:
    queue.add_after("late", 20)
    queue.add_after("late", 30)
    queue.add_after("early", 10)
    queue.add_after("late", 15)
    await clock.elapse(9.9)
    assert (len(queue), queue.waiting) == (0, 2)
    await clock.elapse(0.2)
    assert await queue.get() == "early"
    await clock.elapse(5)
    assert await queue.get() == "late"
    await clock.elapse(100)
    assert (len(queue), queue.waiting) == (0, 0)


async def test_a_key_that_is_added_does_not_come_again_when_its_delay_ends(
    queue: WorkQueue[str], clock: VirtualClock
) -> None:
    queue.add_after("a", 10)
    queue.add("a")
    assert await queue.get() == "a"
    queue.done("a")
    await clock.elapse(20)
    assert len(queue) == 0


async def test_backoff_doubles_up_to_its_limit_and_is_forgotten(clock: VirtualClock) -> None:
    queue: WorkQueue[str] = WorkQueue(clock, retry_base_s=1, retry_max_s=5)
    waits = []
    for _ in range(5):
        queue.add_rate_limited("a")
        begin = clock.monotonic()
        while not len(queue):
            await clock.elapse(0.25)
        waits.append(clock.monotonic() - begin)
        queue.done(await queue.get())
    assert waits == [1, 2, 4, 5, 5]
    assert (queue.num_requeues("a"), queue.retrying) == (5, 1)
    queue.forget("a")
    assert (queue.num_requeues("a"), queue.retrying) == (0, 0)


async def test_a_thousand_failures_do_not_overflow(clock: VirtualClock) -> None:
    queue: WorkQueue[str] = WorkQueue(clock)
    for _ in range(2000):
        queue.add_rate_limited("a")
    assert queue.num_requeues("a") == 2000


async def test_all_retries_together_are_limited(clock: VirtualClock) -> None:
    queue: WorkQueue[int] = WorkQueue(clock, retries_per_s=10)
    for key in range(300):
        queue.add_rate_limited(key)
    await clock.elapse(0.05)
    burst = len(queue)
    await clock.elapse(10)
    assert burst == pytest.approx(100, abs=2)
    assert len(queue) - burst == pytest.approx(100, abs=2)


async def test_overtaken_delays_do_not_pile_up(queue: WorkQueue[str]) -> None:
    for _ in range(10_000):
        queue.add_after("a", 3600)
        queue.add("a")
        queue.done(await queue.get())
    assert len(queue._heap) < 200


async def test_close_ends_those_who_wait(queue: WorkQueue[str]) -> None:
    waiting = asyncio.create_task(queue.get())
    queue.add_after("a", 10)
    await settle()
    await queue.close()
    with pytest.raises(QueueClosed):
        await waiting
    queue.add("b")
    assert len(queue) == 0


@given(st.lists(st.tuples(st.sampled_from(["add", "get", "done"]), st.integers(0, 3)), max_size=60))
def test_no_key_is_lost_and_none_is_out_twice(steps: list[tuple[str, int]]) -> None:
    async def play() -> None:
        queue: WorkQueue[int] = WorkQueue(VirtualClock())
        owed: set[int] = set()
        out: set[int] = set()
        for action, key in steps:
            if action == "add":
                queue.add(key)
                owed.add(key)
            elif action == "get" and len(queue):
                taken = await queue.get()
                assert taken in owed
                assert taken not in out
                owed.discard(taken)
                out.add(taken)
            elif action == "done" and key in out:
                queue.done(key)
                out.discard(key)
        for key in list(out):
            queue.done(key)
        assert {await queue.get() for _ in range(len(queue))} == owed

    asyncio.run(play())
