"""Makes, renews and releases the volumes of Pods, each by its kind.

Everything is found again from the Pod's uid and the file system, so that nothing is lost with the process: preparing
twice changes nothing, releasing takes away whatever is mounted below the Pod's directory, and never what is in it.
"""

import asyncio
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import SystemClock
from navarch.services.base.log import get_logger
from navarch.services.kubelet.core.claims import check_mode, is_for_node, is_for_one_pod
from navarch.services.kubelet.core.events_text import mount_failed
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.core.references import ConfigError, Lookup, NodeContext
from navarch.services.kubelet.core.trust_bundles import TrustBundle
from navarch.services.kubelet.volumes.empty_dir import EmptyDirs
from navarch.services.kubelet.volumes.host_path import HostPaths
from navarch.services.kubelet.volumes.image import ImageVolumes
from navarch.services.kubelet.volumes.kinds import NODE_AFFINITY, SET_UP, MountFailure, VolumeKind, Wanted
from navarch.services.kubelet.volumes.local import LocalVolumes
from navarch.services.kubelet.volumes.nfs import NfsVolumes
from navarch.services.kubelet.volumes.object_files import PLUGINS, ObjectFiles, Tokens
from navarch.services.kubelet.volumes.removal import remove_tree, unmount_all

# Of a Pod's directory: volumes, those of them that are block devices, and parts of volumes.
VOLUMES, DEVICES, PARTS = "volumes", "volumeDevices", "volume-subpaths"


class Bound(Protocol):
    """A claim and what it is bound to."""

    @property
    def claim(self) -> corev1.PersistentVolumeClaim:
        """The claim."""
        ...

    @property
    def persistent(self) -> corev1.PersistentVolume:
        """Its PersistentVolume."""
        ...


class Claims(Protocol):
    """Where the volumes behind claims are found."""

    async def find(self, pod: corev1.Pod, volume: corev1.Volume) -> Bound | None:
        """What a volume is bound to; None for one without a claim. Raises ConfigError while it is not ready."""
        ...


class VolumeManager:
    """The volumes of one node. can_mount: False where nothing can be mounted (then plain directories serve).

    more: kinds beside those that are always there. bundles: all ClusterTrustBundles; None if there are no such objects.
    """

    def __init__(
        self,
        layout: Layout,
        lookup: Lookup,
        node: NodeContext,
        claims: Claims,
        tokens: Tokens,
        *,
        can_mount: bool,
        more: Sequence[VolumeKind] = (),
        bundles: Callable[[], Sequence[TrustBundle] | None] = lambda: None,
        node_object: Callable[[], corev1.Node] = corev1.Node,
    ) -> None:
        self._layout = layout
        self._node_object = node_object
        self._claims = claims
        self._kinds: list[VolumeKind] = [
            EmptyDirs(node, can_mount=can_mount),
            HostPaths(),
            *(ObjectFiles(member, lookup, node, tokens, can_mount=can_mount, bundles=bundles) for member in PLUGINS),
            ImageVolumes(),
            LocalVolumes(),
            NfsVolumes(),
            *more,
        ]
        # By uid and volume: what containers get, and those that they never write to.
        self._sources: dict[tuple[str, str], Path] = {}
        self._read_only: set[tuple[str, str]] = set()
        # PersistentVolumes that one Pod alone may have, and which has.
        self._held: dict[str, str] = {}
        self._clock = SystemClock()
        # Told of each mount and unmount: the plugin, which of both, how long it took, whether it failed.
        self.observe: Callable[[str, str, float, bool], None] = lambda *_: None
        self._log = get_logger("kubelet.volumes")

    async def prepare(self, pod: corev1.Pod, stamp: str) -> None:
        """Make the Pod's directories and volumes. Raises ConfigError naming the volume. Idempotent."""
        Path(self._layout.volumes(pod.metadata.uid)).mkdir(parents=True, exist_ok=True)
        Path(self._layout.log_directory(pod)).mkdir(parents=True, exist_ok=True)
        for volume in pod.spec.volumes:
            name, step = volume.name, SET_UP
            try:
                wanted, kind = await self._wanted(pod, volume, stamp)
                name = wanted.name
                self._check_node(wanted)
                with self._measured(kind, "volume_mount"):
                    self._sources[pod.metadata.uid, volume.name] = await kind.mount(wanted)
                if kind.read_only:
                    self._read_only.add((pod.metadata.uid, volume.name))
            except MountFailure as failure:
                raise ConfigError(mount_failed(name, str(failure), failure.step)) from failure
            except (ConfigError, OSError) as failure:
                raise ConfigError(mount_failed(name, str(failure), step)) from failure

    def _check_node(self, wanted: Wanted) -> None:
        if wanted.persistent is not None and not is_for_node(wanted.persistent, self._node_object()):
            raise MountFailure("no matching NodeSelectorTerms", NODE_AFFINITY)

    async def _wanted(self, pod: corev1.Pod, volume: corev1.Volume, stamp: str) -> tuple[Wanted, VolumeKind]:
        bound = await self._claims.find(pod, volume)
        source, uid = volume.volume_source, pod.metadata.uid
        wanted = Wanted(pod, volume, Path(), stamp=stamp)
        if bound is not None:
            block = check_mode(pod, volume, bound.persistent)
            self._hold(bound.persistent, uid)
            read_only = source.persistent_volume_claim.read_only
            wanted = Wanted(pod, volume, Path(), bound.claim, bound.persistent, read_only, block, stamp)
        kind = next((kind for kind in self._kinds if kind.fits(wanted)), None)
        if kind is None:
            described = bound.persistent.spec.persistent_volume_source if bound is not None else source
            raise ConfigError(f"volume type {described.ListFields()[0][0].json_name} is not supported")
        parent = Path(self._layout.pod(uid)) / DEVICES if wanted.block else Path(self._layout.volumes(uid))
        directory = parent / kind.plugin / wanted.name
        return (
            Wanted(
                pod, volume, directory, wanted.claim, wanted.persistent, wanted.read_only, wanted.block, wanted.stamp
            ),
            kind,
        )

    def _hold(self, persistent: corev1.PersistentVolume, uid: str) -> None:
        if is_for_one_pod(persistent) and self._held.setdefault(persistent.metadata.name, uid) != uid:
            raise ConfigError("volume uses the ReadWriteOncePod access mode and is already in use by another pod")

    async def refresh(self, pod: corev1.Pod, stamp: str) -> None:
        """Bring what changes by itself up to date. A missing object leaves the files as they are."""
        for volume in pod.spec.volumes:
            try:
                wanted, kind = await self._wanted(pod, volume, stamp)
                if (pod.metadata.uid, volume.name) in self._sources:
                    await kind.refresh(wanted)
            except (ConfigError, OSError) as failure:
                self._log.info("volume.not_refreshed", pod=pod.metadata.name, volume=volume.name, cause=failure)

    def source(self, pod: corev1.Pod, volume: str) -> Path:
        """What containers get of a volume. Raises ConfigError for one that was not prepared."""
        found = self.where(pod, volume)
        if found is None:
            raise ConfigError(f"volume {volume} is not mounted")
        return found

    def where(self, pod: corev1.Pod, volume: str) -> Path | None:
        """What containers get of a volume; None for one that was not prepared."""
        return self._sources.get((pod.metadata.uid, volume))

    def is_read_only(self, pod: corev1.Pod, volume: str) -> bool:
        """Whether containers never write to a volume, whatever they ask for."""
        return (pod.metadata.uid, volume) in self._read_only

    def in_use(self) -> Sequence[str]:
        """Unique names of attachable volumes, for the status of the node."""
        return sorted({name for kind in self._kinds for name in kind.in_use()})

    async def release(self, pod: corev1.Pod, *, everything: bool) -> None:
        """Give back the volumes of a Pod that has ended; with `everything`, its directory and logs too. Idempotent.

        What is in an emptyDir goes at once: nobody can read it any more. Raises OSError or ConfigError while something
        cannot be unmounted.
        """
        uid = pod.metadata.uid
        for key in [key for key in self._sources if key[0] == uid]:
            del self._sources[key]
        self._read_only = {key for key in self._read_only if key[0] != uid}
        for name in [name for name, holder in self._held.items() if holder == uid]:
            del self._held[name]
        await self._release(Path(self._layout.pod(uid)), everything=everything)
        if everything:
            await asyncio.to_thread(shutil.rmtree, self._layout.log_directory(pod), ignore_errors=True)

    async def _release(self, directory: Path, *, everything: bool) -> None:
        # Parts of volumes first: they hold the volumes.
        await asyncio.to_thread(unmount_all, directory / PARTS)
        for kind, volume in self._found(directory):
            with self._measured(kind, "volume_unmount"):
                await kind.unmount(volume)
        for path in (directory,) if everything else (directory / PARTS, directory / VOLUMES, directory / DEVICES):
            await asyncio.to_thread(remove_tree, path)

    @contextmanager
    def _measured(self, kind: VolumeKind, operation: str) -> Iterator[None]:
        began, failed = self._clock.monotonic(), True
        try:
            yield
            failed = False
        finally:
            self.observe(kind.plugin, operation, self._clock.monotonic() - began, failed)

    def _found(self, directory: Path) -> Iterator[tuple[VolumeKind, Path]]:
        """The volumes that are there, by their directories."""
        for kind in self._kinds:
            for parent in (directory / VOLUMES / kind.plugin, directory / DEVICES / kind.plugin):
                for volume in sorted(parent.iterdir()) if parent.is_dir() else ():
                    yield kind, volume

    async def remove_orphans(self, known: Callable[[], set[str]]) -> bool:
        """Remove the directories of Pods that are no more, once all Pods are known. Returns whether none is left."""
        left, pods = 0, Path(self._layout.pods)
        for directory in list(pods.iterdir()) if pods.is_dir() else ():
            if directory.name not in known():
                try:
                    await self._release(directory, everything=True)
                except (ConfigError, OSError) as failure:
                    left += 1
                    self._log.warning("volume.orphan_left", directory=directory, error=failure)
        logs = Path(self._layout.logs)
        for directory in list(logs.iterdir()) if logs.is_dir() else ():
            if directory.name.rpartition("_")[2] not in known():
                await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        return not left
