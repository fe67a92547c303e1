"""Containers and hosts that behave badly: what they harm is their own Pod, and only for as long as it lasts."""

import asyncio
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from navarch.testing.kubelet_lab import Lab

SOAK = bool(os.environ.get("NAVARCH_SOAK"))
CHANGES = 30 if SOAK else 4
AWAY_S = 600.0 if SOAK else 0.0
BIG = 1_000_000
MOST_GROWTH_MB = 60


def shell(script: str, **more: Any) -> list[dict[str, Any]]:
    return [{"name": "main", "command": ["sh", "-c", script], **more}]


async def test_a_memory_hog_is_killed_and_started_again(lab: Lab) -> None:
    limits = {"limits": {"memory": "32Mi"}}
    await lab.create("hog", containers=shell("exec tail /dev/zero", resources=limits))
    await lab.create("neighbour")
    pod = await lab.when("hog", lambda pod: any(one.restart_count for one in pod.status.container_statuses))
    ended = pod.status.container_statuses[0].last_state.terminated
    assert (ended.reason, ended.exit_code) == ("OOMKilled", 137)
    neighbour = await lab.running("neighbour")
    assert neighbour.status.container_statuses[0].restart_count == 0


async def test_a_process_that_ignores_sigterm_is_killed_when_its_grace_is_over(lab: Lab) -> None:
    await lab.create("stubborn", containers=shell("trap '' TERM; while :; do sleep 1; done"))
    await lab.running("stubborn")
    await lab.delete("stubborn")
    pod = await lab.when("stubborn", lambda pod: pod.status.container_statuses[0].state.HasField("terminated"))
    assert pod.status.container_statuses[0].state.terminated.exit_code == 137
    await lab.gone("stubborn")


async def test_zombies_are_reaped_where_a_pod_shares_its_processes(lab: Lab) -> None:
    lab.only("shim", because="the pause image of these tests reaps nothing")
    orphans = "for i in 1 2 3 4 5 6 7 8; do (sleep 0.01 &); done; sleep 3600"
    await lab.create("zombies", shareProcessNamespace=True, containers=shell(orphans))
    await lab.running("zombies")

    async def no_zombie() -> bool:
        listed = await lab.exec("zombies", "sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null || true")
        return "sleep" in listed and ") Z " not in listed

    await lab.eventually(no_zombie)


async def test_a_volume_that_vanishes_holds_up_its_own_pod_until_it_is_back(lab: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "volume"
    folder.mkdir()
    volumes = [{"name": "data", "hostPath": {"path": str(folder), "type": "Directory"}}]
    mounts = [{"name": "data", "mountPath": "/data"}]
    await lab.create("loser", containers=shell("sleep 3600", volumeMounts=mounts), volumes=volumes)
    await lab.running("loser")
    lab.kill_kubelet()
    shutil.rmtree(folder)
    await lab.start_kubelet()
    await lab.event("loser", "FailedMount")
    assert (await lab.running("loser")).status.container_statuses[0].restart_count == 0
    folder.mkdir()
    await lab.delete("loser")
    await lab.gone("loser")


async def test_a_big_config_map_that_changes_and_changes(lab: Lab) -> None:
    config: Any = await lab.make(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "big"}, "data": {"text": "0" * BIG}}
    )
    volumes = [{"name": "big", "configMap": {"name": "big"}}]
    mounts = [{"name": "big", "mountPath": "/big"}]
    await lab.create("reader", containers=shell("sleep 3600", volumeMounts=mounts), volumes=volumes)
    await lab.running("reader")
    process = psutil.Process(lab.host.kubelets[lab.runtime].pid)
    before_mb = process.memory_info().rss / 1e6
    for number in range(1, CHANGES + 1):
        config.data["text"] = str(number % 10) * BIG
        config = await lab.client.update(config)

        async def is_read() -> bool:
            first = await lab.exec("reader", "head", "-c", "1", "/big/text")
            return first == str(number % 10)  # noqa: B023 - it is awaited in this turn

        await lab.eventually(is_read)
    assert await lab.exec("reader", "sh", "-c", "wc -c < /big/text") == f"{BIG}\n"
    assert await lab.exec("reader", "sh", "-c", "ls -A /big | grep -c ^\\\\.\\\\.20") == "1\n"
    assert process.memory_info().rss / 1e6 <= before_mb + MOST_GROWTH_MB


@pytest.mark.timeout(900)
async def test_while_the_api_server_is_away_pods_keep_their_lives(lab: Lab, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    volumes = [{"name": "host", "hostPath": {"path": str(tmp_path)}}]
    script = "echo run >> /host/diary; until test -e /host/go; do sleep 0.1; done; rm /host/go; exit 3"
    mounts = [{"name": "host", "mountPath": "/host"}]
    await lab.create("alone", containers=shell(script, volumeMounts=mounts), volumes=volumes)
    await lab.running("alone")
    lab.host.control_plane.send_signal(signal.SIGSTOP)
    try:
        (tmp_path / "go").touch()

        async def ran_again() -> bool:
            return diary.read_text() == "run\nrun\n"

        await lab.eventually(ran_again)
        await asyncio.sleep(AWAY_S)
    finally:
        lab.host.control_plane.send_signal(signal.SIGCONT)
    pod = await lab.when("alone", lambda pod: pod.status.container_statuses[0].restart_count == 1)
    assert pod.status.container_statuses[0].last_state.terminated.exit_code == 3
    await lab.running("alone")
    assert diary.read_text() == "run\nrun\n"


async def test_after_a_reboot_pods_run_again_and_those_that_never_restart_have_failed(lab: Lab) -> None:
    await lab.create("again")
    await lab.create("never", restartPolicy="Never")
    await lab.running("again")
    await lab.running("never")
    lab.kill_kubelet()
    for box in await lab.cri.list_sandboxes():
        await lab.cri.stop_sandbox(box.id)
        await lab.cri.remove_sandbox(box.id)
    await lab.start_kubelet()
    pod = await lab.when("again", lambda pod: pod.status.container_statuses[0].restart_count == 1)
    assert pod.status.container_statuses[0].last_state.terminated.exit_code == 137
    await lab.running("again")
    assert (await lab.ended("never")).status.phase == "Failed"


@pytest.mark.parametrize("grace", [0, 1])
async def test_a_pod_deleted_at_each_stage_of_its_start(lab: Lab, grace: int) -> None:
    stages = {
        "bound": lambda pod: True,
        "initializing": lambda pod: pod.status.init_container_statuses,
        "with-init-running": lambda pod: any(
            one.state.HasField("running") for one in pod.status.init_container_statuses
        ),
        "initialized": lambda pod: any(
            one.type == "Initialized" and one.status == "True" for one in pod.status.conditions
        ),
        "running": lambda pod: pod.status.phase == "Running",
    }
    for name, reached in stages.items():
        init = [{"name": "init", "command": ["sleep", "0.2"]}]
        await lab.create(name, initContainers=init)
        await lab.when(name, lambda pod, reached=reached: reached(pod))
        await lab.delete(name, grace=grace)
    for name in stages:
        await lab.gone(name)
