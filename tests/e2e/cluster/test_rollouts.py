"""Changes of a Deployment reach its containers without going below what it promises to have."""

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import find_condition

if TYPE_CHECKING:
    from tests.e2e.cluster.conftest import Space

FIRST, NEXT = "navarch.dev/busybox:latest", "navarch.dev/busybox:next"
FOREVER = "exec sleep 1000"
# Ready only a while after its start, as real programs are.
SLOW_START = "sleep 0.5; touch /tmp/ready; exec sleep 1000"
WHEN_READY = {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1}


def image_of(pod: corev1.Pod) -> str:
    return pod.spec.containers[0].image


def is_available(pod: corev1.Pod) -> bool:
    ready = find_condition(pod.status.conditions, "Ready")
    return ready is not None and ready.status == "True" and not pod.metadata.HasField("deletion_timestamp")


@dataclass
class WatchLog:
    """What a watch showed of an app's Pods, after each event."""

    now: dict[str, corev1.Pod] = field(default_factory=dict)
    available: list[int] = field(default_factory=list)
    # Of those that are not on their way out.
    total: list[int] = field(default_factory=list)
    # Of those whose containers may run.
    images: list[set[str]] = field(default_factory=list)

    def take(self, event_type: str, pod: corev1.Pod) -> None:
        self.now.pop(pod.metadata.name, None)
        if event_type != "DELETED":
            self.now[pod.metadata.name] = pod
        pods = self.now.values()
        self.available.append(sum(map(is_available, pods)))
        self.total.append(sum(not pod.metadata.HasField("deletion_timestamp") for pod in pods))
        self.images.append({image_of(pod) for pod in pods if pod.status.phase not in ("Succeeded", "Failed")})


@asynccontextmanager
async def watched(space: "Space", app: str) -> AsyncIterator[WatchLog]:
    """Watch an app's Pods, beginning with those that are there."""
    log = WatchLog()
    found = await space.client.list(corev1.Pod, space.name, label_selector=f"app={app}")
    for pod in found.items:
        log.now[pod.metadata.name] = pod

    async def follow() -> None:
        version = found.resource_version
        watching = space.client.watch(corev1.Pod, space.name, label_selector=f"app={app}", resource_version=version)
        async with aclosing(watching) as events:
            async for event in events:
                if event.type != "BOOKMARK":
                    log.take(event.type, event.object)

    following = asyncio.create_task(follow())
    yield log
    last = {pod.metadata.name for pod in await space.pods(app)}

    async def caught_up() -> bool:
        return {*log.now} == last

    await space.eventually(caught_up, "the watch has shown everything")
    following.cancel()


async def deploy(space: "Space", replicas: int, strategy: dict[str, Any], script: str = SLOW_START) -> None:
    probe = {"readinessProbe": WHEN_READY} if script == SLOW_START else {}
    await space.deployment("web", replicas, script, probe, strategy=strategy)
    await space.running("web", replicas)


async def change(space: "Space", **container: Any) -> appsv1.Deployment:
    """Change the container of the Deployment."""
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", **container}]}}}}
    return await space.client.patch(appsv1.Deployment, "web", space.name, patch)


async def rolled_out(space: "Space", replicas: int, holds: Callable[[corev1.Pod], bool]) -> None:
    """Wait for the end of a rollout, after which all Pods are such ones."""

    async def probe() -> bool:
        pods = await space.pods("web")
        return len(pods) == replicas and all(is_available(pod) and holds(pod) for pod in pods)

    await space.eventually(probe, "rolled out")


@pytest.mark.parametrize(
    ("surge", "unavailable"), [pytest.param(1, 0, id="surge"), pytest.param(0, 1, id="in-place"), ("50%", "34%")]
)
async def test_a_rolling_update_keeps_its_promise(space: "Space", surge: int | str, unavailable: int | str) -> None:
    replicas = 3
    limits = {"maxSurge": surge, "maxUnavailable": unavailable}
    await deploy(space, replicas, {"type": "RollingUpdate", "rollingUpdate": limits})
    async with watched(space, "web") as log:
        await change(space, image=NEXT)
        await rolled_out(space, replicas, lambda pod: image_of(pod) == NEXT)
    # Percentages: of three, surge rounds up and unavailability down.
    most = replicas + (2 if surge == "50%" else int(surge))
    least = replicas - (1 if unavailable == "34%" else int(unavailable))
    assert min(log.available) >= least
    assert max(log.total) <= most
    assert log.available[-1] == replicas


@pytest.mark.over_both
async def test_recreate_never_runs_two_versions(space: "Space") -> None:
    await deploy(space, 2, {"type": "Recreate"}, FOREVER)
    async with watched(space, "web") as log:
        await change(space, image=NEXT)
        await rolled_out(space, 2, lambda pod: image_of(pod) == NEXT)
    assert all(len(images) <= 1 for images in log.images)


@pytest.mark.over_both
async def test_history_undo_restart_pause_and_resume(space: "Space") -> None:
    await deploy(space, 2, {"type": "RollingUpdate"}, FOREVER)
    await change(space, image=NEXT)
    assert "successfully rolled out" in await space.navarch("rollout", "status", "deploy/web", "--timeout", "60s")
    await rolled_out(space, 2, lambda pod: image_of(pod) == NEXT)

    async def revisions() -> list[str]:
        lines = (await space.navarch("rollout", "history", "deploy/web")).splitlines()
        return [line.split()[0] for line in lines if line[:1].isdigit()]

    assert await revisions() == ["1", "2"]
    assert FIRST in await space.navarch("rollout", "history", "deploy/web", "--revision", "1")

    assert "rolled back" in await space.navarch("rollout", "undo", "deploy/web")
    await rolled_out(space, 2, lambda pod: image_of(pod) == FIRST)
    assert await revisions() == ["2", "3"]
    await space.navarch("rollout", "undo", "deploy/web", "--to-revision", "2")
    await rolled_out(space, 2, lambda pod: image_of(pod) == NEXT)
    assert await revisions() == ["3", "4"]
    refusal = await space.navarch("rollout", "undo", "deploy/web", "--to-revision", "99", check=False)
    assert "99" in refusal

    before = {pod.metadata.uid for pod in await space.running("web", 2)}
    await space.navarch("rollout", "restart", "deploy/web")
    await rolled_out(space, 2, lambda pod: pod.metadata.uid not in before)

    await space.navarch("rollout", "pause", "deploy/web")
    kept = {pod.metadata.uid for pod in await space.running("web", 2)}
    changed = await change(space, image=FIRST)
    await space.until(
        appsv1.Deployment,
        "web",
        lambda found: found.status.observed_generation >= changed.metadata.generation,
        "the change was seen",
    )
    assert {pod.metadata.uid for pod in await space.pods("web")} == kept
    await space.navarch("rollout", "resume", "deploy/web")
    await rolled_out(space, 2, lambda pod: image_of(pod) == FIRST)


async def test_scale_up_and_down(space: "Space") -> None:
    await deploy(space, 3, {"type": "RollingUpdate"}, FOREVER)
    first = {pod.metadata.uid for pod in await space.running("web", 3)}
    await space.navarch("scale", "deploy/web", "--replicas", "30")
    many = await space.running("web", 30)
    assert first < {pod.metadata.uid for pod in many}
    assert len({pod.status.pod_ip for pod in many}) == 30
    await space.navarch("scale", "deploy/web", "--replicas", "1")
    (left,) = await space.running("web", 1)
    # Of those that have run about as long, any may be the one.
    assert left.metadata.uid in {pod.metadata.uid for pod in many}

    async def tasks() -> bool:
        ids = {status.container_id.rpartition("/")[2] for pod in many for status in pod.status.container_statuses}
        return len(ids & {*space.cluster.tasks()}) == 1

    await space.eventually(tasks, "one container is left")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an empty registry."""
    home = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    storage = f"storage: {{filesystem: {{rootdirectory: {home}}}}}"
    config = home / "config.yml"
    config.write_text(f"version: 0.1\n{storage}\nhttp: {{addr: '{address}'}}\n")
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
    try:
        yield address
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.over_both
async def test_an_image_that_does_not_exist(space: "Space", registry: str) -> None:
    image = f"{registry}/nobody/nothing:here"
    await deploy(space, 2, {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}}, FOREVER)
    before = {pod.metadata.uid for pod in await space.running("web", 2)}
    patch = {"spec": {"progressDeadlineSeconds": 2}}
    await space.client.patch(appsv1.Deployment, "web", space.name, patch)
    await change(space, image=image)

    async def stuck() -> list[corev1.Pod]:
        return [pod for pod in await space.pods("web") if image_of(pod) == image and pod.status.container_statuses]

    (pod,) = await space.eventually(stuck, "a Pod with the new image")
    reasons = set()

    def backs_off(pod: corev1.Pod) -> bool:
        reasons.add(pod.status.container_statuses[0].state.waiting.reason)
        return "ImagePullBackOff" in reasons

    await space.until_pod(pod.metadata.name, backs_off, "backs off")
    described = await space.navarch("describe", "pod", pod.metadata.name)
    assert "ErrImagePull" in described
    assert "ImagePullBackOff" in described
    # What the registry said, or what the runtime made of it.
    assert any(words in described.lower() for words in ("manifest unknown", "name unknown", "not found"))
    assert image in described

    said = await space.navarch("rollout", "status", "deploy/web", "--timeout", "30s", check=False)
    assert "exceeded its progress deadline" in said
    assert before < {pod.metadata.uid for pod in await space.pods("web")}
    await space.navarch("rollout", "undo", "deploy/web")
    await rolled_out(space, 2, lambda pod: pod.metadata.uid in before)


@pytest.mark.over_both
async def test_a_command_that_does_not_exist(space: "Space") -> None:
    await space.pod("typo", "", command=["/bin/nosuch"])
    pod = await space.until_pod(
        "typo",
        lambda pod: (
            pod.status.container_statuses
            and pod.status.container_statuses[0].state.waiting.reason in ("RunContainerError", "CrashLoopBackOff")
            and pod.status.container_statuses[0].restart_count >= 1
        ),
        "backs off",
    )
    status = pod.status.container_statuses[0]
    ended = status.last_state.terminated
    assert (ended.reason, ended.exit_code) == ("StartError", 128)
    assert "/bin/nosuch" in ended.message
    described = await space.navarch("describe", "pod", "typo")
    assert "/bin/nosuch" in described
    assert "no such file" in described
    assert "BackOff" in described
