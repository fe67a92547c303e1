"""Many Pods come and go, fifteen at once, in all the ways that Pods do; then the host is exactly as before."""

import asyncio
import os
import random
import time
from typing import Any

import psutil
import pytest

from navarch.testing.kubelet_lab import Lab

PODS = 500 if os.environ.get("NAVARCH_SOAK") else 25
AT_ONCE = 15
# Connections and watches that come and go.
SPARE_FILES = 12
MOST_GROWTH_MB = 40
CONFIG = {"name": "config", "configMap": {"name": "config"}}
SCRATCH = {"name": "scratch", "emptyDir": {"medium": "Memory"}}
MOUNTS = [{"name": "config", "mountPath": "/config"}, {"name": "scratch", "mountPath": "/scratch"}]


def main(script: str, **more: Any) -> list[dict[str, Any]]:
    return [{"name": "main", "command": ["sh", "-c", script], **more}]


async def stays(lab: Lab, name: str, _: random.Random) -> None:
    """Runs until it is deleted."""
    await lab.create(name, containers=main("sleep 3600", volumeMounts=MOUNTS), volumes=[CONFIG, SCRATCH])
    await lab.running(name)


async def ends(lab: Lab, name: str, _: random.Random) -> None:
    """Ends by itself, after an init container."""
    init = [{"name": "init", "command": ["true"]}]
    await lab.create(name, restartPolicy="Never", initContainers=init, containers=main("echo done"))
    assert (await lab.ended(name)).status.phase == "Succeeded"


async def crashes(lab: Lab, name: str, _: random.Random) -> None:
    """Crashes, and is started again once at least."""
    limits = {"limits": {"memory": "32Mi"}}
    await lab.create(name, containers=main("exit 3", resources=limits))
    await lab.when(name, lambda pod: any(one.restart_count for one in pod.status.container_statuses))


async def is_cut_short(lab: Lab, name: str, rng: random.Random) -> None:
    """Is deleted at any moment of its start."""
    await lab.create(name, containers=main("sleep 3600", volumeMounts=MOUNTS), volumes=[CONFIG, SCRATCH])
    await asyncio.sleep(rng.random() * 0.5)


LIVES = (stays, ends, crashes, is_cut_short)


@pytest.mark.timeout(1800)
async def test_churn(lab: Lab) -> None:
    await lab.make({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config"}, "data": {"key": "value"}})
    rng = random.Random(500)
    places = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with places:
            name = f"pod-{number}"
            await LIVES[number % len(LIVES)](lab, name, rng)
            await lab.delete(name, grace=rng.choice((0, 1)))
            await lab.gone(name)

    # What is made once is there after the first lives.
    await asyncio.gather(*map(one, range(len(LIVES))))
    process = psutil.Process(lab.host.kubelets[lab.runtime].pid)
    files, memory_mb = process.num_fds(), process.memory_info().rss / 1e6
    before = await lab.settled()
    begin = time.monotonic()
    await asyncio.gather(*map(one, range(len(LIVES), PODS)))
    print(f"{lab.runtime}: {PODS} Pods in {time.monotonic() - begin:.1f} s")
    await lab.unchanged(before)
    assert process.num_fds() <= files + SPARE_FILES
    assert process.memory_info().rss / 1e6 <= memory_mb + MOST_GROWTH_MB
