"""What a kubelet takes for granted about images, from the pull to the removal."""

import asyncio
import secrets
from pathlib import Path

import pytest

from navarch.protos.cri import v1_pb2 as criv1

from .conftest import Peer
from .registry import registry
from .variants import variant


async def pull(cri: Peer, name: str) -> str:
    return (await cri.images.PullImage(criv1.PullImageRequest(image=criv1.ImageSpec(image=name)))).image_ref


async def found(cri: Peer, name: str) -> criv1.Image | None:
    request = criv1.ImageStatusRequest(image=criv1.ImageSpec(image=name))
    answer = await cri.images.ImageStatus(request)
    return answer.image if answer.HasField("image") else None


async def listed(cri: Peer) -> dict[str, criv1.Image]:
    return {image.id: image for image in (await cri.images.ListImages(criv1.ListImagesRequest())).images}


async def remove(cri: Peer, name: str) -> None:
    await cri.images.RemoveImage(criv1.RemoveImageRequest(image=criv1.ImageSpec(image=name)))


def fresh(tmp_path: Path, name: str = "image", **config: object) -> Path:
    """An image that no runtime has seen before."""
    return variant(tmp_path / f"{name}.tar", Labels={"fresh": secrets.token_hex(8)}, **config)


async def test_one_identifier_everywhere(cri: Peer, tmp_path: Path) -> None:
    """The answer of a pull, the image's status, a container's status and its place in a list name one id."""
    async with registry(fresh(tmp_path)) as host:
        pulled = [await pull(cri, f"{host}/{name}:navarch") for name in ("one", "two")]
    assert pulled[0] == pulled[1]
    for name in ("one", "two"):
        image = await found(cri, f"{host}/{name}:navarch")
        assert image is not None
        assert image.id == pulled[0]
    config = cri.container_config()
    config.image.image, config.image.user_specified_image = pulled[0], f"{host}/two:navarch"
    container = await cri.container(await cri.sandbox(), config)
    status = await cri.status(container)
    answer = await cri.runtime.ListContainers(criv1.ListContainersRequest(filter={"id": container}))
    told = (status.image_id, answer.containers[0].image_id)
    assert told == cri.where(
        shim=(pulled[0], pulled[0]), plugin=("", ""), because="image_id came to CRI after containerd 1.6"
    )
    await remove(cri, pulled[0])


async def test_no_tag_means_latest(cri: Peer, tmp_path: Path) -> None:
    async with registry(fresh(tmp_path)) as host:
        image_id = await pull(cri, f"{host}/app")
    image = await found(cri, f"{host}/app")
    assert image is not None
    assert (image.id, list(image.repo_tags)) == (image_id, [f"{host}/app:latest"])
    await remove(cri, f"{host}/app")


async def test_a_pull_and_a_removal_are_seen_at_once(cri: Peer, tmp_path: Path) -> None:
    async with registry(fresh(tmp_path)) as host:
        image_id = await pull(cri, f"{host}/app:navarch")
    assert image_id in await listed(cri)
    assert await found(cri, f"{host}/app:navarch")
    await remove(cri, f"{host}/app:navarch")
    assert image_id not in await listed(cri)
    assert await found(cri, f"{host}/app:navarch") is None
    assert await found(cri, image_id) is None


async def test_removals_at_the_same_time(cri: Peer, tmp_path: Path) -> None:
    async with registry(fresh(tmp_path)) as host:
        image_id = await pull(cri, f"{host}/app:navarch")

    async def removed() -> criv1.Image | None:
        await remove(cri, image_id)
        return await found(cri, image_id)

    assert await asyncio.gather(*(removed() for _ in range(5))) == [None] * 5


async def test_images_of_their_own_and_tags_of_one_image(cri: Peer, tmp_path: Path) -> None:
    """Three images with a tag each are three entries; one image with three tags is one."""
    ids: set[str] = set()
    for number in range(3):
        async with registry(fresh(tmp_path, str(number))) as host:
            ids.add(await pull(cri, f"{host}/own:navarch"))
    assert len(ids) == 3
    assert ids <= (await listed(cri)).keys()
    async with registry(fresh(tmp_path)) as host:
        names = [f"{host}/{name}:navarch" for name in "abc"]
        (tagged,) = {await pull(cri, name) for name in names}
    assert sorted((await listed(cri))[tagged].repo_tags) == names
    for image_id in (*ids, tagged):
        await remove(cri, image_id)
    assert not {*ids, tagged} & (await listed(cri)).keys()


@pytest.mark.parametrize(
    ("user", "uid", "username"),
    [("", 0, ""), ("1002", 1002, ""), ("web", None, "web"), ("1003:staff", 1003, ""), ("web:staff", None, "web")],
)
async def test_the_user_of_an_image(cri: Peer, tmp_path: Path, user: str, uid: int | None, username: str) -> None:
    """A kubelet judges runAsNonRoot by it."""
    async with registry(fresh(tmp_path, User=user)) as host:
        image_id = await pull(cri, f"{host}/app:navarch")
    image = await found(cri, image_id)
    assert image is not None
    told = image.uid.value if image.HasField("uid") else None
    if not user:
        uid = cri.where(shim=0, plugin=None, because="where the image names no user, to a kubelet both mean root")
    assert (told, image.username) == (uid, username)
    config = cri.container_config("id", "-u")
    config.image.image = image_id
    container = await cri.container(await cri.sandbox(), config)
    await cri.exited(container)
    assert await cri.log(container) == [("stdout", "F", str(1000 if username else uid or 0))]
    await remove(cri, image_id)


async def test_what_the_image_says_of_its_process(cri: Peer, tmp_path: Path) -> None:
    image = fresh(
        tmp_path, Entrypoint=["sh", "-c", 'echo "$0 $1 $GREETING $PWD"'], Cmd=["zero", "one"],
        Env=["GREETING=hello", "PATH=/bin"], WorkingDir="/var/www",
    )  # fmt: skip
    async with registry(image) as host:
        image_id = await pull(cri, f"{host}/app:navarch")
    sandbox = await cri.sandbox()
    for number, (command, args, said) in enumerate((
        ([], [], "zero one hello /var/www"),
        ([], ["a", "b"], "a b hello /var/www"),
        (["echo"], [], ""),
        (["echo"], ["x"], "x"),
    )):  # fmt: skip
        config = cri.container_config(attempt=number)
        config.image.image = image_id
        config.command[:], config.args[:] = command, args
        container = await cri.container(sandbox, config)
        await cri.exited(container)
        assert await cri.log(container) == [("stdout", "F", said)]
    await remove(cri, image_id)
