"""What a kind of volume is to the manager of volumes.

One object of each kind serves a whole node. A volume of a Pod lives in a directory of its own,
`pods/UID/volumes/PLUGIN/NAME` (`volumeDevices` for a block device), whose NAME is that of the volume, or of the
PersistentVolume behind a claim: the layout of Kubernetes. The manager calls `mount` until it succeeds and again after
each restart of the kubelet, and `unmount` once the last container is gone; of one volume never two at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.references import ConfigError

SET_UP = "MountVolume.SetUp failed"
NODE_AFFINITY = "MountVolume.NodeAffinity check failed"


class MountFailure(ConfigError):
    """A volume cannot be had (yet). step: what failed, in the words of Kubernetes' events."""

    def __init__(self, message: str, step: str = SET_UP) -> None:
        super().__init__(message)
        self.step = step


def refuse_block(wanted: "Wanted", kind: str) -> None:
    """For kinds that are no devices. Raises MountFailure."""
    if wanted.block:
        raise MountFailure(f"{kind} volumes cannot be had as block devices", "MapVolume.MapBlockVolume failed")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A volume to be had.

    claim, persistent: the bound claim and its PersistentVolume, for volumes by claim and ephemeral ones; else None.
    directory: the volume's own; the kind makes it when it needs it. read_only: what the source of the volume asks for.
    block: a device is wanted (`volumeDevices`), not a file system. stamp: a name for what is written now, which differs
    from that of every other call.
    """

    pod: corev1.Pod
    volume: corev1.Volume
    directory: Path
    claim: corev1.PersistentVolumeClaim | None = None
    persistent: corev1.PersistentVolume | None = None
    read_only: bool = False
    block: bool = False
    stamp: str = ""

    @property
    def name(self) -> str:
        """As events call it: of the PersistentVolume where there is one, else of the volume."""
        return self.persistent.metadata.name if self.persistent is not None else self.volume.name

    @property
    def fs_group(self) -> int | None:
        """The group that is to own the files; None to leave them as they are."""
        context = self.pod.spec.security_context
        return context.fs_group if context.HasField("fs_group") else None

    @property
    def ownership_on_root_mismatch(self) -> bool:
        """Whether files are left alone when the volume's root is right already."""
        return self.pod.spec.security_context.fs_group_change_policy == "OnRootMismatch"


class VolumeKind(Protocol):
    """A kind of volume. Every method may be called again after a crash at any line of it."""

    @property
    def plugin(self) -> str:
        """The part of the directory that names the kind: "kubernetes.io~empty-dir"."""
        ...

    @property
    def read_only(self) -> bool:
        """Whether containers never write to such volumes."""
        ...

    def fits(self, wanted: Wanted) -> bool:
        """Whether it is of this kind: by the source of its PersistentVolume if there is one, else by its own."""
        ...

    async def mount(self, wanted: Wanted) -> Path:
        """Have it, whatever is there already. Returns what containers get: a directory or file, or a device.

        What `unmount` will need is on disk in `wanted.directory` before anything is mounted. Raises ConfigError (a
        `MountFailure` to name another step than the usual) or OSError: the manager tells why in an event, and calls
        again later.
        """
        ...

    async def refresh(self, wanted: Wanted) -> None:
        """Bring the content of one that is mounted up to date, where the kind has such. Raises as `mount`."""
        ...

    async def unmount(self, directory: Path) -> None:
        """Give it up, knowing only what is on disk. Not being there is fine.

        The manager unmounts and removes what is left in the directory afterwards. Raises ConfigError or OSError: the
        Pod stays until a later call succeeds.
        """
        ...

    def in_use(self) -> Sequence[str]:
        """Unique names of attachable volumes ("kubernetes.io/csi/DRIVER^HANDLE"), for the status of the node."""
        ...
