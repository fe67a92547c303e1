"""Reality is kept equal to what is wanted: containers that end, Pods that are deleted, services that are killed."""

import asyncio
import os
import signal
from contextlib import aclosing
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import AlreadyExists, ApiError

if TYPE_CHECKING:
    from tests.e2e.cluster.conftest import Space

SERVICES = [
    "store", "apiserver", "scheduler", "controller-manager", "kubelet", "runtime-shim", "containerd", "network",
]  # fmt: skip
FOREVER = "exec sleep 1000"
# Half a minute at most of lines that show every gap.
COUNTER = "i=0; while true; do echo $i; i=$((i+1)); sleep 0.01; done"


def status_of(pod: corev1.Pod) -> corev1.ContainerStatus:
    (found,) = pod.status.container_statuses
    return found


def container_id(pod: corev1.Pod) -> str:
    return status_of(pod).container_id.rpartition("/")[2]


async def kill(space: "Space", service: str) -> None:
    """kill -9 of a service; returns when another process has taken its place."""
    victim = space.cluster.service_pid(service)
    os.kill(victim, signal.SIGKILL)

    async def back() -> bool:
        return space.cluster.service_pid(service) not in (0, victim)

    await space.eventually(back, f"{service} is started again")


async def test_a_container_that_is_killed_is_started_again(space: "Space") -> None:
    await space.pod("victim", FOREVER)
    first = container_id(await space.ready("victim"))
    os.kill(space.cluster.tasks()[first], signal.SIGKILL)
    pod = await space.until_pod(
        "victim", lambda pod: status_of(pod).restart_count == 1 and status_of(pod).ready, "runs again"
    )
    assert container_id(pod) != first
    ended = status_of(pod).last_state.terminated
    assert (ended.exit_code, ended.container_id.rpartition("/")[2]) == (137, first)
    tasks = space.cluster.tasks()
    assert container_id(pod) in tasks
    assert first not in tasks


async def test_a_container_that_always_fails_is_started_ever_later(space: "Space") -> None:
    await space.pod("crash", "echo failing; exit 7")
    ends: dict[str, corev1.ContainerStateTerminated] = {}
    messages = []
    async with asyncio.timeout(60), aclosing(space.client.watch(corev1.Pod, space.name)) as events:
        async for event in events:
            if event.type == "BOOKMARK" or not event.object.status.container_statuses:
                continue
            status = status_of(event.object)
            for state in (status.state, status.last_state):
                if state.HasField("terminated"):
                    ends[state.terminated.container_id] = state.terminated
            if status.state.waiting.reason == "CrashLoopBackOff":
                messages.append(status.state.waiting.message.split()[1])
            if "20s" in messages:
                break
    assert sorted({*messages}) == ["10s", "20s"]
    runs = sorted(ends.values(), key=lambda end: end.started_at.seconds)
    assert [run.exit_code for run in runs] == [7, 7, 7]
    at_once, later = (after.started_at.seconds - before.finished_at.seconds for before, after in pairwise(runs))
    # Of whole seconds.
    assert at_once < 9 <= later
    described = await space.navarch("describe", "pod", "crash")
    assert "CrashLoopBackOff" in described
    assert "Exit Code:         7" in described
    assert await space.said("crash", "failing") == "failing\n"
    assert "BackOff" in await space.navarch("events")


async def test_a_pod_that_is_deleted_is_replaced(space: "Space") -> None:
    await space.deployment("web", 2, FOREVER)
    victim, other = await space.running("web", 2)
    await space.client.delete(corev1.Pod, victim.metadata.name, space.name)
    await space.gone(victim.metadata.name)
    pods = await space.running("web", 2)
    (new,) = (pod for pod in pods if pod.metadata.uid != other.metadata.uid)
    assert new.metadata.uid != victim.metadata.uid
    assert new.metadata.name != victim.metadata.name
    assert new.status.pod_ip not in ("", victim.status.pod_ip, other.status.pod_ip)
    assert container_id(new) in space.cluster.tasks()


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_that_is_killed_disturbs_nothing_that_runs(space: "Space", service: str) -> None:
    await space.deployment("steady", 2, FOREVER)
    steady = {container_id(pod) for pod in await space.running("steady", 2)}
    before = {name: pid for name, pid in space.cluster.tasks().items() if name in steady}

    await kill(space, service)
    assert all(os.path.exists(f"/proc/{pid}") for pid in before.values())

    async def accepted() -> bool:
        try:
            await space.deployment("after", 1, FOREVER)
        except AlreadyExists:
            return True  # The answer to the attempt before was lost.
        except ApiError:
            return False
        return True

    await space.eventually(accepted, f"objects can be written after the end of {service}")
    (fresh,) = await space.running("after", 1)
    await space.client.patch(appsv1.Deployment, "steady", space.name, {"spec": {"replicas": 3}})
    pods = await space.running("steady", 3)
    assert steady < {container_id(pod) for pod in pods}
    assert [status_of(pod).restart_count for pod in [*pods, fresh]] == [0, 0, 0, 0]
    after = space.cluster.tasks()
    assert before.items() <= after.items()
    assert container_id(fresh) in after


@pytest.mark.parametrize("service", ["runtime-shim", "containerd", "kubelet"])
async def test_no_line_of_a_log_is_lost(space: "Space", service: str) -> None:
    await space.pod("counter", COUNTER)
    first = container_id(await space.ready("counter"))

    async def lines(more_than: int) -> list[str]:
        found = (await space.logs("counter")).splitlines()
        return found if len(found) > more_than else []

    written = await space.eventually(lambda: lines(20), "the counter counts")
    await kill(space, service)

    async def readable() -> list[str]:
        try:
            return await lines(len(written) + 100)
        except Exception:
            return []

    later = await space.eventually(readable, "the counter counts on")
    assert later == [str(number) for number in range(len(later))]
    assert container_id(await space.ready("counter")) == first
