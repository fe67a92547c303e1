"""A disk that becomes full at any moment: refusals that say so, nothing left behind, and nobody is blocked."""

import contextlib
import mmap
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.containerd.journal import FILE_BYTES
from navarch.testing.cri_client import CriClient
from navarch.testing.host_state import host_state
from navarch.testing.private_containerd import IMAGE, PrivateContainerd

DISK_BYTES = 4 << 20
# So many pages are free: every one that records take, and then more, up to room for the journal of a log.
FREE_PAGES = (*range(12), *range(12, 20 + FILE_BYTES // mmap.PAGESIZE, 12))
# runc's words for it, which lack the reason.
RUNC = "unable to store init state"
LOG_LINES = 20_000
Code = grpc.StatusCode


@contextlib.contextmanager
def small_disk(folder: Path, size: int = DISK_BYTES) -> Iterator[Path]:
    """A disk of its own at a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def filled(disk: Path, free_pages: int) -> Iterator[None]:
    """Only so much of the disk is free."""
    path = disk / "filling"
    with path.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(bytes(mmap.PAGESIZE)):
                pass
        file.truncate(file.tell() // mmap.PAGESIZE * mmap.PAGESIZE - free_pages * mmap.PAGESIZE)
    try:
        yield
    finally:
        path.unlink()


@pytest.fixture
async def cri(containerd: PrivateContainerd, tmp_path: Path) -> AsyncIterator[CriClient]:
    client = CriClient(containerd.shim_socket, IMAGE, containerd.cgroup_root, tmp_path / "logs")
    yield client
    await client.channel.close()


async def life(cri: CriClient) -> None:
    """A sandbox with a container, as far as it gets; what there is of it is removed, full disk or not."""
    try:
        sandbox = await cri.sandbox(host_network=False)
        container = await cri.container(sandbox)
        await cri.exec(container, "true")
        await cri.stop_container(container, timeout_s=2)
    finally:
        for item in (await cri.runtime.ListPodSandbox(criv1.ListPodSandboxRequest())).items:
            await cri.remove(item.id)


async def test_full_at_any_moment(containerd: PrivateContainerd, cri: CriClient) -> None:
    """With a page more that is free each time, all that is written meets the end of the disk once."""
    containerd.kill(containerd.processes[-1])
    with small_disk(containerd.layout.shim_state) as disk:
        containerd.start_shim()
        await life(cri)
        before = host_state(containerd)
        refused = []
        for pages in FREE_PAGES:
            with filled(disk, pages):
                try:
                    await life(cri)
                except grpc.aio.AioRpcError as failure:
                    refused.append(failure)
            assert host_state(containerd).differences(before) == [], f"{pages} pages were free"
        assert 0 < len(refused) < len(FREE_PAGES) // 2 + 4
        for failure in refused:
            said = failure.details() or ""
            full = failure.code() is Code.RESOURCE_EXHAUSTED and "No space left on device" in said and str(disk) in said
            assert full or RUNC in said, failure
        containerd.kill(containerd.processes[-1])
    containerd.start_shim()


async def test_what_runs_can_be_removed_from_a_full_disk(containerd: PrivateContainerd, cri: CriClient) -> None:
    containerd.kill(containerd.processes[-1])
    with small_disk(containerd.layout.shim_state) as disk:
        containerd.start_shim()
        await life(cri)
        before = host_state(containerd)
        sandbox = await cri.sandbox(host_network=False)
        container = await cri.container(sandbox)
        other = await cri.container(await cri.sandbox(host_network=False))
        empty = await cri.sandbox(host_network=False)
        with filled(disk, 0):
            # Nothing becomes free by it.
            await cri.stop(empty)
            assert (await cri.sandbox_status(empty)).state == criv1.PodSandboxState.SANDBOX_NOTREADY
            await cri.stop_container(container, timeout_s=2)
            await cri.stop(sandbox)
            assert (await cri.sandbox_status(sandbox)).state == criv1.PodSandboxState.SANDBOX_NOTREADY
            assert await cri.state(container) == "EXITED"
            containerd.kill(containerd.processes[-1])
            containerd.start_shim()
            assert await cri.state(other) == "RUNNING"
            for item in (await cri.runtime.ListPodSandbox(criv1.ListPodSandboxRequest())).items:
                await cri.stop(item.id)
                await cri.remove(item.id)
        assert host_state(containerd).differences(before) == []
        containerd.kill(containerd.processes[-1])
    containerd.start_shim()


async def test_a_full_disk_of_logs_blocks_nobody(containerd: PrivateContainerd, cri: CriClient, tmp_path: Path) -> None:
    """What does not fit is lost. What was written is whole records but for the last, and later ones follow."""
    with small_disk(tmp_path / "logs", 1 << 20):
        sandbox = await cri.sandbox()
        script = f"seq {LOG_LINES}; seq {LOG_LINES} >&2; while ! [ -e /go ]; do sleep 0.05; done; echo later"
        container = await cri.container(sandbox, cri.container_config("sh", "-c", script))
        await cri.exec(container, "true")
        path = Path((await cri.status(container)).log_path)
        path.rename(path.with_suffix(".1"))
        path.with_suffix(".1").write_bytes(b"")
        await cri.runtime.ReopenContainerLog(criv1.ReopenContainerLogRequest(container_id=container))
        await cri.exec(container, "touch", "/go")
        assert (await cri.exited(container)).exit_code == 0
        assert (await cri.log(container))[-1] == ("stdout", "F", "later")
        await cri.remove(sandbox)
