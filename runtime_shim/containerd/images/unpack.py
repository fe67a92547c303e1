"""Turns the layers of an image into snapshots, by containerd's Diff service.

The snapshot of a layer is named by its chain id, so images share what they have in common and a second unpack
finds its work done. A layer is applied to a snapshot under a name of its own and committed when its content
hashed to the diff id that the image configuration promises; a half-applied one is never seen, and goes with the
lease it was made under.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable

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


Arrival = Callable[[Descriptor], Awaitable[None]]


async def _arrived(layer: Descriptor) -> None:
    """For layers that are there from the beginning."""


class Unpacker:
    """Unpacks images into one snapshotter. Two unpacks of the same layer at once do the work once."""

    def __init__(self, client: ContainerdClient, snapshotter: str) -> None:
        self._client = client
        self.snapshotter = snapshotter
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
            applied = (await self._client.diff.Apply(request, timeout=APPLY_TIMEOUT_S, lease=lease_id)).applied
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

    async def _remove(self, key: str) -> None:
        try:
            await self._client.snapshots.Remove(
                snapshotsv1.RemoveSnapshotRequest(snapshotter=self.snapshotter, key=key)
            )
        except errors.ShimError:
            return  # The lease's end takes it.
