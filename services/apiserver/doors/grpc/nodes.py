"""`navarch.v1.Node` for the whole cluster: calls about a Pod are passed on to the kubelet of its node.

Clients need one address only, and need not know whether a kubelet speaks gRPC or has Kubernetes' HTTPS endpoints.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2
from navarch.services.api.errors import BadRequest
from navarch.services.api.kinds import KINDS
from navarch.services.apiserver.auth.authentication import Authentication
from navarch.services.apiserver.doors.grpc.decode import checked, deserializer
from navarch.services.apiserver.kubelets.directory import Kubelets
from navarch.services.apiserver.kubelets.kubelet import Command, Kubelet
from navarch.services.apiserver.registry.core import Core, Target

SERVICE = "navarch.v1.Node"
POD = KINDS.of(corev1.Pod)
NODE = KINDS.of(corev1.Node)
REQUEST_LIMIT_BYTES = 4 << 20
Context = grpc.aio.ServicerContext[Any, Any]
T = TypeVar("T", bound=Message)
Answers = AsyncIterator[node_pb2.ExecResponse]


class NodeServicer:
    """Passes calls on."""

    def __init__(self, core: Core, authentication: Authentication, kubelets: Kubelets) -> None:
        self._core = core
        self._authentication = authentication
        self._kubelets = kubelets

    async def logs(self, request: Any, context: Context) -> AsyncIterator[node_pb2.LogsResponse]:
        """Log of a container."""
        checked(request)
        kubelet = await self._kubelet_of(context, request.namespace, request.pod, "log", "get")
        lines = kubelet.logs(request.namespace, request.pod, request.options)
        async with aclosing(lines):  # type: ignore[type-var]
            async for data in lines:
                if data:
                    yield node_pb2.LogsResponse(data=data)

    async def exec(self, requests: AsyncIterator[node_pb2.ExecRequest], context: Context) -> Answers:
        """A process in a container."""
        requests = _sound(requests)
        start = await _start(requests)
        kubelet = await self._kubelet_of(context, start.namespace, start.pod, "exec", "create")
        command = Command(
            start.namespace, start.pod, start.container, tuple(start.command), stdin=start.stdin, tty=start.tty
        )
        async with aclosing(kubelet.run(command, requests)) as answers:  # type: ignore[type-var]
            async for answer in answers:
                yield answer

    async def attach(self, requests: AsyncIterator[node_pb2.AttachRequest], context: Context) -> Answers:
        """The main process of a container."""
        requests = _sound(requests)
        start = await _start(requests)
        kubelet = await self._kubelet_of(context, start.namespace, start.pod, "attach", "create")
        command = Command(start.namespace, start.pod, start.container, stdin=start.stdin, tty=start.tty)
        later = (node_pb2.ExecRequest.FromString(request.SerializeToString()) async for request in requests)
        async with aclosing(kubelet.run(command, later)) as answers:  # type: ignore[type-var]
            async for answer in answers:
                yield answer

    async def port_forward(
        self, requests: AsyncIterator[node_pb2.PortForwardRequest], context: Context
    ) -> AsyncIterator[node_pb2.PortForwardResponse]:
        """A port of a Pod."""
        requests = _sound(requests)
        start = await _start(requests)
        kubelet = await self._kubelet_of(context, start.namespace, start.pod, "portforward", "create")
        inputs = (request.data async for request in requests)
        answers = kubelet.forward(start.namespace, start.pod, start.port, inputs)
        async with aclosing(answers):  # type: ignore[type-var]
            async for data in answers:
                yield node_pb2.PortForwardResponse(data=data)

    def about_pod(self, rpc: str) -> Callable[[Any, Context], Awaitable[Message]]:
        """Serves a unary RPC about a Pod."""

        async def ask(request: Any, context: Context) -> Message:
            checked(request)
            if not request.pod:
                raise BadRequest("name a Pod, or ask its kubelet")
            kubelet = await self._kubelet_of(context, request.namespace, request.pod, "proxy", "get")
            return await kubelet.ask(rpc, request)

        return ask

    def about_node(self, rpc: str, subresource: str) -> Callable[[Any, Context], Awaitable[Message]]:
        """Serves a unary RPC about a node, to whom its kubelet would serve it."""

        async def ask(request: Any, context: Context) -> Message:
            checked(request)
            if not request.node:
                raise BadRequest("name a node, or ask its kubelet")
            user = await self._authentication.of_call(context)
            self._core.admit_user(user, "get", Target(NODE, "", request.node, subresource).named())
            node = (await self._core.newest(Target(NODE, "", request.node))).decode()
            assert isinstance(node, corev1.Node)
            return await self._kubelets.of_node(node).ask(rpc, request)

        return ask

    async def _kubelet_of(self, context: Context, namespace: str, name: str, subresource: str, verb: str) -> Kubelet:
        """The kubelet of a Pod, if the caller may use it."""
        user = await self._authentication.of_call(context)
        self._core.admit_user(user, verb, Target(POD, namespace, name, subresource).named())
        pod = (await self._core.newest(Target(POD, namespace, name))).decode()
        assert isinstance(pod, corev1.Pod)
        return await self._kubelets.of_pod(pod)


async def _sound(requests: AsyncIterator[T]) -> AsyncIterator[T]:
    """The requests; raises what is wrong with one."""
    async for request in requests:
        yield checked(request)


async def _start(requests: AsyncIterator[Any]) -> Any:
    """What the first message says."""
    async for request in requests:
        if request.WhichOneof("request") == "start":
            return request.start
        break
    raise BadRequest("the first message has to be the start")


def add_node_to_server(servicer: NodeServicer, server: Any) -> None:
    """Register the servicer."""
    stream = grpc.stream_stream_rpc_method_handler
    handlers: dict[str, Any] = {
        "Logs": grpc.unary_stream_rpc_method_handler(
            servicer.logs,
            request_deserializer=deserializer(node_pb2.LogsRequest, REQUEST_LIMIT_BYTES),
            response_serializer=_serialized,
        ),
        "Stats": _unary(servicer.about_pod("Stats"), node_pb2.StatsRequest),
        "Inspect": _unary(servicer.about_pod("Inspect"), node_pb2.InspectRequest),
        "Images": _unary(servicer.about_node("Images", "proxy"), node_pb2.ImagesRequest),
        "Summarize": _unary(servicer.about_node("Summarize", "stats"), node_pb2.SummarizeRequest),
        "Configuration": _unary(servicer.about_node("Configuration", "configz"), node_pb2.ConfigurationRequest),
        "UnitLogs": _unary(servicer.about_node("UnitLogs", "log"), node_pb2.UnitLogsRequest),
        "Pods": _unary(servicer.about_node("Pods", "pods"), node_pb2.PodsRequest),
        "Exec": stream(servicer.exec, deserializer(node_pb2.ExecRequest, REQUEST_LIMIT_BYTES), _serialized),
        "Attach": stream(servicer.attach, deserializer(node_pb2.AttachRequest, REQUEST_LIMIT_BYTES), _serialized),
        "PortForward": stream(
            servicer.port_forward, deserializer(node_pb2.PortForwardRequest, REQUEST_LIMIT_BYTES), _serialized
        ),
    }
    server.add_registered_method_handlers(SERVICE, handlers)


def _unary(answer: Callable[[Any, Context], Awaitable[Message]], request: type[Message]) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=deserializer(request, REQUEST_LIMIT_BYTES), response_serializer=_serialized
    )


def _serialized(answer: Message) -> bytes:
    return answer.SerializeToString()
