"""Documents of images, which come from strangers: read, or refused as bad input."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.protos.containerd.services.snapshots import v1_pb2 as snapshotsv1
from navarch.runtime_shim.containerd.images import archive, model
from navarch.runtime_shim.containerd.images.archive import Archive
from navarch.runtime_shim.containerd.images.hosts import Host
from navarch.runtime_shim.containerd.images.usage import KEPT_NS, DiskUsage, SnapshotUsages
from navarch.runtime_shim.containerd.rootpath import resolved
from navarch.runtime_shim.errors import InvalidArgument, NotFound

DIGEST = "sha256:" + "0" * 64
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(DIGEST)
NAMES = st.sampled_from(
    ["config", "rootfs", "diff_ids", "Entrypoint", "Cmd", "Env", "WorkingDir", "User", "Volumes", "layers", "size",
     "digest", "annotations", "platform", "manifests", "schemaVersion", "mediaType"]
)  # fmt: skip
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5))


@given(st.dictionaries(NAMES, JSON), st.booleans())
def test_any_json_is_read_or_refused(document: dict[str, Any], is_current: bool) -> None:
    if is_current:
        document["schemaVersion"] = 2
    for read in (model.ImageConfig.read, model.Manifest.read, model.index_entries, model.Descriptor.read):
        try:
            read(document)
        except InvalidArgument as refusal:
            assert len(str(refusal)) < 1000


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        ({"Entrypoint": "/bin/sh"}, "Entrypoint is '/bin/sh'"),
        ({"Env": 5}, "Env is 5"),
        ({"Cmd": [1]}, r"Cmd is \[1\]"),
        ({"User": {}}, "User is {}"),
        ({"Volumes": []}, r"Volumes is \[\]"),
        ([], r"config is \[\]"),
    ],
)
def test_a_refusal_names_what_is_wrong(inner: object, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        model.ImageConfig.read({"config": inner, "rootfs": {"diff_ids": [DIGEST]}})


def test_null_is_nothing() -> None:
    config = model.ImageConfig.read({"config": {"Cmd": None, "Volumes": None}, "rootfs": {"diff_ids": [DIGEST]}})
    assert (config.cmd, config.volumes) == ((), ())


def test_credentials_of_a_mirror_are_not_shown() -> None:
    assert Host("https://user:secret@mirror.example:5000/v2").authority == "mirror.example:5000"


def test_an_archive_of_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_MEMBERS", 3)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number in range(4):
            tar.addfile(tarfile.TarInfo(str(number)))
    with pytest.raises(InvalidArgument, match="more than 3 members"):
        Archive(tmp_path / "a.tar")


def test_an_archive_with_a_header_that_fills_the_memory(tmp_path: Path) -> None:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 1 << 30
    (tmp_path / "a.tar").write_bytes(header.tobuf() + bytes(10 << 20))
    with pytest.raises(InvalidArgument, match="headers has 1073741824 bytes"):
        Archive(tmp_path / "a.tar")


def test_links_stay_in_a_foreign_tree(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("theirs")
    for name, target in (("abs", "/etc/passwd"), ("up", "../../../etc/passwd"), ("round", "round"), ("dir", "/etc")):
        (tmp_path / name).symlink_to(target)
    for name in ("abs", "up", "dir/passwd", "../../etc/passwd", "/etc/passwd"):
        assert resolved(tmp_path, name) == tmp_path / "etc/passwd"
    assert resolved(tmp_path, "round") is None


class Snapshots:
    """containerd's service, as far as it is asked."""

    def __init__(self) -> None:
        self.infos: dict[str, snapshotsv1.Info] = {}
        self.asked: list[str] = []

    async def List(self, _: object) -> Any:
        yield snapshotsv1.ListSnapshotsResponse(info=self.infos.values())

    async def Usage(self, request: snapshotsv1.UsageRequest) -> snapshotsv1.UsageResponse:
        self.asked.append(request.key)
        if request.key == "gone":
            raise NotFound("gone")
        return snapshotsv1.UsageResponse(size=10, inodes=1)


class Content:
    async def List(self, _: object) -> Any:
        for nothing in ():
            yield nothing


class Client:
    def __init__(self) -> None:
        self.snapshots, self.content = Snapshots(), Content()


async def test_what_images_and_containers_take() -> None:
    client = Client()
    usages = SnapshotUsages(client, "overlayfs")  # type: ignore[arg-type]
    usage = DiskUsage(client, usages, Path("/here"))  # type: ignore[arg-type]
    empty = await usage.read(1)
    for listed in (empty.image_filesystems, empty.container_filesystems):
        (one,) = listed
        # A kubelet looks into them unasked.
        assert one.HasField("used_bytes")
        assert one.HasField("inodes_used")
    kinds = {"layer": snapshotsv1.Kind.COMMITTED, "container": snapshotsv1.Kind.ACTIVE, "gone": snapshotsv1.Kind.ACTIVE}
    client.snapshots.infos = {name: snapshotsv1.Info(name=name, kind=kind) for name, kind in kinds.items()}
    for now_ns in (2, 3, KEPT_NS + 2):
        found = await usage.read(now_ns)
        (images,), (containers,) = found.image_filesystems, found.container_filesystems
        assert (images.used_bytes.value, containers.used_bytes.value) == (10, 10)
    assert sorted(client.snapshots.asked) == ["container"] * 2 + ["gone"] * 3 + ["layer"]
    await usages.of("container", KEPT_NS + 2, kept_ns=0)
    assert client.snapshots.asked.count("container") == 3


def test_one_blob_of_an_archive_may_be_large(tmp_path: Path) -> None:
    """The bound is of headers, not of what they are about."""
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        big = tarfile.TarInfo("blobs/sha256/x")
        big.size = model.DOCUMENT_BYTES * 2
        tar.addfile(big, io.BytesIO(bytes(big.size)))
    with pytest.raises(InvalidArgument, match="neither index.json nor manifest.json"):
        Archive(tmp_path / "a.tar")
