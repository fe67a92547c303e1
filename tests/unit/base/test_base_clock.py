import asyncio

from navarch.services.base.clock import SystemClock, VirtualClock, settle


async def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    clock = VirtualClock(1000)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.now()))

    tasks = [asyncio.create_task(sleeper(name, s)) for name, s in (("c", 3), ("a", 1), ("b", 2), ("z", 0))]
    await settle()
    assert [name for name, _ in woken] == ["z"]
    await clock.elapse(2.5)
    assert woken[1:] == [("a", 1001), ("b", 1002)]
    clock.advance(1)
    await asyncio.gather(*tasks)
    assert woken[3] == ("c", 1003.5)


async def test_a_task_that_sleeps_again_and_again_sees_each_of_its_moments() -> None:
    clock = VirtualClock()
    moments: list[float] = []

    async def ticker() -> None:
        while True:
            await clock.sleep(10)
            moments.append(clock.monotonic())

    task = asyncio.create_task(ticker())
    await clock.elapse(35)
    task.cancel()
    assert moments == [10, 20, 30]


async def test_a_cancelled_sleeper_does_not_hold_time_up() -> None:
    clock = VirtualClock()
    task = asyncio.create_task(clock.sleep(5))
    await settle()
    task.cancel()
    await clock.elapse(10)
    assert clock.monotonic() == 10


async def test_the_hosts_clock_moves_on() -> None:
    clock = SystemClock()
    begin = clock.monotonic()
    await clock.sleep(-1)
    assert clock.monotonic() >= begin
    assert clock.now() > 1.7e9
