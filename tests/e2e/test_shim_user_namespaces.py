"""Sandboxes in user namespaces over restarts of the shim, and what is left of them."""

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from navarch.protos.containerd.services.snapshots import v1_pb2 as snapshotsv1
from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.containerd import ownership
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.user_namespaces import Mapping
from navarch.runtime_shim.errors import RuntimeFailure
from navarch.services.base import mounting

from .conftest import Containerd, Shim, serving, shim_process
from .test_shim_lifecycle import assert_no_leftovers

FIRST = 2_000_000


def options(config: criv1.PodSandboxConfig | criv1.ContainerConfig) -> criv1.NamespaceOption:
    """Those of its namespaces, with a user namespace."""
    found: criv1.NamespaceOption = config.linux.security_context.namespace_options
    found.pid, found.userns_options.mode = criv1.NamespaceMode.POD, criv1.NamespaceMode.POD
    for lines in (found.userns_options.uids, found.userns_options.gids):
        lines.add(container_id=0, host_id=FIRST, length=65536)
    return found


def pod(shim: Shim, name: str) -> criv1.PodSandboxConfig:
    config = shim.pod(name)
    options(config)
    return config


def container(shim: Shim, name: str) -> criv1.ContainerConfig:
    config = shim.container(name=name)
    options(config)
    return config


def pinned(shim: Shim, sandbox: str) -> Iterator[tuple[str, int]]:
    """The sandbox's namespaces by kind and number."""
    folder = shim.containerd.layout.shim_state / "sandboxes" / sandbox
    return ((kind, os.stat(folder / kind).st_ino) for kind in ("user", "net", "ipc", "uts", "pid"))


async def given_away(containerd: Containerd) -> list[str]:
    """Snapshots of images that were made for the sandbox's ids, finished or not."""
    client = ContainerdClient(containerd.layout.socket, "k8s.io")
    request = snapshotsv1.ListSnapshotsRequest(snapshotter="overlayfs")
    try:
        answers = [answer async for answer in client.snapshots.List(request)]
        return [info.name for answer in answers for info in answer.info if f":{FIRST}:" in info.name]
    finally:
        await client.close()


async def test_a_restart_changes_nothing_and_a_removal_leaves_nothing(
    containerd: Containerd, busybox_archive: Path
) -> None:
    # Leaving the block is a kill -9.
    async with shim_process(containerd) as (before, _):
        await before.load_busybox(busybox_archive)
        sandbox = await before.run_pod(pod(before, "mapped"))
        first = await before.start(sandbox, container(before, "first"))
        await before.exec(first, "touch", "/made")
        namespaces, images = list(pinned(before, sandbox)), await given_away(containerd)
    async with serving(containerd) as after:
        request = criv1.PodSandboxStatusRequest(pod_sandbox_id=sandbox)
        assert (await after.runtime.PodSandboxStatus(request)).status.state == criv1.PodSandboxState.SANDBOX_READY
        assert list(pinned(after, sandbox)) == namespaces
        second = await after.start(sandbox, container(after, "second"))
        assert (await after.exec(first, "stat", "-c", "%u", "/made")).stdout == b"0\n"
        maps = [(await after.exec(each, "cat", "/proc/self/uid_map")).stdout.split() for each in (first, second)]
        assert maps == [[b"0", str(FIRST).encode(), b"65536"]] * 2
        assert await given_away(containerd) == images
        await after.remove_all()
        assert_no_leftovers(after)
        assert not await given_away(containerd)


async def test_an_image_that_can_t_be_given_away_leaves_nothing(shim: Shim, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = await shim.run_pod(pod(shim, "torn"))
    with monkeypatch.context() as broken:

        def full(root: Path, mapping: object) -> None:
            raise OSError(28, "No space left on device")

        broken.setattr(ownership, "shift", full)
        with pytest.raises(grpc.aio.AioRpcError, match="No space left"):
            await shim.create(sandbox, container(shim, "torn"))
        assert not await given_away(shim.containerd)
    await shim.start(sandbox, container(shim, "torn"))
    await shim.remove_all()
    assert_no_leftovers(shim)
    assert not await given_away(shim.containerd)


def test_files_that_are_given_away_stay_what_they_are(tmp_path: Path) -> None:
    """On overlayfs, where a change of owner copies a file."""
    lower, root = tmp_path / "lower", tmp_path / "root"
    for folder in ("lower/sub", "upper", "work", "root"):
        (tmp_path / folder).mkdir(parents=True)
    for name, mode in (("plain", 0o640), ("set-id", 0o6755), ("able", 0o755)):
        (lower / name).write_text(name)
        os.chown(lower / name, 7, 8)
        (lower / name).chmod(mode)
    sets = struct.pack("<4I", 1 << 13, 0, 0, 0)
    os.setxattr(lower / "able", ownership.CAPABILITY, struct.pack("<I", 0x02000001) + sets)
    os.setxattr(lower / "plain", "user.note", b"kept")
    (lower / "sub" / "link").symlink_to("/nowhere")
    os.link(lower / "plain", lower / "sub" / "other")
    os.mkfifo(lower / "pipe")
    os.utime(lower / "sub", (5, 5))
    options = f"lowerdir={lower},upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    mounting.mount("overlay", root, "overlay", data=options)
    try:
        ownership.shift(root, Mapping(FIRST, 100))
        status = {str(path.relative_to(root)): path.lstat() for path in (root, *root.rglob("*"))}
        owners = {name: (entry.st_uid - FIRST, entry.st_gid - FIRST) for name, entry in status.items()}
        of_root = dict.fromkeys((".", "sub", "sub/link", "pipe"), (0, 0))
        assert owners == of_root | dict.fromkeys(("plain", "sub/other", "set-id", "able"), (7, 8))
        assert stat.S_IMODE(status["set-id"].st_mode) == 0o6755
        assert status["plain"].st_ino == status["sub/other"].st_ino
        assert status["plain"].st_nlink == 2
        assert status["sub"].st_mtime == 5
        assert os.getxattr(root / "plain", "user.note") == b"kept"
        capability = struct.pack("<I", 0x03000001) + sets + struct.pack("<I", FIRST)
        assert os.getxattr(root / "able", ownership.CAPABILITY) == capability
        (root / "sub" / "link").unlink()
        os.chown(root / "sub" / "other", 100, 0)
        with pytest.raises(
            RuntimeFailure, match="^/sub/other belongs to 100:0, and the user namespace has only 0 to 99"
        ):
            ownership.shift(root, Mapping(0, 100))
    finally:
        mounting.unmount(root)
