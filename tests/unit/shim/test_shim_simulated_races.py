"""Simulated containers over time: what happens while a start, a stop or a pull takes its time. The clock is virtual."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.simulated.backend import SimulatedBackend
from navarch.runtime_shim.simulated.behavior import PREFIX
from navarch.services.base.clock import VirtualClock, settle

CREATED, RUNNING, EXITED = (
    criv1.ContainerState.CONTAINER_CREATED,
    criv1.ContainerState.CONTAINER_RUNNING,
    criv1.ContainerState.CONTAINER_EXITED,
)
IMAGE = criv1.ImageSpec(image="app:1")


class Host:
    """A simulated host and the calls of a kubelet."""

    def __init__(self) -> None:
        numbers = count(1)
        self.clock = VirtualClock()
        self.backend = SimulatedBackend("10.0.0.0/24", self.clock, lambda: f"{next(numbers):064}")
        self.runtime = self.backend.runtime

    def pod(self, name: str = "web", log_directory: str = "", **behavior: str) -> criv1.PodSandboxConfig:
        return criv1.PodSandboxConfig(
            metadata=criv1.PodSandboxMetadata(name=name, namespace="default", uid=name),
            annotations={PREFIX + key.replace("_", "-"): text for key, text in behavior.items()},
            log_directory=log_directory,
        )

    async def sandbox(self, config: criv1.PodSandboxConfig) -> str:
        return (await self.runtime.run_pod_sandbox(criv1.RunPodSandboxRequest(config=config))).pod_sandbox_id

    async def create(self, sandbox: str, name: str = "main", log_path: str = "") -> str:
        config = criv1.ContainerConfig(metadata=criv1.ContainerMetadata(name=name), image=IMAGE, log_path=log_path)
        request = criv1.CreateContainerRequest(pod_sandbox_id=sandbox, config=config)
        return (await self.runtime.create_container(request)).container_id

    async def created(self, **behavior: str) -> str:
        return await self.create(await self.sandbox(self.pod(**behavior)))

    async def started(self, **behavior: str) -> str:
        container = await self.created(**behavior)
        await self.start(container)
        return container

    async def start(self, container: str) -> None:
        await self.runtime.start_container(criv1.StartContainerRequest(container_id=container))

    async def starting(self, container: str) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(self.start(container))
        await settle()
        return task

    async def stop(self, container: str, timeout: int = 10) -> None:
        await self.runtime.stop_container(criv1.StopContainerRequest(container_id=container, timeout=timeout))

    async def remove(self, container: str) -> None:
        await self.runtime.remove_container(criv1.RemoveContainerRequest(container_id=container))

    async def status(self, container: str) -> criv1.ContainerStatus:
        return (await self.runtime.container_status(criv1.ContainerStatusRequest(container_id=container))).status

    async def sandbox_of(self, container: str) -> str:
        listed = await self.runtime.list_containers(criv1.ListContainersRequest(filter={"id": container}))
        return listed.containers[0].pod_sandbox_id


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    host = Host()
    await host.backend.images.pull_image(criv1.PullImageRequest(image=IMAGE))
    yield host
    await host.backend.stop()


# While it starts.


async def test_one_start_at_a_time(host: Host) -> None:
    container = await host.created(start_delay_seconds="5")
    start = await host.starting(container)
    with pytest.raises(errors.FailedPrecondition, match="starting"):
        await host.start(container)
    await host.clock.elapse(5)
    await start
    with pytest.raises(errors.FailedPrecondition, match="running"):
        await host.start(container)


async def test_a_start_that_its_client_gave_up_can_be_made_again(host: Host) -> None:
    container = await host.created(start_delay_seconds="5")
    start = await host.starting(container)
    start.cancel()
    await asyncio.wait([start])
    assert (await host.status(container)).state == CREATED
    start = await host.starting(container)
    await host.clock.elapse(5)
    await start
    assert (await host.status(container)).state == RUNNING


@pytest.mark.parametrize("behavior", [{}, {"start_error": "no such file"}], ids=["good", "bad"])
async def test_removed_while_it_starts(host: Host, behavior: dict[str, str]) -> None:
    container = await host.created(start_delay_seconds="5", **behavior)
    told: list[criv1.ContainerEventResponse] = []
    reader = asyncio.ensure_future(collect(host, told))
    start = await host.starting(container)
    await host.remove(container)
    await host.clock.elapse(5)
    with pytest.raises((errors.NotFound, errors.FailedPrecondition)):
        await start
    reader.cancel()
    # Nothing is told of what has gone.
    assert [event.container_event_type for event in told] == [criv1.CONTAINER_DELETED_EVENT]


@pytest.mark.parametrize("behavior", [{}, {"start_error": "no such file"}], ids=["good", "bad"])
async def test_the_sandbox_is_stopped_while_it_starts(host: Host, behavior: dict[str, str]) -> None:
    container = await host.created(start_delay_seconds="5", **behavior)
    start = await host.starting(container)
    request = criv1.StopPodSandboxRequest(pod_sandbox_id=await host.sandbox_of(container))
    await host.runtime.stop_pod_sandbox(request)
    await host.clock.elapse(5)
    with pytest.raises((errors.FailedPrecondition, errors.RuntimeFailure)):
        await start
    assert (await host.status(container)).state != RUNNING


# Ends.


async def test_a_start_that_fails(host: Host) -> None:
    container = await host.created(start_error="exec: no such file")
    with pytest.raises(errors.RuntimeFailure, match="exec: no such file"):
        await host.start(container)
    status = await host.status(container)
    assert (status.state, status.reason, status.exit_code) == (EXITED, "StartError", 128)
    assert status.message == "exec: no such file"
    assert 0 < status.started_at <= status.finished_at


@pytest.mark.parametrize(
    ("behavior", "seconds", "reason", "code"),
    [
        ({"exit_after_seconds": "3"}, 3, "Completed", 0),
        ({"exit_after_seconds": "3", "exit_code": "2"}, 3, "Error", 2),
        ({"oom_after_seconds": "4"}, 4, "OOMKilled", 137),
        ({"oom_after_seconds": "4", "exit_after_seconds": "3"}, 3, "Completed", 0),
        ({"oom_after_seconds": "3", "exit_after_seconds": "4"}, 3, "OOMKilled", 137),
        ({"oom_after_seconds": "3", "exit_after_seconds": "3"}, 3, "OOMKilled", 137),
    ],
)
async def test_ends(host: Host, behavior: dict[str, str], seconds: int, reason: str, code: int) -> None:
    container = await host.started(**behavior)
    await host.clock.elapse(seconds - 0.5)
    assert (await host.status(container)).state == RUNNING
    await host.clock.elapse(0.5)
    status = await host.status(container)
    assert (status.state, status.reason, status.exit_code) == (EXITED, reason, code)
    assert status.finished_at - status.started_at == seconds * 1_000_000_000
    assert not len(host.runtime._timers)


@pytest.mark.parametrize(
    ("behavior", "timeout", "seconds", "code"),
    [({}, 10, 0, 143), ({}, 0, 0, 137), ({"ignore_sigterm": "true"}, 10, 10, 137)],
)
async def test_stopped(host: Host, behavior: dict[str, str], timeout: int, seconds: int, code: int) -> None:
    container = await host.started(exit_after_seconds="100", **behavior)
    begin = host.clock.monotonic()
    stop = asyncio.ensure_future(host.stop(container, timeout))
    await host.clock.elapse(seconds)
    await stop
    status = await host.status(container)
    assert (status.state, status.exit_code) == (EXITED, code)
    assert host.clock.monotonic() - begin == seconds
    await settle()
    assert not len(host.runtime._timers)


async def test_a_process_that_ends_in_the_grace_period_is_not_waited_for(host: Host) -> None:
    container = await host.started(ignore_sigterm="true", exit_after_seconds="3")
    stop = asyncio.ensure_future(host.stop(container, 1000))
    await host.clock.elapse(3)
    await stop
    assert (await host.status(container)).exit_code == 0


async def test_a_stop_that_its_client_gave_up_leaves_it_running(host: Host) -> None:
    container = await host.started(ignore_sigterm="true")
    stop = asyncio.ensure_future(host.stop(container, 10))
    await settle()
    stop.cancel()
    await asyncio.wait([stop])
    await host.clock.elapse(20)
    assert (await host.status(container)).state == RUNNING


async def test_removed_while_it_stops(host: Host) -> None:
    container = await host.started(ignore_sigterm="true")
    stop = asyncio.ensure_future(host.stop(container, 10))
    await settle()
    await host.remove(container)
    await settle()
    # Nothing is left to wait for.
    assert stop.done()
    await stop


async def test_stopped_while_it_starts(host: Host) -> None:
    """As with containerd: what does not run yet has been stopped; the start goes on."""
    container = await host.created(start_delay_seconds="5")
    start = await host.starting(container)
    await host.stop(container)
    await host.clock.elapse(5)
    await start
    assert (await host.status(container)).state == RUNNING


# What can't be done.


async def test_a_log_that_cannot_be_written_fails_the_start(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sandbox = await host.sandbox(host.pod(log_directory=str(tmp_path / "file")))
    container = await host.create(sandbox, log_path="main.log")
    with pytest.raises((OSError, errors.ShimError)):
        await host.start(container)
    assert (await host.status(container)).state != RUNNING


@pytest.mark.parametrize("missing", ["name", "namespace", "uid"])
async def test_a_sandbox_needs_to_be_named(host: Host, missing: str) -> None:
    config = host.pod()
    config.metadata.ClearField(missing)
    with pytest.raises(errors.InvalidArgument):
        await host.sandbox(config)


async def test_names_exist_once(host: Host) -> None:
    sandbox = await host.sandbox(host.pod())
    container = await host.create(sandbox)
    with pytest.raises(errors.AlreadyExists):
        await host.sandbox(host.pod())
    with pytest.raises(errors.AlreadyExists):
        await host.create(sandbox)
    await host.remove(container)
    await host.create(sandbox)
    await host.runtime.remove_pod_sandbox(criv1.RemovePodSandboxRequest(pod_sandbox_id=sandbox))
    await host.sandbox(host.pod())


async def test_an_annotation_that_is_refused_takes_neither_name_nor_address(host: Host) -> None:
    with pytest.raises(errors.InvalidArgument):
        await host.sandbox(host.pod(exit_code="300"))
    sandbox = await host.sandbox(host.pod())
    status = (await host.runtime.pod_sandbox_status(criv1.PodSandboxStatusRequest(pod_sandbox_id=sandbox))).status
    assert status.network.ip == "10.0.0.2"


async def test_a_pull_takes_its_time_and_may_fail(host: Host) -> None:
    image = criv1.ImageSpec(image="other:1")

    async def pull(**behavior: str) -> str:
        request = criv1.PullImageRequest(image=image, sandbox_config=host.pod(**behavior))
        return (await host.backend.images.pull_image(request)).image_ref

    async def here() -> bool:
        return (await host.backend.images.image_status(criv1.ImageStatusRequest(image=image))).HasField("image")

    with pytest.raises(errors.RuntimeFailure, match="denied"):
        await pull(pull_error="denied")
    task = asyncio.ensure_future(pull(pull_delay_seconds="5", image_size_bytes="77"))
    await host.clock.elapse(4)
    assert not await here()
    await host.clock.elapse(1)
    assert await task
    found = await host.backend.images.image_status(criv1.ImageStatusRequest(image=image))
    assert found.image.size == 77
    with pytest.raises(errors.InvalidArgument):
        await host.backend.images.pull_image(criv1.PullImageRequest())


# Use.


async def test_use_grows_with_time(host: Host) -> None:
    container = await host.started(cpu_millicores="250", memory_bytes="1000", exit_after_seconds="6")
    used = []
    for seconds in (2, 2, 2, 2):
        await host.clock.elapse(seconds)
        answer = await host.runtime.container_stats(criv1.ContainerStatsRequest(container_id=container))
        assert answer.stats.attributes.metadata.name == "main"
        used.append(answer.stats.cpu.usage_core_nano_seconds.value)
    # What has ended uses nothing.
    assert used == [500_000_000, 1_000_000_000, 0, 0]


async def collect(host: Host, told: list[criv1.ContainerEventResponse]) -> None:
    async for event in host.runtime.get_container_events(criv1.GetEventsRequest()):
        told.append(event)
