"""The snapshots that containers have as their root file systems, and whose files these are.

In a user namespace an image's root must be the namespace's root. Some snapshotters see to that themselves, when a
snapshot's labels tell them the ids (overlayfs of containerd 2, on kernels with id-mapped mounts). For the others a
snapshot on the image is given away file by file, once for each image and mapping, and committed; the containers' own
snapshots lie on that. As each Pod has ids of its own, it goes with the last sandbox of its mapping.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import grpc

from navarch.protos.containerd import types_pb2 as containerd_types
from navarch.protos.containerd.services.introspection import v1_pb2 as introspectionv1
from navarch.protos.containerd.services.snapshots import v1_pb2 as snapshotsv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd import lookups, ownership
from navarch.runtime_shim.containerd.client import ContainerdClient, shim_error
from navarch.runtime_shim.containerd.images.locks import NamedLocks
from navarch.runtime_shim.containerd.user_namespaces import Mapping

# Marks what is ours in containerd, and keeps snapshots from its collector until we remove them.
OWNER_LABEL, OWNER, GIVEN_AWAY = "io.navarch.runtime-shim", "container", "given-away"
GC_ROOT_LABEL = "containerd.io/gc.root"
MAPPING_LABEL = "io.navarch.user-namespace"
REMAPPING = "remap-ids"


def owned(owner: str = OWNER) -> dict[str, str]:
    """Labels of a snapshot that is ours until we remove it."""
    return {GC_ROOT_LABEL: f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", OWNER_LABEL: owner}


class RootFilesystems:
    """Those of one snapshotter."""

    def __init__(
        self, client: ContainerdClient, snapshotter: str, scratch: Path, used: Callable[[], Iterable[Mapping]]
    ) -> None:
        """scratch: ours. used: the mappings of sandboxes that may get containers."""
        self.snapshotter = snapshotter
        self._client = client
        self._scratch = scratch
        self._used = used
        self._locks = NamedLocks()

    async def prepare(self, key: str, chain_id: str, mapping: Mapping | None) -> list[containerd_types.Mount]:
        """A snapshot on an image for what a container writes. Raises ShimError."""
        labels = owned()
        if mapping is not None and await self.remaps():
            labels |= {f"containerd.io/snapshot/{kind}mapping": str(mapping) for kind in ("uid", "gid")}
        elif mapping is not None:
            chain_id = await self.given_away(chain_id, mapping)
        return await self._prepare(key, chain_id, labels)

    async def remaps(self) -> bool:
        """Whether the snapshotter maps ids itself."""
        request = introspectionv1.PluginsRequest(filters=[f"id=={self.snapshotter}"])
        plugins = (await self._client.introspection.Plugins(request)).plugins
        return any(REMAPPING in plugin.capabilities for plugin in plugins if plugin.type.endswith("snapshotter.v1"))

    async def given_away(self, chain_id: str, mapping: Mapping) -> str:
        """The name of a committed snapshot, an image whose files are the namespace's. Raises ShimError."""
        name = f"{chain_id}-{mapping}"
        async with self._locks.alone(name):
            stat = snapshotsv1.StatSnapshotRequest(snapshotter=self.snapshotter, key=name)
            with contextlib.suppress(errors.NotFound):
                await self._client.snapshots.Stat(stat)
                return name
            # The thread that does it can't be stopped.
            making = asyncio.ensure_future(self._give_away(name, chain_id, mapping))
            try:
                await asyncio.shield(making)
            except asyncio.CancelledError:
                await asyncio.gather(making, return_exceptions=True)
                raise
        return name

    async def collect(self) -> None:
        """Remove images that were given away to namespaces that are no more. Idempotent. Raises ShimError."""
        mine = f'labels."{OWNER_LABEL}"=={GIVEN_AWAY}'
        request = snapshotsv1.ListSnapshotsRequest(snapshotter=self.snapshotter, filters=[mine])
        try:
            found = [info async for answer in self._client.snapshots.List(request) for info in answer.info]
        except grpc.aio.AioRpcError as failure:
            raise shim_error(failure) from None
        for info in found:
            if info.labels[MAPPING_LABEL] not in map(str, self._used()):
                # A container that is just being removed does so itself.
                with contextlib.suppress(errors.FailedPrecondition):
                    await self._remove(info.name)

    async def _give_away(self, name: str, chain_id: str, mapping: Mapping) -> None:
        labels = owned(GIVEN_AWAY) | {MAPPING_LABEL: str(mapping)}
        key = f"{name}-{secrets.token_hex(8)}"
        try:
            mounts = await self._prepare(key, chain_id, labels)
            await asyncio.to_thread(self._shift, mounts, mapping)
            await self._client.snapshots.Commit(
                snapshotsv1.CommitSnapshotRequest(snapshotter=self.snapshotter, name=name, key=key, labels=labels)
            )
        except BaseException:
            await self._remove(key)
            raise

    def _shift(self, mounts: list[containerd_types.Mount], mapping: Mapping) -> None:
        with lookups.mounted(mounts, self._scratch, writable=True) as root:
            try:
                ownership.shift(root, mapping)
            except OSError as failure:
                raise errors.RuntimeFailure(f"give the image's files to the user namespace: {failure}") from None

    async def _prepare(self, key: str, parent: str, labels: dict[str, str]) -> list[containerd_types.Mount]:
        request = snapshotsv1.PrepareSnapshotRequest(
            snapshotter=self.snapshotter, key=key, parent=parent, labels=labels
        )
        return list((await self._client.snapshots.Prepare(request)).mounts)

    async def _remove(self, key: str) -> None:
        request = snapshotsv1.RemoveSnapshotRequest(snapshotter=self.snapshotter, key=key)
        with contextlib.suppress(errors.NotFound):
            await self._client.snapshots.Remove(request)
