"""A control plane in one loop: store in memory, API server, controllers, and a kubelet of a few lines."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import errors
from navarch.services.api.meta import is_being_deleted, time_from
from navarch.services.apiserver.service import ApiServer
from navarch.services.apiserver.service import Config as ApiConfig
from navarch.services.base.tls import CertificateAuthority, Credentials
from navarch.services.client.client import Client
from navarch.services.client.informer import Informer
from navarch.services.controller_manager.service import Config, ControllerManager
from navarch.services.store.config import Config as StoreConfig
from navarch.services.store.service import StoreService

NODE = "node-1"
# Generous: only a hanging test meets it.
PATIENCE_S = 60.0


@dataclass
class Kubelet:
    """Runs every Pod at once, and lets go of those that are deleted. What it is told to hold back stays unready."""

    client: Client
    pods: Informer[corev1.Pod]
    ready: Callable[[corev1.Pod], bool] = lambda pod: True
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def on_pod(self, old: corev1.Pod | None, new: corev1.Pod | None) -> None:
        if new is not None:
            task = asyncio.ensure_future(self.sync(new))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def sync(self, pod: corev1.Pod) -> None:
        metadata = pod.metadata
        try:
            if is_being_deleted(pod):
                await self.client.delete(
                    corev1.Pod, metadata.name, metadata.namespace, grace_period_seconds=0, uid=metadata.uid
                )
            elif not pod.spec.node_name:
                await self.client.bind(metadata.namespace, metadata.name, NODE, metadata.uid)
            elif not pod.status.pod_ip and self.ready(pod):
                await self.client.update_status(running(pod))
        except (errors.NotFound, errors.Conflict):
            return  # The next event tells more.


def running(pod: corev1.Pod, ready: bool = True) -> corev1.Pod:
    copy = corev1.Pod()
    copy.CopyFrom(pod)
    copy.status.phase = "Running"
    number = int.from_bytes(pod.metadata.uid.encode()[:2], "big")
    copy.status.pod_ip = f"10.244.{number >> 8}.{number & 255}"
    copy.status.pod_ips.add(ip=copy.status.pod_ip)
    del copy.status.conditions[:]
    copy.status.conditions.add(
        type="Ready", status="True" if ready else "False", last_transition_time=time_from(time.time())
    )
    return copy


@dataclass
class Cluster:
    client: Client
    address: str
    manager: ControllerManager
    kubelet: Kubelet
    issue: Callable[..., Credentials]

    async def until(self, condition: Callable[[], Awaitable[object]]) -> None:
        """Wait until a condition holds. Its last failure is the test's."""
        async with asyncio.timeout(PATIENCE_S):
            while not await condition():
                await asyncio.sleep(0.01)

    async def deployment(self, name: str = "web", namespace: str = "default") -> appsv1.Deployment:
        return await self.client.get(appsv1.Deployment, name, namespace)

    async def pods(self, namespace: str = "default") -> list[corev1.Pod]:
        return [each for each in (await self.client.list(corev1.Pod, namespace)).items if not is_being_deleted(each)]

    async def replica_sets(self, namespace: str = "default") -> list[appsv1.ReplicaSet]:
        return (await self.client.list(appsv1.ReplicaSet, namespace)).items

    async def complete(self, name: str = "web", namespace: str = "default") -> None:
        """Wait until a Deployment says that its rollout is done."""

        async def is_complete() -> bool:
            found = await self.deployment(name, namespace)
            status, replicas = found.status, found.spec.replicas
            observed = status.observed_generation == found.metadata.generation
            return observed and status.replicas == status.updated_replicas == status.available_replicas == replicas

        await self.until(is_complete)

    async def gone(self, cls: type[corev1.Pod], name: str, namespace: str = "default") -> None:
        """Wait until an object does not exist."""

        async def is_gone() -> bool:
            try:
                await self.client.get(cls, name, namespace)
            except errors.NotFound:
                return True
            return False

        await self.until(is_gone)


def a_deployment(replicas: int = 3, name: str = "web", image: str = "v1") -> appsv1.Deployment:
    deployment = appsv1.Deployment()
    deployment.metadata.name, deployment.metadata.namespace = name, "default"
    deployment.spec.replicas = replicas
    deployment.spec.selector.match_labels["app"] = name
    deployment.spec.template.metadata.labels["app"] = name
    deployment.spec.template.spec.containers.add(name="main", image=image).ports.add(name="http", container_port=8080)
    return deployment


@pytest.fixture(name="a_deployment")
def a_deployment_fixture() -> Callable[..., appsv1.Deployment]:
    return a_deployment


@pytest.fixture
def grace_s() -> float:
    """After how much silence a Node counts as lost."""
    return 2.0


@pytest.fixture
async def cluster(grace_s: float) -> AsyncIterator[Cluster]:
    authority = CertificateAuthority.create("test", time.time())

    def issue(name: str, *organizations: str, server: bool = False) -> Credentials:
        return authority.issue(name, organizations=organizations, ips=("127.0.0.1",), now=time.time(), server=server)

    async with AsyncExitStack() as stack:
        store = StoreService(StoreConfig(credentials=issue("etcd", server=True)))
        await store.start()
        stack.push_async_callback(store.stop)
        own = issue("kube-apiserver", "system:masters", server=True)
        api = ApiServer(ApiConfig((store.address,), own, own, listen="127.0.0.1:0"))
        await api.start()
        stack.push_async_callback(api.stop)
        address = f"127.0.0.1:{api.port}"
        client = Client.connect(address, issue("kubernetes-admin", "system:masters"))
        stack.push_async_callback(client.close)
        credentials = issue("system:kube-controller-manager", server=True)
        config = Config(address, credentials, "127.0.0.1:0", node_monitor_grace_s=grace_s, node_startup_grace_s=grace_s)
        manager = ControllerManager(config)
        await manager.start()
        stack.push_async_callback(manager.stop)
        pods: Informer[corev1.Pod] = Informer(client, corev1.Pod)
        kubelet = Kubelet(client, pods)
        pods.on_event(kubelet.on_pod)
        pods.start()
        stack.push_async_callback(pods.stop)
        cluster = Cluster(client, address, manager, kubelet, issue)

        async def working() -> bool:
            controllers = manager.term.controllers if manager.term is not None else []
            return bool(controllers) and controllers[-1].name == "namespace" and controllers[-1].running

        await cluster.until(working)
        yield cluster
        await asyncio.gather(*kubelet.tasks, return_exceptions=True)
