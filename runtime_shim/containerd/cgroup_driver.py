"""Who makes control groups, and hence how they are named: by path, or by systemd's slices and scopes. Pure.

With systemd a group is a unit: a Pod's is a slice, whose name tells all slices above it ("a-b.slice" lies in
"a.slice"), a container's is a scope in there. The kubelet must be set to the same driver; it asks (RuntimeConfig).
"""

import enum
from pathlib import Path, PurePosixPath

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.errors import InvalidArgument

# Where containers of Pods without a group of their own are counted.
DEFAULT_PARENT = "navarch"
DEFAULT_SLICE = "system.slice"
SCOPE_PREFIX = "navarch"
SLICE = ".slice"
# sd_booted(3).
SYSTEMD_RUNS = Path("/run/systemd/system")


class CgroupDriver(enum.StrEnum):
    """How runc is told to make groups."""

    CGROUPFS = "cgroupfs"
    SYSTEMD = "systemd"

    @property
    def cri(self) -> "criv1.CgroupDriver":
        """As RuntimeConfig tells it."""
        return criv1.CgroupDriver.SYSTEMD if self is CgroupDriver.SYSTEMD else criv1.CgroupDriver.CGROUPFS

    def check_parent(self, parent: str) -> None:
        """Refuse a Pod's group that is named for the other driver. Raises InvalidArgument."""
        is_slice = parent.endswith(SLICE)
        if parent.strip("/") and is_slice != (self is CgroupDriver.SYSTEMD):
            kind = "a slice of systemd" if is_slice else "a path, not a slice"
            raise InvalidArgument(f"cgroup_parent {parent!r} is {kind}: the cgroup driver is {self.value}")

    def pod_group(self, parent: str) -> str:
        """Where the Pod's group is in the trees; "" for a Pod without one."""
        if self is CgroupDriver.CGROUPFS or not parent.strip("/"):
            return parent.strip("/") and f"/{parent.strip('/')}"
        words = PurePosixPath(parent).name.removesuffix(SLICE).split("-")
        return "".join(f"/{'-'.join(words[:count])}{SLICE}" for count in range(1, len(words) + 1) if words[count - 1])

    def container_group(self, parent: str, container_id: str) -> str:
        """Where a container's group is in the trees."""
        if self is CgroupDriver.CGROUPFS:
            return f"{self.pod_group(parent or DEFAULT_PARENT) or f'/{DEFAULT_PARENT}'}/{container_id}"
        return f"{self.pod_group(parent) or f'/{DEFAULT_SLICE}'}/{SCOPE_PREFIX}-{container_id}.scope"

    def runc_path(self, parent: str, container_id: str) -> str:
        """The specification's cgroupsPath: for systemd slice, prefix and name of the scope."""
        if self is CgroupDriver.CGROUPFS:
            return self.container_group(parent, container_id)
        return f"{PurePosixPath(self.pod_group(parent)).name or DEFAULT_SLICE}:{SCOPE_PREFIX}:{container_id}"


def group_of(runc_path: str) -> str:
    """Where the group of a specification's cgroupsPath is, whichever driver it was written for."""
    if runc_path.startswith("/"):
        return runc_path
    parent, _, container_id = runc_path.split(":")
    return CgroupDriver.SYSTEMD.container_group(parent, container_id)


def choose(asked: str, systemd_runs: bool | None = None) -> CgroupDriver:
    """The driver for an option "cgroupfs", "systemd" or "auto". Raises ValueError where systemd doesn't run."""
    runs = SYSTEMD_RUNS.is_dir() if systemd_runs is None else systemd_runs
    if asked == "auto":
        return CgroupDriver.SYSTEMD if runs else CgroupDriver.CGROUPFS
    driver = CgroupDriver(asked)
    if driver is CgroupDriver.SYSTEMD and not runs:
        raise ValueError("cgroup driver systemd: systemd does not run on this host (there is no /run/systemd/system)")
    return driver
