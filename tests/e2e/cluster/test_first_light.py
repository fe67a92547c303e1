"""One manifest becomes containers that answer; `down` leaves nothing; kill -9 of everything is survived."""

import asyncio
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1

if TYPE_CHECKING:
    from tests.e2e.cluster.conftest import RealCluster, Space

MANIFEST = Path(__file__).parents[3] / "k8s-lab" / "manifests" / "hello.yaml"
REPLICAS = 3


def fetch(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}:8080/", timeout=5) as answer:
        return str(answer.read().decode())


async def greetings(space: "Space") -> dict[str, str]:
    """Pod name -> what it says to this host, of the Pods that say something."""
    said = {}
    for pod in await space.pods("hello"):
        with suppress(OSError):
            said[pod.metadata.name] = await asyncio.to_thread(fetch, pod.status.pod_ip)
    return said


async def all_answer(space: "Space") -> list[corev1.Pod]:
    """Wait until three Pods answer under their own names and run as containerd sees it."""

    async def probe() -> list[corev1.Pod]:
        pods = await space.pods("hello")
        wanted = {pod.metadata.name: f"hello from {pod.metadata.name}\n" for pod in pods}
        ids = {status.container_id.rpartition("/")[2] for pod in pods for status in pod.status.container_statuses}
        answered = len(pods) == REPLICAS and await greetings(space) == wanted
        return pods if answered and ids == {*space.cluster.tasks()} else []

    return await space.eventually(probe, "three Pods answer")


@pytest.fixture
async def hello(cluster: "RealCluster", default_space: "Space") -> "Space":
    """The cluster is up and the example runs on it."""
    await asyncio.to_thread(cluster.up)
    await default_space.navarch("apply", "-f", str(MANIFEST))
    await default_space.navarch("rollout", "status", "deployment/hello", "--timeout", "60s")
    return default_space


async def test_a_manifest_becomes_containers(hello: "Space") -> None:
    pods = await all_answer(hello)
    addresses = {pod.metadata.name: pod.status.pod_ip for pod in pods}
    assert len({*addresses.values()}) == REPLICAS
    for name in addresses:
        for other, address in addresses.items():
            said = await hello.execute(name, "wget", "-qO-", f"http://{address}:8080/", container="hello")
            assert said == f"hello from {other}\n"


async def test_what_the_command_line_shows_of_it(hello: "Space") -> None:
    pods = await all_answer(hello)
    table = await hello.navarch("get", "pods", "-o", "wide", "-l", "app=hello")
    for pod in pods:
        name, address = pod.metadata.name, pod.status.pod_ip
        row = next(line.split() for line in table.splitlines() if line.startswith(f"{name} "))
        assert row[1:3] == ["1/1", "Running"]
        assert address in row
        assert f"hello from {name} at {address}" in await hello.navarch("logs", name)
        assert await hello.navarch("exec", name, "--", "hostname") == f"{name}\n"
    assert "unchanged" in await hello.navarch("apply", "-f", str(MANIFEST))


async def test_down_leaves_nothing_and_up_brings_all_back(cluster: "RealCluster", hello: "Space") -> None:
    before = {pod.metadata.uid for pod in await all_answer(hello)}
    for _ in range(2):
        await asyncio.to_thread(cluster.down)
        assert cluster.leftovers(cluster.layout) == []
        await asyncio.to_thread(cluster.up)
        assert {pod.metadata.uid for pod in await all_answer(hello)} == before


@pytest.mark.parametrize("containers", [False, True], ids=["containers-live-on", "containers-too"])
async def test_up_works_after_kill_9_of_everything(cluster: "RealCluster", hello: "Space", containers: bool) -> None:
    before = {pod.metadata.uid for pod in await all_answer(hello)}
    cluster.kill_everything(containers=containers)
    await asyncio.to_thread(cluster.up)
    assert {pod.metadata.uid for pod in await all_answer(hello)} == before


@pytest.mark.parametrize("containers", [False, True], ids=["containers-live-on", "containers-too"])
async def test_down_cleans_up_after_kill_9_of_everything(
    cluster: "RealCluster", hello: "Space", containers: bool
) -> None:
    await all_answer(hello)
    cluster.kill_everything(containers=containers)
    await asyncio.to_thread(cluster.down)
    assert cluster.leftovers(cluster.layout) == []
    await asyncio.to_thread(cluster.up)
    await all_answer(hello)


async def test_up_and_down_may_be_said_twice(cluster: "RealCluster", hello: "Space") -> None:
    tasks = cluster.tasks()
    said = await asyncio.to_thread(cluster.navarch, "up", f"--data-dir={cluster.data_dir}")
    assert "already running" in said
    assert cluster.tasks() == tasks
    await asyncio.to_thread(cluster.down)
    await asyncio.to_thread(cluster.down)
    assert cluster.leftovers(cluster.layout) == []
