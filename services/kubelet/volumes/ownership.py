"""Gives the files of a volume to the Pod's group (`fsGroup`).

The group may read (and write, unless the volume is read-only) every file; directories hand the group on to what is
made in them. The root comes last, so that a root that is right means that all below it once was: after a crash, and
for `OnRootMismatch`, it alone is looked at.
"""

import os
import stat
from pathlib import Path

READ, WRITE, SEARCH = 0o440, 0o660, 0o110


def give_to_group(root: Path, gid: int | None, *, read_only: bool = False, on_root_mismatch: bool = False) -> None:
    """Have the group own a directory and all in it, following no links. None for a gid changes nothing."""
    if gid is None or (on_root_mismatch and _is_right(root.lstat(), gid, read_only)):
        return
    for directory, folders, files, descriptor in os.fwalk(root, topdown=False, follow_symlinks=False):
        for name in [*folders, *files]:
            _change(name, descriptor, gid, read_only)
        del directory
    _change(str(root), None, gid, read_only)


def _change(name: str, descriptor: int | None, gid: int, read_only: bool) -> None:
    try:
        status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        os.chown(name, -1, gid, dir_fd=descriptor, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            os.chmod(name, _wanted(status.st_mode, read_only), dir_fd=descriptor)
    except FileNotFoundError:
        # A running container took it away meanwhile.
        return


def _wanted(mode: int, read_only: bool) -> int:
    more = READ if read_only else WRITE
    if stat.S_ISDIR(mode):
        more |= stat.S_ISGID | SEARCH
    return stat.S_IMODE(mode) | more


def _is_right(status: os.stat_result, gid: int, read_only: bool) -> bool:
    return status.st_gid == gid and stat.S_IMODE(status.st_mode) == _wanted(status.st_mode, read_only)
