"""Turns the layers of an image into snapshots, by containerd's Diff service.

The snapshot of a layer is named by its chain id, so images share what they have in common and a second unpack
finds its work done. A layer is applied to a snapshot under a name of its own and committed when its content
hashed to the diff id that the image configuration promises; a half-applied one is never seen, and goes with the
lease it was made under.

What a layer unpacks to may be a thousand times its size, so unpacking stops before it takes the node's last space.
"""

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

from navarch.protos.containerd import types_pb2 as containerd_types
from navarch.protos.containerd.services.diff import v1_pb2 as diffv1
from navarch.protos.containerd.services.snapshots import v1_pb2 as snapshotsv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.images import content
from navarch.runtime_shim.containerd.images.locks import NamedLocks
from navarch.runtime_shim.containerd.images.model import Descriptor, ImageConfig, Manifest, chain_ids

# A layer of gigabytes on a slow disk.
APPLY_TIMEOUT_S = 1200.0
# What unpacking leaves of a disk, for all else that writes to it: this share, at most so many bytes.
RESERVE_SHARE = 0.02
RESERVE_BYTES = 512 << 20
# A fast disk takes some 200 MB meanwhile.
LOOK_S = 0.1

Arrival = Callable[[Descriptor], Awaitable[None]]


async def _arrived(layer: Descriptor) -> None:
    """For layers that are there from the beginning."""


class Unpacker:
    """Unpacks images into one snapshotter. Two unpacks of the same layer at once do the work once."""

    def __init__(self, client: ContainerdClient, snapshotter: str, root: Path) -> None:
        """root: containerd's, on the disk that fills."""
        self._client = client
        self.snapshotter = snapshotter
        self._root = root
        self._locks = NamedLocks()

    async def unpack(self, manifest: Manifest, config: ImageConfig, lease_id: str, arrival: Arrival = _arrived) -> str:
        """Make all layers' snapshots; returns the chain id of the top one, "" for an image without layers.

        arrival: awaited with each layer before it is read. Raises what that raises; InvalidArgument for content
        that is not what the image says.
        """
        if len(manifest.layers) != len(config.diff_ids):
            raise errors.InvalidArgument(
                f"broken image: {len(manifest.layers)} layers in the manifest, {len(config.diff_ids)} in the config"
            )
        parent = ""
        for layer, diff_id, chain in zip(manifest.layers, config.diff_ids, chain_ids(config.diff_ids), strict=True):
            await arrival(layer)
            async with self._locks.alone(chain):
                await self._apply(layer, diff_id, chain, parent, lease_id)
            parent = chain
        if parent:
            label = f"containerd.io/gc.ref.snapshot.{self.snapshotter}"
            await content.set_labels(self._client, manifest.config.digest, {label: parent})
        return parent

    async def sweep(self) -> None:
        """Have containerd clear what it could not while the disk was full: it looks again when a snapshot goes."""
        async with content.lease(self._client) as lease_id:
            key = f"sweep-{secrets.token_hex(8)}"
            prepare = snapshotsv1.PrepareSnapshotRequest(snapshotter=self.snapshotter, key=key)
            await self._client.snapshots.Prepare(prepare, lease=lease_id)

    async def has(self, chain: str) -> bool:
        """Whether the snapshot of that name is there."""
        try:
            await self._client.snapshots.Stat(snapshotsv1.StatSnapshotRequest(snapshotter=self.snapshotter, key=chain))
        except errors.NotFound:
            return False
        return True

    async def _apply(self, layer: Descriptor, diff_id: str, chain: str, parent: str, lease_id: str) -> None:
        if await self.has(chain):
            return
        snapshots = self._client.snapshots
        key = f"extract-{secrets.token_hex(8)} {chain}"
        prepare = snapshotsv1.PrepareSnapshotRequest(snapshotter=self.snapshotter, key=key, parent=parent)
        mounts = (await snapshots.Prepare(prepare, lease=lease_id)).mounts
        try:
            blob = containerd_types.Descriptor(media_type=layer.media_type, digest=layer.digest, size=layer.size)
            request = diffv1.ApplyRequest(diff=blob, mounts=mounts)
            applied = await self._applied(request, lease_id)
            if applied.digest != diff_id:
                raise errors.InvalidArgument(f"layer {layer.digest} unpacks to {applied.digest}, not to {diff_id}")
            commit = snapshotsv1.CommitSnapshotRequest(snapshotter=self.snapshotter, name=chain, key=key)
            await snapshots.Commit(commit, lease=lease_id)
        except errors.AlreadyExists:
            # Another client of this containerd was faster.
            await self._remove(key)
        except BaseException:
            await asyncio.shield(self._remove(key))
            raise

    async def _applied(self, request: diffv1.ApplyRequest, lease_id: str) -> containerd_types.Descriptor:
        """containerd's answer. Raises ResourceExhausted for what leaves no space to others."""
        applying = asyncio.ensure_future(self._client.diff.Apply(request, timeout=APPLY_TIMEOUT_S, lease=lease_id))
        try:
            while not (await asyncio.wait([applying], timeout=LOOK_S))[0]:
                if await asyncio.to_thread(is_scarce, self._root):
                    what = f"layer {request.diff.digest} unpacks to more than there is room for"
                    raise errors.ResourceExhausted(f"{content.DISK_FULL} of {self._root}: {what}")
        finally:
            # containerd stops at the next piece of a file.
            applying.cancel()
        applied: containerd_types.Descriptor = (await applying).applied
        return applied

    async def _remove(self, key: str) -> None:
        try:
            await self._client.snapshots.Remove(
                snapshotsv1.RemoveSnapshotRequest(snapshotter=self.snapshotter, key=key)
            )
        except errors.ShimError:
            return  # The lease's end takes it.


def is_scarce(root: Path) -> bool:
    """Whether less than the reserve is left of the disk's bytes or of its inodes."""
    disk = os.statvfs(root)
    reserve_bytes = min(RESERVE_BYTES, int(disk.f_blocks * disk.f_frsize * RESERVE_SHARE))
    # Some file systems count no inodes.
    return disk.f_bavail * disk.f_frsize < reserve_bytes or disk.f_favail < disk.f_files * RESERVE_SHARE
