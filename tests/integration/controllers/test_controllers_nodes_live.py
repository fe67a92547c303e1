"""Nodes that come, fall silent, come back and go, with the real controllers and API server."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import grpc
import pytest

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.navarch import controllers_pb2, controllers_pb2_grpc
from navarch.services.api.meta import find_condition
from navarch.services.base.serving import channel
from navarch.services.controller_manager.service import ControllerManager

Make = Callable[..., appsv1.Deployment]
UNREACHABLE = "node.kubernetes.io/unreachable"


async def heartbeat(cluster, name: str = "node-1") -> None:
    """What a kubelet says every now and then."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": now, "lastTransitionTime": now}
    patch = {"status": {"conditions": [ready]}}
    await cluster.client.patch(corev1.Node, name, "", patch, subresource="status")


async def taints(cluster, name: str = "node-1") -> set[tuple[str, str]]:
    node = await cluster.client.get(corev1.Node, name)
    return {(each.key, each.effect) for each in node.spec.taints}


async def make_node(cluster, name: str = "node-1") -> None:
    await cluster.client.create(corev1.Node(metadata=metav1.ObjectMeta(name=name)))


async def test_every_node_gets_its_own_addresses(cluster) -> None:
    for number in range(5):
        await make_node(cluster, f"node-{number}")

    async def cidrs() -> list[str]:
        return [node.spec.pod_cidr for node in (await cluster.client.list(corev1.Node)).items]

    async def all_have() -> bool:
        return all(await cidrs())

    await cluster.until(all_have)
    assert sorted(await cidrs()) == [f"10.244.{number}.0/24" for number in range(5)]


async def test_the_pods_of_a_silent_node_get_no_traffic(cluster, a_deployment: Make) -> None:
    await make_node(cluster)
    service = corev1.Service(metadata=metav1.ObjectMeta(name="web", namespace="default"))
    service.spec.selector["app"] = "web"
    service.spec.ports.add(name="http", port=80)
    await cluster.client.create(service)
    await cluster.client.create(a_deployment(2))

    async def readiness() -> list[bool]:
        slices = (await cluster.client.list(discoveryv1.EndpointSlice, "default")).items
        return [end.conditions.ready for each in slices for end in each.endpoints]

    async def both_ready() -> bool:
        await heartbeat(cluster)
        return await readiness() == [True, True]

    async def none_ready() -> bool:
        return await readiness() == [False, False]

    await cluster.until(both_ready)
    await cluster.until(none_ready)


async def test_a_silent_node_is_tainted_and_comes_back(cluster) -> None:
    await make_node(cluster)
    await heartbeat(cluster)

    async def unreachable() -> bool:
        return {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")} <= await taints(cluster)

    await cluster.until(unreachable)
    node = await cluster.client.get(corev1.Node, "node-1")
    ready = find_condition(node.status.conditions, "Ready")
    assert (ready.status, ready.reason) == ("Unknown", "NodeStatusUnknown")
    await heartbeat(cluster)

    async def clean() -> bool:
        return not await taints(cluster)

    await cluster.until(clean)


async def test_pods_of_a_silent_node_are_evicted_when_their_time_is_up(cluster, a_deployment: Make) -> None:
    await make_node(cluster)
    await heartbeat(cluster)
    deployment = a_deployment(1)
    for key, seconds in (("node.kubernetes.io/not-ready", 1), (UNREACHABLE, 1)):
        deployment.spec.template.spec.tolerations.add(
            key=key, operator="Exists", effect="NoExecute", toleration_seconds=seconds
        )
    await cluster.client.create(deployment)
    await cluster.complete()
    (victim,) = await cluster.pods()

    async def replaced() -> bool:
        return victim.metadata.uid not in {pod.metadata.uid for pod in await cluster.pods()}

    await cluster.until(replaced)


async def test_the_manager_lists_its_loops(cluster) -> None:
    credentials = cluster.issue("kubernetes-admin", "system:masters")
    async with channel(f"127.0.0.1:{cluster.manager.port}", credentials) as connection:
        stub = controllers_pb2_grpc.ControllerManagerStub(connection)
        answer = await stub.ListControllers(controllers_pb2.ListControllersRequest(), timeout=10)
    assert answer.leader
    running = {each.name for each in answer.controllers if each.running}
    assert {"deployment", "replicaset", "garbage-collector", "namespace", "node-lifecycle"} <= running


async def test_the_manager_refuses_strangers(cluster) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{cluster.manager.port}") as connection:
        stub = controllers_pb2_grpc.ControllerManagerStub(connection)
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.ListControllers(controllers_pb2.ListControllersRequest(), timeout=10)


async def test_of_two_managers_one_works_and_the_other_takes_over(cluster, a_deployment: Make) -> None:
    second = ControllerManager(replace(cluster.manager._config, identity="second"))
    await second.start()
    try:
        await asyncio.sleep(0)
        assert second.term is None
        await cluster.manager.stop()
        await cluster.client.create(a_deployment(1))
        await cluster.complete()
        assert second.term is not None
    finally:
        await second.stop()
