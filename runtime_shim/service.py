"""The CRI server: RuntimeService, ImageService and our two additions on one unix socket, over any backend.

The services are bound to the backend by name: RPC `RunPodSandbox` calls `run_pod_sandbox`. So the contract in
protos/ is the only list of RPCs, and one that nobody serves answers UNIMPLEMENTED with its name.
"""

import asyncio
import errno
import re
import secrets
import stat
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.cri import v1_pb2_grpc
from navarch.protos.navarch import images_pb2, images_pb2_grpc, streaming_pb2, streaming_pb2_grpc
from navarch.runtime_shim import errors
from navarch.runtime_shim.backend import Backend
from navarch.runtime_shim.streaming.requests import Runtime
from navarch.runtime_shim.streaming.server import StreamServer
from navarch.services.base.serving import GrpcServer, RpcStatus

CODES: dict[type[errors.ShimError], grpc.StatusCode] = {
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Unsupported: grpc.StatusCode.UNIMPLEMENTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.RuntimeFailure: grpc.StatusCode.UNKNOWN,
}
# Of what the host has too little; all else that it refuses is told in its own words.
HOST_TROUBLE = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
)
# Answers of the streaming lists are cut into messages of this many items.
STREAMED_ITEMS = 100
# Of a URL that stands for a stream.
TOKEN_BYTES = 16


def translate(failure: Exception) -> RpcStatus | None:
    """A backend's refusal, or the host's, as a gRPC status."""
    if isinstance(failure, OSError):
        code = grpc.StatusCode.RESOURCE_EXHAUSTED if failure.errno in HOST_TROUBLE else grpc.StatusCode.UNKNOWN
        return code, str(failure), ()
    for kind in type(failure).__mro__:
        if kind in CODES:
            return CODES[kind], str(failure), ()
    return None


@dataclass(frozen=True, slots=True)
class Config:
    """listen: path of the unix socket. streaming: host and port of the URLs that CRI gives out."""

    listen: Path
    streaming: tuple[str, int] = ("127.0.0.1", 0)


class Service:
    """The shim as a process runs it."""

    def __init__(self, config: Config, backend: Backend) -> None:
        self._socket = config.listen
        self._streaming = config.streaming
        self._backend = backend
        self._server = GrpcServer(None, translate=translate, component="shim", light=True)
        cri = criv1.DESCRIPTOR.services_by_name
        checked = cast(Runtime, backend.runtime)
        self._streams = StreamServer(checked, backend.streaming, time.monotonic, make_token)
        runtime = bind(backend.runtime, cri["RuntimeService"], self._streams)
        images = bind(backend.images, cri["ImageService"])
        self._server.add(v1_pb2_grpc.add_RuntimeServiceServicer_to_server, runtime)
        self._server.add(v1_pb2_grpc.add_ImageServiceServicer_to_server, images)
        own_images = bind(backend.images, images_pb2.DESCRIPTOR.services_by_name["Images"])
        self._server.add(images_pb2_grpc.add_ImagesServicer_to_server, own_images)
        streaming = bind(backend.streaming, streaming_pb2.DESCRIPTOR.services_by_name["Streaming"])
        self._server.add(streaming_pb2_grpc.add_StreamingServicer_to_server, streaming)

    async def start(self) -> None:
        """Start the backend, then serve."""
        await self._backend.start()
        await self._streams.start(*self._streaming)
        self._socket.parent.mkdir(parents=True, exist_ok=True)
        if self._socket.exists() and stat.S_ISSOCK(self._socket.stat().st_mode):
            # Left behind by a killed predecessor; the supervisor runs one shim a socket.
            self._socket.unlink()
        await self._server.start(f"unix:{self._socket}")
        self._socket.chmod(0o600)

    async def stop(self) -> None:
        """End all calls, then let go of the backend. Containers keep running."""
        await self._server.stop()
        await self._streams.stop()
        await self._backend.stop()


def make_token() -> str:
    """One that nobody guesses."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def bind(part: object, service: ServiceDescriptor, before: object = None) -> object:
    """A servicer whose RPCs are the methods of the same name in snake case, of `before` or else of `part`."""
    servicer = SimpleNamespace()
    for method in service.methods:
        owner = before if hasattr(before, method_name(method.name)) else part
        setattr(servicer, method.name, _behavior(owner, method))
    return servicer


def _behavior(part: object, method: MethodDescriptor) -> Callable[[Any, Any], Any]:
    call = getattr(part, method_name(method.name), None)
    if call is None and method.server_streaming and method.name.startswith("Stream"):
        return _streamed_list(part, method)
    if call is None:
        return _unserved(f"{method.full_name} is not served by this runtime")
    bound: Callable[[Any], Any] = call
    if method.name == "GetContainerEvents":
        return _announced(bound)
    return lambda request, context: bound(request)


def _announced(call: Callable[[Any], AsyncIterator[Any]]) -> Callable[[Any, Any], Any]:
    """A stream whose headers say that it has begun, also while there is nothing to tell.

    A client who lists once it has them misses nothing: what happens from then on is in the stream.
    """

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        events = aiter(call(request))
        first = asyncio.ensure_future(anext(events))
        try:
            # It runs up to where it waits: the subscription stands.
            await asyncio.sleep(0)
            await context.send_initial_metadata(())
            yield await first
            async for event in events:
                yield event
        finally:
            first.cancel()

    return stream


def _unserved(message: str) -> Callable[[Any, Any], Any]:
    async def refuse(request: Any, context: Any) -> Any:
        raise errors.Unsupported(message)

    return refuse


def _streamed_list(part: object, method: MethodDescriptor) -> Callable[[Any, Any], Any]:
    """`StreamX(filter)` from `ListX(filter)`: the same items in messages of bounded size."""
    list_name = {"StreamPodSandboxes": "ListPodSandbox"}.get(method.name, method.name.replace("Stream", "List", 1))
    call = getattr(part, method_name(list_name), None)
    if call is None:
        return _unserved(f"{method.full_name} is not served by this runtime")
    request_type: type[Any] = getattr(criv1, f"{list_name}Request")
    answer_type: type[Any] = getattr(criv1, method.output_type.name)
    field = method.output_type.fields[0].name

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        # Request pairs have the same fields under the same numbers.
        answer = await call(request_type.FromString(request.SerializeToString()))
        items = getattr(answer, answer.DESCRIPTOR.fields[0].name)
        for begin in range(0, len(items), STREAMED_ITEMS):
            yield answer_type(**{field: items[begin : begin + STREAMED_ITEMS]})

    return stream


def method_name(rpc: str) -> str:
    """RunPodSandbox -> run_pod_sandbox; a word that Python reserves gets a trailing underscore."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", rpc).lower()
    return "import_" if name == "import" else name
