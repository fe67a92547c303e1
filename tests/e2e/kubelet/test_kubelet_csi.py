"""Volumes of CSI drivers: staged once, published to each Pod, and given up whatever dies in between."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.storage import v1_pb2 as storagev1
from navarch.services.api import codec
from navarch.services.api.errors import NotFound
from navarch.testing.csi_driver import DEVICE, CsiDriver
from navarch.testing.kubelet_lab import Lab

CAPABILITIES = ("STAGE_UNSTAGE_VOLUME", "EXPAND_VOLUME", "GET_VOLUME_STATS")
WRITER = {"name": "main", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
SLEEPS = ["sh", "-c", "echo $HOSTNAME >> /data/diary; sleep 3600"]


async def make(lab: Lab, document: dict[str, Any]) -> Any:
    """Create an object that is in no namespace."""
    made: Any = codec.from_json(document, strict=True)
    return await lab.client.create(made)


@pytest.fixture
async def driver(lab: Lab, tmp_path: Path) -> AsyncIterator[CsiDriver]:
    """One that stages, known to the API."""
    name = f"{secrets.token_hex(3)}.example.com"
    made = CsiDriver(name, lab.host.root_dir(lab.runtime), tmp_path / "driver", *CAPABILITIES)
    spec = {
        "attachRequired": False,
        "podInfoOnMount": True,
        "volumeLifecycleModes": ["Persistent", "Ephemeral"],
        "fsGroupPolicy": "File",
    }
    await make(lab, {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": name}, "spec": spec})
    await made.start()
    try:
        await lab.until(storagev1.CSINode, lab.node, lambda one: is_told(one, made), "")
        yield made
    finally:
        await made.stop()
        await lab.client.delete(storagev1.CSIDriver, name)


def is_told(node: storagev1.CSINode, driver: CsiDriver) -> bool:
    return any(entry.name == driver.name for entry in node.spec.drivers)


async def claim(lab: Lab, driver: CsiDriver, name: str, mode: str = "Filesystem", **csi: Any) -> dict[str, Any]:
    """A PersistentVolume of the driver and a claim bound to it: a volume of a Pod by it."""
    persistent = f"{lab.namespace}-{name}"
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeMode": mode}
    await make(
        lab,
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": persistent},
            "spec": {
                **common,
                "capacity": {"storage": "1Gi"},
                "claimRef": {"namespace": lab.namespace, "name": name},
                "csi": {"driver": driver.name, "volumeHandle": f"handle-{name}", **csi},
            },
        },
    )
    made: corev1.PersistentVolumeClaim = await lab.make(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name},
            "spec": {**common, "resources": {"requests": {"storage": "1Gi"}}, "volumeName": persistent},
        }
    )
    await bind(lab, made, persistent)
    return {"name": "data", "persistentVolumeClaim": {"claimName": name}}


async def bind(lab: Lab, made: corev1.PersistentVolumeClaim, persistent: str) -> None:
    """As the controller does; where it runs it may be first."""
    body = {"spec": {"claimRef": {"uid": made.metadata.uid, "namespace": lab.namespace, "name": made.metadata.name}}}
    await lab.client.patch(corev1.PersistentVolume, persistent, "", body, "merge")
    status = {"status": {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}}
    await lab.client.patch(
        corev1.PersistentVolumeClaim, made.metadata.name, lab.namespace, status, "merge", subresource="status"
    )


def leftovers(lab: Lab, driver: CsiDriver) -> list[str]:
    """Mounts of the driver's volumes, and what is kept of them."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    root = lab.host.root_dir(lab.runtime)
    kept = [*(root / "plugins/kubernetes.io/csi" / driver.name).glob("*"), *root.glob("pods/*/volume*/*csi/*")]
    kept += (root / "plugins/kubernetes.io/csi/volumeDevices").glob("*/*")
    return [point for point in mounts if driver.name in point or "~csi" in point] + [str(path) for path in kept]


async def nothing_left(lab: Lab, driver: CsiDriver) -> None:
    async def none() -> bool:
        return not leftovers(lab, driver)

    await lab.eventually(none, "nothing is left of the driver's volumes")


async def test_a_driver_is_told_to_the_api_while_it_is_there(lab: Lab, driver: CsiDriver) -> None:
    found = await lab.client.get(storagev1.CSINode, lab.node)
    (entry,) = (one for one in found.spec.drivers if one.name == driver.name)
    assert (entry.node_id, list(entry.topology_keys), entry.allocatable.count) == ("node-id", ["example.com/rack"], 5)
    node = await lab.client.get(corev1.Node, lab.node)
    assert node.metadata.labels["example.com/rack"] == "r1"
    await driver.stop()
    await lab.until(storagev1.CSINode, lab.node, lambda one: not is_told(one, driver), "")


async def test_a_volume_is_staged_once_and_published_to_each_pod(lab: Lab, driver: CsiDriver) -> None:
    await lab.make(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"password": "sesame"}}
    )
    reference = {"namespace": lab.namespace, "name": "key"}
    volume = await claim(
        lab, driver, "shared", fsType="ext4", volumeAttributes={"colour": "blue"}, nodeStageSecretRef=reference
    )
    containers = [{**WRITER, "command": SLEEPS}]
    for name in ("one", "two"):
        await lab.create(name, containers=containers, volumes=[volume], securityContext={"fsGroup": 4242})
    for name in ("one", "two"):
        await lab.running(name)

    async def both_wrote() -> bool:
        return sorted((await lab.exec("one", "cat", "/data/diary")).split()) == ["one", "two"]

    await lab.eventually(both_wrote, "both Pods write into one volume")
    assert (await lab.exec("one", "stat", "-c", "%g", "/data")).strip() == "4242"
    stage = driver.calls("NodeStageVolume")[0]
    assert stage["secrets"] == {"password": "sesame"}
    assert stage["volume_context"] == {"colour": "blue"}
    assert stage["volume_capability"]["mount"] == {"fs_type": "ext4"}
    assert stage["volume_capability"]["access_mode"] == {"mode": "SINGLE_NODE_WRITER"}
    publish = driver.calls("NodePublishVolume")[0]
    assert publish["staging_target_path"] == stage["staging_target_path"]
    assert publish["volume_context"]["csi.storage.k8s.io/pod.namespace"] == lab.namespace
    await lab.delete("one")
    await lab.gone("one")
    assert driver.calls("NodeUnstageVolume") == []
    await lab.delete("two")
    await lab.gone("two")
    assert len(driver.calls("NodeUnpublishVolume")) == 2
    assert len(driver.calls("NodeUnstageVolume")) == 1
    await nothing_left(lab, driver)


async def test_a_volume_of_the_pods_own_lives_as_long_as_it(lab: Lab, driver: CsiDriver) -> None:
    inline = {"name": "data", "csi": {"driver": driver.name, "readOnly": True, "volumeAttributes": {"size": "1"}}}
    await lab.create("inline", containers=[{**WRITER, "command": ["sleep", "3600"]}], volumes=[inline])
    await lab.running("inline")
    (publish,) = driver.calls("NodePublishVolume")
    assert publish["readonly"] is True
    assert publish["volume_context"]["csi.storage.k8s.io/ephemeral"] == "true"
    assert publish["volume_context"]["size"] == "1"
    assert driver.calls("NodeStageVolume") == []
    await lab.delete("inline")
    await lab.gone("inline")
    await nothing_left(lab, driver)


async def test_a_pod_waits_for_its_driver_and_says_what_that_says(lab: Lab, driver: CsiDriver) -> None:
    driver.refuse("NodePublishVolume")
    volume = await claim(lab, driver, "late")
    await lab.create("late", containers=[{**WRITER, "command": SLEEPS}], volumes=[volume])
    message = await lab.event("late", "FailedMount")
    assert message.startswith(f'MountVolume.SetUp failed for volume "{lab.namespace}-late" : ')

    async def told() -> bool:
        expected = "rpc error: code = Internal desc = NodePublishVolume is refused"
        return any(expected in message for _, message in await lab.events("late"))

    await lab.eventually(told)
    await driver.kill()
    driver.refuse()
    await driver.start()
    await lab.running("late")
    await driver.kill()
    await lab.delete("late")
    await driver.start()
    await lab.gone("late")
    await nothing_left(lab, driver)


async def test_a_kubelet_that_dies_between_the_steps_leaves_nothing(lab: Lab, driver: CsiDriver) -> None:
    driver.refuse("NodePublishVolume")
    volume = await claim(lab, driver, "torn")
    await lab.create("torn", containers=[{**WRITER, "command": SLEEPS}], volumes=[volume])

    async def staged() -> bool:
        return bool(driver.calls("NodeStageVolume"))

    await lab.eventually(staged, "it is staged")
    lab.kill_kubelet()
    await lab.client.delete(corev1.Pod, "torn", lab.namespace, grace_period_seconds=0)
    driver.refuse()
    await lab.start_kubelet()
    await nothing_left(lab, driver)
    assert driver.calls("NodeUnstageVolume")


async def test_a_volume_that_has_to_be_attached_is_waited_for(lab: Lab, driver: CsiDriver) -> None:
    body = {"spec": {"attachRequired": True}}
    found = await lab.client.get(storagev1.CSIDriver, driver.name)
    assert not found.spec.attach_required
    await lab.client.delete(storagev1.CSIDriver, driver.name)
    again: dict[str, Any] = {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", **body}
    await make(lab, {**again, "metadata": {"name": driver.name}})
    volume = await claim(lab, driver, "attached")
    await lab.create("attached", containers=[{**WRITER, "command": SLEEPS}], volumes=[volume])
    assert "volume attachment csi-" in await lab.event("attached", "FailedMount")
    name = (await lab.event("attached", "FailedMount")).partition("volume attachment ")[2].split()[0]
    with pytest.raises(NotFound):
        await lab.client.get(storagev1.VolumeAttachment, name)
    source = {"persistentVolumeName": f"{lab.namespace}-attached"}
    attachment: storagev1.VolumeAttachment = await make(
        lab,
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "VolumeAttachment",
            "metadata": {"name": name},
            "spec": {"attacher": driver.name, "nodeName": lab.node, "source": source},
        },
    )
    attachment.status.attached = True
    attachment.status.attachment_metadata["device"] = "/dev/x"
    await lab.client.update_status(attachment)
    await lab.running("attached")
    assert driver.calls("NodeStageVolume")[0]["publish_context"] == {"device": "/dev/x"}
    await lab.delete("attached")
    await lab.gone("attached")
    await nothing_left(lab, driver)
    await lab.client.delete(storagev1.VolumeAttachment, name)


async def test_a_volume_is_had_as_a_block_device(lab: Lab, driver: CsiDriver) -> None:
    volume = await claim(lab, driver, "raw", mode="Block")
    devices = [{"name": "data", "devicePath": "/dev/data"}]
    container = {"name": "main", "command": ["sleep", "3600"], "volumeDevices": devices}
    await lab.create("raw", containers=[container], volumes=[volume])
    await lab.running("raw")
    shown = (await lab.exec("raw", "stat", "-c", "%F %t:%T", "/dev/data")).strip()
    assert shown == f"block special file {DEVICE[0]:x}:{DEVICE[1]:x}"
    (publish,) = driver.calls("NodePublishVolume")
    pod = await lab.client.get(corev1.Pod, "raw", lab.namespace)
    assert publish["volume_capability"]["block"] == {}
    name, uid = f"{lab.namespace}-raw", pod.metadata.uid
    assert publish["target_path"].endswith(f"plugins/kubernetes.io/csi/volumeDevices/publish/{name}/{uid}")
    assert publish["staging_target_path"].endswith(f"plugins/kubernetes.io/csi/volumeDevices/staging/{name}")
    await lab.delete("raw")
    await lab.gone("raw")
    await nothing_left(lab, driver)


async def test_a_volume_that_has_grown_is_grown_on_the_node_too(lab: Lab, driver: CsiDriver) -> None:
    volume = await claim(lab, driver, "grown")
    larger = {"spec": {"capacity": {"storage": "2Gi"}}}
    await lab.client.patch(corev1.PersistentVolume, f"{lab.namespace}-grown", "", larger, "merge")
    await lab.create("grown", containers=[{**WRITER, "command": SLEEPS}], volumes=[volume])
    await lab.running("grown")
    message = await lab.event("grown", "FileSystemResizeSuccessful")
    assert message == f'MountVolume.NodeExpandVolume succeeded for volume "{lab.namespace}-grown"'
    (call,) = driver.calls("NodeExpandVolume")
    assert call["capacity_range"] == {"required_bytes": str(2 << 30)}
    assert call["volume_path"] == driver.calls("NodePublishVolume")[0]["target_path"]
    told = await lab.client.get(corev1.PersistentVolumeClaim, "grown", lab.namespace)
    assert told.status.capacity["storage"].string == "2Gi"
    await lab.delete("grown")
    await lab.gone("grown")
    await nothing_left(lab, driver)
