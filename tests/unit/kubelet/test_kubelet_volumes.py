"""Volumes on a real file system."""

import os
import stat
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.abilities import Abilities
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.core.references import ConfigError, NodeContext
from navarch.services.kubelet.core.volume_content import File
from navarch.services.kubelet.volumes import atomic
from navarch.services.kubelet.volumes.container_mounts import ContainerMounts
from navarch.services.kubelet.volumes.host_path import check_host_path
from navarch.services.kubelet.volumes.manager import VolumeManager
from navarch.services.kubelet.volumes.ownership import give_to_group
from navarch.services.kubelet.volumes.removal import remove_tree

MakePod = Callable[..., corev1.Pod]
NODE = NodeContext("n1", ("192.0.2.1",), 4000, 8 << 30)


class Objects:
    """A lookup over what a test puts in."""

    def __init__(self) -> None:
        self.maps: dict[str, dict[str, str]] = {"conf": {"a": "1", "b": "2"}}

    def config_map(self, namespace: str, name: str) -> corev1.ConfigMap | None:
        return corev1.ConfigMap(data=self.maps[name]) if name in self.maps else None

    def secret(self, namespace: str, name: str) -> corev1.Secret | None:
        return corev1.Secret(data={"pw": b"hunter2"}) if name == "sec" else None

    def services(self) -> Sequence[corev1.Service]:
        return ()


@pytest.fixture
def objects() -> Objects:
    return Objects()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(PurePosixPath(tmp_path))


class NoClaims:
    """Volumes without claims."""

    async def find(self, pod: corev1.Pod, volume: corev1.Volume) -> None:
        return None


class Tokens:
    """A token that says what it is for."""

    async def token(self, pod: corev1.Pod, projection: corev1.ServiceAccountTokenProjection) -> str:
        return f"{pod.metadata.name} for {projection.audience}"


@pytest.fixture
def volumes(layout: Layout, objects: Objects) -> VolumeManager:
    return VolumeManager(layout, objects, NODE, NoClaims(), Tokens(), can_mount=False)


@pytest.fixture
def mounts(layout: Layout, objects: Objects, volumes: VolumeManager) -> ContainerMounts:
    return ContainerMounts(layout, objects, NODE, volumes, can_mount=False)


def with_volume(pod: MakePod, source: dict[str, Any], *mounts: dict[str, Any], **spec: Any) -> corev1.Pod:
    container = {"name": "main", "image": "a", "volumeMounts": [{"name": "v", "mountPath": "/v"}, *mounts]}
    return pod(containers=[container], volumes=[{"name": "v", **source}], **spec)


Mounted = Callable[[corev1.Pod], Awaitable[dict[str, criv1.Mount]]]


@pytest.fixture
def mounted(volumes: VolumeManager, mounts: ContainerMounts) -> Mounted:
    """By the path in the container: what a Pod's first container gets once its volumes are made."""

    async def make(pod: corev1.Pod) -> dict[str, criv1.Mount]:
        await volumes.prepare(pod, "stamp")
        found = mounts.mounts(pod, pod.spec.containers[0], 0, ("10.0.0.7",), Abilities(), {})
        return {mount.container_path: mount for mount in found}

    return make


def content(directory: str | Path) -> dict[str, str]:
    root = Path(directory)
    return {entry.name: entry.read_text() for entry in root.iterdir() if not entry.name.startswith("..")}


FILES = {"a": File(b"1", 0o640), "sub/b": File(b"2", 0o600)}


def test_an_atomic_directory_has_the_layout_that_pods_know(tmp_path: Path) -> None:
    assert atomic.write(tmp_path, FILES, "one")
    assert os.readlink(tmp_path / "..data") == "..one"
    assert os.readlink(tmp_path / "a") == "..data/a"
    assert (tmp_path / "sub" / "b").read_text() == "2"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_the_same_files_are_not_written_again(tmp_path: Path) -> None:
    atomic.write(tmp_path, FILES, "one")
    assert not atomic.write(tmp_path, FILES, "two")
    assert os.readlink(tmp_path / "..data") == "..one"


def test_an_update_replaces_everything_and_leaves_no_trace_of_before(tmp_path: Path) -> None:
    atomic.write(tmp_path, FILES, "one")
    held = (tmp_path / "a").open()
    assert atomic.write(tmp_path, {"a": File(b"new", 0o644), "c": File(b"3", 0o644)}, "two")
    assert content(tmp_path) == {"a": "new", "c": "3"}
    assert held.read() == "1"
    held.close()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["..data", "..two", "a", "c"]


def test_an_interrupted_update_is_repaired(tmp_path: Path) -> None:
    atomic.write(tmp_path, FILES, "one")
    (tmp_path / "..half").mkdir()
    (tmp_path / "..half" / "x").write_text("half")
    (tmp_path / "..data_tmp").symlink_to("..half")
    (tmp_path / "a").unlink()
    atomic.write(tmp_path, {"a": File(b"new", 0o644)}, "two")
    assert content(tmp_path) == {"a": "new"}
    assert not (tmp_path / "..half").exists()


async def test_a_config_map_volume_and_its_update(
    volumes: VolumeManager, objects: Objects, pod: MakePod, mounted: Mounted
) -> None:
    made = with_volume(pod, {"configMap": {"name": "conf"}})
    path = (await mounted(made))["/v"].host_path
    assert content(path) == {"a": "1", "b": "2"}
    objects.maps["conf"] = {"a": "9"}
    await volumes.refresh(made, "later")
    assert content(path) == {"a": "9"}
    del objects.maps["conf"]
    await volumes.refresh(made, "last")
    assert content(path) == {"a": "9"}


async def test_items_choose_paths_and_modes(pod: MakePod, mounted: Mounted) -> None:
    items = [{"key": "pw", "path": "deep/password", "mode": 0o400}]
    made = with_volume(pod, {"secret": {"secretName": "sec", "items": items}})
    file = Path((await mounted(made))["/v"].host_path) / "deep" / "password"
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("hunter2", 0o400)


async def test_projected_and_downward_volumes(pod: MakePod, mounted: Mounted) -> None:
    sources = [
        {"configMap": {"name": "conf", "items": [{"key": "a", "path": "a"}]}},
        {"secret": {"name": "sec"}},
        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"configMap": {"name": "absent", "optional": True}},
    ]
    made = with_volume(pod, {"projected": {"sources": sources}})
    assert content((await mounted(made))["/v"].host_path) == {"a": "1", "pw": "hunter2", "name": "web"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMap": {"name": "no"}}, 'MountVolume.SetUp failed for volume "v" : configmap "no" not found'),
        ({"secret": {"secretName": "no"}}, 'MountVolume.SetUp failed for volume "v" : secret "no" not found'),
        ({"configMap": {"name": "conf", "items": [{"key": "z", "path": "z"}]}}, "non-existent config key: z"),
        ({"configMap": {"name": "conf", "items": [{"key": "a", "path": "../up"}]}}, "invalid path"),
        ({"hostPath": {"path": "/does/not/exist", "type": "Directory"}}, "is not a directory"),
        ({"iscsi": {"targetPortal": "t", "iqn": "q", "lun": 0}}, "volume type iscsi is not supported"),
    ],
)
async def test_a_volume_that_cannot_be_made_says_why(
    volumes: VolumeManager, pod: MakePod, source: Any, message: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        await volumes.prepare(with_volume(pod, source), "stamp")
    assert message in str(refusal.value)


async def test_an_empty_dir_lives_until_the_pod_ends(
    volumes: VolumeManager, layout: Layout, pod: MakePod, mounted: Mounted
) -> None:
    made = with_volume(pod, {"emptyDir": {}})
    path = Path((await mounted(made))["/v"].host_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o777
    (path / "kept").write_text("x")
    await volumes.prepare(made, "again")
    assert (path / "kept").exists()
    await volumes.release(made, everything=False)
    assert not path.exists()
    assert Path(layout.log_directory(made)).exists()
    await volumes.refresh(made, "late")
    assert not path.exists()
    await volumes.release(made, everything=True)
    assert not Path(layout.pod("uid-web")).exists()
    assert not Path(layout.log_directory(made)).exists()
    await volumes.release(made, everything=True)


@pytest.mark.parametrize(("sub_path", "found"), [("a", "file"), ("new/dir", "directory")])
async def test_sub_paths(pod: MakePod, sub_path: str, found: str, mounted: Mounted) -> None:
    made = with_volume(pod, {"configMap": {"name": "conf"}}, {"name": "v", "mountPath": "/s", "subPath": sub_path})
    path = Path((await mounted(made))["/s"].host_path)
    assert path.is_file() if found == "file" else path.is_dir()


async def test_a_sub_path_stays_in_its_volume(
    volumes: VolumeManager, pod: MakePod, mounted: Mounted, mounts: ContainerMounts
) -> None:
    made = with_volume(pod, {"emptyDir": {}}, {"name": "v", "mountPath": "/s", "subPath": "link/x"})
    await volumes.prepare(made, "stamp")
    (Path((await mounted(with_volume(pod, {"emptyDir": {}})))["/v"].host_path) / "link").symlink_to("/etc")
    with pytest.raises(ConfigError, match="leads out of"):
        mounts.mounts(made, made.spec.containers[0], 0, (), Abilities(), {})


async def test_every_container_gets_hosts_and_a_place_for_its_last_words(pod: MakePod, mounted: Mounted) -> None:
    made = pod(containers=[{"name": "main", "image": "a", "terminationMessagePath": "/dev/termination-log"}])
    found = await mounted(made)
    assert "10.0.0.7\tweb\n" in Path(found["/etc/hosts"].host_path).read_text()
    words = Path(found["/dev/termination-log"].host_path)
    assert stat.S_IMODE(words.stat().st_mode) == 0o666


async def test_a_mount_of_the_pods_own_wins_over_ours(
    volumes: VolumeManager, pod: MakePod, mounts: ContainerMounts
) -> None:
    made = with_volume(pod, {"emptyDir": {}}, {"name": "v", "mountPath": "/etc/hosts"})
    await volumes.prepare(made, "stamp")
    paths = [mount.container_path for mount in mounts.mounts(made, made.spec.containers[0], 0, (), Abilities(), {})]
    assert paths.count("/etc/hosts") == 1


@pytest.mark.parametrize(
    ("type_", "made", "refused"),
    [
        ("", None, False),
        ("DirectoryOrCreate", "directory", False),
        ("FileOrCreate", "file", False),
        ("Directory", None, True),
        ("File", None, True),
        ("Socket", None, True),
        ("CharDevice", None, True),
        ("BlockDevice", None, True),
    ],
)
def test_host_path_types(tmp_path: Path, type_: str, made: str | None, refused: bool) -> None:
    target = tmp_path / "x"
    if refused:
        with pytest.raises(ConfigError, match="hostPath type check failed"):
            check_host_path(str(target), type_)
        return
    check_host_path(str(target), type_)
    assert {"directory": target.is_dir(), "file": target.is_file(), None: not target.exists()}[made]


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    check_host_path(str(tmp_path), "Directory")
    check_host_path("/dev/null", "CharDevice")
    with pytest.raises(ConfigError, match="is not a file"):
        check_host_path(str(tmp_path), "File")


async def test_directories_of_unknown_pods_are_removed(volumes: VolumeManager, layout: Layout, pod: MakePod) -> None:
    for name in ("one", "two"):
        await volumes.prepare(pod(name), "stamp")
    assert await volumes.remove_orphans(lambda: {"uid-one"})
    assert [entry.name for entry in Path(layout.pods).iterdir()] == ["uid-one"]
    assert [entry.name for entry in Path(layout.logs).iterdir()] == ["default_one_uid-one"]


async def test_a_token_for_the_pod_alone(pod: MakePod, mounted: Mounted) -> None:
    source = {"projected": {"sources": [{"serviceAccountToken": {"path": "deep/token", "audience": "vault"}}]}}
    made = with_volume(pod, source, securityContext={"fsGroup": os.getgid()})
    file = Path((await mounted(made))["/v"].host_path) / "deep" / "token"
    assert file.read_text() == "web for vault"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_the_group_of_a_pod_gets_all_files_and_follows_no_link(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "volume"
    outside.write_text("x")
    outside.chmod(0o600)
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "file").write_text("y")
    (root / "sub" / "file").chmod(0o600)
    (root / "link").symlink_to(outside)
    give_to_group(root, os.getgid())
    assert stat.S_IMODE((root / "sub" / "file").stat().st_mode) == 0o660
    assert stat.S_IMODE((root / "sub").stat().st_mode) & 0o2070 == 0o2070
    assert stat.S_IMODE(outside.stat().st_mode) == 0o600
    (root / "sub" / "file").chmod(0o600)
    give_to_group(root, os.getgid(), on_root_mismatch=True)
    assert stat.S_IMODE((root / "sub" / "file").stat().st_mode) == 0o600


def test_a_tree_is_removed_with_its_links_and_not_what_they_name(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "link").symlink_to(kept)
    remove_tree(tree)
    assert not tree.exists()
    assert (kept / "file").exists()
    remove_tree(tree)
