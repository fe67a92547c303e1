"""A scheduler on a real API server and store; nodes are objects that nobody stands behind."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import scheduler_pb2_grpc
from navarch.services.api import errors
from navarch.services.api.meta import find_condition
from navarch.services.apiserver.service import ApiServer
from navarch.services.apiserver.service import Config as ApiConfig
from navarch.services.base.clock import SystemClock
from navarch.services.base.serving import channel
from navarch.services.base.tls import CertificateAuthority, Credentials
from navarch.services.client.client import Client
from navarch.services.scheduler.service import Config, SchedulerService
from navarch.services.store.config import Config as StoreConfig
from navarch.services.store.service import StoreService

# Generous: only a hanging test meets it.
PATIENCE_S = 60.0
Issue = Callable[..., Credentials]


@dataclass
class Cluster:
    client: Client
    address: str
    scheduler: SchedulerService
    issue: Issue
    stack: AsyncExitStack

    async def until(self, condition: Callable[[], Awaitable[object]]) -> None:
        """Wait until a condition holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not await condition():
                await asyncio.sleep(0.01)

    async def start_scheduler(self, identity: str = "scheduler", *, elect: bool = False) -> SchedulerService:
        """Another one, stopped with the cluster at the latest."""
        credentials = self.issue("system:kube-scheduler", server=True)
        config = Config(self.address, credentials, "127.0.0.1:0", identity, leader_elect=elect)
        scheduler = SchedulerService(config, SystemClock(), Random(1))
        self.stack.push_async_callback(scheduler.stop)
        await scheduler.start()
        return scheduler

    def ask(self, scheduler: SchedulerService) -> "scheduler_pb2_grpc.SchedulerAsyncStub":
        connection = channel(f"127.0.0.1:{scheduler.port}", self.issue("kubernetes-admin", "system:masters"))
        self.stack.push_async_callback(connection.close)
        return scheduler_pb2_grpc.SchedulerStub(connection)

    async def add_node(self, name: str, *, cpu: str = "2", pods: int = 110, unschedulable: bool = False) -> None:
        node = corev1.Node()
        node.metadata.name = name
        node.metadata.labels["kubernetes.io/hostname"] = name
        node.spec.unschedulable = unschedulable
        for resource, amount in (("cpu", cpu), ("memory", "8Gi"), ("pods", str(pods))):
            node.status.capacity[resource].string = node.status.allocatable[resource].string = amount
        created = await self.client.create(node)
        if not created.status.allocatable:
            created.status.CopyFrom(node.status)
            await self.client.update_status(created)

    async def add_pod(self, name: str, *, cpu: str = "", **fields: object) -> corev1.Pod:
        return await self.client.create(a_pod(name, cpu=cpu, **fields))

    async def pod(self, name: str) -> corev1.Pod:
        return await self.client.get(corev1.Pod, name, "default")

    async def delete(self, name: str) -> None:
        await self.client.delete(corev1.Pod, name, "default", grace_period_seconds=0)

    async def node_of(self, name: str) -> str:
        """Wait until a Pod has a node."""
        node = ""

        async def is_bound() -> bool:
            nonlocal node
            node = (await self.pod(name)).spec.node_name
            return bool(node)

        await self.until(is_bound)
        return node

    async def refusal_of(self, name: str, containing: str = "") -> str:
        """Wait until a Pod's condition says why it waits (in such words)."""
        message = ""

        async def is_refused() -> bool:
            nonlocal message
            condition = find_condition((await self.pod(name)).status.conditions, "PodScheduled")
            refused = condition is not None and (condition.status, condition.reason) == ("False", "Unschedulable")
            message = condition.message if condition is not None and refused else ""
            return refused and containing in message

        await self.until(is_refused)
        return message

    async def events(self, name: str, reason: str) -> list[corev1.Event]:
        selector = f"involvedObject.name={name},reason={reason}"
        return (await self.client.list(corev1.Event, "default", field_selector=selector)).items


def a_pod(name: str, *, cpu: str = "", gates: tuple[str, ...] = (), scheduler: str = "") -> corev1.Pod:
    pod = corev1.Pod()
    pod.metadata.name, pod.metadata.namespace = name, "default"
    container = pod.spec.containers.add(name="main", image="busybox:1")
    if cpu:
        container.resources.requests["cpu"].string = cpu
    for gate in gates:
        pod.spec.scheduling_gates.add(name=gate)
    if scheduler:
        pod.spec.scheduler_name = scheduler
    return pod


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    authority = CertificateAuthority.create("test", time.time())

    def issue(name: str, *organizations: str, server: bool = False) -> Credentials:
        return authority.issue(name, organizations, ips=("127.0.0.1",), now=time.time(), server=server)

    async with AsyncExitStack() as stack:
        store = StoreService(StoreConfig(credentials=issue("etcd", server=True)))
        stack.push_async_callback(store.stop)
        await store.start()
        own = issue("kube-apiserver", "system:masters", server=True)
        api = ApiServer(ApiConfig((store.address,), own, own, listen="127.0.0.1:0"))
        stack.push_async_callback(api.stop)
        await api.start()
        address = f"127.0.0.1:{api.port}"
        client = Client.connect(address, issue("kubernetes-admin", "system:masters"))
        stack.push_async_callback(client.close)
        cluster = Cluster(client, address, None, issue, stack)  # type: ignore[arg-type]
        cluster.scheduler = await cluster.start_scheduler()

        async def has_namespace() -> bool:
            try:
                await client.get(corev1.Namespace, "default")
            except errors.NotFound:
                return False
            return True

        await cluster.until(has_namespace)
        yield cluster
