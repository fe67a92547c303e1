"""hostPath volumes: the checks that their type asks for."""

import stat
from collections.abc import Callable
from pathlib import Path

from navarch.services.kubelet.core.references import ConfigError

CHECKS: dict[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "directory"),
    "File": (stat.S_ISREG, "file"),
    "FileOrCreate": (stat.S_ISREG, "file"),
    "Socket": (stat.S_ISSOCK, "socket file"),
    "CharDevice": (stat.S_ISCHR, "character device"),
    "BlockDevice": (stat.S_ISBLK, "block device"),
}


def check_host_path(path: str, type_: str) -> None:
    """Make the path if its type says so, and see that it is what the type says. Raises ConfigError."""
    target = Path(path)
    if type_ == "DirectoryOrCreate" and not target.exists():
        target.mkdir(mode=0o755, parents=True)
    if type_ == "FileOrCreate" and not target.exists():
        try:
            target.touch(mode=0o644)
        except OSError as failure:
            raise ConfigError(f"hostPath type check failed: cannot create {path}: {failure.strerror}") from failure
    if type_ not in CHECKS:
        return
    is_right, what = CHECKS[type_]
    try:
        mode = target.stat().st_mode
    except OSError as failure:
        raise ConfigError(f"hostPath type check failed: {path} is not a {what}") from failure
    if not is_right(mode):
        raise ConfigError(f"hostPath type check failed: {path} is not a {what}")
