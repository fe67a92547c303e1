"""What a CSI driver is asked for a volume of a Pod, and where; no I/O.

Names and paths are those of Kubernetes, so that drivers that look at them find what they know.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import orjson

from navarch.protos.csi import v1_pb2 as csiv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.storage import v1_pb2 as storagev1
from navarch.services.api.quantity import Quantity

Mode = csiv1.VolumeCapability.AccessMode
PERSISTENT, EPHEMERAL = "Persistent", "Ephemeral"
FS_BY_FILE, FS_NONE = "File", "None"
POD_INFO = "csi.storage.k8s.io/"
TOKENS = f"{POD_INFO}serviceAccount.tokens"
# Below the kubelet's root.
PLUGIN = "plugins/kubernetes.io/csi"
FILE_SYSTEM = "globalmount"
RFC_3339 = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class SecretName:
    """A Secret that a driver needs."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class CsiSource:
    """A volume of a CSI driver, whether a PersistentVolume or the Pod's own."""

    driver: str
    handle: str
    mode: str
    fs_type: str = ""
    read_only: bool = False
    attributes: tuple[tuple[str, str], ...] = ()
    mount_options: tuple[str, ...] = ()
    access_modes: tuple[str, ...] = ()
    stage_secret: SecretName | None = None
    publish_secret: SecretName | None = None
    expand_secret: SecretName | None = None

    @property
    def unique_name(self) -> str:
        """As the status of a node calls it."""
        return f"kubernetes.io/csi/{self.driver}^{self.handle}"

    def attachment(self, node: str) -> str:
        """The name of the VolumeAttachment."""
        return f"csi-{sha256(f'{self.handle}{self.driver}{node}'.encode()).hexdigest()}"

    def staging(self, root: Path) -> Path:
        """Where the volume is staged for all Pods of the node."""
        hashed = sha256(self.handle.encode()).hexdigest()
        return root / PLUGIN / self.driver / hashed / FILE_SYSTEM


def persistent_source(persistent: corev1.PersistentVolume, *, read_only: bool) -> CsiSource:
    """Of a PersistentVolume. read_only: what the Pod's claim says."""
    csi = persistent.spec.persistent_volume_source.csi
    return CsiSource(
        driver=csi.driver,
        handle=csi.volume_handle,
        mode=PERSISTENT,
        fs_type=csi.fs_type,
        read_only=csi.read_only or read_only,
        attributes=tuple(sorted(csi.volume_attributes.items())),
        mount_options=tuple(persistent.spec.mount_options),
        access_modes=tuple(persistent.spec.access_modes),
        stage_secret=_secret(csi.node_stage_secret_ref),
        publish_secret=_secret(csi.node_publish_secret_ref),
        expand_secret=_secret(csi.node_expand_secret_ref),
    )


def inline_source(pod: corev1.Pod, volume: corev1.Volume) -> CsiSource:
    """Of a volume that lives as long as its Pod."""
    csi, metadata = volume.volume_source.csi, pod.metadata
    named = sha256(f"{volume.name}{metadata.namespace}{metadata.uid}".encode()).hexdigest()
    secret = SecretName(metadata.namespace, csi.node_publish_secret_ref.name)
    return CsiSource(
        driver=csi.driver,
        handle=f"csi-{named}",
        mode=EPHEMERAL,
        fs_type=csi.fs_type,
        read_only=csi.read_only,
        attributes=tuple(sorted(csi.volume_attributes.items())),
        access_modes=("ReadWriteOnce",),
        publish_secret=secret if secret.name else None,
    )


def _secret(reference: corev1.SecretReference) -> SecretName | None:
    return SecretName(reference.namespace, reference.name) if reference.name else None


def device_staging(root: Path, persistent: str) -> Path:
    """Where a block device is staged, by the name of its PersistentVolume."""
    return root / PLUGIN / "volumeDevices/staging" / persistent


def device_target(root: Path, persistent: str, uid: str) -> Path:
    """Where a block device is published to a Pod."""
    return root / PLUGIN / "volumeDevices/publish" / persistent / uid


def growth_bytes(persistent: corev1.PersistentVolume, claim: corev1.PersistentVolumeClaim) -> int:
    """To how much a volume has grown without its claim's knowledge; 0 where it has not."""
    has = Quantity.of(persistent.spec.capacity["storage"]).value() if "storage" in persistent.spec.capacity else 0
    told = Quantity.of(claim.status.capacity["storage"]).value() if "storage" in claim.status.capacity else has
    return has if has > told else 0


def token_attributes(tokens: Mapping[str, tuple[str, float]]) -> dict[str, str]:
    """Tokens of the Pod's account, by audience, with their ends (Unix seconds), as drivers read them."""
    shown = {
        audience: {"token": text, "expirationTimestamp": datetime.fromtimestamp(ends_at, UTC).strftime(RFC_3339)}
        for audience, (text, ends_at) in tokens.items()
    }
    return {TOKENS: orjson.dumps(shown).decode()} if shown else {}


def capability(
    source: CsiSource, group: int | None, *, single_node_multi_writer: bool, block: bool = False
) -> csiv1.VolumeCapability:
    """How the volume is to be used. group: that the driver itself is to give the files to. block: as a device."""
    wanted = csiv1.VolumeCapability()
    if block:
        wanted.block.SetInParent()
    else:
        wanted.mount.fs_type = source.fs_type
        wanted.mount.mount_flags.extend(source.mount_options)
        wanted.mount.volume_mount_group = "" if group is None else str(group)
    wanted.access_mode.mode = access_mode(source.access_modes, single_node_multi_writer=single_node_multi_writer)
    return wanted


def access_mode(modes: Sequence[str], *, single_node_multi_writer: bool) -> "csiv1.VolumeCapability.AccessMode.Mode":
    """The widest of a PersistentVolume's access modes, in the words of CSI."""
    if "ReadWriteMany" in modes:
        return Mode.MULTI_NODE_MULTI_WRITER
    if "ReadWriteOnce" in modes:
        return Mode.SINGLE_NODE_MULTI_WRITER if single_node_multi_writer else Mode.SINGLE_NODE_WRITER
    if "ReadWriteOncePod" in modes:
        return Mode.SINGLE_NODE_SINGLE_WRITER if single_node_multi_writer else Mode.SINGLE_NODE_WRITER
    return Mode.MULTI_NODE_READER_ONLY if "ReadOnlyMany" in modes else Mode.UNKNOWN


def pod_info(pod: corev1.Pod, source: CsiSource) -> dict[str, str]:
    """What a driver is told of the Pod, where it asks for that (podInfoOnMount)."""
    metadata = pod.metadata
    return {
        f"{POD_INFO}pod.name": metadata.name,
        f"{POD_INFO}pod.namespace": metadata.namespace,
        f"{POD_INFO}pod.uid": metadata.uid,
        f"{POD_INFO}serviceAccount.name": pod.spec.service_account_name,
        f"{POD_INFO}ephemeral": "true" if source.mode == EPHEMERAL else "false",
    }


def refusal(driver: storagev1.CSIDriver, source: CsiSource) -> str:
    """Why a driver's volumes cannot be used so; "" where they can."""
    modes = list(driver.spec.volume_lifecycle_modes) or [PERSISTENT]
    if source.mode in modes:
        return ""
    return f"volume mode {source.mode} not supported by driver {source.driver}, which has {', '.join(modes)}"


def changes_group(driver: storagev1.CSIDriver, source: CsiSource) -> bool:
    """Whether the kubelet gives the files to the Pod's group (fsGroupPolicy)."""
    if driver.spec.fs_group_policy in (FS_BY_FILE, FS_NONE):
        return driver.spec.fs_group_policy == FS_BY_FILE
    return bool(source.fs_type) and "ReadWriteOnce" in source.access_modes


@dataclass(frozen=True, slots=True)
class VolumeData:
    """What is kept on disk beside a volume, so that it can be given up after any crash. staging: "" for not at all.

    target: where it is published; "" for the volume's own directory.
    """

    driver: str
    handle: str
    staging: str
    target: str = ""

    def write(self) -> bytes:
        """As the file has it."""
        return orjson.dumps(asdict(self))

    @classmethod
    def read(cls, data: bytes) -> "VolumeData":
        """Raises ValueError for what `write` did not write."""
        try:
            found = orjson.loads(data)
        except orjson.JSONDecodeError as failure:
            raise ValueError(f"no description of a CSI volume: {failure}") from None
        if not isinstance(found, dict) or not all(isinstance(found.get(name, ""), str) for name in cls.__slots__):
            raise ValueError("no description of a CSI volume")
        if not {"driver", "handle", "staging"} <= found.keys():
            raise ValueError("no description of a CSI volume")
        return cls(found["driver"], found["handle"], found["staging"], found.get("target", ""))
