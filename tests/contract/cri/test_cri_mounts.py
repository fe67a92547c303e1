"""Volumes: their propagation, and images as volumes."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from navarch.protos.cri import v1_pb2 as criv1

from .conftest import IMAGE, Code, Peer, refused

Propagation = criv1.MountPropagation


@pytest.fixture(params=["private", "slave", "shared"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A folder on a mount of that kind."""
    folder = tmp_path / request.param
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
    try:
        for kind in ("shared", "slave") if request.param == "slave" else (request.param,):
            if kind == "slave":
                # A slave is one only of a peer.
                (tmp_path / "peer").mkdir()
                subprocess.run(["mount", "--bind", folder, tmp_path / "peer"], check=True)
            subprocess.run(["mount", f"--make-{kind}", folder], check=True)
        yield request.param, folder
    finally:
        for point in (folder, tmp_path / "peer"):
            subprocess.run(["umount", "-R", point], check=False, capture_output=True)


@pytest.mark.parametrize(
    ("propagation", "accepted"),
    [
        (Propagation.PROPAGATION_PRIVATE, {"private", "slave", "shared"}),
        (Propagation.PROPAGATION_HOST_TO_CONTAINER, {"slave", "shared"}),
        (Propagation.PROPAGATION_BIDIRECTIONAL, {"shared"}),
    ],
    ids=["private", "host to container", "bidirectional"],
)
async def test_propagation(
    cri: Peer, source: tuple[str, Path], propagation: "criv1.MountPropagation", accepted: set[str]
) -> None:
    kind, folder = source
    config = cri.container_config()
    config.mounts.add(host_path=str(folder), container_path="/volume", propagation=propagation)
    sandbox = await cri.sandbox()
    if kind not in accepted:
        with refused(Code.INVALID_ARGUMENT, Code.UNKNOWN, match="shared"):
            await cri.create(sandbox, config)
        return
    container = await cri.container(sandbox, config)
    # A slave hears of what is mounted at its master.
    later = (folder.parent / "peer" if kind == "slave" else folder) / "later"
    later.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", later], check=True)
    seen = "/volume/later" in await cri.shell(container, "cut -d' ' -f5 /proc/self/mountinfo")
    assert seen is (propagation != Propagation.PROPAGATION_PRIVATE)


def image_mount(config: criv1.ContainerConfig, sub_path: str = "", image: str = IMAGE) -> criv1.ContainerConfig:
    config.mounts.add(
        container_path="/volume", readonly=True, image=criv1.ImageSpec(image=image), image_sub_path=sub_path
    )
    return config


async def test_an_image_as_a_volume(cri: Peer) -> None:
    if cri.where(shim=False, plugin=True, because="image volumes came to CRI after containerd 1.6"):
        return
    container = await cri.container(await cri.sandbox(), image_mount(cri.container_config()))
    assert await cri.shell(container, "ls /volume/bin/busybox") == "/volume/bin/busybox\n"
    assert "Read-only" in (await cri.exec(container, "touch", "/volume/new")).stderr.decode()
    (mount,) = (await cri.status(container)).mounts
    assert mount.image.image == IMAGE
    point = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if container in line]
    assert any("/images/0" in line for line in point)
    await cri.stop_container(container, timeout_s=1)
    await cri.remove_container(container)
    assert container not in Path("/proc/self/mountinfo").read_text()


async def test_a_part_of_an_image(cri: Peer) -> None:
    if cri.where(shim=False, plugin=True, because="image volumes came to CRI after containerd 1.6"):
        return
    container = await cri.container(await cri.sandbox(), image_mount(cri.container_config(), "bin"))
    assert await cri.shell(container, "ls /volume/busybox") == "/volume/busybox\n"


@pytest.mark.parametrize("sub_path", ["../etc", "/etc", "none", "bin/../../.."])
async def test_parts_that_are_none(cri: Peer, sub_path: str) -> None:
    if cri.where(shim=False, plugin=True, because="image volumes came to CRI after containerd 1.6"):
        return
    sandbox = await cri.sandbox()
    with refused(Code.INVALID_ARGUMENT):
        await cri.create(sandbox, image_mount(cri.container_config(), sub_path))
    await cri.create(sandbox)


async def test_an_image_that_is_not_there(cri: Peer) -> None:
    if cri.where(shim=False, plugin=True, because="image volumes came to CRI after containerd 1.6"):
        return
    with refused(Code.NOT_FOUND):
        await cri.create(await cri.sandbox(), image_mount(cri.container_config(), image="example.com/none:1"))
