"""The kubelet is killed at each step of a Pod's life; its Pod lives that life all the same, once, and leaves nothing.

What the containers do they write to a file of the host: a container that ran twice, or not at all, has said so.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from navarch.testing.kubelet_lab import Lab

SOAK = bool(os.environ.get("NAVARCH_SOAK"))
# Every step, or in the usual run each so many.
STRIDE = 1 if SOAK else 40
# No life has more steps; one that has would never be found to end.
MOST_STEPS = 400
PROGRAM = (sys.executable, "-m", "navarch.testing.kubelet_crash_points")
LOOK_S = 0.02
SIDE = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
MAIN = "echo main >> /diary/lines; trap 'echo stopped >> /diary/lines; exit 0' TERM; while :; do sleep 0.1; done"


def mounts(*names: str) -> list[dict[str, str]]:
    return [{"name": name, "mountPath": f"/{name}"} for name in ("diary", *names)]


def spec(diary: Path) -> dict[str, Any]:
    """A Pod of all that is made step by step: init container, sidecar, hooks, probe, volumes of three kinds."""
    return {
        "terminationGracePeriodSeconds": 20,
        "initContainers": [
            {"name": "init", "command": ["sh", "-c", "echo init >> /diary/lines"], "volumeMounts": mounts()},
            {
                "name": "side",
                "restartPolicy": "Always",
                "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"],
            },
        ],
        "containers": [
            {
                "name": "main",
                "command": ["sh", "-c", MAIN],
                "volumeMounts": mounts("config", "scratch"),
                "readinessProbe": {
                    "exec": {"command": ["cat", "/config/key"]},
                    "periodSeconds": 1,
                    "timeoutSeconds": 20,
                },
                "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "echo prestop >> /diary/lines"]}}},
            }
        ],
        "volumes": [
            {"name": "diary", "hostPath": {"path": str(diary)}},
            {"name": "config", "configMap": {"name": "config"}},
            {"name": "scratch", "emptyDir": {"medium": "Memory"}},
        ],
    }


@asynccontextmanager
async def revived(lab: Lab) -> AsyncIterator[None]:
    """A kubelet that dies is started again, as its supervisor would."""

    async def keep() -> None:
        while True:
            lab.host.start_kubelet(lab.runtime)
            await asyncio.sleep(LOOK_S)

    task = asyncio.create_task(keep())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def live(lab: Lab, name: str, diary: Path) -> None:
    """A Pod from its creation to its end. Checks what its containers did."""
    diary.mkdir()
    await lab.create(name, **spec(diary))
    pod = await lab.running(name)
    statuses = [*pod.status.init_container_statuses, *pod.status.container_statuses]
    runs = {one.name: one.restart_count + 1 for one in statuses}
    cut_short = "containerd's plugin ends what it is starting when its client goes away: a failed run, and another"
    assert set(runs.values()) <= lab.where(shim={1}, plugin={1, 2}, because=cut_short), runs
    await lab.delete(name)
    await lab.gone(name)
    lines = Counter((diary / "lines").read_text().split())
    # A hook that was cut short by the kill is run again: at least once is what is promised.
    assert lines.pop("prestop", 0) in (1, 2)
    assert lines.pop("stopped") == 1
    assert all(1 <= count <= runs[name] for name, count in lines.items()), lines
    assert lines.keys() == {"init", "main"}


@pytest.mark.timeout(3600)
async def test_killed_at_each_step_of_a_pods_life(lab: Lab, tmp_path: Path) -> None:
    await lab.make({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config"}, "data": {"key": "value"}})
    await live(lab, "warm", tmp_path / "warm")
    before = await lab.settled()
    steps = []
    for at in range(1, MOST_STEPS, STRIDE):
        log = tmp_path / f"step-{at}"
        lab.kill_kubelet()
        lab.host.start_kubelet(lab.runtime, f"--at={at}", f"--log={log}", program=PROGRAM)
        async with revived(lab):
            try:
                await live(lab, f"life-{at}", tmp_path / f"life-{at}")
                await lab.unchanged(before)
            except AssertionError as failure:
                where = log.read_text() if log.exists() else "nowhere"
                raise AssertionError(f"killed {where} ({at}): {failure}") from failure
        if not log.exists():
            break
        steps.append(log.read_text())
    else:
        pytest.fail(f"a life of more than {MOST_STEPS} steps: {steps}")
    # The last one is still to be killed, at a step that this life did not reach.
    lab.kill_kubelet()
    await lab.start_kubelet()
    print(f"{lab.runtime}: killed at {len(steps)} steps of about {at}")
    assert len(steps) > 1
