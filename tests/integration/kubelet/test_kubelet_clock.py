"""A host whose clock jumps, and containers that end as fast as they are started."""

import os
from typing import Any

import pytest

from navarch.protos.k8s.coordination import v1_pb2 as coordinationv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import SystemClock

DAY_S = 86_400.0
EXITS = 1000 if os.environ.get("NAVARCH_SOAK") else 150


class JumpingClock(SystemClock):
    """The host's clock, set to another time."""

    ahead_s = 0.0

    def now(self) -> float:
        return super().now() + self.ahead_s


def restarts(pod: corev1.Pod) -> int:
    return sum(one.restart_count for one in pod.status.container_statuses)


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S, 90.0, -90.0])
async def test_a_clock_that_jumps_disturbs_nothing_that_runs_and_nothing_new(bare_lab: Any, jump_s: float) -> None:
    clock = bare_lab.clock = JumpingClock()
    bare_lab.options = {"heartbeat_s": 0.2}
    await bare_lab.start_kubelet()
    await bare_lab.create("stays")
    before = await bare_lab.running("stays")
    await bare_lab.create("ends", {"exit-after-seconds": "0.5"}, restartPolicy="Never")
    await bare_lab.create("goes", terminationGracePeriodSeconds=5)
    await bare_lab.running("goes")
    clock.ahead_s = jump_s
    await bare_lab.client.delete(corev1.Pod, "goes", "default")
    await bare_lab.create("comes")
    await bare_lab.running("comes")
    await bare_lab.gone("goes")
    await bare_lab.when("ends", lambda pod: pod.status.phase == "Succeeded")
    after = await bare_lab.pod("stays")
    assert after.status.container_statuses == before.status.container_statuses

    async def renewed() -> bool:
        lease = await bare_lab.client.get(coordinationv1.Lease, "n1", "kube-node-lease")
        return abs(lease.spec.renew_time.seconds - clock.now()) < abs(jump_s) / 2

    await bare_lab.until(renewed)


async def test_a_container_that_exits_at_once_over_and_over_is_counted_and_leaves_nothing(bare_lab: Any) -> None:
    clock = bare_lab.clock = JumpingClock()
    # By this clock every rest is over as soon as it begins.
    clock.ahead_s = DAY_S
    await bare_lab.start_kubelet()
    await bare_lab.create("crashes", {"exit-after-seconds": "0", "exit-code": "1"})
    pod = await bare_lab.when("crashes", lambda pod: restarts(pod) >= EXITS)
    assert pod.status.container_statuses[0].last_state.terminated.exit_code == 1
    assert len(await bare_lab.runtime.list_containers()) <= 3
    assert len(await bare_lab.runtime.list_sandboxes()) == 1
    await bare_lab.client.delete(corev1.Pod, "crashes", "default")
    await bare_lab.gone("crashes")
    await bare_lab.clean()
