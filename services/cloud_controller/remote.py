"""A provider in a process of its own, by the contract of `protos/navarch/cloud.proto`."""

from collections.abc import Sequence
from typing import Any, TypeVar

import grpc

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import cloud_pb2, cloud_pb2_grpc
from navarch.services.cloud_controller.provider import Abilities, ProviderFailure

# Clouds are slow to make load balancers.
CALL_S = 120.0
A = TypeVar("A")


class RemoteProvider:
    """Whoever serves at an address: "unix:///PATH" or "HOST:PORT"."""

    def __init__(self, address: str, cluster_name: str, *, call_s: float = CALL_S) -> None:
        self._channel = grpc.aio.insecure_channel(address)
        self._stub: cloud_pb2_grpc.CloudProviderAsyncStub = cloud_pb2_grpc.CloudProviderStub(self._channel)
        self._cluster_name = cluster_name
        self._call_s = call_s

    async def describe(self) -> Abilities:
        """What it has. Waits for it to be there."""
        call = self._stub.Describe(cloud_pb2.DescribeCloudRequest(), timeout=self._call_s, wait_for_ready=True)
        found = await _answer(call)
        return Abilities(found.name, found.instances, found.load_balancers, found.routes)

    async def instance(self, node_name: str, provider_id: str) -> cloud_pb2.Instance | None:
        """The machine of a Node."""
        request = cloud_pb2.GetInstanceRequest(node_name=node_name, provider_id=provider_id)
        try:
            return await self._stub.GetInstance(request, timeout=self._call_s)
        except grpc.aio.AioRpcError as failure:
            if failure.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise _failure(failure) from failure

    async def ensure_load_balancer(
        self, service: corev1.Service, nodes: Sequence[corev1.Node]
    ) -> Sequence[corev1.LoadBalancerIngress]:
        """Have the load balancer of a Service."""
        request = cloud_pb2.EnsureLoadBalancerRequest(cluster_name=self._cluster_name, service=service, nodes=nodes)
        return (await _answer(self._stub.EnsureLoadBalancer(request, timeout=self._call_s))).ingress

    async def delete_load_balancer(self, service: corev1.Service) -> None:
        """Have none."""
        request = cloud_pb2.DeleteLoadBalancerRequest(cluster_name=self._cluster_name, service=service)
        await _answer(self._stub.DeleteLoadBalancer(request, timeout=self._call_s))

    async def routes(self) -> Sequence[cloud_pb2.CloudRoute]:
        """Those of this cluster."""
        request = cloud_pb2.ListRoutesRequest(cluster_name=self._cluster_name)
        return (await _answer(self._stub.ListRoutes(request, timeout=self._call_s))).routes

    async def create_route(self, route: cloud_pb2.CloudRoute) -> None:
        """Have this one, too."""
        request = cloud_pb2.CreateRouteRequest(cluster_name=self._cluster_name, route=route)
        await _answer(self._stub.CreateRoute(request, timeout=self._call_s))

    async def delete_route(self, route: cloud_pb2.CloudRoute) -> None:
        """Forget this one."""
        request = cloud_pb2.DeleteRouteRequest(cluster_name=self._cluster_name, route=route)
        await _answer(self._stub.DeleteRoute(request, timeout=self._call_s))

    async def close(self) -> None:
        """Hang up."""
        await self._channel.close()


async def _answer(call: "grpc.aio.UnaryUnaryCall[Any, A]") -> A:
    try:
        return await call
    except grpc.aio.AioRpcError as failure:
        raise _failure(failure) from failure


def _failure(failure: grpc.aio.AioRpcError) -> ProviderFailure:
    return ProviderFailure(f"{failure.code().name.lower()}: {failure.details()}")
