"""tmpfs mounts, by the system calls themselves."""

import ctypes
import os
from pathlib import Path

MS_NOSUID, MS_NODEV = 2, 4
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8

_libc = ctypes.CDLL(None, use_errno=True)


def mount_tmpfs(path: Path, size_bytes: int | None) -> None:
    """Mount an empty tmpfs unless one is there. Raises OSError."""
    if is_mount(path):
        return
    options = f"size={size_bytes}".encode() if size_bytes else b""
    if _libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", MS_NOSUID | MS_NODEV, options) != 0:
        _raise(path)


def unmount(path: Path) -> None:
    """Unmount; busy mounts go when their last user has. Raises OSError."""
    if _libc.umount2(os.fsencode(path), MNT_DETACH | UMOUNT_NOFOLLOW) != 0:
        _raise(path)


def is_mount(path: Path) -> bool:
    """Whether something is mounted there (bind mounts of the same file system aside)."""
    return os.path.ismount(path)


def mounts_below(directory: Path) -> list[Path]:
    """Mount points below a directory, deepest first."""
    prefix = f"{directory}/"
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            target = line.split(" ", 5)[4].encode().decode("unicode_escape")
            if target.startswith(prefix):
                found.append(target)
    return [Path(target) for target in sorted(found, key=len, reverse=True)]


def _raise(path: Path) -> None:
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code), str(path))
