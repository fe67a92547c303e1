"""How much of the disk images take, and how much containers wrote: what the kubelet's image collector asks."""

import asyncio
from pathlib import Path

import grpc

from navarch.protos.containerd.services.content import v1_pb2 as contentv1
from navarch.protos.containerd.services.snapshots import v1_pb2 as snapshotsv1
from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.client import ContainerdClient, shim_error

# Of the snapshotter: each walks a directory tree.
PARALLEL_USAGES = 8


class DiskUsage:
    """Of one containerd namespace and snapshotter. What is committed does not change, and is measured once."""

    def __init__(self, client: ContainerdClient, snapshotter: str, root: Path) -> None:
        """root: where images and snapshots lie."""
        self._client = client
        self._snapshotter = snapshotter
        self._root = root
        self._committed: dict[str, snapshotsv1.UsageResponse] = {}
        self._places = asyncio.Semaphore(PARALLEL_USAGES)

    async def read(self, now_ns: int) -> criv1.ImageFsInfoResponse:
        """Layers, compressed and unpacked, count as images; writable layers as containers."""
        images, containers = self._nothing(now_ns), self._nothing(now_ns)
        try:
            async for blobs in self._client.content.List(contentv1.ListContentRequest()):
                images.used_bytes.value += sum(blob.size for blob in blobs.info)
                images.inodes_used.value += len(blobs.info)
            snapshots = snapshotsv1.ListSnapshotsRequest(snapshotter=self._snapshotter)
            found = [info async for answer in self._client.snapshots.List(snapshots) for info in answer.info]
        except grpc.aio.AioRpcError as failure:
            raise shim_error(failure) from None
        usages = await asyncio.gather(*map(self._usage, found))
        for info, usage in zip(found, usages, strict=True):
            total = images if info.kind == snapshotsv1.Kind.COMMITTED else containers
            total.used_bytes.value += usage.size
            total.inodes_used.value += usage.inodes
        committed = {info.name for info in found}
        self._committed = {name: usage for name, usage in self._committed.items() if name in committed}
        return criv1.ImageFsInfoResponse(image_filesystems=[images], container_filesystems=[containers])

    def _nothing(self, now_ns: int) -> criv1.FilesystemUsage:
        """Kubelets take figures to be there also where nothing is used."""
        return criv1.FilesystemUsage(
            timestamp=now_ns,
            fs_id=criv1.FilesystemIdentifier(mountpoint=str(self._root)),
            used_bytes=criv1.UInt64Value(),
            inodes_used=criv1.UInt64Value(),
        )

    async def _usage(self, info: snapshotsv1.Info) -> snapshotsv1.UsageResponse:
        if (known := self._committed.get(info.name)) is not None:
            return known
        request = snapshotsv1.UsageRequest(snapshotter=self._snapshotter, key=info.name)
        try:
            async with self._places:
                usage: snapshotsv1.UsageResponse = await self._client.snapshots.Usage(request)
        except errors.NotFound:
            return snapshotsv1.UsageResponse()  # Removed since it was listed.
        if info.kind == snapshotsv1.Kind.COMMITTED:
            self._committed[info.name] = usage
        return usage
