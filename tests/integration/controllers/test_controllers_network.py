"""EndpointSlices and Endpoints behind Services, Pod addresses of Nodes; with the real controllers and API server."""

from collections.abc import AsyncIterator, Callable

import pytest

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1
from navarch.protos.k8s.intstr_pb2 import IntOrString
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import errors
from navarch.services.controller_manager.service import Config, ControllerManager

Make = Callable[..., appsv1.Deployment]


@pytest.fixture
def service() -> corev1.Service:
    result = corev1.Service(metadata=metav1.ObjectMeta(name="web", namespace="default", labels={"tier": "front"}))
    result.spec.selector["app"] = "web"
    result.spec.ports.add(name="http", port=80, target_port=IntOrString(type=1, str_val="http"))
    return result


@pytest.fixture
def grace_s() -> float:
    """Nobody reports for the Node here, and it is well all the same."""
    return 3600.0


@pytest.fixture(autouse=True)
async def node(cluster) -> None:
    """The Node that the Pods are assigned to."""
    labels = {"topology.kubernetes.io/zone": "west"}
    await cluster.client.create(corev1.Node(metadata=metav1.ObjectMeta(name="node-1", labels=labels)))


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
    assert {(each.node_name, each.zone) for each in only.endpoints} == {("node-1", "west")}
    assert only.metadata.annotations["endpoints.kubernetes.io/last-change-trigger-time"].endswith("Z")

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


async def test_hints_come_and_slices_go_with_what_the_service_says(cluster, a_deployment: Make, service) -> None:
    service.spec.traffic_distribution = "PreferSameNode"
    await cluster.client.create(service)
    await cluster.client.create(a_deployment(2))
    await cluster.complete()

    async def hinted() -> bool:
        ends = [end for each in await slices(cluster) for end in each.endpoints]
        return [[each.name for each in end.hints.for_nodes] for end in ends] == [["node-1"], ["node-1"]]

    await cluster.until(hinted)
    service = await cluster.client.get(corev1.Service, "web", "default")
    service.spec.type, service.spec.external_name, service.spec.cluster_ip = "ExternalName", "example.org", ""
    del service.spec.cluster_ips[:]
    await cluster.client.update(service)

    async def aliased() -> bool:
        return not await slices(cluster)

    await cluster.until(aliased)


async def test_hints_for_all_zones_need_enough_zones(cluster, a_deployment: Make, service) -> None:
    """Events say why there are none, and when there are."""
    service.metadata.annotations["service.kubernetes.io/topology-mode"] = "Auto"
    await cluster.client.create(service)
    await cluster.client.create(a_deployment(4))
    await cluster.complete()

    async def told(reason: str) -> list[str]:
        events = (await cluster.client.list(corev1.Event, "default")).items
        return [each.message for each in events if each.reason == reason]

    await cluster.until(lambda: told("TopologyAwareHintsDisabled"))
    node = await cluster.client.get(corev1.Node, "node-1")
    node.status.allocatable["cpu"].string = "2"
    node.status.conditions.add(type="Ready", status="True")
    await cluster.client.update_status(node)
    labels = {"topology.kubernetes.io/zone": "east"}
    other = await cluster.client.create(corev1.Node(metadata=metav1.ObjectMeta(name="node-2", labels=labels)))
    other.status.allocatable["cpu"].string = "2"
    other.status.conditions.add(type="Ready", status="True")
    await cluster.client.update_status(other)

    async def hinted() -> bool:
        found = [each.hints for one in await slices(cluster) for each in one.endpoints]
        return {zone.name for hints in found for zone in hints.for_zones} == {"east", "west"}

    await cluster.until(hinted)
    await cluster.until(lambda: told("TopologyAwareHintsEnabled"))


async def test_custom_endpoints_are_mirrored(cluster, service) -> None:
    service.spec.selector.clear()
    await cluster.client.create(service)
    endpoints = corev1.Endpoints(metadata=metav1.ObjectMeta(name="web", namespace="default"))
    subset = endpoints.subsets.add()
    subset.addresses.add(ip="192.0.2.1")
    subset.not_ready_addresses.add(ip="192.0.2.2")
    subset.ports.add(name="http", port=8080, protocol="TCP")
    endpoints = await cluster.client.create(endpoints)

    async def shown() -> list[tuple[str, bool]]:
        found = await slices(cluster)
        return [(end.addresses[0], end.conditions.ready) for each in found for end in each.endpoints]

    async def both() -> bool:
        return await shown() == [("192.0.2.1", True), ("192.0.2.2", False)]

    await cluster.until(both)
    (only,) = await slices(cluster)
    assert only.metadata.labels["endpointslice.kubernetes.io/managed-by"] == "endpointslicemirroring-controller.k8s.io"
    del endpoints.subsets[0].not_ready_addresses[:]
    endpoints = await cluster.client.update(endpoints)

    async def one() -> bool:
        return await shown() == [("192.0.2.1", True)]

    await cluster.until(one)
    assert (await slices(cluster))[0].metadata.uid == only.metadata.uid
    endpoints.metadata.labels["endpointslice.kubernetes.io/skip-mirror"] = "true"
    await cluster.client.update(endpoints)

    async def none() -> bool:
        return not await slices(cluster)

    await cluster.until(none)
    assert (await cluster.client.get(corev1.Endpoints, "web", "default")).subsets


async def test_custom_endpoints_go_with_their_service_and_those_without_one_stay(cluster, service) -> None:
    service.spec.selector.clear()
    await cluster.client.create(service)
    own = corev1.Endpoints(metadata=metav1.ObjectMeta(name="web", namespace="default"))
    lone = corev1.Endpoints(metadata=metav1.ObjectMeta(name="lone", namespace="default"))
    for each in (own, lone):
        each.subsets.add().addresses.add(ip="192.0.2.1")
        each.subsets[0].ports.add(name="http", port=8080, protocol="TCP")
        await cluster.client.create(each)

    async def mirrored() -> bool:
        return bool(await slices(cluster))

    await cluster.until(mirrored)
    await cluster.client.delete(corev1.Service, "web", "default")
    await cluster.gone(corev1.Endpoints, "web")

    async def none() -> bool:
        return not await mirrored()

    await cluster.until(none)
    assert (await cluster.client.get(corev1.Endpoints, "lone", "default")).subsets


class TestDualStackNodes:
    """Pod addresses of both families, beside a manager with ranges of its own."""

    @pytest.fixture
    async def manager(self, cluster) -> AsyncIterator[None]:
        """Two parts of IPv4, the lower of which the Services have; then IPv6. The other manager stands back."""

        async def settled() -> bool:
            return bool((await cluster.client.get(corev1.Node, "node-1")).spec.pod_cidr)

        await cluster.until(settled)
        await cluster.manager.stop()
        config = Config(
            cluster.address,
            cluster.issue("system:kube-controller-manager", server=True),
            "127.0.0.1:0",
            cluster_cidrs=("10.8.0.0/22", "fd00:8::/48"),
            node_prefixes={4: 24, 6: 64},
            service_cidrs=("10.8.0.0/24",),
        )
        manager = ControllerManager(config)
        await manager.start()
        yield
        await manager.stop()

    async def test_parts_of_both_no_part_twice_and_freed_parts_again(self, cluster, manager) -> None:
        async def parts() -> dict[str, list[str]]:
            found = (await cluster.client.list(corev1.Node)).items
            return {node.metadata.name: list(node.spec.pod_cidrs) for node in found if node.metadata.name != "node-1"}

        # A part that somebody gave before counts as taken.
        old = corev1.Node(metadata=metav1.ObjectMeta(name="old"))
        old.spec.pod_cidr = "10.8.1.0/24"
        old.spec.pod_cidrs.extend(["10.8.1.0/24", "fd00:8::/64"])
        await cluster.client.create(old)
        for name in ("a", "b"):
            await cluster.client.create(corev1.Node(metadata=metav1.ObjectMeta(name=name)))

        async def given() -> bool:
            return all((await parts()).values())

        await cluster.until(given)
        assert sorted((await parts()).values()) == [
            ["10.8.1.0/24", "fd00:8::/64"],
            ["10.8.2.0/24", "fd00:8:0:1::/64"],
            ["10.8.3.0/24", "fd00:8:0:2::/64"],
        ]
        await cluster.client.create(corev1.Node(metadata=metav1.ObjectMeta(name="late")))

        async def told() -> bool:
            events = (await cluster.client.list(corev1.Event, "default")).items
            return any((each.reason, each.involved_object.name) == ("CIDRNotAvailable", "late") for each in events)

        await cluster.until(told)
        await cluster.client.delete(corev1.Node, "old")
        await cluster.until(given)
        assert (await parts())["late"] == ["10.8.1.0/24", "fd00:8::/64"]
