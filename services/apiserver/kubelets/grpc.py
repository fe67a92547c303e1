"""A kubelet that streams by gRPC."""

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf.message import Message

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2, node_pb2_grpc
from navarch.services.api import rpc_status
from navarch.services.apiserver.kubelets.kubelet import Command, Inputs
from navarch.services.client.streams.calls import exchange

CALL_S = 10.0
# A kubelet says so before the first line, which may take its time.
ACCEPTED = "navarch-accepted"


class GrpcKubelet:
    """By `navarch.v1.Node` over a channel that somebody else owns."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._node: node_pb2_grpc.NodeAsyncStub = node_pb2_grpc.NodeStub(channel)

    async def logs(
        self, namespace: str, pod: str, options: corev1.PodLogOptions, *, insecure: bool = False
    ) -> AsyncIterator[bytes]:
        """The log of a container. Always checks the kubelet's certificate."""
        request = node_pb2.LogsRequest(namespace=namespace, pod=pod, options=options)
        call: Any = self._node.Logs(request)
        try:
            if ACCEPTED in await call.initial_metadata():
                yield b""
            async for answer in call:
                yield answer.data
        except grpc.aio.AioRpcError as failure:
            raise rpc_status.from_rpc(failure) from failure
        finally:
            call.cancel()

    def run(self, command: Command, inputs: Inputs) -> AsyncIterator[node_pb2.ExecResponse]:
        """Run a command, or attach."""
        if command.command:
            start = node_pb2.ExecStart(
                namespace=command.namespace,
                pod=command.pod,
                container=command.container,
                command=command.command,
                stdin=command.stdin,
                tty=command.tty,
            )
            return exchange(self._node.Exec(), _after(node_pb2.ExecRequest(start=start), inputs), rpc_status.from_rpc)
        attach = node_pb2.AttachStart(
            namespace=command.namespace,
            pod=command.pod,
            container=command.container,
            stdin=command.stdin,
            tty=command.tty,
        )
        # Input and sizes are the same to both.
        later = (node_pb2.AttachRequest.FromString(request.SerializeToString()) async for request in inputs)
        first = node_pb2.AttachRequest(start=attach)
        return exchange(self._node.Attach(), _after(first, later), rpc_status.from_rpc)

    async def forward(self, namespace: str, pod: str, port: int, inputs: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """One connection to a port of a Pod."""
        start = node_pb2.PortForwardRequest(start=node_pb2.PortForwardStart(namespace=namespace, pod=pod, port=port))
        later = (node_pb2.PortForwardRequest(data=content) async for content in inputs)
        answers = exchange(self._node.PortForward(), _after(start, later), rpc_status.from_rpc)
        async with aclosing(answers):  # type: ignore[type-var]
            async for answer in answers:
                yield answer.data

    async def ask(self, rpc: str, request: Message) -> Message:
        """The answer of a unary RPC."""
        try:
            answer: Message = await getattr(self._node, rpc)(request, timeout=CALL_S)
        except grpc.aio.AioRpcError as failure:
            raise rpc_status.from_rpc(failure) from failure
        return answer


async def _after(first: Any, later: AsyncIterable[Any]) -> AsyncIterator[Any]:
    yield first
    async for request in later:
        yield request
