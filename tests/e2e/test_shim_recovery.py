"""Shim and containerd are stopped and killed at any step; what runs goes on, what was half made is gone."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import grpc
import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.containerd.cgroups import Cgroups
from navarch.runtime_shim.containerd.cni import Executor
from navarch.runtime_shim.containerd.leftovers import keeper_processes, shim_processes
from navarch.runtime_shim.containerd.purge import Purge

from .conftest import CNI_BIN_DIRS, Containerd, Shim, serving, shim_process, until
from .test_shim_lifecycle import assert_no_leftovers

COUNTER = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.02; done"


async def test_a_restarted_shim_knows_everything_and_goes_on(containerd: Containerd, busybox_archive: Path) -> None:
    async with serving(containerd) as before:
        await before.load_busybox(busybox_archive)
        sandbox = await before.run_pod(before.pod("restarted"))
        running = await before.start(sandbox, before.container("sh", "-c", COUNTER, name="running"))
        created = await before.create(sandbox, before.container("sh", "-c", "echo late", name="created"))
        exited = await before.start(sandbox, before.container("sh", "-c", "exit 9", name="exited"))
        await before.exited(exited)
        request = criv1.PodSandboxStatusRequest(pod_sandbox_id=sandbox)
        old = (await before.runtime.PodSandboxStatus(request)).status
        statuses = {container: await before.status(container) for container in (running, created, exited)}
    async with serving(containerd) as after:
        assert (await after.runtime.PodSandboxStatus(request)).status == old
        for container, status in statuses.items():
            assert await after.status(container) == status
        await after.runtime.StartContainer(criv1.StartContainerRequest(container_id=created))
        assert (await after.exited(created)).exit_code == 0
        lines = len(await after.log(running))

        async def goes_on() -> bool:
            return len(await after.log(running)) >= lines + 5

        await until(goes_on)
        assert (await after.exec(running, "true")).exit_code == 0
        await after.runtime.StopContainer(criv1.StopContainerRequest(container_id=running, timeout=0))
        texts = [text for _, _, text in await after.log(running)]
        assert texts == [f"line {number}" for number in range(len(texts))]
        await after.remove_all()
        assert_no_leftovers(after)


async def test_an_exit_while_the_shim_was_away_is_found(containerd: Containerd, busybox_archive: Path) -> None:
    async with serving(containerd) as before:
        await before.load_busybox(busybox_archive)
        sandbox = await before.run_pod(before.pod("away", host_network=True))
        script = "while [ ! -e /tmp/go ]; do sleep 0.02; done; exit 11"
        container = await before.start(sandbox, before.container("sh", "-c", script))
        pid = int(before.backend.world.containers[container].record.pid) if before.backend else 0
    Path(f"/proc/{pid}/root/tmp/go").touch()

    async def ended() -> bool:
        return not Path(f"/proc/{pid}").exists()

    await until(ended)
    async with serving(containerd) as after:
        status = await after.exited(container)
        assert (status.exit_code, status.reason) == (11, "Error")
        await after.remove_all()
        assert_no_leftovers(after)


async def test_containers_outlive_containerd_and_no_exit_is_missed(containerd: Containerd, shim: Shim) -> None:
    sandbox = await shim.run_pod(shim.pod("daemonless"))
    survivor = await shim.start(sandbox, shim.container("sh", "-c", COUNTER, name="survivor"))
    doomed = await shim.start(sandbox, shim.container(name="doomed"))
    assert shim.backend is not None
    victim = shim.backend.world.containers[doomed].record.pid
    events = shim.runtime.GetContainerEvents(criv1.GetEventsRequest())
    containerd.kill()
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(grpc.aio.AioRpcError):
        await shim.runtime.StopContainer(criv1.StopContainerRequest(container_id=survivor, timeout=0))
    status = await shim.runtime.Status(criv1.StatusRequest())
    assert not status.status.conditions[0].status
    lines = len(await shim.log(survivor))
    containerd.start()
    assert (await shim.exited(doomed)).exit_code == 137

    async def goes_on() -> bool:
        return len(await shim.log(survivor)) > lines

    await until(goes_on)
    async with asyncio.timeout(20):
        async for event in events:
            if event.container_event_type == criv1.ContainerEventType.CONTAINER_STOPPED_EVENT:
                assert event.container_id == doomed
                break
    events.cancel()
    assert (await shim.exec(survivor, "true")).exit_code == 0


@pytest.mark.parametrize("delay_s", [0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.09, 0.12, 0.16])
async def test_killed_at_any_step(containerd: Containerd, busybox_archive: Path, delay_s: float) -> None:
    """Each step of a Pod's life is under way when the shim is killed; its successor makes it whole or removes it."""
    async with shim_process(containerd) as (shim, process):
        await shim.load_busybox(busybox_archive)

        async def life() -> None:
            sandbox = await shim.run_pod(shim.pod("killed"))
            await shim.start(sandbox, shim.container())
            await shim.runtime.RemovePodSandbox(criv1.RemovePodSandboxRequest(pod_sandbox_id=sandbox))

        living = asyncio.ensure_future(life())
        await asyncio.sleep(delay_s)
        process.kill()
        process.wait()
        # On a quick host the life may be over before the kill.
        with contextlib.suppress(grpc.aio.AioRpcError):
            await living
    async with serving(containerd) as after:
        for item in (await after.runtime.ListContainers(criv1.ListContainersRequest())).containers:
            assert item.state != criv1.ContainerState.CONTAINER_UNKNOWN
        await after.remove_all()
        assert_no_leftovers(after)


async def test_purge_needs_neither_shim_nor_containerd(containerd: Containerd, busybox_archive: Path) -> None:
    async with serving(containerd) as shim:
        await shim.load_busybox(busybox_archive)
        for number in range(3):
            sandbox = await shim.run_pod(shim.pod(f"purged-{number}"))
            await shim.start(sandbox, shim.container())
        groups = f"{containerd.cgroup_root}/purged-0"
        assert Cgroups().pids(groups)
        assert len(list(keeper_processes(containerd.layout.shim_state))) == 1
    containerd.kill()
    await Purge(containerd.layout, Executor(CNI_BIN_DIRS), Cgroups()).run()
    assert not Cgroups().exists(groups)
    assert list(shim_processes(containerd.layout.socket)) == []
    assert list(keeper_processes(containerd.layout.shim_state)) == []
    assert not containerd.layout.shim_state.exists()
    assert str(containerd.data_dir) not in Path("/proc/self/mountinfo").read_text()
    containerd.start()
    async with serving(containerd) as again:
        assert not (await again.runtime.ListPodSandbox(criv1.ListPodSandboxRequest())).items
        sandbox = await again.run_pod(again.pod("purged-0"))
        await again.exited(await again.start(sandbox, again.container("true")))
        await again.remove_all()
        assert_no_leftovers(again)
