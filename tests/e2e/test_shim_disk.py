"""A full disk below the shim's state: refusals that say so, nothing left behind, and no lie about what runs."""

import errno
import os
from pathlib import Path

import grpc
import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import records

from .conftest import Shim


def fill(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(records, "write_atomically", refuse)


async def test_a_sandbox_that_cannot_be_recorded_leaves_nothing(shim: Shim, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        fill(patch)
        with pytest.raises(grpc.aio.AioRpcError, match="No space left on device") as refused:
            await shim.run_pod(shim.pod("full"))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert list((shim.containerd.layout.shim_state / "sandboxes").iterdir()) == []
    await shim.run_pod(shim.pod("full"))


async def test_a_container_that_cannot_be_recorded_leaves_nothing(shim: Shim, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = await shim.run_pod(shim.pod("full"))
    with monkeypatch.context() as patch:
        fill(patch)
        with pytest.raises(grpc.aio.AioRpcError, match="No space left on device"):
            await shim.create(sandbox, shim.container())
    assert list((shim.containerd.layout.shim_state / "containers").iterdir()) == []
    await shim.start(sandbox, shim.container())


async def test_what_runs_is_told_to_run_though_it_cannot_be_recorded(
    shim: Shim, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = await shim.create(await shim.run_pod(shim.pod("full")), shim.container("sleep", "1000"))
    with monkeypatch.context() as patch:
        fill(patch)
        await shim.runtime.StartContainer(criv1.StartContainerRequest(container_id=container), timeout=60)
        assert (await shim.status(container)).state == criv1.ContainerState.CONTAINER_RUNNING
        await shim.runtime.StopContainer(criv1.StopContainerRequest(container_id=container, timeout=0), timeout=60)
    assert (await shim.status(container)).exit_code == 137
