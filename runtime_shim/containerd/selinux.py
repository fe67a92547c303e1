"""SELinux: labels of processes and files, where the kernel has SELinux; nothing of this elsewhere."""

import os
from pathlib import Path
from typing import Final

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.errors import RuntimeFailure

ENABLED: Final = Path("/sys/fs/selinux/enforce")
ATTRIBUTE: Final = "security.selinux"
# What a container has that says nothing: of the reference policy's containers.
USER, ROLE, TYPE, LEVEL = "system_u", "system_r", "container_t", "s0"
FILE_ROLE, FILE_TYPE = "object_r", "container_file_t"


def is_enabled() -> bool:
    """Whether the kernel labels."""
    return ENABLED.exists()


def labels(security: criv1.LinuxContainerSecurityContext) -> tuple[str, str]:
    """The labels of a container's processes and of its files; "" each for a privileged one that asks for none."""
    asked = security.selinux_options
    if not (asked.user or asked.role or asked.type or asked.level) and security.privileged:
        return "", ""
    user, level = asked.user or USER, asked.level or LEVEL
    process = f"{user}:{asked.role or ROLE}:{asked.type or TYPE}:{level}"
    return process, f"{user}:{FILE_ROLE}:{FILE_TYPE}:{level}"


def relabel(path: Path, label: str) -> None:
    """Give a volume, and all that is in it, a container's label. Raises RuntimeFailure."""
    try:
        os.setxattr(path, ATTRIBUTE, label.encode(), follow_symlinks=False)
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                os.setxattr(os.path.join(folder, name), ATTRIBUTE, label.encode(), follow_symlinks=False)
    except OSError as failure:
        raise RuntimeFailure(f"relabel {path}: {failure}") from None
