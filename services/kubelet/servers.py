"""What the kubelet serves: Kubernetes' endpoints by HTTPS, and navarch.v1.Node by gRPC, over the same parts."""

import asyncio
from collections.abc import Callable, Mapping

from navarch.protos.navarch import node_pb2_grpc
from navarch.protos.navarch.stats_pb2 import FsUsage
from navarch.services.api.errors import ApiError
from navarch.services.api.rpc_status import to_rpc
from navarch.services.base.clock import Clock
from navarch.services.base.credentials import Credentials
from navarch.services.base.serving import GrpcServer, RpcStatus
from navarch.services.client.client import Client
from navarch.services.kubelet.access import Access
from navarch.services.kubelet.checkpoints import Checkpoints
from navarch.services.kubelet.config import Config
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.gauges import Gauges
from navarch.services.kubelet.https.endpoints import Endpoints
from navarch.services.kubelet.https.server import HttpsServer
from navarch.services.kubelet.measures import Measures
from navarch.services.kubelet.node.host import Host
from navarch.services.kubelet.node.image_gc import ImageGc
from navarch.services.kubelet.node_api import NodeServicer
from navarch.services.kubelet.pod_streams import Pods, PodStreams
from navarch.services.kubelet.runtime import Runtime
from navarch.services.kubelet.stats.disks import Key
from navarch.services.kubelet.stats.sampler import Sampler
from navarch.services.kubelet.volumes.manager import VolumeManager

STOP_S = 0.5


class Servers:
    """Both servers of one kubelet."""

    def __init__(
        self,
        config: Config,
        *,
        pods: Pods,
        runtime: Runtime,
        images: ImageGc,
        volumes: VolumeManager,
        told: Callable[[], Mapping[Key, FsUsage]],
        client: Client,
        measures: Measures,
        layout: Layout,
        host: Host,
        clock: Clock,
    ) -> None:
        self._config = config
        streams = PodStreams(pods, runtime, layout, clock)
        access = Access(client, clock, config.node_name, anonymous=config.anonymous_auth)
        self._sampler = Sampler(
            node_name=config.node_name,
            runtime=runtime,
            runtime_endpoint=config.runtime_endpoint,
            layout=layout,
            groups=config.groups.names,
            clock=clock,
            workers=pods.all,
            volume=volumes.where,
            told=told,
        )
        gauges = Gauges(config.node_name, pods.all, volumes.where, lambda: self._sampler.newest)
        measures.metrics.registry.register(gauges)
        self._grpc = GrpcServer(
            config.serving, translate=_translate, component="kubelet", renewable=True, metrics=measures.metrics
        )
        known = access if config.credentials is not None else None
        servicer = NodeServicer(config, streams, images, volumes.where, self._sampler, clock, known)
        self._grpc.add(node_pb2_grpc.add_NodeServicer_to_server, servicer)
        checkpoints = Checkpoints(runtime, layout, clock)
        endpoints = Endpoints(config, streams, self._sampler, host, measures, checkpoints, clock)
        self._https = HttpsServer(endpoints.handle, endpoints.upgraded, config.serving, access, measures.served)

    async def start(self) -> tuple[int, int]:
        """Listen. Returns the ports of HTTPS and of gRPC, 0 for none. Raises OSError."""
        grpc_port = await self._grpc.start(self._config.grpc_listen) if self._config.grpc_listen else 0
        return await self._https.start(self._config.listen), grpc_port

    async def run(self) -> None:
        """Note what is used now and then, for ever."""
        await self._sampler.run()

    def renew(self, credentials: Credentials) -> None:
        """Show another certificate to those who connect from now on."""
        for server in (self._grpc, self._https):
            server.renew(credentials)

    async def stop(self) -> None:
        """End all connections. Idempotent."""
        await asyncio.gather(self._https.stop(), self._grpc.stop(STOP_S))
        self._sampler.close()


def _translate(failure: Exception) -> RpcStatus | None:
    return to_rpc(failure) if isinstance(failure, ApiError) else None
