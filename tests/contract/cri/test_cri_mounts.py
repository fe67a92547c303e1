"""Volumes: their propagation, and images as volumes."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.testing.private_containerd import SHIM_NAMESPACE

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


async def test_sources_are_resolved_and_made(cri: Peer, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("here")
    (tmp_path / "link").symlink_to("real")
    config = cri.container_config()
    config.mounts.add(host_path=str(tmp_path / "link"), container_path="/volume")
    config.mounts.add(host_path=str(tmp_path / "new" / "folder"), container_path="/made")
    container = await cri.container(await cri.sandbox(), config)
    assert await cri.shell(container, "cat /volume/file; ls /made") == "here"
    assert (tmp_path / "new" / "folder").is_dir()
    told = [mount.host_path for mount in (await cri.status(container)).mounts]
    assert told == [str(tmp_path / "link"), str(tmp_path / "new" / "folder")]


async def test_a_source_that_cannot_be_made(cri: Peer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    config = cri.container_config()
    config.mounts.add(host_path=str(tmp_path / "file" / "below"), container_path="/volume")
    sandbox = await cri.sandbox()
    with refused(Code.INVALID_ARGUMENT, Code.UNKNOWN, match="file/below"):
        await cri.create(sandbox, config)


async def test_a_target_stays_in_the_root(cri: Peer, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    config = cri.container_config()
    config.mounts.add(host_path=str(tmp_path), container_path=f"/bin/../../../../../..{outside}")
    container = await cri.container(await cri.sandbox(), config)
    assert not outside.exists()
    assert await cri.shell(container, f"[ -d {outside} ] && echo inside") == "inside\n"


async def test_mapped_ids(cri: Peer, tmp_path: Path) -> None:
    """Refused rather than left out: the files would belong to others than was asked for."""
    if cri.where(shim=False, plugin=True, because="mapped mounts came to CRI after containerd 1.6"):
        return
    config = cri.container_config()
    mount = config.mounts.add(host_path=str(tmp_path), container_path="/volume")
    mount.uidMappings.add(host_id=100_000, container_id=0, length=65_536)
    sandbox = await cri.sandbox()
    with refused(Code.INVALID_ARGUMENT, match="id-mapped"):
        await cri.create(sandbox, config)


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
    wanted = criv1.ImageStatusRequest(image=criv1.ImageSpec(image=IMAGE))
    assert mount.image.image_ref == (await cri.images.ImageStatus(wanted)).image.id
    point = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if container in line]
    assert any("/images/0" in line for line in point)
    await cri.stop_container(container, timeout_s=1)
    await cri.remove_container(container)
    assert container not in Path("/proc/self/mountinfo").read_text()


async def test_an_image_outlasts_a_restart(cri: Peer) -> None:
    if cri.where(shim=False, plugin=True, because="image volumes came to CRI after containerd 1.6"):
        return
    container = await cri.container(await cri.sandbox(), image_mount(cri.container_config()))
    cri.containerd.kill(cri.containerd.processes[-1])
    cri.containerd.start_shim()
    assert await cri.shell(container, "ls /volume/bin/busybox") == "/volume/bin/busybox\n"
    await cri.stop_container(container, timeout_s=1)
    await cri.remove_container(container)
    assert container not in Path("/proc/self/mountinfo").read_text()
    assert container not in snapshots(cri)


def snapshots(cri: Peer) -> str:
    """Those of the shim, by containerd's own tool."""
    command = ["ctr", "--address", str(cri.containerd.layout.socket), "--namespace", SHIM_NAMESPACE]
    return subprocess.run([*command, "snapshots", "list"], check=True, capture_output=True, text=True).stdout


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


async def test_an_image_is_nothing_to_write_to(cri: Peer) -> None:
    if cri.where(shim=False, plugin=True, because="image volumes came to CRI after containerd 1.6"):
        return
    config = image_mount(cri.container_config())
    config.mounts[0].readonly = False
    with refused(Code.INVALID_ARGUMENT, match="readonly"):
        await cri.create(await cri.sandbox(), config)


async def test_an_image_that_is_not_there(cri: Peer) -> None:
    if cri.where(shim=False, plugin=True, because="image volumes came to CRI after containerd 1.6"):
        return
    with refused(Code.NOT_FOUND):
        await cri.create(await cri.sandbox(), image_mount(cri.container_config(), image="example.com/none:1"))
