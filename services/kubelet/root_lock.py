"""One kubelet's process to a root directory: two would end each other's Pods, for neither knows those of the other.

The lock is the process's (POSIX): a kubelet that follows another within one process, as in tests, is not kept out.
"""

import errno
import fcntl
import os
from pathlib import Path

NAME = "kubelet.lock"


class RootInUse(OSError):
    """Another kubelet lives in the directory. The message names both."""


class RootLock:
    """Held from `acquire` to `release`, or until the process ends, however that happens."""

    def __init__(self, root: Path) -> None:
        self._path = root / NAME
        self._file: int | None = None

    def acquire(self) -> None:
        """Have the directory to ourselves. Raises RootInUse and OSError."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as failure:
            holder = os.pread(file, 32, 0).decode(errors="replace").strip()
            os.close(file)
            raise RootInUse(
                errno.EBUSY,
                f"the kubelet with pid {holder or 'unknown'} lives in {self._path.parent}; choose another --root-dir",
            ) from failure
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file

    def release(self) -> None:
        """Let others in. Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
