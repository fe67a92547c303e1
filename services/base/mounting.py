"""mount(2), umount(2) and the table of mounts, which Python lacks. Synchronous and quick."""

import ctypes
import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path

# Kernel constants: linux/mount.h.
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC = 1, 2, 4, 8, 4096, 16384
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
TABLE = Path("/proc/self/mountinfo")
# Blanks, line ends and backslashes of a path are written in octal, all else as it is.
ESCAPED = re.compile(rb"\\([0-7]{3})")

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Raises OSError."""
    arguments = (
        os.fsencode(source),
        os.fsencode(target),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        os.fsencode(data) or None,
    )
    if _libc.mount(*arguments) != 0:
        _fail(f"mount {source} on {target}")


def unmount(target: Path) -> None:
    """Detach whatever is mounted there; nothing mounted, or no such path, is fine. Raises OSError."""
    while _libc.umount2(os.fsencode(target), MNT_DETACH | UMOUNT_NOFOLLOW) == 0:
        pass  # Mounts may lie on top of one another.
    if ctypes.get_errno() not in (errno.EINVAL, errno.ENOENT):
        _fail(f"unmount {target}")


@dataclass(frozen=True, slots=True)
class Mounted:
    """A mount. propagation: "shared", "master" (of whom it gets events), "unbindable"; none for a private one."""

    point: str
    propagation: frozenset[str]


def mount_of(path: Path, table: Path = TABLE) -> Mounted:
    """The mount that a path, which must be resolved, lies on."""
    found, wanted = Mounted("/", frozenset()), os.fsencode(path)
    for line in table.read_bytes().splitlines():
        head, _, _ = line.partition(b" - ")
        fields = head.split(b" ")
        point = _plain(fields[4])
        # The last of several mounts on a point is on top.
        if (wanted + b"/").startswith(point.rstrip(b"/") + b"/") and len(point) >= len(os.fsencode(found.point)):
            tags = frozenset(field.partition(b":")[0].decode() for field in fields[6:])
            found = Mounted(os.fsdecode(point), tags)
    return found


def mount_points(below: str, table: Path = TABLE) -> list[Path]:
    """Where something is mounted, inner ones first, of paths that, with a slash at their end, contain this text."""
    points = (line.split(b" ", 5)[4] for line in table.read_bytes().splitlines())
    plain = map(_plain, points)
    wanted = os.fsencode(below)
    return [Path(os.fsdecode(p)) for p in sorted((p for p in plain if wanted in p + b"/"), key=len, reverse=True)]


def _plain(point: bytes) -> bytes:
    return ESCAPED.sub(lambda octal: bytes((int(octal[1], 8),)), point)


def _fail(what: str) -> None:
    code = ctypes.get_errno()
    raise OSError(code, f"{what}: {os.strerror(code)}")
