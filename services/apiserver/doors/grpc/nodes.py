"""`navarch.v1.Node` for the whole cluster: calls about a Pod are passed on to the kubelet of its node.

Clients need one address only. The messages go through as bytes; just the first one is read, to find the Pod.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.message import Message

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2
from navarch.services.api import rpc_status
from navarch.services.api.errors import BadRequest, ServiceUnavailable
from navarch.services.api.kinds import KINDS
from navarch.services.apiserver.auth.certificates import CertificateAuthenticator
from navarch.services.apiserver.doors.grpc.decode import checked, deserializer
from navarch.services.apiserver.doors.grpc.peer import user_of
from navarch.services.apiserver.registry.core import Core, Target
from navarch.services.base import serving
from navarch.services.base.tls import Credentials

SERVICE = "navarch.v1.Node"
POD = KINDS.of(corev1.Pod)
NODE = KINDS.of(corev1.Node)
KUBELET_PORT = 10250
ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname")
REQUEST_LIMIT_BYTES = 4 << 20
CONNECT_S = 10.0
Context = grpc.aio.ServicerContext[Any, Any]


class NodeServicer:
    """Passes calls on. Owns one channel a kubelet."""

    def __init__(self, core: Core, authenticator: CertificateAuthenticator, credentials: Credentials | None) -> None:
        self._core = core
        self._authenticator = authenticator
        self._credentials = credentials
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def close(self) -> None:
        """Close the channels."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()

    async def logs(self, request: Any, context: Context) -> AsyncIterator[bytes]:
        """Log of a container."""
        checked(request)
        channel = await self._kubelet_of(context, request.namespace, request.pod, "log", "get")
        call: Any = channel.unary_stream(f"/{SERVICE}/Logs")(request.SerializeToString(), wait_for_ready=False)
        async for answer in _answers(call):
            yield answer

    async def exec(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """A process in a container."""
        async for answer in self._pass_on(requests, context, "Exec", node_pb2.ExecRequest, "exec"):
            yield answer

    async def attach(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """The main process of a container."""
        async for answer in self._pass_on(requests, context, "Attach", node_pb2.AttachRequest, "attach"):
            yield answer

    async def port_forward(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """A port of a Pod."""
        request_class = node_pb2.PortForwardRequest
        async for answer in self._pass_on(requests, context, "PortForward", request_class, "portforward"):
            yield answer

    async def stats(self, request: Any, context: Context) -> bytes:
        """Use of resources by a Pod."""
        checked(request)
        if not request.pod:
            raise BadRequest("name a Pod, or ask its kubelet")
        channel = await self._kubelet_of(context, request.namespace, request.pod, "proxy", "get")
        try:
            call: Any = channel.unary_unary(f"/{SERVICE}/Stats")
            answer: bytes = await call(request.SerializeToString(), timeout=CONNECT_S)
        except grpc.aio.AioRpcError as failure:
            raise rpc_status.from_rpc(failure) from failure
        return answer

    async def _pass_on(
        self,
        requests: AsyncIterator[bytes],
        context: Context,
        method: str,
        request_class: type[Message],
        subresource: str,
    ) -> AsyncIterator[bytes]:
        first = await anext(aiter(requests), b"")
        message = checked(deserializer(request_class, REQUEST_LIMIT_BYTES)(first))
        if message.WhichOneof("request") != "start":
            raise BadRequest("the first message has to be the start")
        start = message.start
        channel = await self._kubelet_of(context, start.namespace, start.pod, subresource, "create")
        call: Any = channel.stream_stream(f"/{SERVICE}/{method}")()

        async def send() -> None:
            await call.write(first)
            async for request in requests:
                await call.write(request)
            await call.done_writing()

        sending = asyncio.get_running_loop().create_task(send(), name=f"proxy-{method}")
        try:
            async for answer in _answers(call):
                yield answer
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _kubelet_of(
        self, context: Context, namespace: str, name: str, subresource: str, verb: str
    ) -> grpc.aio.Channel:
        """A channel to the node of a Pod, if the caller may use it."""
        user = user_of(self._authenticator, context)
        target = Target(POD, namespace, name, subresource).named()
        self._core.admit_user(user, verb, target)
        pod = (await self._core.newest(Target(POD, namespace, name))).decode()
        node_name = pod.spec.node_name
        if not node_name:
            raise BadRequest(f'pod "{name}" does not have a host assigned')
        address = kubelet_address((await self._core.newest(Target(NODE, "", node_name))).decode())
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = serving.channel(address, self._credentials)
        return channel


def kubelet_address(node: corev1.Node) -> str:
    """Where the kubelet of a node listens. Raises ServiceUnavailable for a node that says nothing about it."""
    by_type = {address.type: address.address for address in reversed(node.status.addresses)}
    host = next((by_type[one] for one in ADDRESS_TYPES if one in by_type), "")
    if not host:
        raise ServiceUnavailable(f"no preferred addresses found; known addresses: {sorted(by_type)}")
    port = node.status.daemon_endpoints.kubelet_endpoint.port or KUBELET_PORT
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _answers(call: Any) -> AsyncIterator[bytes]:
    try:
        async for answer in call:
            yield answer
    except grpc.aio.AioRpcError as failure:
        raise rpc_status.from_rpc(failure) from failure
    finally:
        call.cancel()


def add_node_to_server(servicer: NodeServicer, server: Any) -> None:
    """Register the servicer; streams stay bytes."""
    stream = grpc.stream_stream_rpc_method_handler
    handlers: dict[str, Any] = {
        "Logs": grpc.unary_stream_rpc_method_handler(
            servicer.logs, request_deserializer=deserializer(node_pb2.LogsRequest, REQUEST_LIMIT_BYTES)
        ),
        "Stats": grpc.unary_unary_rpc_method_handler(
            servicer.stats, request_deserializer=deserializer(node_pb2.StatsRequest, REQUEST_LIMIT_BYTES)
        ),
        "Exec": stream(servicer.exec),
        "Attach": stream(servicer.attach),
        "PortForward": stream(servicer.port_forward),
    }
    server.add_registered_method_handlers(SERVICE, handlers)
