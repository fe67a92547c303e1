"""The init of Pods that share a PID namespace, over restarts of the shim."""

import os
import signal
from pathlib import Path

import grpc
import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.containerd import init_elf

from .conftest import Containerd, Shim, serving, until
from .test_shim_lifecycle import assert_no_leftovers

READY, NOT_READY = criv1.PodSandboxState.SANDBOX_READY, criv1.PodSandboxState.SANDBOX_NOTREADY


def shared(shim: Shim, name: str) -> criv1.PodSandboxConfig:
    config = shim.pod(name)
    config.linux.security_context.namespace_options.pid = criv1.NamespaceMode.POD
    return config


async def state(shim: Shim, sandbox: str) -> int:
    request = criv1.PodSandboxStatusRequest(pod_sandbox_id=sandbox)
    return (await shim.runtime.PodSandboxStatus(request)).status.state


def init_of(shim: Shim, sandbox: str) -> int:
    assert shim.backend is not None
    return shim.backend.world.sandboxes[sandbox].record.pid


async def test_it_outlives_the_shim(containerd: Containerd, busybox_archive: Path) -> None:
    async with serving(containerd) as before:
        await before.load_busybox(busybox_archive)
        sandbox = await before.run_pod(shared(before, "outlives"))
        init = init_of(before, sandbox)
    async with serving(containerd) as after:
        assert await state(after, sandbox) == READY
        assert init_of(after, sandbox) == init
        config = after.container("sh", "-c", "sleep 1000")
        config.linux.security_context.namespace_options.pid = criv1.NamespaceMode.POD
        container = await after.start(sandbox, config)
        assert (await after.exec(container, "cat", "/proc/1/comm")).stdout == b"init\n"
        await after.remove_all()
        assert not os.path.exists(f"/proc/{init}")
        assert_no_leftovers(after)


async def test_its_death_while_the_shim_was_away_is_found(containerd: Containerd, busybox_archive: Path) -> None:
    async with serving(containerd) as before:
        await before.load_busybox(busybox_archive)
        sandbox = await before.run_pod(shared(before, "died"))
        init = init_of(before, sandbox)
    os.kill(init, signal.SIGKILL)
    async with serving(containerd) as after:

        async def not_ready() -> bool:
            return await state(after, sandbox) == NOT_READY

        await until(not_ready)
        await after.remove_all()
        assert_no_leftovers(after)


async def test_one_that_does_not_run_leaves_nothing(containerd: Containerd, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(containerd) as shim:
        with monkeypatch.context() as broken:
            broken.setattr(init_elf, "program", lambda machine: b"no program")
            with pytest.raises(grpc.aio.AioRpcError, match="the init of the sandbox"):
                await shim.run_pod(shared(shim, "broken"))
            assert_no_leftovers(shim)
        await shim.run_pod(shared(shim, "broken"))
        await shim.remove_all()
        assert_no_leftovers(shim)
