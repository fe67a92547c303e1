"""Where a container's volumes come from on the host: resolved, made where they are missing, fit to be propagated.

Synchronous.
"""

import os
import posixpath
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.containerd import selinux
from navarch.runtime_shim.errors import InvalidArgument
from navarch.services.base.mounting import Mounted, mount_of

_NEEDED = {
    criv1.MountPropagation.PROPAGATION_BIDIRECTIONAL: ("shared",),
    criv1.MountPropagation.PROPAGATION_HOST_TO_CONTAINER: ("shared", "master"),
}
# Of statvfs(2), with the options of mount(8).
_FLAGS = {
    os.ST_NOSUID: "nosuid",
    os.ST_NODEV: "nodev",
    os.ST_NOEXEC: "noexec",
    os.ST_NOATIME: "noatime",
    os.ST_NODIRATIME: "nodiratime",
}


def prepare_mounts(config: criv1.ContainerConfig) -> criv1.ContainerConfig:
    """The configuration with the mounts' sources resolved; a source that is missing is made, as a folder.

    Raises InvalidArgument.
    """
    prepared = criv1.ContainerConfig()
    prepared.CopyFrom(config)
    for mount in prepared.mounts:
        if not mount.host_path:
            continue
        if not os.path.exists(mount.host_path):
            try:
                os.makedirs(mount.host_path, mode=0o755)
            except OSError as failure:
                raise InvalidArgument(f"mount of {mount.container_path}: {mount.host_path}: {failure}") from None
        mount.host_path = os.path.realpath(mount.host_path)
        if (needed := _NEEDED.get(mount.propagation)) is not None:
            check_propagation(mount, mount_of(Path(mount.host_path)), needed)
    return prepared


def uncovered(config: criv1.ContainerConfig, declared: Iterable[str]) -> list[str]:
    """Those of an image's volumes that are no mounts of the container already. Raises InvalidArgument."""
    covered = {posixpath.normpath(mount.container_path) for mount in config.mounts}
    for path in declared:
        if not path.startswith("/"):
            raise InvalidArgument(f"the image declares a volume at {path!r}: the path must be absolute")
    return [path for path in dict.fromkeys(map(posixpath.normpath, declared)) if path not in covered and path != "/"]


def check_propagation(mount: criv1.Mount, below: Mounted, needed: tuple[str, ...]) -> None:
    """Refuse a propagation that the mount below the source does not take part in. Raises InvalidArgument.

    Source: mount_namespaces(7): a private mount neither sends events on nor receives them.
    """
    if not any(tag in below.propagation for tag in needed):
        kind = "shared" if len(needed) == 1 else "shared or slave"
        raise InvalidArgument(
            f"mount of {mount.container_path}: {mount.host_path} is on {below.point}, which is not a {kind} mount"
        )


def keep_flags(mounts: Iterable[dict[str, Any]]) -> None:
    """Let bind mounts of a specification keep what their sources' mounts forbid.

    In a user namespace nobody may take that away, and runtimes do so, unasked, with a mount that they make read-only.
    """
    for mount in mounts:
        if mount["type"] == "bind":
            flags = os.statvfs(mount["source"]).f_flag
            mount["options"] += [name for flag, name in _FLAGS.items() if flags & flag]


def relabel(config: criv1.ContainerConfig, label: str) -> None:
    """Give the volumes that ask for it the container's label. Raises RuntimeFailure."""
    for mount in config.mounts:
        if label and mount.selinux_relabel and mount.host_path:
            selinux.relabel(Path(mount.host_path), label)
