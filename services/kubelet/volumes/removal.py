"""Takes mounts and directories away, and never what is mounted.

A directory is emptied only while it lies on the mount that its root lies on. The number of the mount decides, not that
of the device: a volume may be a bind mount of the same file system, and its data is not ours to delete.
"""

import os
import stat
from pathlib import Path

from navarch.services.base import mounting


def unmount_all(directory: Path) -> None:
    """Unmount what is mounted at a directory and below it. Raises OSError when something stays."""
    root = f"{_real(directory)}/"
    for point in _points(root):
        mounting.unmount(point)
    if left := _points(root):
        raise OSError(f"still mounted: {', '.join(map(str, left))}")


def _points(root: str) -> list[Path]:
    return [point for point in mounting.mount_points(root) if f"{point}/".startswith(root)]


def _real(directory: Path) -> Path:
    """Where it really is, as the kernel names it; the last part is taken as it stands."""
    return directory.parent.resolve() / directory.name


def remove_tree(directory: Path) -> None:
    """Unmount all below a directory and remove it. Being gone is fine. Raises OSError for what cannot go."""
    unmount_all(directory)
    try:
        parent = os.open(directory.parent, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        _remove(directory.name, parent, _mount_id(parent))
    finally:
        os.close(parent)


def _remove(name: str, parent: int, mount: str) -> None:
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            # The kernel refuses it where something is mounted on the file.
            os.unlink(name, dir_fd=parent)
            return
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    except FileNotFoundError:
        return
    try:
        if _mount_id(descriptor) != mount:
            raise OSError(f"{name}: something is mounted there; it is not removed")
        for entry in os.listdir(descriptor):
            _remove(entry, descriptor, mount)
    finally:
        os.close(descriptor)
    os.rmdir(name, dir_fd=parent)


def _mount_id(descriptor: int) -> str:
    for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines():
        if line.startswith("mnt_id:"):
            return line
    raise OSError("the kernel does not tell on which mount a file lies")
