"""What a node lives through: its runtime or its kubelet is killed or stands still, the whole host goes down."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.runtime_shim.containerd.cgroups import Cgroups
from navarch.runtime_shim.containerd.leftovers import shim_processes
from navarch.services.base import mounting
from navarch.testing.kubelet_lab import Lab

SOAK = bool(os.environ.get("NAVARCH_SOAK"))
STILL_S = 60.0 if SOAK else 0.0


def count(pod: corev1.Pod) -> int:
    return sum(one.restart_count for one in pod.status.container_statuses)


async def restart_runtime(lab: Lab) -> None:
    """kill -9 of the CRI server of this side, and its next start."""
    containerd = lab.host.containerd
    first, *others = containerd.processes
    if lab.runtime == "plugin":
        containerd.kill(first)
        await asyncio.to_thread(containerd.start_containerd)
        containerd.processes.insert(0, containerd.processes.pop())
    else:
        containerd.kill(others[0])
        await asyncio.to_thread(containerd.start_shim)


async def test_a_runtime_that_is_killed_while_pods_come_and_go(lab: Lab) -> None:
    await lab.create("stays")
    stays = await lab.running("stays")
    await lab.create("goes")
    await lab.running("goes")
    for number in range(4):
        await lab.create(f"comes-{number}")
    await lab.delete("goes")
    await restart_runtime(lab)
    for number in range(4):
        await lab.running(f"comes-{number}")
    await lab.gone("goes")
    after = await lab.running("stays")
    assert after.status.container_statuses[0].container_id == stays.status.container_statuses[0].container_id
    assert count(after) == 0


async def test_a_kubelet_that_stood_still_catches_up(lab: Lab, tmp_path: Path) -> None:
    volumes = [{"name": "host", "hostPath": {"path": str(tmp_path)}}]
    script = "until test -e /host/go; do sleep 0.1; done; exit 5"
    containers = [
        {"name": "main", "command": ["sh", "-c", script], "volumeMounts": [{"name": "host", "mountPath": "/host"}]}
    ]
    await lab.create("ends", restartPolicy="Never", containers=containers, volumes=volumes)
    for name in ("stays", "goes"):
        await lab.create(name)
    for name in ("ends", "stays", "goes"):
        await lab.running(name)
    kubelet = lab.host.kubelets[lab.runtime]
    kubelet.send_signal(signal.SIGSTOP)
    try:
        (tmp_path / "go").touch()
        await lab.create("comes")
        await lab.delete("goes")

        async def ended() -> bool:
            return any(one.state == 2 for one in await lab.cri.list_containers())

        await lab.eventually(ended, "the container has ended")
        await asyncio.sleep(STILL_S)
    finally:
        kubelet.send_signal(signal.SIGCONT)
    pod = await lab.ended("ends")
    assert pod.status.container_statuses[0].state.terminated.exit_code == 5
    await lab.running("comes")
    await lab.gone("goes")
    assert count(await lab.running("stays")) == 0


async def test_after_a_reboot_nothing_runs_or_is_mounted_and_pods_begin_again_with_their_files(lab: Lab) -> None:
    volumes: list[dict[str, Any]] = [
        {"name": "disk", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
    ]
    mounts = [{"name": volume["name"], "mountPath": f"/{volume['name']}"} for volume in volumes]
    script = "echo run >> /disk/lines; echo run >> /memory/lines; echo written; sleep 3600"
    await lab.create(
        "again", containers=[{"name": "main", "command": ["sh", "-c", script], "volumeMounts": mounts}], volumes=volumes
    )
    await lab.running("again")
    await lab.said("again", "written")
    lab.kill_kubelet()
    node = await lab.client.get(corev1.Node, lab.node)
    node.status.node_info.boot_id = "of-the-boot-before"
    await lab.client.update(node, subresource="status")
    await power_cut(lab)
    await lab.start_kubelet()
    pod = await lab.when("again", lambda pod: count(pod) == 1)
    assert pod.status.container_statuses[0].last_state.HasField("terminated")
    await lab.running("again")
    assert await lab.exec("again", "cat", "/disk/lines", "/memory/lines") == "run\nrun\nrun\n"
    found = await lab.client.list(corev1.Event, "default")
    assert any(one.reason == "Rebooted" and one.involved_object.name == lab.node for one in found.items)


async def power_cut(lab: Lab) -> None:
    """All processes of this side's containers end, and nothing of its kubelet stays mounted."""
    groups = f"{lab.host.containerd.cgroup_root}/{lab.runtime}"
    victims = Cgroups().pids(groups)
    ids = [one.id for one in await lab.cri.list_containers()] + [one.id for one in await lab.cri.list_sandboxes()]
    victims |= {pid for id_ in ids for pid in shim_processes(lab.host.containerd.layout.socket, id_)}
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in victims if psutil.pid_exists(pid)], timeout=30)
    assert not alive
    for point in mounting.mount_points(f"{lab.host.root_dir(lab.runtime)}/"):
        mounting.unmount(point)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
async def test_a_kubelet_that_is_started_again_leaves_what_runs_alone(lab: Lab, signum: signal.Signals) -> None:
    await lab.create("stays")
    before = await lab.running("stays")
    kubelet = lab.host.kubelets[lab.runtime]
    kubelet.send_signal(signum)
    await asyncio.to_thread(kubelet.wait, 60)
    await lab.start_kubelet()
    await lab.create("comes")
    await lab.running("comes")
    assert (await lab.running("stays")).status.container_statuses == before.status.container_statuses
