"""A cloud for tests: a provider process that records what it is asked, and fails, stalls or lies as a test tells it."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import cloud_pb2, cloud_pb2_grpc


class CloudProvider(cloud_pb2_grpc.CloudProviderServicer):
    """Serves at a socket. instances: by node; routes: by name; balancers: by the Service's uid, where they lead."""

    def __init__(self, socket: Path, **abilities: bool) -> None:
        self.address = f"unix:{socket}"
        self.instances: dict[str, cloud_pb2.Instance] = {}
        self.cloud_routes: dict[str, cloud_pb2.CloudRoute] = {}
        self.balancers: dict[str, list[str]] = {}
        self.calls: list[str] = []
        # By method: how often it still fails, and what it waits for.
        self.failures: dict[str, int] = {}
        self.stalls: dict[str, asyncio.Event] = {}
        self._abilities: Mapping[str, bool] = {"instances": True, "load_balancers": True, "routes": True, **abilities}
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Serve."""
        self._server = grpc.aio.server()
        cloud_pb2_grpc.add_CloudProviderServicer_to_server(self, self._server)
        self._server.add_insecure_port(self.address)
        await self._server.start()

    async def stop(self) -> None:
        """Hang up on everybody."""
        if self._server is not None:
            await self._server.stop(None)

    async def _note(self, method: str, subject: str, context: Any) -> None:
        self.calls.append(f"{method} {subject}".strip())
        if (stall := self.stalls.get(method)) is not None:
            await stall.wait()
        if self.failures.get(method, 0):
            self.failures[method] -= 1
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "quota exceeded")

    async def Describe(self, request: Any, context: Any) -> cloud_pb2.DescribeCloudResponse:
        """What it has."""
        await self._note("Describe", "", context)
        return cloud_pb2.DescribeCloudResponse(name="test", **self._abilities)

    async def GetInstance(self, request: Any, context: Any) -> cloud_pb2.Instance:
        """A machine."""
        await self._note("GetInstance", request.node_name, context)
        if (found := self.instances.get(request.node_name)) is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such instance")
            raise AssertionError
        return found

    async def EnsureLoadBalancer(self, request: Any, context: Any) -> cloud_pb2.LoadBalancer:
        """One, with an address by its number."""
        await self._note("EnsureLoadBalancer", request.service.metadata.name, context)
        self.balancers[request.service.metadata.uid] = sorted(node.metadata.name for node in request.nodes)
        number = list(self.balancers).index(request.service.metadata.uid) + 1
        ingress = corev1.LoadBalancerIngress(ip=f"203.0.113.{number}", ip_mode="Proxy")
        return cloud_pb2.LoadBalancer(ingress=[ingress])

    async def DeleteLoadBalancer(self, request: Any, context: Any) -> cloud_pb2.DeleteLoadBalancerResponse:
        """None."""
        await self._note("DeleteLoadBalancer", request.service.metadata.name, context)
        self.balancers.pop(request.service.metadata.uid, None)
        return cloud_pb2.DeleteLoadBalancerResponse()

    async def ListRoutes(self, request: Any, context: Any) -> cloud_pb2.ListRoutesResponse:
        """All."""
        return cloud_pb2.ListRoutesResponse(routes=self.cloud_routes.values())

    async def CreateRoute(self, request: Any, context: Any) -> cloud_pb2.CreateRouteResponse:
        """One more."""
        await self._note("CreateRoute", request.route.destination_cidr, context)
        self.cloud_routes[request.route.name] = request.route
        return cloud_pb2.CreateRouteResponse()

    async def DeleteRoute(self, request: Any, context: Any) -> cloud_pb2.DeleteRouteResponse:
        """One less."""
        await self._note("DeleteRoute", request.route.destination_cidr, context)
        self.cloud_routes.pop(request.route.name, None)
        return cloud_pb2.DeleteRouteResponse()
