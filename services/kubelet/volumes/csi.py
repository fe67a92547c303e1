"""csi: volumes of drivers that run beside the kubelet, by claim or the Pod's own.

A volume is staged once on the node, if its driver wants that, and published to each Pod; the last Pod's leave unstages
it. What must be undone is on disk before it is done. Source: the CSI specification; Kubernetes' documentation of CSI.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from navarch.protos.csi import v1_pb2 as csiv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.storage import v1_pb2 as storagev1
from navarch.services.api.errors import ApiError, NotFound
from navarch.services.client.client import Client
from navarch.services.kubelet.core import csi_volumes as core
from navarch.services.kubelet.core.csi_volumes import CsiSource, SecretName, VolumeData
from navarch.services.kubelet.volumes.csi_drivers import Capability, CsiDrivers, Driver
from navarch.services.kubelet.volumes.kinds import MountFailure, Wanted, refuse_block
from navarch.services.kubelet.volumes.ownership import give_to_group
from navarch.services.kubelet.volumes.removal import remove_tree

DATA, TARGET = "vol_data.json", "mount"
ATTACH = "AttachVolume.Attach failed"
STAGE = "MountVolume.MountDevice failed"


class CsiVolumes:
    """The CSI volumes of a node. root: the kubelet's."""

    plugin = "kubernetes.io~csi"
    read_only = False

    def __init__(self, client: Client, drivers: CsiDrivers, root: Path, node_name: str) -> None:
        self._client = client
        self._drivers = drivers
        self._root = root
        self._node_name = node_name
        # By driver and handle: staging and unstaging must not meet.
        self._locks: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._in_use: dict[Path, str] = {}

    def fits(self, wanted: Wanted) -> bool:
        """By either source."""
        if wanted.persistent is not None:
            return wanted.persistent.spec.persistent_volume_source.HasField("csi")
        return wanted.volume.volume_source.HasField("csi")

    async def mount(self, wanted: Wanted) -> Path:
        """Stage it, if that is to be done, and publish it."""
        refuse_block(wanted, "csi")
        source = _source(wanted)
        driver, described = self._drivers.find(source.driver), await self._describe(source)
        if reason := core.refusal(described, source):
            raise MountFailure(reason)
        context = await self._attached(described, source)
        staging = source.staging(self._root) if self._is_staged(driver, source) else None
        async with self._locks[source.driver, source.handle]:
            data = VolumeData(source.driver, source.handle, str(staging or ""))
            await asyncio.to_thread(_write, wanted.directory, data)
            if source.mode == core.PERSISTENT:
                self._in_use[wanted.directory] = source.unique_name
            if staging is not None:
                await self._stage(driver, source, wanted, staging, context)
            return await self._publish(driver, described, source, wanted, staging, context)

    @staticmethod
    def _is_staged(driver: Driver, source: CsiSource) -> bool:
        return source.mode == core.PERSISTENT and driver.can(Capability.STAGE_UNSTAGE_VOLUME)

    async def _stage(
        self, driver: Driver, source: CsiSource, wanted: Wanted, staging: Path, context: dict[str, str]
    ) -> None:
        await asyncio.to_thread(staging.mkdir, 0o750, True, True)
        request = csiv1.NodeStageVolumeRequest(
            volume_id=source.handle,
            publish_context=context,
            staging_target_path=str(staging),
            volume_capability=_capability(driver, source, wanted),
            secrets=await self._secret(source.stage_secret),
            volume_context=dict(source.attributes),
        )
        try:
            await driver.call(driver.stub.NodeStageVolume, request)
        except MountFailure as failure:
            raise MountFailure(str(failure), STAGE) from failure

    async def _publish(
        self,
        driver: Driver,
        described: storagev1.CSIDriver,
        source: CsiSource,
        wanted: Wanted,
        staging: Path | None,
        context: dict[str, str],
    ) -> Path:
        target = wanted.directory / TARGET
        told = core.pod_info(wanted.pod, source) if described.spec.pod_info_on_mount else {}
        request = csiv1.NodePublishVolumeRequest(
            volume_id=source.handle,
            publish_context=context,
            staging_target_path=str(staging or ""),
            target_path=str(target),
            volume_capability=_capability(driver, source, wanted),
            readonly=source.read_only,
            secrets=await self._secret(source.publish_secret),
            volume_context={**dict(source.attributes), **told},
        )
        await driver.call(driver.stub.NodePublishVolume, request)
        if (
            not driver.can(Capability.VOLUME_MOUNT_GROUP)
            and not source.read_only
            and core.changes_group(described, source)
        ):
            mismatch = wanted.ownership_on_root_mismatch
            await asyncio.to_thread(give_to_group, target, wanted.fs_group, on_root_mismatch=mismatch)
        return target

    async def refresh(self, wanted: Wanted) -> None:
        """What is in it is the driver's."""

    async def unmount(self, directory: Path) -> None:
        """Unpublish it, and unstage it when no other Pod of the node has it."""
        data = await asyncio.to_thread(_read, directory)
        if data is None:
            # Nothing was mounted yet.
            return
        driver = self._drivers.find(data.driver)
        async with self._locks[data.driver, data.handle]:
            target = directory / TARGET
            request = csiv1.NodeUnpublishVolumeRequest(volume_id=data.handle, target_path=str(target))
            await driver.call(driver.stub.NodeUnpublishVolume, request)
            self._in_use.pop(directory, None)
            if data.staging and not await asyncio.to_thread(self._has_others, directory, data):
                unstage = csiv1.NodeUnstageVolumeRequest(volume_id=data.handle, staging_target_path=data.staging)
                await driver.call(driver.stub.NodeUnstageVolume, unstage)
                await asyncio.to_thread(remove_tree, Path(data.staging).parent)
            await asyncio.to_thread((directory / DATA).unlink, True)
        await asyncio.to_thread(remove_tree, directory)

    def _has_others(self, directory: Path, data: VolumeData) -> bool:
        """Whether another Pod has the same volume, by what is on disk."""
        for path in (self._root / "pods").glob(f"*/volumes/{self.plugin}/*/{DATA}"):
            if path.parent != directory and _read(path.parent) == data:
                return True
        return False

    def in_use(self) -> Sequence[str]:
        """The PersistentVolumes that Pods have."""
        return sorted(set(self._in_use.values()))

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


def _capability(driver: Driver, source: CsiSource, wanted: Wanted) -> csiv1.VolumeCapability:
    group = wanted.fs_group if driver.can(Capability.VOLUME_MOUNT_GROUP) else None
    return core.capability(source, group, single_node_multi_writer=driver.can(Capability.SINGLE_NODE_MULTI_WRITER))


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
