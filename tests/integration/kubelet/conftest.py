"""A kubelet between a real API server and a simulated runtime, all in this process."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2, node_pb2_grpc
from navarch.runtime_shim.errors import Unsupported
from navarch.runtime_shim.service import Config as ShimConfig
from navarch.runtime_shim.service import Service as Shim
from navarch.runtime_shim.simulated.backend import SimulatedBackend
from navarch.services.api import codec
from navarch.services.api.errors import NotFound
from navarch.services.apiserver.service import ApiServer
from navarch.services.apiserver.service import Config as ApiServerConfig
from navarch.services.base.clock import Clock, SystemClock
from navarch.services.base.serving import channel
from navarch.services.base.tls import CertificateAuthority, Credentials
from navarch.services.client.client import Client
from navarch.services.kubelet.config import Config
from navarch.services.kubelet.runtime import Runtime
from navarch.services.kubelet.service import Kubelet
from navarch.services.store.config import Config as StoreConfig
from navarch.services.store.service import StoreService

LOOK_S = 0.01
PATIENCE_S = 60.0
SIMULATED = "simulated.navarch.dev/"


@dataclass
class Lab:
    """One node's world. Everything in it can be stopped and started again."""

    directory: Path
    stack: AsyncExitStack = field(repr=False)
    authority: CertificateAuthority = field(
        default_factory=lambda: CertificateAuthority.create("test", time.time()), repr=False
    )
    backend: SimulatedBackend = field(
        default_factory=lambda: SimulatedBackend("10.9.0.0/24", SystemClock(), lambda: uuid.uuid4().hex)
    )
    kubelet: Kubelet | None = None
    # The kubelet's.
    clock: Clock = field(default_factory=SystemClock)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        return f"unix://{self.directory}/cri.sock"

    def credentials(self, name: str, *groups: str) -> Credentials:
        return self.authority.issue(name, groups, ("localhost",), ("127.0.0.1",), now=time.time(), server=True)

    async def start(self) -> None:
        store = StoreService(StoreConfig(credentials=self.credentials("store")))
        await self._own(store)
        config = ApiServerConfig(
            store_endpoints=(store.address,),
            credentials=self.credentials("apiserver"),
            store_credentials=self.credentials("kube-apiserver", "system:masters"),
            listen="127.0.0.1:0",
        )
        self.server = ApiServer(config)
        await self._own(self.server)
        await self._own(Shim(ShimConfig(self.directory / "cri.sock"), self.backend))
        self.address = f"127.0.0.1:{self.server.port}"
        self.client = Client.connect(self.address, self.credentials("admin", "system:masters"))
        self.stack.push_async_callback(self.client.close)
        self.runtime = Runtime(self.endpoint)
        self.stack.push_async_callback(self.runtime.close)

    async def _own(self, service: Any) -> None:
        self.stack.push_async_callback(service.stop)
        await service.start()

    def config(self) -> Config:
        """Of the kubelet: as usual, and as `options` has it."""
        usual: dict[str, Any] = {
            "credentials": self.credentials("system:node:n1", "system:nodes"),
            "listen": "127.0.0.1:0",
            "grpc_listen": "127.0.0.1:0",
            "node_ip": "127.0.0.1",
            "can_mount": False,
        }
        return Config("n1", self.address, self.endpoint, self.directory / "kubelet", **{**usual, **self.options})

    async def start_kubelet(self) -> None:
        self.kubelet = Kubelet(self.config(), self.clock)
        await self.kubelet.start()
        await self.until(self._node_is_ready)

    async def stop_kubelet(self) -> None:
        if self.kubelet is not None:
            await self.kubelet.stop()
            self.kubelet = None

    async def _node_is_ready(self) -> bool:
        try:
            node = await self.client.get(corev1.Node, "n1")
        except NotFound:
            return False
        return any(entry.type == "Ready" and entry.status == "True" for entry in node.status.conditions)

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until an asynchronous condition holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not await condition():
                await asyncio.sleep(LOOK_S)

    async def create(self, name: str, simulated: dict[str, str] | None = None, **spec: Any) -> corev1.Pod:
        spec.setdefault("containers", [{"name": "main", "image": "app:1"}])
        spec.setdefault("terminationGracePeriodSeconds", 1)
        annotations = {SIMULATED + key: value for key, value in (simulated or {}).items()}
        metadata = {"name": name, "namespace": "default", "annotations": annotations}
        manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": "n1", **spec}}
        pod = await self.client.create(codec.from_json(manifest))
        assert isinstance(pod, corev1.Pod)
        return pod

    async def pod(self, name: str) -> corev1.Pod | None:
        try:
            return await self.client.get(corev1.Pod, name, "default")
        except NotFound:
            return None

    async def when(self, name: str, condition: Callable[[corev1.Pod], Any]) -> corev1.Pod:
        """The Pod, once the condition holds."""
        found: list[corev1.Pod] = []

        async def holds() -> bool:
            pod = await self.pod(name)
            if pod is None or not condition(pod):
                return False
            found.append(pod)
            return True

        try:
            await self.until(holds)
        except TimeoutError:
            pytest.fail(f"the condition never held; the Pod at last: {await self.pod(name)}")
        return found[0]

    async def running(self, name: str) -> corev1.Pod:
        return await self.when(name, is_ready)

    async def gone(self, name: str) -> None:
        async def absent() -> bool:
            return await self.pod(name) is None

        await self.until(absent)

    async def clean(self) -> None:
        """Wait until the runtime holds nothing."""

        async def empty() -> bool:
            return not await self.runtime.list_sandboxes() and not await self.runtime.list_containers()

        await self.until(empty)

    async def node(self, user: str = "kube-apiserver", *groups: str) -> "node_pb2_grpc.NodeAsyncStub":
        """The kubelet's own service, as somebody."""
        assert self.kubelet is not None
        address = f"127.0.0.1:{self.kubelet.grpc_port}"
        opened = channel(address, self.credentials(user, *(groups or ("system:masters",))))
        self.stack.push_async_callback(opened.close)
        stub: node_pb2_grpc.NodeAsyncStub = node_pb2_grpc.NodeStub(opened)
        return stub

    async def logs(self, pod: str, **options: Any) -> str:
        stub = await self.node()
        request = node_pb2.LogsRequest(namespace="default", pod=pod, options=corev1.PodLogOptions(**options))
        return b"".join([answer.data async for answer in stub.Logs(request)]).decode()

    async def events(self, pod: str) -> list[tuple[str, str]]:
        found = await self.client.list(corev1.Event, "default")
        return [(event.reason, event.message) for event in found.items if event.involved_object.name == pod]

    def without_events(self) -> None:
        """From now on the runtime has no event stream, as containerd 1.6's own plugin."""

        async def refuse(request: criv1.GetEventsRequest) -> AsyncIterator[criv1.ContainerEventResponse]:
            raise Unsupported("no events here")
            yield

        self.backend.runtime.get_container_events = refuse  # type: ignore[method-assign]


def is_ready(pod: corev1.Pod) -> bool:
    return any(entry.type == "Ready" and entry.status == "True" for entry in pod.status.conditions)


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """With a kubelet whose node is Ready."""
    async with AsyncExitStack() as stack:
        made = Lab(tmp_path, stack)
        await made.start()
        stack.push_async_callback(made.stop_kubelet)
        await made.start_kubelet()
        yield made


@pytest.fixture
async def bare_lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """Without a kubelet yet."""
    async with AsyncExitStack() as stack:
        made = Lab(tmp_path, stack)
        await made.start()
        stack.push_async_callback(made.stop_kubelet)
        yield made
