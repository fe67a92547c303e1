"""What CSI drivers are asked, and which plugins are taken."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from navarch.protos.csi import v1_pb2 as csiv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.storage import v1_pb2 as storagev1
from navarch.services.kubelet.core import csi_volumes as core
from navarch.services.kubelet.core.csi_volumes import CsiSource, SecretName, VolumeData

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
