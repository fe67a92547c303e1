"""Reads what is left of the node, and what each Pod uses of it.

Memory and processes come from the control groups, the containers' writable layers from the runtime, logs and volumes
from their files. Reading files costs most: it is done for the Pods for which it is asked only.
"""

import asyncio
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.cgroup_names import CgroupNames
from navarch.services.kubelet.core.eviction_ranking import NOTHING, ContainerUsage, DiskUse, PodUsage
from navarch.services.kubelet.core.eviction_signals import Observation, Signal
from navarch.services.kubelet.core.observed import CONTAINER_LABEL, UID_LABEL
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.node import memory
from navarch.services.kubelet.node.host import read_load
from navarch.services.kubelet.runtime import Runtime

# Volumes whose files are on the node's disk and go with the Pod.
LOCAL_SOURCES = ("empty_dir", "config_map", "secret", "downward_api", "projected")


@dataclass(frozen=True, slots=True)
class Disks:
    """Devices that hold the Pods' files, the images, and the containers' writable layers."""

    node: int
    images: int
    containers: int

    def of(self, signal: Signal) -> int:
        """The device that a signal is about."""
        if signal in (Signal.IMAGE_FS, Signal.IMAGE_FS_INODES):
            return self.images
        return self.containers if signal in (Signal.CONTAINER_FS, Signal.CONTAINER_FS_INODES) else self.node


class UsageReader:
    """Of one node. pods_memory_bytes: what all Pods together may use."""

    def __init__(self, runtime: Runtime, layout: Layout, groups: CgroupNames, pods_memory_bytes: int) -> None:
        self._runtime = runtime
        self._layout = layout
        self._groups = groups
        self._pods_memory_bytes = pods_memory_bytes

    async def disks(self) -> Disks:
        """Which devices are which. Raises RuntimeFailure."""
        image_disk, container_disk = await self._image_and_container_disk()
        root = Path(self._layout.root)
        return Disks(root.stat().st_dev, image_disk.stat().st_dev, container_disk.stat().st_dev)

    async def observations(self) -> dict[Signal, Observation]:
        """What is left of everything. Raises RuntimeFailure."""
        load = read_load(Path(self._layout.root))
        image_disk, _ = await self._image_and_container_disk()
        images = os.statvfs(image_disk)
        found = {
            Signal.MEMORY: Observation(load.memory_available_bytes, memory.meminfo()["MemTotal"]),
            Signal.NODE_FS: Observation(load.disk_available_bytes, load.disk_bytes),
            Signal.NODE_FS_INODES: Observation(load.inodes_free, load.inodes),
            Signal.IMAGE_FS: Observation(images.f_bavail * images.f_frsize, images.f_blocks * images.f_frsize),
            Signal.IMAGE_FS_INODES: Observation(images.f_favail, images.f_files),
            Signal.PID: Observation(load.processes_max - load.processes, load.processes_max),
        }
        if self._groups.per_qos and (used := memory.working_set(self._groups.all_pods)) is not None:
            whole = self._pods_memory_bytes
            found[Signal.ALLOCATABLE_MEMORY] = Observation(max(0, whole - used), whole)
        # Some file systems have no bound on inodes.
        return {signal: seen for signal, seen in found.items() if seen.capacity > 0}

    async def _image_and_container_disk(self) -> tuple[Path, Path]:
        info = await self._runtime.image_fs_info()
        images = mount_point(info.image_filesystems, Path(self._layout.root))
        return images, mount_point(info.container_filesystems, images)

    async def image_disk(self) -> Observation:
        """The disk that holds the images, in bytes. Raises RuntimeFailure."""
        seen = os.statvfs((await self._image_and_container_disk())[0])
        return Observation(seen.f_bavail * seen.f_frsize, seen.f_blocks * seen.f_frsize)

    async def pods(self, pods: Iterable[corev1.Pod], *, files: bool) -> dict[str, PodUsage]:
        """What these Pods use, by uid. files: also of the disk. Raises RuntimeFailure."""
        stats: dict[str, list[criv1.ContainerStats]] = {}
        for one in await self._runtime.container_stats():
            stats.setdefault(one.attributes.labels[UID_LABEL], []).append(one)
        pods = list(pods)
        return await asyncio.to_thread(
            lambda: {pod.metadata.uid: self._pod(pod, stats.get(pod.metadata.uid, []), files) for pod in pods}
        )

    def _pod(self, pod: corev1.Pod, stats: list[criv1.ContainerStats], files: bool) -> PodUsage:
        containers = tuple(self._container(pod, one, files) for one in stats)
        group = self._groups.of_pod(pod)
        used = memory.working_set(group) if group else None
        volumes: dict[str, DiskUse] = {}
        in_memory: dict[str, DiskUse] = {}
        for volume in pod.spec.volumes if files else ():
            source = volume.volume_source
            if any(source.HasField(kind) for kind in LOCAL_SOURCES):
                kept = in_memory if source.empty_dir.medium else volumes
                kept[volume.name] = self._volume(pod.metadata.uid, volume.name)
        return PodUsage(
            memory_bytes=sum(one.memory_bytes for one in containers) if used is None else used,
            processes=(memory.processes(group) or 0) if group else 0,
            containers=containers,
            volumes=volumes,
            in_memory=in_memory,
        )

    def _container(self, pod: corev1.Pod, stats: criv1.ContainerStats, files: bool) -> ContainerUsage:
        name = stats.attributes.labels[CONTAINER_LABEL]
        layer = stats.writable_layer
        return ContainerUsage(
            name,
            stats.memory.working_set_bytes.value,
            DiskUse(layer.used_bytes.value, layer.inodes_used.value),
            disk_use(Path(self._layout.log_directory(pod)) / name) if files else NOTHING,
        )

    def _volume(self, uid: str, name: str) -> DiskUse:
        total = NOTHING
        for directory in Path(self._layout.volumes(uid)).glob(f"*/{name}"):
            total += disk_use(directory)
        return total


def disk_use(directory: Path) -> DiskUse:
    """What a directory takes of its file system: every file once, however many names it has."""
    size, seen = 0, set()
    waiting = [directory]
    while waiting:
        path = waiting.pop()
        try:
            entry = path.lstat()
            if (entry.st_dev, entry.st_ino) in seen:
                continue
            if stat.S_ISDIR(entry.st_mode):
                waiting += path.iterdir()
        except OSError:
            # Removed while we looked.
            continue
        seen.add((entry.st_dev, entry.st_ino))
        size += entry.st_blocks * 512
    return DiskUse(size, len(seen))


def mount_point(disks: Iterable[criv1.FilesystemUsage], otherwise: Path) -> Path:
    """Of the first that says where it is and is there: a runtime may name what it has not made yet."""
    named = (Path(disk.fs_id.mountpoint) for disk in disks if disk.fs_id.mountpoint)
    return next((path for path in named if path.exists()), otherwise)
