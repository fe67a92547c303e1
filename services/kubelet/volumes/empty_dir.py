"""emptyDir: a directory of the Pod's own, on disk, in memory or in huge pages, that lives as long as the Pod."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.quantity import memory_bytes
from navarch.services.base import mounting
from navarch.services.kubelet.core.memory_volume import memory_volume_bytes
from navarch.services.kubelet.core.references import NodeContext
from navarch.services.kubelet.volumes.kinds import MountFailure, Wanted
from navarch.services.kubelet.volumes.ownership import give_to_group

HUGE_PAGES = "HugePages"


class EmptyDirs:
    """The emptyDir volumes of a node. can_mount: False where only plain directories are to be had."""

    plugin = "kubernetes.io~empty-dir"
    read_only = False

    def __init__(self, node: NodeContext, *, can_mount: bool) -> None:
        self._node = node
        self._can_mount = can_mount

    def fits(self, wanted: Wanted) -> bool:
        """A volume without any source is one too."""
        source = wanted.volume.volume_source
        return source.HasField("empty_dir") or not source.ListFields()

    async def mount(self, wanted: Wanted) -> Path:
        """Make the directory."""
        await asyncio.to_thread(self._make, wanted)
        return wanted.directory

    def _make(self, wanted: Wanted) -> None:
        directory, spec = wanted.directory, wanted.volume.volume_source.empty_dir
        directory.mkdir(parents=True, exist_ok=True)
        if spec.medium and self._can_mount and not directory.is_mount():
            if spec.medium == "Memory":
                mount_tmpfs(directory, memory_volume_bytes(wanted.pod, wanted.volume, self._node.memory_bytes))
            elif spec.medium.startswith(HUGE_PAGES):
                options = f"pagesize={_page_bytes(wanted.pod, spec.medium)}"
                mounting.mount("nodev", directory, "hugetlbfs", 0, options)
            else:
                raise MountFailure(f'unknown storage medium "{spec.medium}"')
        if not directory.stat().st_mode & 0o2000:
            directory.chmod(0o777)
        give_to_group(directory, wanted.fs_group, on_root_mismatch=True)

    async def refresh(self, wanted: Wanted) -> None:
        """What is in it is the Pod's."""

    async def unmount(self, directory: Path) -> None:
        """The manager removes it."""

    def in_use(self) -> Sequence[str]:
        """Nothing is attached."""
        return ()


def mount_tmpfs(directory: Path, size_bytes: int) -> None:
    """Mount memory of at most this size, unless it is mounted already."""
    if not directory.is_mount():
        options = f"mode=0777,size={size_bytes}"
        mounting.mount("tmpfs", directory, "tmpfs", mounting.MS_NOSUID | mounting.MS_NODEV, options)


def _page_bytes(pod: corev1.Pod, medium: str) -> int:
    """The page size that the medium names, or that of the only huge pages that the Pod asks for."""
    _, dash, size = medium.partition("-")
    if dash:
        return memory_bytes(size)
    containers = [*pod.spec.containers, *pod.spec.init_containers]
    asked = {name for one in containers for name in one.resources.limits if name.startswith("hugepages-")}
    if len(asked) != 1:
        raise MountFailure("medium HugePages can only be used if container requests contain one huge page size")
    return memory_bytes(asked.pop().removeprefix("hugepages-"))
