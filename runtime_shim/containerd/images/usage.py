"""How much of the disk images take, and how much containers wrote: what the kubelet's image collector asks."""

from pathlib import Path

import grpc

from navarch.protos.containerd.services.content import v1_pb2 as contentv1
from navarch.protos.containerd.services.snapshots import v1_pb2 as snapshotsv1
from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.client import ContainerdClient, shim_error


async def filesystem_usage(
    client: ContainerdClient, snapshotter: str, root: Path, now_ns: int
) -> criv1.ImageFsInfoResponse:
    """Layers, compressed and unpacked, count as images; writable layers as containers. root: where they lie."""
    images, containers = (
        criv1.FilesystemUsage(timestamp=now_ns, fs_id=criv1.FilesystemIdentifier(mountpoint=str(root)))
        for _ in range(2)
    )
    try:
        async for blobs in client.content.List(contentv1.ListContentRequest()):
            images.used_bytes.value += sum(blob.size for blob in blobs.info)
            images.inodes_used.value += len(blobs.info)
        async for answer in client.snapshots.List(snapshotsv1.ListSnapshotsRequest(snapshotter=snapshotter)):
            for info in answer.info:
                await _add(images if info.kind == snapshotsv1.Kind.COMMITTED else containers, client, snapshotter, info)
    except grpc.aio.AioRpcError as failure:
        raise shim_error(failure) from None
    return criv1.ImageFsInfoResponse(image_filesystems=[images], container_filesystems=[containers])


async def _add(
    total: criv1.FilesystemUsage, client: ContainerdClient, snapshotter: str, info: snapshotsv1.Info
) -> None:
    try:
        usage = await client.snapshots.Usage(snapshotsv1.UsageRequest(snapshotter=snapshotter, key=info.name))
    except errors.NotFound:
        return  # Removed since it was listed.
    total.used_bytes.value += usage.size
    total.inodes_used.value += usage.inodes
