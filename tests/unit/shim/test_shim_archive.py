"""Image archives, whole and broken."""

import gzip
import importlib.util
import io
import json
import tarfile
from pathlib import Path

import pytest
import zstandard

from navarch.runtime_shim.containerd.images.archive import Archive
from navarch.runtime_shim.containerd.images.model import Manifest, parse_json
from navarch.runtime_shim.errors import InvalidArgument

BUILDER = Path(__file__).parents[3] / "k8s-lab" / "images" / "busybox_image.py"


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = importlib.util.spec_from_file_location("busybox_image", BUILDER)
    assert spec is not None
    assert spec.loader is not None
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    path = tmp_path_factory.mktemp("archive") / "layout.tar"
    builder.build(path, "docker.io/library/hello:1")
    again = path.with_name("again.tar")
    builder.build(again, "docker.io/library/hello:1")
    assert path.read_bytes() == again.read_bytes()
    return path


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_an_oci_layout(layout: Path, tmp_path: Path, compression: str) -> None:
    data = layout.read_bytes()
    packed = {"none": data, "gzip": gzip.compress(data), "zstd": zstandard.compress(data)}[compression]
    path = tmp_path / "archive"
    path.write_bytes(packed)
    archive = Archive(path)
    (image,) = archive.images
    assert image.names == ("docker.io/library/hello:1",)
    manifest = Manifest.read(parse_json(archive.document(image.target.digest), "manifest"))
    assert archive.size(manifest.config.digest) == manifest.config.size
    assert sum(map(len, archive.chunks(manifest.layers[0].digest))) == manifest.layers[0].size
    archive.close()


def test_a_docker_archive(tmp_path: Path) -> None:
    entry = {"Config": "config.json", "RepoTags": ["hello:2"], "Layers": ["1/layer.tar", "2/layer.tar"]}
    members = {
        "manifest.json": json.dumps([entry]).encode(),
        "config.json": b"{}",
        "1/layer.tar": b"plain",
        "2/layer.tar": gzip.compress(b"packed"),
    }
    archive = Archive(tar(tmp_path / "docker.tar", members))
    (image,) = archive.images
    assert image.names == ("hello:2",)
    manifest = Manifest.read(parse_json(archive.document(image.target.digest), "manifest"))
    assert [layer.media_type.rpartition(".")[2] for layer in manifest.layers] == ["tar", "tar+gzip"]
    assert b"".join(archive.chunks(manifest.layers[0].digest)) == b"plain"
    archive.close()


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"other": b""}, "neither index.json nor manifest.json"),
        ({"index.json": b"{"}, "index.json is not JSON"),
        ({"index.json": b"[]"}, "not a JSON object"),
        ({"index.json": b'{"manifests": [{"digest": "sha256:../../etc", "size": 1}]}'}, "unsupported digest"),
        ({"manifest.json": b'[{"Config": "c", "Layers": []}]'}, "names 'c', which is not in it"),
        ({"manifest.json": b"[1]"}, r"broken manifest\.json"),
    ],
)
def test_broken_archives(tmp_path: Path, members: dict[str, bytes], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        Archive(tar(tmp_path / "broken.tar", members))


def test_truncated_and_foreign_files(tmp_path: Path, layout: Path) -> None:
    path = tmp_path / "bad"
    for data in (b"", b"not a tar at all" * 100, gzip.compress(layout.read_bytes())[:1000], b"\x28\xb5\x2f\xfdgarbage"):
        path.write_bytes(data)
        with pytest.raises(InvalidArgument):
            Archive(path)


def test_a_blob_that_is_not_what_it_is_called(tmp_path: Path) -> None:
    digest = "0" * 64
    entry = {"mediaType": "x", "digest": f"sha256:{digest}", "size": 5}
    members = {"index.json": json.dumps({"manifests": [entry]}).encode(), f"blobs/sha256/{digest}": b"wrong"}
    archive = Archive(tar(tmp_path / "wrong.tar", members))
    with pytest.raises(InvalidArgument, match="corrupt archive"):
        archive.document(f"sha256:{digest}")
    with pytest.raises(InvalidArgument, match="incomplete archive"):
        archive.size("sha256:" + "1" * 64)
    archive.close()
