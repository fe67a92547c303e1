"""What images go by: tags that move, pins, ids; and archives."""

import io
import json
import tarfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import zstandard

from navarch.protos.navarch import images_pb2
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.images.model import OCI_INDEX, OCI_MANIFEST
from navarch.testing.faulty_registry import Image, Registry, an_image, an_index, descriptor, digest_of

from .conftest import Images

Make = Callable[..., Images]


async def test_an_image_stays_when_its_tag_moves_on(images: Images, registry: Registry) -> None:
    """As with containerd's own plugin: it may be in use, and goes by its digest and id from then on."""
    name = f"{registry.host}/web:v1"
    old = registry.add(an_image(), "v1")
    await images.pull(name)
    new = registry.add(an_image(), "v1")
    await images.pull(name)
    found = await images.find(old.id)
    assert found is not None
    assert list(found.repo_tags) == []
    assert list(found.repo_digests) == [f"{registry.host}/web@{old.digest}"]
    assert (await images.resolve(name)).image_id == new.id
    await images.remove(f"{registry.host}/web@{old.digest}")
    assert await images.find(old.id) is None
    assert await images.find(name) is not None


async def test_a_tag_with_a_digest_is_the_digest(images: Images, registry: Registry) -> None:
    image = registry.add(an_image())
    name = f"{registry.host}/web:whatever@{image.digest}"
    assert await images.pull(name) == image.id
    found = await images.find(name)
    assert found is not None
    assert (list(found.repo_tags), list(found.repo_digests)) == ([], [f"{registry.host}/web@{image.digest}"])


@pytest.mark.parametrize("by", ["v1", "v2", "digest", "id", "bare id"])
async def test_removal_by_any_name_removes_all(images: Images, registry: Registry, by: str) -> None:
    image = registry.add(an_image(), "v1", "v2")
    repository = f"{registry.host}/web"
    for tag in ("v1", "v2"):
        await images.pull(f"{repository}:{tag}")
    names = {"v1": f"{repository}:v1", "v2": f"{repository}:v2", "digest": f"{repository}@{image.digest}"}
    names |= {"id": image.id, "bare id": image.id.removeprefix("sha256:")}
    await images.remove(names[by])
    assert [await images.find(name) for name in names.values()] == [None] * 5


async def test_pinned_images(make_images: Make, registry: Registry) -> None:
    name = f"{registry.host}/web:v1"
    image = registry.add(an_image(), "v1", "v2")
    await make_images(pinned=frozenset([name])).pull(name)
    # The pin stays over a pull by somebody who does not know of it.
    images = make_images()
    await images.pull(name)
    found = await images.find(image.id)
    assert found is not None
    assert found.pinned


def layout(*images: tuple[str, Image], index: bool = False) -> bytes:
    """An OCI archive: name -> image, each within an index of its own where asked for."""
    members: dict[str, bytes] = {}
    entries = []
    for name, image in images:
        blobs = [image.manifest, image.config, image.layer]
        entry = descriptor(OCI_MANIFEST, image.manifest)
        if index:
            absent = descriptor(OCI_MANIFEST, b"absent", platform={"os": "linux", "architecture": "s390x"})
            blobs.append(an_index(absent, entry))
            entry = descriptor(OCI_INDEX, blobs[-1])
        members |= {f"blobs/sha256/{digest_of(blob)[7:]}": blob for blob in blobs}
        entries.append({**entry, "annotations": {"org.opencontainers.image.ref.name": name}})
    members["index.json"] = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


async def load(images: Images, data: bytes) -> list[str]:
    async def requests() -> AsyncIterator[images_pb2.ImportRequest]:
        for begin in range(0, len(data), 1 << 16):
            yield images_pb2.ImportRequest(data=data[begin : begin + (1 << 16)])

    return list((await images.import_(requests())).images)


@pytest.mark.parametrize("index", [False, True])
async def test_an_archive_of_several_images(images: Images, tmp_path: Path, index: bool) -> None:
    one, two = an_image(), an_image(200_000)
    packed = zstandard.compress(layout(("a.example.org/one:1", one), ("a.example.org/two:1", two), index=index))
    assert await load(images, packed) == ["a.example.org/one:1", "a.example.org/two:1"]
    for name, image in (("a.example.org/one:1", one), ("a.example.org/two:1", two)):
        assert (await images.resolve(name)).image_id == image.id
        assert (await images.resolve(image.id)).image_id == image.id
    assert not list(tmp_path.iterdir())


async def test_an_archive_with_wrong_bytes(images: Images, tmp_path: Path) -> None:
    image = an_image(5000)
    data = layout(("a.example.org/bad:1", image)).replace(image.layer, bytes(len(image.layer)))
    with pytest.raises(errors.InvalidArgument, match="wrong content"):
        await load(images, data)
    assert await images.find("a.example.org/bad:1") is None
    assert not list(tmp_path.iterdir())


async def test_what_a_killed_import_left_is_cleared(make_images: Make, tmp_path: Path) -> None:
    (tmp_path / "import-left").write_bytes(b"half")
    (tmp_path / "other").touch()
    make_images()
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
