"""hostPath: a file, directory or device of the node, checked as its type asks; also of a PersistentVolume."""

import asyncio
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.volumes.kinds import MountFailure, Wanted, refuse_block

CHECKS: dict[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "directory"),
    "File": (stat.S_ISREG, "file"),
    "FileOrCreate": (stat.S_ISREG, "file"),
    "Socket": (stat.S_ISSOCK, "socket file"),
    "CharDevice": (stat.S_ISCHR, "character device"),
    "BlockDevice": (stat.S_ISBLK, "block device"),
}


class HostPaths:
    """The hostPath volumes of a node."""

    plugin = "kubernetes.io~host-path"
    read_only = False

    def fits(self, wanted: Wanted) -> bool:
        """By either source."""
        return _source(wanted) is not None

    async def mount(self, wanted: Wanted) -> Path:
        """Nothing is mounted: containers get the path itself."""
        refuse_block(wanted, "hostPath")
        source = _source(wanted)
        assert source is not None
        await asyncio.to_thread(check_host_path, source.path, source.type)
        return Path(source.path)

    async def refresh(self, wanted: Wanted) -> None:
        """What is in it is the node's."""

    async def unmount(self, directory: Path) -> None:
        """Nothing was mounted."""

    def in_use(self) -> Sequence[str]:
        """Nothing is attached."""
        return ()


def _source(wanted: Wanted) -> corev1.HostPathVolumeSource | None:
    if wanted.persistent is not None:
        given = wanted.persistent.spec.persistent_volume_source
        return given.host_path if given.HasField("host_path") else None
    source = wanted.volume.volume_source
    return source.host_path if source.HasField("host_path") else None


def check_host_path(path: str, type_: str) -> None:
    """Make the path if its type says so, and see that it is what the type says. Raises MountFailure."""
    target = Path(path)
    if type_ not in CHECKS:
        return
    is_right, what = CHECKS[type_]
    try:
        if type_ == "DirectoryOrCreate" and not target.exists():
            target.mkdir(mode=0o755, parents=True)
        if type_ == "FileOrCreate" and not target.exists():
            target.touch(mode=0o644)
    except OSError as failure:
        verb = "mkdir" if type_ == "DirectoryOrCreate" else "open"
        raise MountFailure(f"{verb} {path}: {os.strerror(failure.errno or 0).lower()}") from failure
    try:
        mode = target.stat().st_mode
    except OSError:
        mode = 0
    if not is_right(mode):
        raise MountFailure(f"hostPath type check failed: {path} is not a {what}")
