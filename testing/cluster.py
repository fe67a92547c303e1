"""``InProcessCluster``: store, API server, controllers, scheduler and any number of nodes in one loop.

Nothing is faked but the containers: each service is the one that runs as a process elsewhere, with mutual TLS
on ports of its own. The store's log is in memory. A cluster is ready in about a second and leaves nothing.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Protocol, Self

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.runtime_shim.service import Config as ShimConfig
from navarch.runtime_shim.service import Service as Shim
from navarch.runtime_shim.simulated.backend import SimulatedBackend
from navarch.services.api.meta import condition_is
from navarch.services.apiserver.auth.tokens import TokenConfig
from navarch.services.apiserver.service import ApiServer
from navarch.services.apiserver.service import Config as ApiServerConfig
from navarch.services.base.clock import SystemClock
from navarch.services.base.tls import CertificateAuthority, Credentials, new_key
from navarch.services.client.client import Client
from navarch.services.controller_manager.certificates.signing import Signing
from navarch.services.controller_manager.service import Config as ControllerManagerConfig
from navarch.services.controller_manager.service import ControllerManager
from navarch.services.kubelet.config import Config as KubeletConfig
from navarch.services.kubelet.service import Kubelet
from navarch.services.scheduler.service import Config as SchedulerConfig
from navarch.services.scheduler.service import SchedulerService
from navarch.services.store.config import Config as StoreConfig
from navarch.services.store.service import StoreService

LOOPBACK = "127.0.0.1:0"


class Service(Protocol):
    """What a cluster is made of."""

    async def start(self) -> None:
        """Begin to serve."""
        ...

    async def stop(self) -> None:
        """End."""
        ...


class InProcessCluster:
    """An async context manager; ``client`` is the admin's."""

    client: Client

    def __init__(
        self,
        directory: Path,
        nodes: int = 1,
        *,
        heartbeat_s: float = 10.0,
        node_grace_s: float = 40.0,
        authority: CertificateAuthority | None = None,
    ) -> None:
        """``directory`` is for sockets and volumes; short, as a socket's path holds about a hundred bytes.

        heartbeat_s: how often a node says that it lives. node_grace_s: how long it may be silent. authority: by whose
        certificates everybody is known; None for a new one.
        """
        self._directory = directory
        self._heartbeat_s = heartbeat_s
        self._node_grace_s = node_grace_s
        self._kubelets: dict[str, Kubelet] = {}
        self._node_names = [f"node-{number}" for number in range(1, nodes + 1)]
        self._authority = authority or CertificateAuthority.create("navarch-test", time.time())
        self._clock = SystemClock()
        self._stack = AsyncExitStack()
        self.api_server = ""
        self.rest_url = ""

    async def __aenter__(self) -> Self:
        """Start everything; every node is Ready on return."""
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop everything, in reverse order."""
        await self._stack.aclose()

    def credentials(self, common_name: str, *organizations: str) -> Credentials:
        """A certificate of this cluster's authority, for any user."""
        return self._authority.issue(
            common_name, organizations, ["localhost"], ["127.0.0.1"], now=time.time(), server=True
        )

    def client_for(self, common_name: str, *organizations: str) -> Client:
        """A client that is that user. The caller closes it."""
        return Client.connect(self.api_server, self.credentials(common_name, *organizations), "test")

    async def stop_node(self, name: str) -> None:
        """Stop a node's kubelet; what it runs goes on, as when the host loses its network."""
        await self._kubelets.pop(name).stop()

    async def _start(self) -> None:
        store = StoreService(StoreConfig(listen=LOOPBACK, credentials=self.credentials("store")))
        await self._run(store)
        door = self.credentials("kube-apiserver", "system:masters")
        tokens = TokenConfig(new_key())
        api_server = ApiServer(
            ApiServerConfig((store.address,), door, door, listen=LOOPBACK, rest_listen=LOOPBACK, tokens=tokens)
        )
        await self._run(api_server)
        self.api_server = f"127.0.0.1:{api_server.port}"
        self.rest_url = f"https://127.0.0.1:{api_server.rest_port}"
        self.client = self.client_for("kubernetes-admin", "system:masters")
        self._stack.push_async_callback(self.client.close)
        controllers = ControllerManagerConfig(
            self.api_server,
            self.credentials("system:kube-controller-manager"),
            LOOPBACK,
            node_monitor_grace_s=self._node_grace_s,
            signing=Signing(self._authority),
            approve_kubelet_serving=True,
        )
        scheduler = SchedulerConfig(self.api_server, self.credentials("system:kube-scheduler"), LOOPBACK)
        await _together(
            self._run(ControllerManager(controllers)),
            self._run(SchedulerService(scheduler, self._clock, Random())),
            *(self._start_node(name, number) for number, name in enumerate(self._node_names)),
        )
        await _together(*(self._node_ready(name) for name in self._node_names))

    async def _start_node(self, name: str, number: int) -> None:
        directory = self._directory / name
        directory.mkdir(parents=True)
        socket = directory / "cri.sock"
        backend = SimulatedBackend(f"10.244.{number}.0/24", self._clock, lambda: secrets.token_hex(32))
        await self._run(Shim(ShimConfig(listen=socket), backend))
        config = KubeletConfig(
            node_name=name,
            api_server=self.api_server,
            runtime_endpoint=f"unix://{socket}",
            root_dir=directory / "kubelet",
            credentials=self.credentials(f"system:node:{name}", "system:nodes"),
            listen=LOOPBACK,
            grpc_listen=LOOPBACK,
            node_ip="127.0.0.1",
            can_mount=False,
            heartbeat_s=self._heartbeat_s,
        )
        self._kubelets[name] = Kubelet(config, self._clock)
        await self._run(self._kubelets[name])

    async def _run(self, service: Service) -> None:
        self._stack.push_async_callback(service.stop)
        await service.start()

    async def _node_ready(self, name: str) -> None:
        watching = self.client.watch(corev1.Node, field_selector=f"metadata.name={name}")
        async with aclosing(watching) as events:
            async for event in events:
                if event.type != "BOOKMARK" and condition_is(event.object.status.conditions, "Ready"):
                    return


async def _together(*work: Awaitable[None]) -> None:
    await asyncio.gather(*work)
