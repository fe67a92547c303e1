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
# What a kubelet's questions of one round may share; it comes back every ten seconds.
KEPT_NS = 5_000_000_000
# More snapshots than a node has.
MOST_KEPT = 20_000

# When it was measured, and what; None: it does not change any more.
_Kept = tuple[int | None, snapshotsv1.UsageResponse]


class SnapshotUsages:
    """Of one containerd namespace and snapshotter, as they were measured last."""

    def __init__(self, client: ContainerdClient, snapshotter: str) -> None:
        self.snapshotter = snapshotter
        self._client = client
        self._kept: dict[str, _Kept] = {}
        self._places = asyncio.Semaphore(PARALLEL_USAGES)

    async def of(
        self, name: str, now_ns: int, *, committed: bool = False, kept_ns: int = KEPT_NS
    ) -> snapshotsv1.UsageResponse | None:
        """What a snapshot takes, None where it is gone. committed: measured once. kept_ns: how old it may be."""
        async with self._places:
            at_ns, usage = self._kept.get(name, (0, None))
            if usage is not None and (at_ns is None or 0 <= now_ns - at_ns < kept_ns):
                return usage
            request = snapshotsv1.UsageRequest(snapshotter=self.snapshotter, key=name)
            try:
                measured: snapshotsv1.UsageResponse = await self._client.snapshots.Usage(request)
            except errors.NotFound:
                self._kept.pop(name, None)
                return None
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[name] = (None if committed else now_ns, measured)
            return measured


class DiskUsage:
    """Of all images and containers."""

    def __init__(self, client: ContainerdClient, usages: SnapshotUsages, root: Path) -> None:
        """root: where images and snapshots lie."""
        self._client = client
        self._usages = usages
        self._root = root

    async def read(self, now_ns: int) -> criv1.ImageFsInfoResponse:
        """Layers, compressed and unpacked, count as images; writable layers as containers."""
        images, containers = self._nothing(now_ns), self._nothing(now_ns)
        try:
            async for blobs in self._client.content.List(contentv1.ListContentRequest()):
                images.used_bytes.value += sum(blob.size for blob in blobs.info)
                images.inodes_used.value += len(blobs.info)
            snapshots = snapshotsv1.ListSnapshotsRequest(snapshotter=self._usages.snapshotter)
            found = [info async for answer in self._client.snapshots.List(snapshots) for info in answer.info]
        except grpc.aio.AioRpcError as failure:
            raise shim_error(failure) from None
        is_committed = [info.kind == snapshotsv1.Kind.COMMITTED for info in found]
        usages = await asyncio.gather(
            *(
                self._usages.of(info.name, now_ns, committed=committed)
                for info, committed in zip(found, is_committed, strict=True)
            )
        )
        for usage, committed in zip(usages, is_committed, strict=True):
            total = images if committed else containers
            total.used_bytes.value += usage.size if usage else 0
            total.inodes_used.value += usage.inodes if usage else 0
        return criv1.ImageFsInfoResponse(image_filesystems=[images], container_filesystems=[containers])

    def _nothing(self, now_ns: int) -> criv1.FilesystemUsage:
        """Kubelets take figures to be there also where nothing is used."""
        return criv1.FilesystemUsage(
            timestamp=now_ns,
            fs_id=criv1.FilesystemIdentifier(mountpoint=str(self._root)),
            used_bytes=criv1.UInt64Value(),
            inodes_used=criv1.UInt64Value(),
        )
