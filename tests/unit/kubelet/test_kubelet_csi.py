"""What CSI drivers are asked, and which plugins are taken."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from navarch.protos.csi import v1_pb2 as csiv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.storage import v1_pb2 as storagev1
from navarch.services.base.clock import VirtualClock
from navarch.services.kubelet.core import csi_volumes as core
from navarch.services.kubelet.core.csi_volumes import CsiSource, SecretName, VolumeData
from navarch.services.kubelet.volumes.csi_usage import CsiUsage
from navarch.services.kubelet.volumes.kinds import MountFailure

MakePod = Callable[..., corev1.Pod]
Mode = csiv1.VolumeCapability.AccessMode


def persistent(*modes: str, **csi: Any) -> corev1.PersistentVolume:
    volume = corev1.PersistentVolume()
    volume.spec.access_modes.extend(modes or ("ReadWriteOnce",))
    volume.spec.mount_options.append("noatime")
    source = volume.spec.persistent_volume_source.csi
    source.driver, source.volume_handle = "d.example.com", "handle"
    for name, value in csi.items():
        setattr(source, name, value)
    source.node_stage_secret_ref.namespace, source.node_stage_secret_ref.name = "kube-system", "key"
    return volume


@pytest.mark.parametrize(
    ("modes", "knows_more", "expected"),
    [
        (["ReadWriteOnce"], False, Mode.SINGLE_NODE_WRITER),
        (["ReadWriteOnce"], True, Mode.SINGLE_NODE_MULTI_WRITER),
        (["ReadWriteOncePod"], False, Mode.SINGLE_NODE_WRITER),
        (["ReadWriteOncePod"], True, Mode.SINGLE_NODE_SINGLE_WRITER),
        (["ReadOnlyMany"], False, Mode.MULTI_NODE_READER_ONLY),
        (["ReadOnlyMany", "ReadWriteOnce"], False, Mode.SINGLE_NODE_WRITER),
        (["ReadWriteOnce", "ReadWriteMany"], True, Mode.MULTI_NODE_MULTI_WRITER),
        ([], False, Mode.UNKNOWN),
    ],
)
def test_access_modes(modes: list[str], knows_more: bool, expected: int) -> None:
    assert core.access_mode(modes, single_node_multi_writer=knows_more) == expected


def test_a_persistent_volume() -> None:
    source = core.persistent_source(persistent(fs_type="xfs"), read_only=True)
    assert (source.driver, source.handle, source.mode, source.read_only) == (
        "d.example.com",
        "handle",
        "Persistent",
        True,
    )
    assert (source.stage_secret, source.publish_secret) == (SecretName("kube-system", "key"), None)
    assert source.unique_name == "kubernetes.io/csi/d.example.com^handle"
    wanted = core.capability(source, 42, single_node_multi_writer=False)
    assert (wanted.mount.fs_type, list(wanted.mount.mount_flags)) == ("xfs", ["noatime"])
    assert wanted.mount.volume_mount_group == "42"


def test_names_are_those_of_kubernetes() -> None:
    source = core.persistent_source(persistent(), read_only=False)
    hashed = sha256(b"handle").hexdigest()
    assert str(source.staging(Path("/k"))) == f"/k/plugins/kubernetes.io/csi/d.example.com/{hashed}/globalmount"
    assert source.attachment("n1") == f"csi-{sha256(b'handled.example.comn1').hexdigest()}"


def test_volumes_of_a_pods_own_differ_by_pod_and_volume(pod: MakePod) -> None:
    def inline(uid: str, volume: str) -> CsiSource:
        made = pod(volumes=[{"name": volume, "csi": {"driver": "d", "nodePublishSecretRef": {"name": "s"}}}])
        made.metadata.uid = uid
        return core.inline_source(made, made.spec.volumes[0])

    sources = [inline("a", "v"), inline("b", "v"), inline("a", "w")]
    assert len({source.handle for source in sources}) == 3
    assert all(source.handle.startswith("csi-") for source in sources)
    assert sources[0].publish_secret == SecretName("default", "s")
    assert core.pod_info(pod(), sources[0])["csi.storage.k8s.io/ephemeral"] == "true"


@pytest.mark.parametrize(
    ("modes", "mode", "refused"),
    [
        ([], "Persistent", False),
        ([], "Ephemeral", True),
        (["Ephemeral"], "Persistent", True),
        (["Persistent", "Ephemeral"], "Ephemeral", False),
    ],
)
def test_drivers_say_what_their_volumes_are_for(modes: list[str], mode: str, refused: bool) -> None:
    driver = storagev1.CSIDriver()
    driver.spec.volume_lifecycle_modes.extend(modes)
    assert bool(core.refusal(driver, CsiSource("d", "h", mode))) is refused


@pytest.mark.parametrize(
    ("policy", "fs_type", "modes", "expected"),
    [
        ("", "ext4", ("ReadWriteOnce",), True),
        ("ReadWriteOnceWithFSType", "", ("ReadWriteOnce",), False),
        ("ReadWriteOnceWithFSType", "ext4", ("ReadWriteMany",), False),
        ("File", "", ("ReadWriteMany",), True),
        ("None", "ext4", ("ReadWriteOnce",), False),
    ],
)
def test_who_gives_the_files_to_the_group(policy: str, fs_type: str, modes: tuple[str, ...], expected: bool) -> None:
    driver = storagev1.CSIDriver()
    driver.spec.fs_group_policy = policy
    source = CsiSource("d", "h", "Persistent", fs_type=fs_type, access_modes=modes)
    assert core.changes_group(driver, source) is expected


def test_what_is_kept_of_a_volume_is_read_back() -> None:
    data = VolumeData("d", "h", "/staging")
    assert VolumeData.read(data.write()) == data


@pytest.mark.parametrize("bad", [b"", b"{", b"[]", b'{"driver": "d"}', b'{"driver": 1, "handle": "h", "staging": ""}'])
def test_what_is_damaged_is_no_description(bad: bytes) -> None:
    with pytest.raises(ValueError, match="no description of a CSI volume"):
        VolumeData.read(bad)


def test_what_an_older_kubelet_wrote_is_read() -> None:
    assert VolumeData.read(b'{"driver": "d", "handle": "h", "staging": ""}') == VolumeData("d", "h", "", "")


def test_a_block_device_has_no_file_system() -> None:
    source = core.persistent_source(persistent(fs_type="xfs"), read_only=False)
    wanted = core.capability(source, 42, single_node_multi_writer=False, block=True)
    assert wanted.HasField("block")
    assert not wanted.HasField("mount")
    root = Path("/k/plugins/kubernetes.io/csi/volumeDevices")
    assert core.device_staging(Path("/k"), "pv-1") == root / "staging/pv-1"
    assert core.device_target(Path("/k"), "pv-1", "u-1") == root / "publish/pv-1/u-1"


@pytest.mark.parametrize(
    ("has", "told", "expected"),
    [("2Gi", "1Gi", 2 << 30), ("1Gi", "1Gi", 0), ("1Gi", "2Gi", 0), ("1Gi", "", 0), ("", "1Gi", 0)],
)
def test_growth(has: str, told: str, expected: int) -> None:
    volume, claim = persistent(), corev1.PersistentVolumeClaim()
    for capacity, text in ((volume.spec.capacity, has), (claim.status.capacity, told)):
        if text:
            capacity["storage"].string = text
    assert core.growth_bytes(volume, claim) == expected


def test_tokens_are_told_by_audience() -> None:
    assert core.token_attributes({}) == {}
    shown = core.token_attributes({"vault": ("t", 1_700_000_000.0), "": ("u", 0.0)})
    assert orjson.loads(shown["csi.storage.k8s.io/serviceAccount.tokens"]) == {
        "vault": {"token": "t", "expirationTimestamp": "2023-11-14T22:13:20Z"},
        "": {"token": "u", "expirationTimestamp": "1970-01-01T00:00:00Z"},
    }


class Measured:
    """Volumes of which a driver tells, when it does not fail."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.fails = False
        self.asked: list[str] = []

    def measurable(self) -> dict[tuple[str, str], Any]:
        stub = SimpleNamespace(NodeGetVolumeStats=None)
        driver = SimpleNamespace(name="d", stub=stub, call=self._call)
        return {("uid", name): (driver, csiv1.NodeGetVolumeStatsRequest(volume_id=name)) for name in self.names}

    async def _call(self, method: Any, request: csiv1.NodeGetVolumeStatsRequest) -> csiv1.NodeGetVolumeStatsResponse:
        self.asked.append(request.volume_id)
        if self.fails:
            raise MountFailure("it is away")
        bytes_ = csiv1.VolumeUsage(unit=csiv1.VolumeUsage.BYTES, total=10, used=-3, available=7)
        return csiv1.NodeGetVolumeStatsResponse(usage=[bytes_])


async def test_drivers_are_asked_each_minute_how_full_their_volumes_are() -> None:
    clock, volumes = VirtualClock(), Measured("a")
    usage = CsiUsage(volumes, clock)
    await usage.look()
    known = usage.known()["uid", "a"]
    assert (known.capacity_bytes, known.used_bytes, known.available_bytes) == (10, 0, 7)
    assert not known.HasField("inodes")
    volumes.names.append("b")
    await usage.look()
    assert volumes.asked == ["a", "b"]
    clock.advance(60)
    volumes.names.remove("a")
    volumes.fails = True
    await usage.look()
    assert volumes.asked == ["a", "b", "b"]
    assert usage.known() == {}
