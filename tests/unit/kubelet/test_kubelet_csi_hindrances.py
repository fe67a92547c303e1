"""Drivers that hang, and a disk that is full: one volume's trouble is no other's, and nothing is torn."""

import asyncio
import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from navarch.protos.k8s.storage import v1_pb2 as storagev1
from navarch.services.base.clock import VirtualClock, settle
from navarch.services.kubelet.volumes.csi import DATA, CsiVolumes
from navarch.services.kubelet.volumes.kinds import Wanted

from .conftest import a_pod


class Node:
    """A driver whose calls for some volumes do not end before they may."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.may_end = asyncio.Event()
        self.hanging: set[str] = set()
        self.calls: list[str] = []
        stub = SimpleNamespace(NodePublishVolume="publish", NodeUnpublishVolume="unpublish")
        driver = SimpleNamespace(name="d", can=lambda _: False, call=self._call, stub=stub)
        drivers: Any = SimpleNamespace(find=lambda _: driver, known=lambda _: driver)
        client: Any = SimpleNamespace(get=self._get)
        tokens: Any = SimpleNamespace(forget=lambda _: None)
        grows: Any = SimpleNamespace()
        self.volumes = CsiVolumes(client, drivers, root, "n1", VirtualClock(), tokens, grows)

    def wanted(self, pod: str) -> Wanted:
        made = a_pod(pod, volumes=[{"name": "data", "csi": {"driver": "d"}}])
        directory = self.root / "pods" / made.metadata.uid / "volumes" / CsiVolumes.plugin / "data"
        return Wanted(made, made.spec.volumes[0], directory)

    async def _get(self, kind: Any, name: str) -> storagev1.CSIDriver:
        return storagev1.CSIDriver(spec=storagev1.CSIDriverSpec(volume_lifecycle_modes=["Ephemeral"]))

    async def _call(self, method: str, request: Any) -> None:
        self.calls.append(method)
        if request.volume_id in self.hanging:
            await self.may_end.wait()


async def test_a_driver_that_hangs_over_one_volume_gives_up_another(tmp_path: Path) -> None:
    node = Node(tmp_path)
    stuck, free = node.wanted("stuck"), node.wanted("free")
    await node.volumes.mount(stuck)
    await node.volumes.mount(free)
    (handle,) = {each.use.source.handle for each in node.volumes._published.values() if each.use.wanted is stuck}
    node.hanging.add(handle)
    hangs = asyncio.ensure_future(node.volumes.unmount(stuck.directory))
    await settle()
    await node.volumes.unmount(free.directory)
    assert not free.directory.exists()
    assert not hangs.done()
    # The kubelet dies now; the next one finds what is to be undone, and calls again.
    hangs.cancel()
    await asyncio.gather(hangs, return_exceptions=True)
    node.hanging.clear()
    again = Node(tmp_path)
    await again.volumes.unmount(stuck.directory)
    assert again.calls == ["unpublish"]
    assert not stuck.directory.exists()


async def test_on_a_full_disk_nothing_is_published_that_could_not_be_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(tmp_path)
    wanted = node.wanted("full")
    written = Path.write_bytes

    def half(path: Path, data: Any) -> int:
        written(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", half)
        with pytest.raises(OSError, match="No space left"):
            await node.volumes.mount(wanted)
    assert node.calls == []
    assert not (wanted.directory / DATA).exists()
    await node.volumes.mount(wanted)
    await node.volumes.unmount(wanted.directory)
    assert node.calls == ["publish", "unpublish"]
    assert not wanted.directory.exists()
