"""EndpointSlices and Endpoints behind Services, with the real controllers and API server."""

from collections.abc import Callable

import pytest

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.protos.k8s.intstr_pb2 import IntOrString
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import errors

Make = Callable[..., appsv1.Deployment]


@pytest.fixture
def service() -> corev1.Service:
    result = corev1.Service(metadata=metav1.ObjectMeta(name="web", namespace="default", labels={"tier": "front"}))
    result.spec.selector["app"] = "web"
    result.spec.ports.add(name="http", port=80, target_port=IntOrString(type=1, str_val="http"))
    return result


async def slices(cluster) -> list[discoveryv1.EndpointSlice]:
    selector = "kubernetes.io/service-name=web"
    return (await cluster.client.list(discoveryv1.EndpointSlice, "default", label_selector=selector)).items


async def ready_addresses(cluster) -> set[str]:
    return {
        address
        for each in await slices(cluster)
        for endpoint in each.endpoints
        if endpoint.conditions.ready
        for address in endpoint.addresses
    }


async def test_the_pods_of_a_service_become_its_endpoints(cluster, a_deployment: Make, service) -> None:
    await cluster.client.create(service)
    await cluster.client.create(a_deployment())
    await cluster.complete()
    ips = {pod.status.pod_ip for pod in await cluster.pods()}

    async def listed() -> bool:
        return await ready_addresses(cluster) == ips

    await cluster.until(listed)
    (only,) = await slices(cluster)
    assert [(each.name, each.port, each.protocol) for each in only.ports] == [("http", 8080, "TCP")]
    assert only.metadata.labels["tier"] == "front"
    assert only.metadata.labels["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io"
    assert {each.node_name for each in only.endpoints} == {"node-1"}

    async def also_in_endpoints() -> bool:
        found = await cluster.client.get(corev1.Endpoints, "web", "default")
        return {address.ip for subset in found.subsets for address in subset.addresses} == ips

    await cluster.until(also_in_endpoints)


async def test_a_pod_that_is_not_ready_gets_no_traffic(cluster, a_deployment: Make, service) -> None:
    await cluster.client.create(service)
    await cluster.client.create(a_deployment(2))
    await cluster.complete()
    lame = (await cluster.pods())[0]
    lame.status.conditions[0].status = "False"
    await cluster.client.update_status(lame)

    async def apart() -> bool:
        found = await cluster.client.get(corev1.Endpoints, "web", "default")
        waiting = [address.ip for subset in found.subsets for address in subset.not_ready_addresses]
        return waiting == [lame.status.pod_ip] and lame.status.pod_ip not in await ready_addresses(cluster)

    await cluster.until(apart)


async def test_a_deleted_service_leaves_nothing(cluster, a_deployment: Make, service) -> None:
    await cluster.client.create(service)
    await cluster.client.create(a_deployment(1))
    await cluster.complete()

    async def listed() -> bool:
        return bool(await ready_addresses(cluster))

    await cluster.until(listed)
    await cluster.client.delete(corev1.Service, "web", "default")

    async def gone() -> bool:
        try:
            await cluster.client.get(corev1.Endpoints, "web", "default")
        except errors.NotFound:
            return not await slices(cluster)
        return False

    await cluster.until(gone)
