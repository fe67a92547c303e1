"""The runtime as a whole: Version, Status, RuntimeConfig, UpdateRuntimeConfig; and what nobody serves."""

import json

from navarch.protos.cri import v1_pb2 as criv1

from .conftest import Code, Peer, differs, refused

OLDER = "came to CRI after containerd 1.6"


async def test_version(cri: Peer) -> None:
    version = await cri.runtime.Version(criv1.VersionRequest(version="v1"))
    assert version.version == "0.1.0"
    assert version.runtime_api_version == "v1"
    assert version.runtime_name == cri.where(shim="navarch", plugin="containerd", because="each has its name")
    assert version.runtime_version


async def test_status(cri: Peer) -> None:
    status = await cri.runtime.Status(criv1.StatusRequest())
    assert {c.type: c.status for c in status.status.conditions} == {"RuntimeReady": True, "NetworkReady": True}
    assert not status.info


async def test_status_verbose(cri: Peer) -> None:
    """What crictl and kubeadm print: JSON of the configuration, and of the network's."""
    info = (await cri.runtime.Status(criv1.StatusRequest(verbose=True))).info
    config = json.loads(info["config"])
    assert config["containerd"]["snapshotter"] == "overlayfs"
    assert "runc" in config["containerd"]["runtimes"]
    assert config["cni"]["confDir"] == str(cri.containerd.cni_conf_dir(cri.name))
    assert json.loads(info["cniconfig"])["Networks"]


async def test_status_without_a_network_configuration(cri: Peer) -> None:
    folder = cri.containerd.cni_conf_dir(cri.name)
    aside = folder.rename(folder.with_name("aside"))
    folder.mkdir()
    try:
        status = await cri.runtime.Status(criv1.StatusRequest())
        network = next(c for c in status.status.conditions if c.type == "NetworkReady")
        if cri.where(shim=True, plugin=False, because="the plugin keeps what it has loaded until a file changes"):
            assert (network.status, network.reason) == (False, "NetworkPluginNotReady")
            with refused(Code.UNAVAILABLE, match="CNI"):
                await cri.sandbox(host_network=False)
    finally:
        folder.rmdir()
        aside.rename(folder)


@differs("plugin", reason=f"runtime handlers and features {OLDER}")
async def test_status_tells_handlers_and_features(cri: Peer) -> None:
    status = await cri.runtime.Status(criv1.StatusRequest())
    assert {handler.name for handler in status.runtime_handlers} == {"", "runc", "other"}
    assert all(handler.features.recursive_read_only_mounts for handler in status.runtime_handlers)
    assert status.features.supplemental_groups_policy


@differs("plugin", reason=f"RuntimeConfig {OLDER}")
async def test_runtime_config(cri: Peer) -> None:
    config = await cri.runtime.RuntimeConfig(criv1.RuntimeConfigRequest())
    assert config.linux.cgroup_driver == criv1.CgroupDriver.CGROUPFS


async def test_update_runtime_config(cri: Peer) -> None:
    for pod_cidr in ("", "10.1.2.0/24"):
        network = criv1.NetworkConfig(pod_cidr=pod_cidr)
        request = criv1.UpdateRuntimeConfigRequest(runtime_config=criv1.RuntimeConfig(network_config=network))
        await cri.runtime.UpdateRuntimeConfig(request)


async def test_checkpoints_are_not_served(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    with refused(Code.UNIMPLEMENTED):
        await cri.runtime.CheckpointContainer(criv1.CheckpointContainerRequest(container_id=container))
