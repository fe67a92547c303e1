"""A whole cluster in the test's own event loop: everything is real but the containers."""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

import pytest
from google.protobuf.message import Message

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import NotFound
from navarch.services.api.meta import condition_is, find_condition, is_being_deleted
from navarch.testing.cluster import InProcessCluster

M = TypeVar("M", bound=Message)
# Generous: only what hangs meets it.
PATIENCE_S = 90.0


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short, since sockets are in it and their paths are limited."""
    with tempfile.TemporaryDirectory(prefix="nv-", dir="/tmp") as path:
        yield Path(path)


@pytest.fixture
async def cluster(directory: Path) -> AsyncIterator[InProcessCluster]:
    async with InProcessCluster(directory, nodes=3) as made:
        yield made


def a_deployment(replicas: int, name: str = "web", namespace: str = "default") -> appsv1.Deployment:
    made = appsv1.Deployment()
    made.metadata.name, made.metadata.namespace = name, namespace
    made.spec.replicas = replicas
    made.spec.selector.match_labels["app"] = made.spec.template.metadata.labels["app"] = name
    made.spec.template.spec.termination_grace_period_seconds = 1
    made.spec.template.spec.containers.add(name="main", image="example.org/web:1")
    return made


async def until(cluster: InProcessCluster, cls: type[M], name: str, namespace: str, holds: Callable[[M], object]) -> M:
    """Watch one object until it is as wanted; fails with how it was last."""
    seen: M | None = None
    watching = cluster.client.watch(cls, namespace, field_selector=f"metadata.name={name}")
    try:
        async with asyncio.timeout(PATIENCE_S), aclosing(watching) as events:
            async for event in events:
                if event.type in ("ADDED", "MODIFIED"):
                    seen = event.object
                    if holds(seen):
                        return seen
    except TimeoutError:
        pass
    raise AssertionError(f"{cls.__name__} {name} did not come to be as wanted; last:\n{seen}")


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():
            await asyncio.sleep(0.02)


async def complete(cluster: InProcessCluster, namespace: str = "default") -> appsv1.Deployment:
    """Wait until the rollout of the Deployment is done."""

    def holds(found: appsv1.Deployment) -> bool:
        status = found.status
        counts = {status.replicas, status.updated_replicas, status.available_replicas}
        return status.observed_generation == found.metadata.generation and counts == {found.spec.replicas}

    return await until(cluster, appsv1.Deployment, "web", namespace, holds)


async def living(cluster: InProcessCluster, namespace: str = "default") -> list[corev1.Pod]:
    """The Pods that are to stay."""
    found = (await cluster.client.list(corev1.Pod, namespace)).items
    return [pod for pod in found if not is_being_deleted(pod)]


async def test_a_control_plane_and_three_nodes_in_one_process(directory: Path) -> None:
    begin = time.perf_counter()
    async with InProcessCluster(directory, nodes=3) as cluster:
        ready_s = time.perf_counter() - begin
        await cluster.client.create(a_deployment(3))
        deployment = await complete(cluster)
        available_s = time.perf_counter() - begin
        print(f"\nthree nodes are Ready after {ready_s:.2f} s, a Deployment is available after {available_s:.2f} s")
        assert condition_is(deployment.status.conditions, "Available")
        found = await living(cluster)
        assert {pod.status.phase for pod in found} == {"Running"}
        assert len({pod.status.pod_ip for pod in found}) == 3
        assert Counter(pod.spec.node_name for pod in found) == {"node-1": 1, "node-2": 1, "node-3": 1}


async def test_scaling_from_3_to_30_to_1(cluster: InProcessCluster) -> None:
    await cluster.client.create(a_deployment(3))
    await complete(cluster)
    for replicas in (30, 1):
        await cluster.client.patch(appsv1.Deployment, "web", "default", {"spec": {"replicas": replicas}})
        await complete(cluster)
        found = await living(cluster)
        assert len(found) == replicas
        spread = Counter(pod.spec.node_name for pod in found)
        assert max(spread.values()) - min(spread.values()) <= 1


async def test_a_rollout_stays_within_its_limits(cluster: InProcessCluster) -> None:
    """As a watcher of Pods sees it: never fewer Ready than maxUnavailable allows, never more than maxSurge."""
    replicas = 6
    deployment = a_deployment(replicas)
    deployment.spec.strategy.rolling_update.max_surge.int_val = 2
    deployment.spec.strategy.rolling_update.max_unavailable.int_val = 1
    await cluster.client.create(deployment)
    await complete(cluster)
    listed = await cluster.client.list(corev1.Pod, "default")
    pods = {pod.metadata.name: pod for pod in listed.items}
    seen: list[tuple[int, int]] = []

    async def note() -> None:
        events = cluster.client.watch(corev1.Pod, "default", resource_version=listed.resource_version)
        async with aclosing(events):
            async for event in events:
                if event.type == "DELETED":
                    pods.pop(event.object.metadata.name)
                elif event.type != "BOOKMARK":
                    pods[event.object.metadata.name] = event.object
                active = [pod for pod in pods.values() if not is_being_deleted(pod)]
                seen.append((sum(condition_is(pod.status.conditions, "Ready") for pod in active), len(active)))

    noting = asyncio.create_task(note())
    container = {"name": "main", "image": "example.org/web:2"}
    patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
    await cluster.client.patch(appsv1.Deployment, "web", "default", patch)
    await complete(cluster)
    noting.cancel()
    assert {pod.spec.containers[0].image for pod in await living(cluster)} == {"example.org/web:2"}
    assert min(available for available, _ in seen) >= replicas - 1
    assert max(total for _, total in seen) <= replicas + 2


async def test_a_deleted_namespace_takes_everything_along(cluster: InProcessCluster) -> None:
    namespace = corev1.Namespace()
    namespace.metadata.name = "going"
    await cluster.client.create(namespace)
    await cluster.client.create(a_deployment(3, namespace="going"))
    config = corev1.ConfigMap(data={"a": "b"})
    config.metadata.name, config.metadata.namespace = "settings", "going"
    await cluster.client.create(config)
    await complete(cluster, "going")
    await cluster.client.delete(corev1.Namespace, "going")

    async def namespace_is_gone() -> bool:
        try:
            await cluster.client.get(corev1.Namespace, "going")
        except NotFound:
            return True
        return False

    await eventually(namespace_is_gone)
    for kind in (corev1.Pod, corev1.ConfigMap, appsv1.ReplicaSet, appsv1.Deployment, corev1.ServiceAccount):
        listed: list[Message] = (await cluster.client.list(kind, "going")).items
        assert not listed


async def test_the_pods_of_a_silent_node_go_to_the_others(directory: Path) -> None:
    async with InProcessCluster(directory, nodes=3, heartbeat_s=0.5, node_grace_s=3.0) as cluster:
        deployment = a_deployment(3)
        for taint in ("not-ready", "unreachable"):
            deployment.spec.template.spec.tolerations.add(
                key=f"node.kubernetes.io/{taint}", operator="Exists", effect="NoExecute", toleration_seconds=0
            )
        await cluster.client.create(deployment)
        await complete(cluster)
        await cluster.stop_node("node-2")

        def silent(node: corev1.Node) -> bool:
            ready = find_condition(node.status.conditions, "Ready")
            keys = {(taint.key, taint.effect) for taint in node.spec.taints}
            return (
                ready is not None
                and (ready.status, ready.reason) == ("Unknown", "NodeStatusUnknown")
                and keys >= {("node.kubernetes.io/unreachable", effect) for effect in ("NoSchedule", "NoExecute")}
            )

        await until(cluster, corev1.Node, "node-2", "", silent)

        async def replaced() -> bool:
            ready = [pod for pod in await living(cluster) if condition_is(pod.status.conditions, "Ready")]
            return len(ready) == 3 and {pod.spec.node_name for pod in ready} == {"node-1", "node-3"}

        await eventually(replaced)
