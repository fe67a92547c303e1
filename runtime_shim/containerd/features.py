"""What the runtimes behind the handlers can do, as they say themselves: `runc features`, which others have as well.

Asked when it is first needed, and again when the program has been replaced. Who can't be asked can do nothing special.
"""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from navarch.runtime_shim.containerd import programs
from navarch.runtime_shim.containerd.handlers import Handlers
from navarch.services.base.log import get_logger

LOG = get_logger("shim.features")
TIMEOUT_S = 5.0
# Of mount_setattr(2), which both id-mapped mounts and recursive read-only ones need.
KERNEL = (5, 12)


@dataclass(frozen=True, slots=True)
class Features:
    """id_mapped_mounts: volumes may be mounted with other owners than their files have."""

    recursive_read_only_mounts: bool = False
    id_mapped_mounts: bool = False
    has_user_namespace: bool = False

    @property
    def user_namespaces(self) -> bool:
        """In the sense of the kubelet, which asks for id-mapped volumes in Pods with a user namespace."""
        return self.has_user_namespace and self.id_mapped_mounts


class RuntimeFeatures:
    """Those of all handlers."""

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = handlers
        # By program: what it was when it was asked, and what it said.
        self._known: dict[str, tuple[tuple[int, int], Features]] = {}

    async def of(self, handler: str) -> Features:
        """Raises InvalidArgument for a handler that there is not."""
        name = self._handlers.program(handler)
        program = shutil.which(name) if name else None
        if program is None:
            return Features()
        status = os.stat(program)
        version = (status.st_ino, status.st_mtime_ns)
        known = self._known.get(program)
        if known is None or known[0] != version:
            self._known[program] = known = version, await _ask(Path(program))
        return known[1]


def parse(document: dict[str, Any], kernel: tuple[int, ...]) -> Features:
    """From the features structure of the OCI runtime specification. kernel: its version."""
    linux = document.get("linux") or {}
    extensions = linux.get("mountExtensions") or {}
    return Features(
        recursive_read_only_mounts=kernel >= KERNEL and "rro" in (document.get("mountOptions") or ()),
        id_mapped_mounts=kernel >= KERNEL and (extensions.get("idmap") or {}).get("enabled") is True,
        has_user_namespace="user" in (linux.get("namespaces") or ()),
    )


async def _ask(program: Path) -> Features:
    try:
        outcome = await programs.run(program, os.environ, b"", TIMEOUT_S, "features")
        kernel = tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])
        return parse(orjson.loads(outcome.stdout), kernel)
    except (OSError, TimeoutError, ValueError) as failure:
        LOG.warning("features.unknown", program=str(program), error=failure)
        return Features()
