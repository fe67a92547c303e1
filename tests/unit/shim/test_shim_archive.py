"""Image archives, whole and broken."""

import asyncio
import gzip
import importlib.util
import io
import json
import tarfile
from pathlib import Path

import pytest
import zstandard

from navarch.runtime_shim.containerd.images.archive import Archive
from navarch.runtime_shim.containerd.images.model import Descriptor, Manifest, parse_json
from navarch.runtime_shim.errors import InvalidArgument

BUILDER = Path(__file__).parents[3] / "k8s-lab" / "images" / "busybox_image.py"


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def pieces(archive: Archive, blob: Descriptor) -> list[bytes]:
    async def read() -> list[bytes]:
        return [piece async for piece in archive.stream(blob, 0)]

    return asyncio.run(read())


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
    assert sum(map(len, pieces(archive, manifest.layers[0]))) == manifest.layers[0].size
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
    assert b"".join(pieces(archive, manifest.layers[0])) == b"plain"
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


def linked(path: Path, kind: bytes, target: str) -> Path:
    """What older `docker save` makes of two equal layers: one file, and a link to it."""
    config = json.dumps({"rootfs": {"diff_ids": []}}).encode()
    entry = {"Config": "config.json", "RepoTags": ["hello:2"], "Layers": ["1/layer.tar", "2/layer.tar"]}
    tar(path, {"config.json": config, "1/layer.tar": b"layer", "manifest.json": json.dumps([entry]).encode()})
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("2/layer.tar")
        member.type, member.linkname = kind, target
        archive.addfile(member)
    return path


@pytest.mark.parametrize(
    ("kind", "target"),
    [(tarfile.SYMTYPE, "../1/layer.tar"), (tarfile.LNKTYPE, "1/layer.tar")],
    ids=["symbolic", "hard"],
)
def test_a_docker_archive_with_linked_layers(tmp_path: Path, kind: bytes, target: str) -> None:
    archive = Archive(linked(tmp_path / "archive", kind, target))
    (image,) = archive.images
    manifest = Manifest.read(parse_json(archive.document(image.target.digest), "manifest"))
    assert manifest.layers[0] == manifest.layers[1]
    archive.close()


@pytest.mark.parametrize("target", ["../../../../etc/passwd", "/etc/passwd", "../2/layer.tar", "../3/layer.tar"])
def test_links_lead_nowhere_but_into_the_archive(tmp_path: Path, target: str) -> None:
    with pytest.raises(InvalidArgument, match="'2/layer.tar', which is not in it"):
        Archive(linked(tmp_path / "archive", tarfile.SYMTYPE, target))
