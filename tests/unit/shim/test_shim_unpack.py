"""A layer that unpacks to more than the disk holds."""

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.images import content, unpack
from navarch.runtime_shim.containerd.images.model import Descriptor, ImageConfig, Manifest

DIGEST = "sha256:" + "0" * 64


class Containerd:
    """Its services, as far as they are asked. An Apply never ends."""

    def __init__(self) -> None:
        self.snapshots = self.diff = self
        self.snapshot_keys: set[str] = set()
        self.is_stopped = False

    async def Stat(self, _: object) -> None:
        raise errors.NotFound("no such snapshot")

    async def Prepare(self, request: Any, *, lease: str) -> Any:
        self.snapshot_keys.add(request.key)
        return SimpleNamespace(mounts=[])

    async def Remove(self, request: Any) -> None:
        self.snapshot_keys.remove(request.key)

    async def Apply(self, _: object, *, timeout: float, lease: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.is_stopped = True


async def test_unpacking_leaves_a_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "LOOK_S", 0.001)
    monkeypatch.setattr(unpack, "is_scarce", lambda _: True)
    containerd = Containerd()
    layer = Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", DIGEST, 1)
    unpacker = unpack.Unpacker(containerd, "overlayfs", Path("/here"))  # type: ignore[arg-type]
    with pytest.raises(errors.ResourceExhausted, match=content.DISK_FULL):
        await unpacker.unpack(Manifest(layer, (layer,)), ImageConfig((DIGEST,)), "lease")
    assert containerd.is_stopped
    assert not containerd.snapshot_keys


@pytest.mark.parametrize(
    ("blocks", "free_blocks", "inodes", "free_inodes", "scarce"),
    [
        (100, 3, 100, 3, False),
        (100, 1, 100, 3, True),
        (100, 3, 100, 1, True),
        (100, 3, 0, 0, False),
        # A share of a large disk is too much to ask for.
        (1 << 30, 1 << 20, 0, 0, False),
        (1 << 30, 1 << 16, 0, 0, True),
    ],
)
def test_when_a_disk_is_scarce(
    monkeypatch: pytest.MonkeyPatch, blocks: int, free_blocks: int, inodes: int, free_inodes: int, scarce: bool
) -> None:
    disk = os.statvfs_result((4096, 4096, blocks, free_blocks, free_blocks, inodes, free_inodes, free_inodes, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    assert unpack.is_scarce(Path("/here")) is scarce
