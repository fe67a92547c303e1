"""ListImages, ImageStatus, PullImage, RemoveImage, ImageFsInfo."""

import json
import secrets
import time
from pathlib import Path

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.testing.cri_client import until
from navarch.testing.private_containerd import busybox_builder

from .conftest import Code, Peer, differs, refused
from .registry import registry


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An image that no runtime has seen before."""
    path = tmp_path / "image.tar"
    busybox_builder().build(path, "example.com/any:navarch", cmd=("echo", secrets.token_hex(8)))
    return path


async def status(cri: Peer, name: str, *, verbose: bool = False) -> criv1.ImageStatusResponse:
    request = criv1.ImageStatusRequest(image=criv1.ImageSpec(image=name), verbose=verbose)
    return await cri.images.ImageStatus(request)


async def listed(cri: Peer, name: str = "") -> list[criv1.Image]:
    request = criv1.ListImagesRequest()
    if name:
        request.filter.image.image = name
    return list((await cri.images.ListImages(request)).images)


def filters(cri: Peer) -> bool:
    """Whether ListImages minds its filter."""
    return cri.where(shim=True, plugin=False, because="the plugin lists all images whatever the filter says")


async def pull(cri: Peer, name: str, **auth: str) -> str:
    request = criv1.PullImageRequest(image=criv1.ImageSpec(image=name))
    if auth:
        request.auth.CopyFrom(criv1.AuthConfig(**auth))
    return (await cri.images.PullImage(request)).image_ref


async def remove(cri: Peer, name: str) -> None:
    await cri.images.RemoveImage(criv1.RemoveImageRequest(image=criv1.ImageSpec(image=name)))


async def test_an_image_is_found_by_all_its_names(cri: Peer, archive: Path) -> None:
    async with registry(archive) as host:
        image_id = await pull(cri, f"{host}/app:navarch")
    image = (await status(cri, image_id)).image
    assert image.id == image_id
    assert image_id.startswith("sha256:")
    assert list(image.repo_tags) == [f"{host}/app:navarch"]
    assert len(image.repo_digests) == 1
    assert image.repo_digests[0].startswith(f"{host}/app@sha256:")
    assert image.size > 100_000
    assert (image.uid.value, image.username) == (0, "")
    assert not image.pinned
    names = (*image.repo_tags, *image.repo_digests, image_id, image_id.removeprefix("sha256:"))
    for name in (*names, image_id.removeprefix("sha256:")[:12]):
        assert (await status(cri, name)).image == image
    assert [found for found in await listed(cri) if found.id == image_id] == [image]
    if filters(cri):
        assert await listed(cri, f"{host}/app:navarch") == [image]
    await remove(cri, image_id)
    for name in names:
        assert not (await status(cri, name)).HasField("image")
    assert image_id not in {found.id for found in await listed(cri)}
    await remove(cri, image_id)


async def test_an_image_that_is_not_there(cri: Peer) -> None:
    assert not (await status(cri, "docker.io/library/nosuch:1")).HasField("image")
    assert not filters(cri) or await listed(cri, "docker.io/library/nosuch:1") == []
    await remove(cri, "docker.io/library/nosuch:1")


async def test_names_in_short(cri: Peer) -> None:
    image = (await status(cri, cri.image)).image
    assert (await status(cri, "busybox:navarch")).image.id == image.id
    assert (await status(cri, "library/busybox:navarch")).image.id == image.id


async def test_verbose_status(cri: Peer) -> None:
    info = json.loads((await status(cri, cri.image, verbose=True)).info["info"])
    assert info["chainID"].startswith("sha256:")
    assert info["imageSpec"]["config"]["Cmd"] == ["sh"]
    assert not (await status(cri, cri.image)).info


async def test_a_pull_by_digest(cri: Peer, archive: Path) -> None:
    async with registry(archive) as host:
        first = await pull(cri, f"{host}/app:navarch")
        digest = (await status(cri, first)).image.repo_digests[0]
        await remove(cri, first)
        image_id = await pull(cri, digest)
    image = (await status(cri, digest)).image
    assert (image.id, list(image.repo_tags), list(image.repo_digests)) == (image_id, [], [digest])
    await remove(cri, digest)


async def test_one_image_of_two_names(cri: Peer, archive: Path) -> None:
    async with registry(archive) as host:
        image_id = await pull(cri, f"{host}/one:navarch")
        assert await pull(cri, f"{host}/two:navarch") == image_id
        assert await pull(cri, f"{host}/two:navarch") == image_id
    image = (await status(cri, image_id)).image
    assert sorted(image.repo_tags) == [f"{host}/one:navarch", f"{host}/two:navarch"]
    assert len(image.repo_digests) == 2
    await remove(cri, f"{host}/one:navarch")
    # The contract: an image goes with all its names.
    assert not (await status(cri, f"{host}/two:navarch")).HasField("image")


async def test_a_pulled_image_runs(cri: Peer, archive: Path) -> None:
    async with registry(archive) as host:
        image_id = await pull(cri, f"{host}/app:navarch")
    config = cri.container_config()
    config.image.image = image_id
    config.ClearField("command")
    container = await cri.container(await cri.sandbox(), config)
    assert (await cri.exited(container)).exit_code == 0
    assert len(await cri.log(container)) == 1
    await remove(cri, image_id)


@pytest.mark.parametrize(
    "auth",
    [
        {"username": "user", "password": "secret"},
        {"auth": "dXNlcjpzZWNyZXQ="},
    ],
    ids=["password", "encoded"],
)
async def test_a_pull_with_a_password(cri: Peer, archive: Path, auth: dict[str, str]) -> None:
    async with registry(archive, "secret") as host:
        for wrong in ({}, {"username": "user", "password": "wrong"}):
            with refused(Code.UNKNOWN, Code.UNAUTHENTICATED, Code.PERMISSION_DENIED):
                await pull(cri, f"{host}/app:navarch", **wrong)
        image_id = await pull(cri, f"{host}/app:navarch", **auth)
    await remove(cri, image_id)


async def test_a_pull_of_what_is_not_there(cri: Peer, archive: Path) -> None:
    async with registry(archive) as host:
        with refused(Code.NOT_FOUND, match="nosuch"):
            await pull(cri, f"{host}/app:nosuch")
    with refused(Code.UNKNOWN, Code.UNAVAILABLE, match="(?i)connect"):
        await pull(cri, f"{host}/app:navarch")


@pytest.mark.parametrize("name", ["", "UPPER:1", "a b", "x@sha256:short"])
async def test_what_cannot_be_a_name(cri: Peer, name: str) -> None:
    codes = cri.where(
        shim=(Code.INVALID_ARGUMENT,),
        plugin=(Code.UNKNOWN, Code.INVALID_ARGUMENT),
        because="the plugin's errors of parsing have no code",
    )
    with refused(*codes):
        await pull(cri, name)


async def test_file_systems(cri: Peer) -> None:
    async def measured() -> criv1.ImageFsInfoResponse | None:
        answer = await cri.images.ImageFsInfo(criv1.ImageFsInfoRequest())
        return answer if answer.image_filesystems[0].used_bytes.value > 1_000_000 else None

    # The plugin collects sizes every ten seconds.
    answer = await until(measured)
    assert answer is not None
    (usage,) = answer.image_filesystems
    assert usage.fs_id.mountpoint.startswith(str(cri.containerd.layout.root))
    assert usage.inodes_used.value > 10
    assert usage.timestamp <= time.time_ns()
    number = cri.where(shim=1, plugin=0, because="container file systems came to CRI after containerd 1.6")
    assert len(answer.container_filesystems) == number


@differs("plugin", reason="the streaming lists came to CRI after containerd 1.6")
async def test_streamed_list(cri: Peer) -> None:
    streamed = [answer async for answer in cri.images.StreamImages(criv1.StreamImagesRequest(), timeout=30)]
    assert [image for answer in streamed for image in answer.images] == await listed(cri)
