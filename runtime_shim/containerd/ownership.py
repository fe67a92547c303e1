"""Gives a tree of files to a user namespace: each keeps its owner, as the namespace counts. Synchronous.

A change of owner makes the kernel take away set-id bits and capabilities, so both are given back; a capability is then
good in the namespace that the file belongs to, as it was good on the host before. On overlayfs it copies the file, each
name of it for itself, so hard links are made anew. Nobody else may be in the tree.
"""

import contextlib
import os
import stat
import struct
from pathlib import Path
from typing import NoReturn

from navarch.runtime_shim.containerd.user_namespaces import Mapping
from navarch.runtime_shim.errors import RuntimeFailure

CAPABILITY = "security.capability"
# linux/capability.h, vfs_ns_cap_data: magic with flags in its lowest byte, two pairs of sets, from version 3 the
# root user of the namespace where it is good.
SETS = struct.Struct("<5I")
ROOT = struct.Struct("<I")
VERSION_2, VERSION_3, VERSION_MASK = 0x02000000, 0x03000000, 0xFF000000


def shift(root: Path, mapping: Mapping) -> None:
    """Raises RuntimeFailure for a file of somebody whom the namespace doesn't have; OSError."""
    first_names: dict[tuple[int, int], str] = {}
    for folder, folders, files, handle in os.fwalk(root, topdown=False, onerror=_fail):
        before, linked = os.stat(handle), False
        for name in (*folders, *files):
            status = os.lstat(name, dir_fd=handle)
            inode, path = (status.st_dev, status.st_ino), f"{folder}/{name}"
            if (first := first_names.get(inode)) is not None:
                os.unlink(name, dir_fd=handle)
                os.link(first, name, dst_dir_fd=handle, follow_symlinks=False)
                linked = True
                continue
            if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                first_names[inode] = path
            _give(name, handle, status, mapping, path.removeprefix(str(root)))
        if linked:
            os.utime(handle, ns=(before.st_atime_ns, before.st_mtime_ns))
    handle = os.open(root.parent, os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _give(root.name, handle, root.lstat(), mapping, "/")
    finally:
        os.close(handle)


def shifted_capability(value: bytes, mapping: Mapping) -> bytes:
    """A file's capabilities, good for the same user as the namespace counts."""
    magic, *sets = SETS.unpack_from(value)
    user = ROOT.unpack_from(value, SETS.size)[0] if magic & VERSION_MASK == VERSION_3 else 0
    host = mapping.host(user)
    if magic & VERSION_MASK not in (VERSION_2, VERSION_3) or host is None:
        return value
    return SETS.pack(magic & ~VERSION_MASK | VERSION_3, *sets) + ROOT.pack(host)


def _fail(failure: OSError) -> NoReturn:
    """A folder that can't be read must not be passed over."""
    raise failure


def _give(name: str, handle: int, status: os.stat_result, mapping: Mapping, path: str) -> None:
    uid, gid = mapping.host(status.st_uid), mapping.host(status.st_gid)
    if uid is None or gid is None:
        owner = f"{status.st_uid}:{status.st_gid}"
        raise RuntimeFailure(f"{path} belongs to {owner}, and the user namespace has only 0 to {mapping.length - 1}")
    plain, here = stat.S_ISREG(status.st_mode), f"/proc/self/fd/{handle}/{name}"
    capability = b""
    if plain:
        with contextlib.suppress(OSError):  # Most have none.
            capability = os.getxattr(here, CAPABILITY, follow_symlinks=False)
    os.chown(name, uid, gid, dir_fd=handle, follow_symlinks=False)
    if plain and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=handle)
    if capability:
        os.setxattr(here, CAPABILITY, shifted_capability(capability, mapping), follow_symlinks=False)
