"""csi: volumes of drivers that run beside the kubelet, by claim or the Pod's own, as file systems or block devices.

A volume is staged once on the node, if its driver wants that, and published to each Pod; the last Pod's leave unstages
it. What must be undone is on disk before it is done. While Pods have it, it is looked after: published again where its
driver asks for that, and grown. Source: the CSI specification; Kubernetes' documentation of CSI.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from navarch.protos.csi import v1_pb2 as csiv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.storage import v1_pb2 as storagev1
from navarch.services.api.errors import ApiError, NotFound
from navarch.services.base.clock import Clock
from navarch.services.client.client import Client
from navarch.services.kubelet.core import csi_volumes as core
from navarch.services.kubelet.core.csi_volumes import CsiSource, SecretName, VolumeData
from navarch.services.kubelet.tokens import PodTokens
from navarch.services.kubelet.volumes.csi_drivers import Capability, CsiDrivers, Driver
from navarch.services.kubelet.volumes.csi_growth import Grows
from navarch.services.kubelet.volumes.kinds import MountFailure, Wanted
from navarch.services.kubelet.volumes.ownership import give_to_group
from navarch.services.kubelet.volumes.removal import remove_tree

DATA, TARGET = "vol_data.json", "mount"
ATTACH = "AttachVolume.Attach failed"
STAGE = "MountVolume.MountDevice failed"
# How often a driver that asks for it publishes again, and how often it is seen whether a volume has grown.
LOOK_S = 60.0
# Of a token for a driver that does not say how long.
TOKEN_S = 3600


@dataclass(frozen=True, slots=True)
class _Use:
    """One Pod's use of a volume, and whom to ask. context: what was said when it was attached."""

    wanted: Wanted
    source: CsiSource
    driver: Driver
    described: storagev1.CSIDriver
    staging: Path | None
    target: Path
    context: dict[str, str]

    @property
    def capability(self) -> csiv1.VolumeCapability:
        """How it is used."""
        group = self.wanted.fs_group if self.driver.can(Capability.VOLUME_MOUNT_GROUP) else None
        knows_more = self.driver.can(Capability.SINGLE_NODE_MULTI_WRITER)
        return core.capability(self.source, group, single_node_multi_writer=knows_more, block=self.wanted.block)


@dataclass(slots=True)
class _Published:
    """A volume that a Pod has. look_at: when to see to it again."""

    use: _Use
    look_at: float

    @property
    def uid(self) -> str:
        """Of the Pod."""
        return self.use.wanted.pod.metadata.uid


class CsiVolumes:
    """The CSI volumes of a node. root: the kubelet's. grows: makes use of what a volume has grown by."""

    plugin = "kubernetes.io~csi"
    read_only = False

    def __init__(
        self,
        client: Client,
        drivers: CsiDrivers,
        root: Path,
        node_name: str,
        clock: Clock,
        tokens: PodTokens,
        grows: Grows,
    ) -> None:
        self._client = client
        self._drivers = drivers
        self._root = root
        self._node_name = node_name
        self._clock = clock
        self._tokens = tokens
        self._grows = grows
        # By driver and handle: staging and unstaging must not meet.
        self._locks: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._published: dict[Path, _Published] = {}

    def fits(self, wanted: Wanted) -> bool:
        """By either source."""
        if wanted.persistent is not None:
            return wanted.persistent.spec.persistent_volume_source.HasField("csi")
        return wanted.volume.volume_source.HasField("csi")

    async def mount(self, wanted: Wanted) -> Path:
        """Stage it, if that is to be done, and publish it."""
        use = await self._use(wanted)
        source = use.source
        async with self._locks[source.driver, source.handle]:
            target = str(use.target) if wanted.block else ""
            data = VolumeData(source.driver, source.handle, str(use.staging or ""), target)
            await asyncio.to_thread(_write, wanted.directory, data)
            self._published[wanted.directory] = _Published(use, self._clock.monotonic() + LOOK_S)
            if use.staging is not None:
                await self._stage(use)
            await self._publish(use)
        await self._grow(use)
        return use.target

    async def _use(self, wanted: Wanted) -> _Use:
        source = _source(wanted)
        driver, described = self._drivers.find(source.driver), await self._describe(source)
        if reason := core.refusal(described, source):
            raise MountFailure(reason)
        staging: Path | None = None
        if source.mode == core.PERSISTENT and driver.can(Capability.STAGE_UNSTAGE_VOLUME):
            by_name = core.device_staging(self._root, wanted.name)
            staging = by_name if wanted.block else source.staging(self._root)
        target = wanted.directory / TARGET
        if wanted.block:
            target = core.device_target(self._root, wanted.name, wanted.pod.metadata.uid)
        return _Use(wanted, source, driver, described, staging, target, await self._attached(described, source))

    async def _stage(self, use: _Use) -> None:
        assert use.staging is not None
        await asyncio.to_thread(use.staging.mkdir, 0o750, True, True)
        request = csiv1.NodeStageVolumeRequest(
            volume_id=use.source.handle,
            publish_context=use.context,
            staging_target_path=str(use.staging),
            volume_capability=use.capability,
            secrets=await self._secret(use.source.stage_secret),
            volume_context=dict(use.source.attributes),
        )
        try:
            await use.driver.call(use.driver.stub.NodeStageVolume, request)
        except MountFailure as failure:
            raise MountFailure(str(failure), STAGE) from failure

    async def _publish(self, use: _Use) -> None:
        source, wanted, spec = use.source, use.wanted, use.described.spec
        told = core.pod_info(wanted.pod, source) if spec.pod_info_on_mount else {}
        secrets, tokens = await self._secret(source.publish_secret), await self._tokens_for(use)
        # What carries more than names is a secret, where the driver knows it for one.
        (secrets if spec.service_account_token_in_secrets else told).update(tokens)
        await asyncio.to_thread(use.target.parent.mkdir, 0o750, True, True)
        request = csiv1.NodePublishVolumeRequest(
            volume_id=source.handle,
            publish_context=use.context,
            staging_target_path=str(use.staging or ""),
            target_path=str(use.target),
            volume_capability=use.capability,
            readonly=source.read_only,
            secrets=secrets,
            volume_context={**dict(source.attributes), **told},
        )
        await use.driver.call(use.driver.stub.NodePublishVolume, request)
        if not (wanted.block or source.read_only or use.driver.can(Capability.VOLUME_MOUNT_GROUP)) and (
            core.changes_group(use.described, source)
        ):
            mismatch = wanted.ownership_on_root_mismatch
            await asyncio.to_thread(give_to_group, use.target, wanted.fs_group, on_root_mismatch=mismatch)

    async def _tokens_for(self, use: _Use) -> dict[str, str]:
        pod, found = use.wanted.pod, {}
        for asked in use.described.spec.token_requests:
            seconds = asked.expiration_seconds if asked.HasField("expiration_seconds") else TOKEN_S
            projection = corev1.ServiceAccountTokenProjection(audience=asked.audience, expiration_seconds=seconds)
            found[asked.audience] = await self._tokens.issue(pod, projection)
        return core.token_attributes(found)

    async def _grow(self, use: _Use) -> None:
        if use.wanted.persistent is not None and use.driver.can(Capability.EXPAND_VOLUME):
            secret = await self._secret(use.source.expand_secret)
            request = csiv1.NodeExpandVolumeRequest(
                volume_id=use.source.handle,
                volume_path=str(use.target),
                staging_target_path=str(use.staging or ""),
                volume_capability=use.capability,
                secrets=secret,
            )
            await self._grows.look(use.wanted, use.driver, request)

    def due(self) -> set[str]:
        """The uids of the Pods whose volumes are to be seen to again (`refresh`)."""
        now = self._clock.monotonic()
        return {each.uid for each in self._published.values() if each.look_at <= now}

    def measurable(self) -> dict[tuple[str, str], tuple[Driver, csiv1.NodeGetVolumeStatsRequest]]:
        """The volumes whose drivers tell how full they are, by the Pod's uid and its volume, and what to ask."""
        found = {}
        for each in self._published.values():
            use, driver = each.use, self._drivers.known(each.use.source.driver)
            if driver is not None and driver.can(Capability.GET_VOLUME_STATS):
                request = csiv1.NodeGetVolumeStatsRequest(
                    volume_id=use.source.handle, volume_path=str(use.target), staging_target_path=str(use.staging or "")
                )
                found[each.uid, use.wanted.volume.name] = (driver, request)
        return found

    async def refresh(self, wanted: Wanted) -> None:
        """What is in it is the driver's, who may want to be called for that; and it may have grown."""
        published, now = self._published.get(wanted.directory), self._clock.monotonic()
        if published is None or published.look_at > now:
            return
        published.look_at = now + LOOK_S
        use = await self._use(wanted)
        if use.described.spec.requires_republish:
            async with self._locks[use.source.driver, use.source.handle]:
                await self._publish(use)
        await self._grow(use)

    async def unmount(self, directory: Path) -> None:
        """Unpublish it, and unstage it when no other Pod of the node has it."""
        data = await asyncio.to_thread(_read, directory)
        if data is None:
            # Nothing was mounted yet.
            return
        driver = self._drivers.find(data.driver)
        async with self._locks[data.driver, data.handle]:
            target = Path(data.target) if data.target else directory / TARGET
            request = csiv1.NodeUnpublishVolumeRequest(volume_id=data.handle, target_path=str(target))
            await driver.call(driver.stub.NodeUnpublishVolume, request)
            if (published := self._published.pop(directory, None)) is not None:
                self._tokens.forget(published.uid)
            if data.target:
                await asyncio.to_thread(remove_tree, target)
            if data.staging and not await asyncio.to_thread(self._has_others, directory, data):
                unstage = csiv1.NodeUnstageVolumeRequest(volume_id=data.handle, staging_target_path=data.staging)
                await driver.call(driver.stub.NodeUnstageVolume, unstage)
                await asyncio.to_thread(_remove_staging, Path(data.staging), target if data.target else None)
            await asyncio.to_thread((directory / DATA).unlink, True)
        await asyncio.to_thread(remove_tree, directory)

    def _has_others(self, directory: Path, data: VolumeData) -> bool:
        """Whether another Pod has the same volume, by what is on disk."""
        for path in (self._root / "pods").glob(f"*/volume*/{self.plugin}/*/{DATA}"):
            other = None if path.parent == directory else _read(path.parent)
            if other is not None and (other.driver, other.handle) == (data.driver, data.handle):
                return True
        return False

    def in_use(self) -> Sequence[str]:
        """The PersistentVolumes that Pods have."""
        sources = [each.use.source for each in self._published.values()]
        return sorted({source.unique_name for source in sources if source.mode == core.PERSISTENT})

    async def _describe(self, source: CsiSource) -> storagev1.CSIDriver:
        """The driver's own description. One without is as the defaults have it, but nothing has to attach for it."""
        try:
            return await self._client.get(storagev1.CSIDriver, source.driver)
        except NotFound:
            return storagev1.CSIDriver()
        except ApiError as failure:
            raise MountFailure(f"error getting CSIDriver {source.driver}: {failure}") from failure

    async def _attached(self, described: storagev1.CSIDriver, source: CsiSource) -> dict[str, str]:
        """What was said when the volume was attached. Raises MountFailure while it is not."""
        if source.mode != core.PERSISTENT or not described.spec.attach_required:
            return {}
        name = source.attachment(self._node_name)
        try:
            attachment = await self._client.get(storagev1.VolumeAttachment, name)
        except ApiError as failure:
            raise MountFailure(f"volume attachment {name} of {source.handle}: {failure}", ATTACH) from failure
        if not attachment.status.attached:
            error = attachment.status.attach_error.message or "volume not attached yet"
            raise MountFailure(f"{source.handle}: {error}", ATTACH)
        return dict(attachment.status.attachment_metadata)

    async def _secret(self, name: SecretName | None) -> dict[str, str]:
        if name is None:
            return {}
        try:
            secret = await self._client.get(corev1.Secret, name.name, name.namespace)
        except ApiError as failure:
            found = f"failed to find the secret {name.name} in the namespace {name.namespace}"
            raise MountFailure(f"{found}: {failure}") from failure
        return {key: value.decode(errors="replace") for key, value in secret.data.items()}


def _source(wanted: Wanted) -> CsiSource:
    if wanted.persistent is not None:
        return core.persistent_source(wanted.persistent, read_only=wanted.read_only)
    return core.inline_source(wanted.pod, wanted.volume)


def _remove_staging(staging: Path, target: Path | None) -> None:
    """And what held only this volume's."""
    if target is None:
        remove_tree(staging.parent)
        return
    remove_tree(staging)
    remove_tree(target.parent)


def _write(directory: Path, data: VolumeData) -> None:
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    half = directory / f".{DATA}"
    half.write_bytes(data.write())
    half.replace(directory / DATA)


def _read(directory: Path) -> VolumeData | None:
    try:
        return VolumeData.read((directory / DATA).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as failure:
        raise MountFailure(f"{directory / DATA}: {failure}", "UnmountVolume.TearDown failed") from failure
