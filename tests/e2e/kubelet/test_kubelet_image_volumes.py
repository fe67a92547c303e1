"""Volumes that are images, and mounts that are read-only to their depth."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base import mounting
from navarch.testing.kubelet_lab import Lab
from navarch.testing.private_containerd import IMAGE

PROGRAM = "busybox"


def sleeper(*mounts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "main", "command": ["sleep", "3600"], "volumeMounts": list(mounts), **more}


def image_volume(name: str, reference: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": {"reference": reference, "pullPolicy": "IfNotPresent", **more}}


def waits_for(reason: str) -> Any:
    def check(pod: corev1.Pod) -> bool:
        return any(one.state.waiting.reason == reason for one in pod.status.container_statuses)

    return check


async def test_a_volume_that_is_an_image(lab: Lab) -> None:
    image = await lab.cri.image_status(IMAGE)
    assert image is not None
    # An image that was loaded, not pulled, may have no digest.
    by_digest = next(iter(image.repo_digests), IMAGE)
    await lab.create(
        "shows",
        containers=[
            sleeper(
                {"name": "all", "mountPath": "/all"},
                {"name": "digest", "mountPath": "/part", "subPath": "bin"},
                {"name": "digest", "mountPath": "/whose", "subPathExpr": "$(PART)"},
                env=[{"name": "PART", "value": "bin"}],
            )
        ],
        volumes=[image_volume("all", IMAGE), image_volume("digest", by_digest, pullPolicy="Never")],
    )
    if lab.runtime == "plugin":
        told = await lab.when("shows", waits_for("CreateContainerConfigError"))
        message = told.status.container_statuses[0].state.waiting.message
        assert message.startswith('volume "all" is an image, which containerd 1.')
        assert message in await lab.event("shows", "Failed")
        return
    pod = await lab.running("shows")
    for path in ("/all/bin", "/part", "/whose"):
        assert PROGRAM in (await lab.exec("shows", "ls", path)).split()
        assert "Read-only" in await lab.exec("shows", "sh", "-c", f"touch {path}/x 2>&1 || true")
    shown = {one.mount_path: one for one in pod.status.container_statuses[0].volume_mounts}
    assert shown["/all"].volume_status.image.image_ref in {image.id, *image.repo_digests}


async def test_an_image_of_a_volume_that_is_not_to_be_had(lab: Lab) -> None:
    absent = "127.0.0.1:1/absent:1"
    for name, policy in (("never", "Never"), ("pulled", "Always")):
        volume = image_volume("v", absent, pullPolicy=policy)
        await lab.create(name, containers=[sleeper({"name": "v", "mountPath": "/v"})], volumes=[volume])
    await lab.when("never", waits_for("ErrImageNeverPull"))
    assert absent in await lab.event("never", "ErrImageNeverPull")
    pod = await lab.when("pulled", waits_for("ImagePullBackOff"))
    message = pod.status.container_statuses[0].state.waiting.message
    assert message.startswith(f'Back-off pulling image "{absent}": ErrImagePull')


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A folder with a file system mounted below it."""
    below = tmp_path / "tree" / "below"
    below.mkdir(parents=True)
    mounting.mount("tmpfs", below, "tmpfs", 0, "")
    try:
        yield tmp_path / "tree"
    finally:
        mounting.unmount(below)


async def test_mounts_that_are_read_only_to_their_depth(lab: Lab, tree: Path) -> None:
    def mount(path: str, mode: str) -> dict[str, Any]:
        return {"name": "tree", "mountPath": path, "readOnly": True, "recursiveReadOnly": mode}

    volumes = [{"name": "tree", "hostPath": {"path": str(tree)}}]
    await lab.create(
        "modes", containers=[sleeper(mount("/no", "Disabled"), mount("/may", "IfPossible"))], volumes=volumes
    )
    await lab.create("must", containers=[sleeper(mount("/must", "Enabled"))], volumes=volumes)
    node = await lab.client.get(corev1.Node, lab.node)
    possible = any(one.features.recursive_read_only_mounts for one in node.status.runtime_handlers if not one.name)
    assert possible == lab.where(shim=True, plugin=False, because="containerd 1.6 does not tell what it can do")
    pod = await lab.running("modes")
    told = {one.mount_path: one.recursive_read_only for one in pod.status.container_statuses[0].volume_mounts}
    assert told["/no"] == "Disabled"
    assert told["/may"] == ("Enabled" if possible else "Disabled")
    for path, open_below in (("/no", True), ("/may", not possible)):
        assert "Read-only" in await lab.exec("modes", "sh", "-c", f"touch {path}/x 2>&1 || true")
        said = await lab.exec("modes", "sh", "-c", f"touch {path}/below/x 2>&1 || true")
        assert ("Read-only" not in said) == open_below
    if possible:
        pod = await lab.running("must")
        assert pod.status.container_statuses[0].volume_mounts[0].recursive_read_only == "Enabled"
        return
    pod = await lab.when("must", waits_for("CreateContainerConfigError"))
    message = 'volume "tree" requested recursive read-only mode, but it is not supported by the runtime'
    assert pod.status.container_statuses[0].state.waiting.message == message
