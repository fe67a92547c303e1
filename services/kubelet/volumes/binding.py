"""Bind mounts."""

import os
from pathlib import Path

from navarch.services.base import mounting

# linux/mount.h
MS_REMOUNT, MS_PRIVATE = 32, 1 << 18


def bind(source: Path, target: Path, *, read_only: bool = False) -> None:
    """Mount a file or directory over another of its sort. Raises OSError; then nothing is mounted."""
    mounting.mount(str(source), target, flags=mounting.MS_BIND)
    if not read_only:
        return
    try:
        # A bind mount takes its flags only when it is mounted once more; those that the source has must stay.
        held = os.statvfs(target).f_flag & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC)
        mounting.mount("", target, flags=mounting.MS_BIND | MS_REMOUNT | mounting.MS_RDONLY | held)
    except OSError:
        mounting.unmount(target)
        raise
