"""Who requires a leader is not served by a member that has had none for an election timeout."""

import asyncio

import pytest

from navarch.services.base.clock import VirtualClock, settle
from navarch.services.store.errors import EtcdError
from navarch.services.store.leader_monitor import LeaderMonitor
from navarch.services.store.pulse import Pulse
from navarch.services.store.replication.log import LogStatus


class Log:
    leader = 1

    def status(self) -> LogStatus:
        return LogStatus(2, self.leader, 1, 0, 0, 0)


class Call:
    def __init__(self, *metadata: tuple[str, str]) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata


async def test_a_leader_is_missed_after_an_election_timeout() -> None:
    clock, log, changed, lost = VirtualClock(), Log(), Pulse(), []
    monitor = LeaderMonitor(log, clock, 1.0, changed, lambda: lost.append(clock.monotonic()))
    task = asyncio.create_task(monitor.run())
    requiring, other = Call(("hasleader", "true")), Call(("hasleader", "false"))

    async def tell(leader: int) -> None:
        log.leader = leader
        changed.wake()
        await settle()

    await clock.elapse(5)
    monitor.check(requiring)
    await tell(0)
    await clock.elapse(0.9)
    await tell(3)
    await clock.elapse(0.9)
    await tell(0)
    await clock.elapse(0.9)
    assert not monitor.lost, "elections in between"
    assert not lost
    await clock.elapse(0.1)
    await clock.elapse(10)
    assert len(lost) == 1
    monitor.check(other)
    with pytest.raises(EtcdError, match="^etcdserver: no leader$"):
        monitor.check(requiring)
    await tell(3)
    monitor.check(requiring)
    task.cancel()


async def test_a_pulse_wakes_who_waits_and_nobody_later() -> None:
    clock, pulse = VirtualClock(), Pulse()
    waits = [asyncio.create_task(pulse.wait(clock, seconds)) for seconds in (1, float("inf"))]
    await settle()
    pulse.wake()
    await settle()
    assert all(wait.done() for wait in waits)
    late = asyncio.create_task(pulse.wait(clock, 2))
    await clock.elapse(1.9)
    assert not late.done()
    await clock.elapse(0.1)
    assert late.done()
