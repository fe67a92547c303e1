"""Volumes on a real file system."""

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.core.references import ConfigError, NodeContext
from navarch.services.kubelet.core.volume_content import File
from navarch.services.kubelet.volumes import atomic
from navarch.services.kubelet.volumes.host_path import check_host_path
from navarch.services.kubelet.volumes.manager import VolumeManager

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


@pytest.fixture
def volumes(layout: Layout, objects: Objects) -> VolumeManager:
    return VolumeManager(layout, objects, NODE, can_mount=False)


def with_volume(pod: MakePod, source: dict[str, Any], *mounts: dict[str, Any], **spec: Any) -> corev1.Pod:
    container = {"name": "main", "image": "a", "volumeMounts": [{"name": "v", "mountPath": "/v"}, *mounts]}
    return pod(containers=[container], volumes=[{"name": "v", **source}], **spec)


def mounted(volumes: VolumeManager, pod: corev1.Pod) -> dict[str, criv1.Mount]:
    volumes.prepare(pod, "stamp")
    return {mount.container_path: mount for mount in volumes.mounts(pod, pod.spec.containers[0], 0, ("10.0.0.7",))}


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


def test_a_config_map_volume_and_its_update(volumes: VolumeManager, objects: Objects, pod: MakePod) -> None:
    made = with_volume(pod, {"configMap": {"name": "conf"}})
    path = mounted(volumes, made)["/v"].host_path
    assert content(path) == {"a": "1", "b": "2"}
    objects.maps["conf"] = {"a": "9"}
    volumes.refresh(made, "later")
    assert content(path) == {"a": "9"}
    del objects.maps["conf"]
    volumes.refresh(made, "last")
    assert content(path) == {"a": "9"}


def test_items_choose_paths_and_modes(volumes: VolumeManager, pod: MakePod) -> None:
    items = [{"key": "pw", "path": "deep/password", "mode": 0o400}]
    made = with_volume(pod, {"secret": {"secretName": "sec", "items": items}})
    file = Path(mounted(volumes, made)["/v"].host_path) / "deep" / "password"
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("hunter2", 0o400)


def test_projected_and_downward_volumes(volumes: VolumeManager, pod: MakePod) -> None:
    sources = [
        {"configMap": {"name": "conf", "items": [{"key": "a", "path": "a"}]}},
        {"secret": {"name": "sec"}},
        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"configMap": {"name": "absent", "optional": True}},
    ]
    made = with_volume(pod, {"projected": {"sources": sources}})
    assert content(mounted(volumes, made)["/v"].host_path) == {"a": "1", "pw": "hunter2", "name": "web"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMap": {"name": "no"}}, 'MountVolume.SetUp failed for volume "v" : configmap "no" not found'),
        ({"secret": {"secretName": "no"}}, 'MountVolume.SetUp failed for volume "v" : secret "no" not found'),
        ({"configMap": {"name": "conf", "items": [{"key": "z", "path": "z"}]}}, "non-existent config key: z"),
        ({"configMap": {"name": "conf", "items": [{"key": "a", "path": "../up"}]}}, "invalid path"),
        ({"hostPath": {"path": "/does/not/exist", "type": "Directory"}}, "is not a directory"),
        ({"nfs": {"server": "s", "path": "/"}}, "volume type nfs is not supported"),
    ],
)
def test_a_volume_that_cannot_be_made_says_why(volumes: VolumeManager, pod: MakePod, source: Any, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        volumes.prepare(with_volume(pod, source), "stamp")
    assert message in str(refusal.value)


def test_an_empty_dir_lives_as_long_as_the_pod(volumes: VolumeManager, layout: Layout, pod: MakePod) -> None:
    made = with_volume(pod, {"emptyDir": {}})
    path = Path(mounted(volumes, made)["/v"].host_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o777
    (path / "kept").write_text("x")
    volumes.prepare(made, "again")
    volumes.release(made, everything=False)
    assert (path / "kept").exists()
    volumes.release(made, everything=True)
    assert not Path(layout.pod("uid-web")).exists()
    assert not Path(layout.log_directory(made)).exists()
    volumes.release(made, everything=True)


@pytest.mark.parametrize(("sub_path", "found"), [("a", "file"), ("new/dir", "directory")])
def test_sub_paths(volumes: VolumeManager, pod: MakePod, sub_path: str, found: str) -> None:
    made = with_volume(pod, {"configMap": {"name": "conf"}}, {"name": "v", "mountPath": "/s", "subPath": sub_path})
    path = Path(mounted(volumes, made)["/s"].host_path)
    assert path.is_file() if found == "file" else path.is_dir()


def test_a_sub_path_stays_in_its_volume(volumes: VolumeManager, pod: MakePod) -> None:
    made = with_volume(pod, {"emptyDir": {}}, {"name": "v", "mountPath": "/s", "subPath": "link/x"})
    volumes.prepare(made, "stamp")
    (Path(mounted(volumes, with_volume(pod, {"emptyDir": {}}))["/v"].host_path) / "link").symlink_to("/etc")
    with pytest.raises(ConfigError, match="leads out of its volume"):
        volumes.mounts(made, made.spec.containers[0], 0, ())


def test_every_container_gets_hosts_and_a_place_for_its_last_words(volumes: VolumeManager, pod: MakePod) -> None:
    made = pod(containers=[{"name": "main", "image": "a", "terminationMessagePath": "/dev/termination-log"}])
    mounts = mounted(volumes, made)
    assert "10.0.0.7\tweb\n" in Path(mounts["/etc/hosts"].host_path).read_text()
    words = Path(mounts["/dev/termination-log"].host_path)
    assert stat.S_IMODE(words.stat().st_mode) == 0o666


def test_a_mount_of_the_pods_own_wins_over_ours(volumes: VolumeManager, pod: MakePod) -> None:
    made = with_volume(pod, {"emptyDir": {}}, {"name": "v", "mountPath": "/etc/hosts"})
    volumes.prepare(made, "stamp")
    paths = [mount.container_path for mount in volumes.mounts(made, made.spec.containers[0], 0, ())]
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


def test_directories_of_unknown_pods_are_removed(volumes: VolumeManager, layout: Layout, pod: MakePod) -> None:
    for name in ("one", "two"):
        volumes.prepare(pod(name), "stamp")
    volumes.remove_orphans({"uid-one"})
    assert [entry.name for entry in Path(layout.pods).iterdir()] == ["uid-one"]
    assert [entry.name for entry in Path(layout.logs).iterdir()] == ["default_one_uid-one"]
