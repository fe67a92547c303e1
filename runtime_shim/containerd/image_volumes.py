"""Volumes that are images: seen read-only, in whole or from a folder of theirs on.

Each is a view, a snapshot that nobody writes to, mounted in the container's folder. The folder is made first and the
view is named by container and number, so that whoever finds either knows what else there may be.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

from navarch.protos.containerd import types_pb2 as containerd_types
from navarch.protos.containerd.services.snapshots import v1_pb2 as snapshotsv1
from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.images.service import ImageService
from navarch.runtime_shim.containerd.rootpath import resolved
from navarch.services.base import mounting

FOLDER = "images"
SEPARATOR = "-image-"


def view_key(container_id: str, number: int) -> str:
    """The name of a view's snapshot."""
    return f"{container_id}{SEPARATOR}{number}"


def owner(key: str) -> str:
    """The container of a snapshot: of its own, or of a view."""
    return key.partition(SEPARATOR)[0]


class ImageVolumes:
    """Makes and removes them."""

    def __init__(self, client: ContainerdClient, images: ImageService, snapshotter: str) -> None:
        self._client = client
        self._images = images
        self._snapshotter = snapshotter

    async def mount(
        self,
        container_id: str,
        folder: Path,
        config: criv1.ContainerConfig,
        labels: dict[str, str],
        snapshot_of: Callable[[str], Awaitable[str]],
    ) -> criv1.ContainerConfig:
        """The configuration with paths of the host in place of images. Raises NotFound, InvalidArgument ...

        snapshot_of: which snapshot to show for that of an image. In `config` the images' ids are told.
        """
        if not any(mount.HasField("image") for mount in config.mounts):
            return config
        mounted = criv1.ContainerConfig()
        mounted.CopyFrom(config)
        numbers = count()
        for mount, told in zip(mounted.mounts, config.mounts, strict=True):
            if mount.HasField("image"):
                if not mount.readonly:
                    raise errors.InvalidArgument(f"mount of {mount.container_path}: an image needs readonly")
                point = folder / FOLDER / str(number := next(numbers))
                content = await self._images.resolve(mount.image.image)
                told.image.image_ref = content.image_id
                snapshot = await snapshot_of(content.chain_id)
                await self._view(view_key(container_id, number), point, snapshot, labels, mount.image.image)
                mount.host_path = str(await asyncio.to_thread(_inside, point, mount.image_sub_path, mount))
                mount.ClearField("image")
        return mounted

    async def _view(self, key: str, point: Path, snapshot: str, labels: dict[str, str], image: str) -> None:
        point.mkdir(parents=True)
        request = snapshotsv1.ViewSnapshotRequest(
            snapshotter=self._snapshotter, key=key, parent=snapshot, labels=labels
        )
        mounts = (await self._client.snapshots.View(request)).mounts
        try:
            await asyncio.to_thread(mount_view, mounts, point)
        except OSError as failure:
            raise errors.RuntimeFailure(f"mount image {image}: {failure}") from None

    async def remove(self, container_id: str, folder: Path) -> None:
        """Idempotent, and to be repeated after a failure. Raises ShimError, OSError."""
        points = folder / FOLDER
        if points.exists():
            for point in points.iterdir():
                mounting.unmount(point)
                await self.remove_view(view_key(container_id, int(point.name)))

    async def remove_view(self, key: str) -> None:
        """Remove a snapshot. Absent is removed."""
        with contextlib.suppress(errors.NotFound):
            await self._client.snapshots.Remove(
                snapshotsv1.RemoveSnapshotRequest(snapshotter=self._snapshotter, key=key)
            )


def mount_view(mounts: "list[containerd_types.Mount] | Any", point: Path, *, writable: bool = False) -> None:
    """Mount a snapshot as its snapshotter says, but with the owners that its files have. Raises OSError."""
    flags_of = {"ro": mounting.MS_RDONLY, "rbind": mounting.MS_BIND | mounting.MS_REC, "bind": mounting.MS_BIND}
    for mount in mounts:
        flags, data = 0 if writable else mounting.MS_RDONLY, []
        for option in mount.options:
            if option in flags_of:
                flags |= flags_of[option]
            elif option != "rw" and not option.startswith(("uidmap=", "gidmap=")):
                data.append(option)
        mounting.mount(mount.source, point, mount.type, flags, ",".join(data))


def _inside(root: Path, sub_path: str, mount: criv1.Mount) -> Path:
    """A folder or file of an image. Raises InvalidArgument for what is not there, or not in the image."""
    what = f"mount of {mount.container_path}: path {sub_path!r} of image {mount.image.image}"
    if sub_path.startswith("/") or ".." in sub_path.split("/"):
        raise errors.InvalidArgument(f"{what}: it must be relative, without '..'")
    found = resolved(root, sub_path)
    if found is None or not found.exists():
        raise errors.InvalidArgument(f"{what}: there is no such path")
    return found
