"""local: a directory of the node, or a block device of it, as a PersistentVolume."""

import asyncio
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from navarch.services.base import mounting
from navarch.services.kubelet.volumes.binding import bind
from navarch.services.kubelet.volumes.kinds import MountFailure, Wanted
from navarch.services.kubelet.volumes.ownership import give_to_group

NEW_MOUNTER = "MountVolume.NewMounter initialization failed"


class LocalVolumes:
    """The local PersistentVolumes of a node."""

    plugin = "kubernetes.io~local-volume"
    read_only = False

    def fits(self, wanted: Wanted) -> bool:
        """By the source of the PersistentVolume."""
        return wanted.persistent is not None and wanted.persistent.spec.persistent_volume_source.HasField("local")

    async def mount(self, wanted: Wanted) -> Path:
        """Mount the directory over the volume's own; a device is used as it is."""
        assert wanted.persistent is not None
        source = Path(wanted.persistent.spec.persistent_volume_source.local.path)
        return await asyncio.to_thread(self._mount, source, wanted)

    def _mount(self, source: Path, wanted: Wanted) -> Path:
        try:
            mode = source.stat().st_mode
        except OSError as failure:
            raise MountFailure(f'path "{source}" does not exist', NEW_MOUNTER) from failure
        if wanted.block:
            if not stat.S_ISBLK(mode):
                raise MountFailure(f"local: path {source} is not a block device")
            return source
        if not stat.S_ISDIR(mode):
            raise MountFailure(f"local: path {source} is not a directory; file systems on devices are not supported")
        directory, mismatch = wanted.directory, wanted.ownership_on_root_mismatch
        shared = _uses(source, directory)
        if _is_bound(source, directory):
            # Only a crash may have kept its files from their group.
            mismatch = True
        else:
            directory.mkdir(mode=0o750, parents=True, exist_ok=True)
            bind(source, directory, read_only=wanted.read_only)
        if not wanted.read_only and not shared:
            give_to_group(directory, wanted.fs_group, on_root_mismatch=mismatch)
        return directory

    async def refresh(self, wanted: Wanted) -> None:
        """What is in it is the Pods'."""

    async def unmount(self, directory: Path) -> None:
        """The manager unmounts it."""

    def in_use(self) -> Sequence[str]:
        """Nothing is attached."""
        return ()


def _is_bound(source: Path, directory: Path) -> bool:
    """Whether the source is mounted there: a bind mount within one file system has no device of its own."""
    return directory.is_dir() and os.path.samefile(source, directory)


def _uses(source: Path, directory: Path) -> bool:
    """Whether another Pod has it mounted: then its files are owned as that Pod asked."""
    own = f"/{directory.parent.name}/{directory.name}/"
    return any(point != directory and _is_bound(source, point) for point in mounting.mount_points(own))
