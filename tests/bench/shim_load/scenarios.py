"""Operations on one peer, timed one by one."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

import psutil

from navarch.protos.cri import v1_pb2 as criv1
from navarch.testing.cri_client import CriClient

T = TypeVar("T")
SANDBOX, CONTAINER = "RunPodSandbox", "CreateContainer + StartContainer"
BOTH = "sandbox and container together"
EXEC, END = "ExecSync", "StopPodSandbox + RemovePodSandbox"
IDLE_S = 10.0


@dataclass(slots=True)
class Timings:
    """Milliseconds, by operation."""

    of: dict[str, list[float]] = field(default_factory=dict)

    async def timed(self, operation: str, work: Awaitable[T]) -> T:
        """Do it, and note how long it took."""
        begin = time.perf_counter()
        result = await work
        self.of.setdefault(operation, []).append((time.perf_counter() - begin) * 1e3)
        return result

    def p50(self, operation: str) -> float:
        """The median."""
        return median(self.of[operation])


async def life(cri: CriClient, timings: Timings, *, host_network: bool, at_once: int) -> None:
    """Sandboxes with a container from begin to end, all of them in the same step. timings: none yet."""
    configs = [cri.sandbox_config(host_network=host_network) for _ in range(at_once)]
    sandboxes = await _all(timings, SANDBOX, [lambda c=config: cri.sandbox(c) for config in configs])
    containers = await _all(timings, CONTAINER, [lambda s=sandbox: cri.container(s) for sandbox in sandboxes])
    timings.of[BOTH] = [sum(pair) for pair in zip(timings.of[SANDBOX], timings.of[CONTAINER], strict=True)]
    await _all(timings, EXEC, [lambda c=container: cri.exec(c, "true") for container in containers])
    await _all(timings, END, [lambda s=sandbox: _end(cri, s) for sandbox in sandboxes])


async def _all(timings: Timings, operation: str, works: list[Callable[[], Awaitable[T]]]) -> list[T]:
    return await asyncio.gather(*(timings.timed(operation, work()) for work in works))


async def _end(cri: CriClient, sandbox: str) -> None:
    await cri.stop(sandbox)
    await cri.remove(sandbox)


@asynccontextmanager
async def running(cri: CriClient, number: int) -> AsyncIterator[None]:
    """Containers that run meanwhile, ten to a sandbox."""
    sandboxes = [await cri.sandbox() for _ in range(-(-number // 10))]
    for index in range(number):
        await cri.container(sandboxes[index // 10], cri.container_config(name=f"c{index}"))
    yield
    await asyncio.gather(*(_end(cri, sandbox) for sandbox in sandboxes))


async def lists(cri: CriClient, timings: Timings, operation: str, rounds: int, at_once: int) -> None:
    """ListContainers."""

    async def one() -> None:
        answer = await cri.runtime.ListContainers(criv1.ListContainersRequest())
        assert len(answer.containers) >= at_once

    for _ in range(rounds):
        await _all(timings, operation, [one] * at_once)


async def pull(cri: CriClient, timings: Timings, operation: str, name: str) -> None:
    """PullImage of what is not there, which is removed again."""
    image = criv1.ImageSpec(image=name)
    await timings.timed(operation, cri.images.PullImage(criv1.PullImageRequest(image=image), timeout=600))
    await cri.images.RemoveImage(criv1.RemoveImageRequest(image=image))


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of a process. cpu: of one processor, without requests."""

    memory_mb: float
    cpu: float


async def footprint(pid: int) -> Footprint:
    """What a process holds and uses while nobody asks it."""
    process = psutil.Process(pid)
    begin = process.cpu_times()
    await asyncio.sleep(IDLE_S)
    end = process.cpu_times()
    used = end.user + end.system - begin.user - begin.system
    return Footprint(process.memory_full_info().pss / 1e6, used / IDLE_S)
