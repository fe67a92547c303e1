"""The images of a simulated host go by the names that are told of them."""

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.simulated.behavior import Behavior
from navarch.runtime_shim.simulated.containers import executed
from navarch.runtime_shim.simulated.images import SimulatedImages
from navarch.services.base.clock import VirtualClock

DIGEST = "sha256:" + "ab" * 32


@pytest.fixture
def images() -> SimulatedImages:
    return SimulatedImages(VirtualClock())


async def pull(images: SimulatedImages, name: str) -> str:
    return (await images.pull_image(criv1.PullImageRequest(image=criv1.ImageSpec(image=name)))).image_ref


async def find(images: SimulatedImages, name: str) -> criv1.Image:
    return (await images.image_status(criv1.ImageStatusRequest(image=criv1.ImageSpec(image=name)))).image


@pytest.mark.parametrize(
    "name", ["app:1", "app", "localhost:5000/a/b:1", f"app@{DIGEST}", f"localhost:5000/a@{DIGEST}"]
)
async def test_an_image_is_found_by_all_its_names(images: SimulatedImages, name: str) -> None:
    image_ref = await pull(images, name)
    await pull(images, "another:1")
    image = await find(images, name)
    assert image.id == image_ref
    names = (*image.repo_tags, *image.repo_digests, image.id, image.id.removeprefix("sha256:"), image.id[:19])
    assert {(await find(images, known)).id for known in names} == {image_ref}
    await images.remove_image(criv1.RemoveImageRequest(image=criv1.ImageSpec(image=image.repo_digests[0])))
    assert {(await find(images, known)).id for known in names} == {""}


async def test_a_pull_by_digest_has_that_digest_and_no_tag(images: SimulatedImages) -> None:
    assert await pull(images, f"app@{DIGEST}") == DIGEST
    image = await find(images, DIGEST)
    assert (list(image.repo_tags), list(image.repo_digests)) == ([], [f"docker.io/library/app@{DIGEST}"])


@pytest.mark.parametrize("name", ["", "UPPER:1", "a b", "x@sha256:short"])
async def test_what_cannot_be_a_name(images: SimulatedImages, name: str) -> None:
    with pytest.raises(errors.InvalidArgument):
        await pull(images, name)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["exit", "7"], 7),
        (["sh", "-c", "exit 300"], 44),
        (["exit", "9" * 5000], 0),
        (["exit", "\N{SUPERSCRIPT TWO}"], 0),
        (["ls"], 0),
    ],
)
def test_exit_codes_of_commands(command: list[str], code: int) -> None:
    assert executed(Behavior(), command)[1] == code
