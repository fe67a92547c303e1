"""The cloud controller against a real API server, and a provider that fails and stalls."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch.cloud_pb2 import Instance
from navarch.services.api import errors
from navarch.services.apiserver.service import ApiServer
from navarch.services.apiserver.service import Config as ApiConfig
from navarch.services.base.address_range import AddressRange
from navarch.services.base.tls import CertificateAuthority, Credentials
from navarch.services.client.client import Client
from navarch.services.cloud_controller.load_balancer.plan import FINALIZER
from navarch.services.cloud_controller.local.provider import LocalProvider
from navarch.services.cloud_controller.node.plan import SHUTDOWN, UNINITIALIZED
from navarch.services.cloud_controller.remote import RemoteProvider
from navarch.services.cloud_controller.service import CloudController, Config
from navarch.services.cloud_controller.term import MakeProvider
from navarch.services.store.config import Config as StoreConfig
from navarch.services.store.service import StoreService
from navarch.testing.cloud_provider import CloudProvider

# Generous: only a hanging test meets it.
PATIENCE_S = 60.0


@dataclass
class Cluster:
    """client: the administrator's. run: starts a cloud controller with the rights that it has in a cluster."""

    client: Client
    run: Callable[[MakeProvider], Awaitable[CloudController]]

    async def until(self, condition: Callable[[], Awaitable[object]]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not await condition():
                await asyncio.sleep(0.01)

    async def node(self, name: str, *taints: str, ready: str = "True", cidr: str = "") -> corev1.Node:
        node = corev1.Node(metadata={"name": name})
        for taint in taints:
            node.spec.taints.add(key=taint, effect="NoSchedule")
        if cidr:
            node.spec.pod_cidr = cidr
            node.spec.pod_cidrs.append(cidr)
        made = await self.client.create(node)
        made.status.conditions.add(type="Ready", status=ready, reason="Test")
        made.status.addresses.add(type="Hostname", address=name)
        return await self.client.update_status(made)

    async def service(self, name: str) -> corev1.Service:
        service = corev1.Service(metadata={"name": name, "namespace": "default"})
        service.spec.type = "LoadBalancer"
        service.spec.selector["app"] = name
        service.spec.ports.add(port=80)
        return await self.client.create(service)

    async def reached_at(self, name: str) -> list[str]:
        found = await self.client.get(corev1.Service, name, "default")
        return [one.ip for one in found.status.load_balancer.ingress]

    async def gone(self, kind: type[corev1.Node] | type[corev1.Service], name: str, namespace: str = "") -> bool:
        try:
            await self.client.get(kind, name, namespace)
        except errors.NotFound:
            return True
        return False


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    authority = CertificateAuthority.create("test", time.time())

    def issue(name: str, *organizations: str, server: bool = False) -> Credentials:
        return authority.issue(name, organizations=organizations, ips=("127.0.0.1",), now=time.time(), server=server)

    async with AsyncExitStack() as stack:
        store = StoreService(StoreConfig(tmp_path / "store", listen="127.0.0.1:0", credentials=None))
        await store.start()
        stack.push_async_callback(store.stop)
        door = issue("kube-apiserver", "system:masters", server=True)
        api = ApiServer(ApiConfig((store.address,), door, None, listen="127.0.0.1:0"))
        await api.start()
        stack.push_async_callback(api.stop)
        address = f"127.0.0.1:{api.port}"
        client = Client.connect(address, issue("admin", "system:masters"))
        stack.push_async_callback(client.close)

        async def run(provider: MakeProvider) -> CloudController:
            made = CloudController(
                Config(address, issue("system:cloud-controller-manager"), provider, cluster_cidrs=CIDRS)
            )
            await made.start()
            stack.push_async_callback(made.stop)
            return made

        yield Cluster(client, run)


CIDRS = ("10.244.0.0/16",)


@pytest.fixture
async def cloud() -> AsyncIterator[CloudProvider]:
    with TemporaryDirectory(prefix="nv-") as directory:
        made = CloudProvider(Path(directory) / "cloud.sock")
        await made.start()
        yield made
        await made.stop()


def remote(cloud: CloudProvider, call_s: float = 60.0) -> MakeProvider:
    return lambda _: RemoteProvider(cloud.address, "kubernetes", call_s=call_s)


async def test_nodes_are_initialised_and_deleted_with_their_instances(cluster: Cluster, cloud: CloudProvider) -> None:
    cloud.instances["n1"] = Instance(
        provider_id="test://n1",
        zone="z1",
        addresses=[corev1.NodeAddress(type="InternalIP", address="192.0.2.1")],
    )
    cloud.failures["GetInstance"] = 2
    await cluster.node("n1", UNINITIALIZED, cidr="10.244.1.0/24")
    await cluster.run(remote(cloud))

    async def initialised() -> bool:
        node = await cluster.client.get(corev1.Node, "n1")
        return node.spec.provider_id == "test://n1" and not node.spec.taints

    await cluster.until(initialised)
    node = await cluster.client.get(corev1.Node, "n1")
    assert node.metadata.labels["topology.kubernetes.io/zone"] == "z1"
    assert [one.address for one in node.status.addresses] == ["192.0.2.1", "n1"]

    async def routed() -> bool:
        found = await cluster.client.get(corev1.Node, "n1")
        return any(one.reason == "RouteCreated" for one in found.status.conditions)

    await cluster.until(routed)
    assert [route.destination_cidr for route in cloud.cloud_routes.values()] == ["10.244.1.0/24"]
    cloud.instances["n1"].shutdown = True
    await _unready(cluster, "n1")

    async def tainted() -> bool:
        found = await cluster.client.get(corev1.Node, "n1")
        return [taint.key for taint in found.spec.taints] == [SHUTDOWN]

    await cluster.until(tainted)
    del cloud.instances["n1"]

    async def gone() -> bool:
        return await cluster.gone(corev1.Node, "n1")

    await cluster.until(gone)


async def _unready(cluster: Cluster, name: str) -> None:
    while True:
        node = await cluster.client.get(corev1.Node, name)
        for one in node.status.conditions:
            if one.type == "Ready":
                one.status = "False"
        try:
            await cluster.client.update_status(node)
            return
        except errors.Conflict:
            continue


async def test_a_node_that_is_well_outlives_the_clouds_error(cluster: Cluster, cloud: CloudProvider) -> None:
    await cluster.node("n1")
    await cluster.run(remote(cloud))

    async def asked() -> bool:
        return "GetInstance n1" in cloud.calls

    await cluster.until(asked)
    assert not await cluster.gone(corev1.Node, "n1")


async def test_a_load_balancer_comes_follows_the_nodes_and_goes(cluster: Cluster, cloud: CloudProvider) -> None:
    cloud.instances["n1"] = cloud.instances["n2"] = Instance(provider_id="test://n")
    cloud.failures["EnsureLoadBalancer"] = 1
    await cluster.node("n1")
    made = await cluster.service("web")
    await cluster.run(remote(cloud))

    async def reached() -> bool:
        return await cluster.reached_at("web") == ["203.0.113.1"]

    await cluster.until(reached)
    assert cloud.balancers[made.metadata.uid] == ["n1"]
    assert FINALIZER in (await cluster.client.get(corev1.Service, "web", "default")).metadata.finalizers

    async def told() -> bool:
        events = (await cluster.client.list(corev1.Event, "default")).items
        reasons = {one.reason for one in events if one.involved_object.name == "web"}
        failed = any("quota exceeded" in one.message for one in events)
        return failed and {"EnsuringLoadBalancer", "SyncLoadBalancerFailed", "EnsuredLoadBalancer"} <= reasons

    await cluster.until(told)
    await cluster.node("n2")

    async def follows() -> bool:
        return cloud.balancers[made.metadata.uid] == ["n1", "n2"]

    await cluster.until(follows)
    await cluster.client.delete(corev1.Service, "web", "default")

    async def gone() -> bool:
        return await cluster.gone(corev1.Service, "web", "default")

    await cluster.until(gone)
    assert cloud.balancers == {}


async def test_a_cloud_that_stalls_is_given_up_and_asked_again(cluster: Cluster, cloud: CloudProvider) -> None:
    cloud.stalls["EnsureLoadBalancer"] = asyncio.Event()
    await cluster.service("web")
    await cluster.run(remote(cloud, call_s=0.2))

    async def asked_again() -> bool:
        return cloud.calls.count("EnsureLoadBalancer web") > 1

    await cluster.until(asked_again)
    cloud.stalls.pop("EnsureLoadBalancer").set()

    async def reached() -> bool:
        return bool(await cluster.reached_at("web"))

    await cluster.until(reached)


async def test_a_new_leader_goes_on_and_does_not_give_another_address(cluster: Cluster) -> None:
    def local(services: Callable[[], list[corev1.Service]]) -> LocalProvider:
        return LocalProvider([AddressRange.parse("192.0.2.1-192.0.2.2")], services)

    first = await cluster.run(local)  # type: ignore[arg-type]
    for name in ("a", "b"):
        await cluster.service(name)

    async def both() -> bool:
        found = await cluster.reached_at("a") + await cluster.reached_at("b")
        return sorted(found) == ["192.0.2.1", "192.0.2.2"]

    await cluster.until(both)
    before = [await cluster.reached_at(name) for name in ("a", "b")]
    await cluster.service("c")
    await first.stop()
    await cluster.run(local)  # type: ignore[arg-type]
    await cluster.client.delete(corev1.Service, "b", "default")

    async def taken_over() -> bool:
        return await cluster.reached_at("c") == before[1]

    await cluster.until(taken_over)
    assert await cluster.reached_at("a") == before[0]
