"""Streams of the runtime: over the gRPC service of navarch's own shim, or at the URL that any CRI runtime gives out."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.navarch import node_pb2, streaming_pb2
from navarch.services.api.errors import ApiError, InternalError, ServiceUnavailable
from navarch.services.client.streams import spdy_dialing
from navarch.services.client.streams.calls import exchange
from navarch.services.client.streams.serving import Wanted
from navarch.services.kubelet.runtime import Runtime, RuntimeFailure

Inputs = AsyncIterator[node_pb2.ExecRequest]
T = TypeVar("T", bound=Message)
# As the shim calls itself.
SHIM = "navarch"


class RuntimeStreams:
    """Processes and ports of containers. Everything raises ApiError."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        # Whether the runtime has the shim's service; None until it was asked.
        self._has_service: bool | None = None

    async def exec(
        self, container_id: str, start: node_pb2.ExecStart, inputs: Inputs
    ) -> AsyncIterator[node_pb2.ExecResponse]:
        """A process in a container."""
        if await self._is_served():
            first = streaming_pb2.ContainerExecRequest(
                start=streaming_pb2.ContainerExecStart(
                    container_id=container_id, command=start.command, stdin=start.stdin, tty=start.tty
                )
            )
            answers = exchange(self._runtime.streaming.Exec(), _after(first, inputs), _failure)
        else:
            wanted = _wanted(stdin=start.stdin, tty=start.tty, is_exec=True)
            request = criv1.ExecRequest(
                container_id=container_id,
                cmd=start.command,
                tty=wanted.tty,
                stdin=wanted.stdin,
                stdout=wanted.stdout,
                stderr=wanted.stderr,
            )
            answers = spdy_dialing.run_command(await _url(self._runtime.exec(request)), wanted, inputs)
        async with aclosing(answers):  # type: ignore[type-var]
            async for answer in answers:
                yield answer

    async def attach(
        self, container_id: str, start: node_pb2.AttachStart, inputs: Inputs
    ) -> AsyncIterator[node_pb2.ExecResponse]:
        """The streams of a container's own process."""
        if await self._is_served():
            first = streaming_pb2.ContainerAttachRequest(
                start=streaming_pb2.ContainerAttachStart(container_id=container_id, stdin=start.stdin, tty=start.tty)
            )
            answers = exchange(self._runtime.streaming.Attach(), _after(first, inputs), _failure)
        else:
            wanted = _wanted(stdin=start.stdin, tty=start.tty, is_exec=False)
            request = criv1.AttachRequest(
                container_id=container_id,
                tty=wanted.tty,
                stdin=wanted.stdin,
                stdout=wanted.stdout,
                stderr=wanted.stderr,
            )
            answers = spdy_dialing.run_command(await _url(self._runtime.attach(request)), wanted, inputs)
        async with aclosing(answers):  # type: ignore[type-var]
            async for answer in answers:
                yield answer

    async def forward(self, sandbox_id: str, port: int, inputs: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """One connection to a port of a sandbox."""
        if await self._is_served():
            answers = exchange(self._runtime.streaming.PortForward(), _bytes_after(sandbox_id, port, inputs), _failure)
            async with aclosing(answers):  # type: ignore[type-var]
                async for answer in answers:
                    yield answer.data
            return
        request = criv1.PortForwardRequest(pod_sandbox_id=sandbox_id, port=[port])
        pieces = spdy_dialing.forward(await _url(self._runtime.port_forward(request)), port, inputs)
        async with aclosing(pieces):  # type: ignore[type-var]
            async for data in pieces:
                yield data

    async def _is_served(self) -> bool:
        if self._has_service is None:
            try:
                self._has_service = (await self._runtime.version()).runtime_name.startswith(SHIM)
            except RuntimeFailure as failure:
                raise ServiceUnavailable(str(failure)) from failure
        return self._has_service


def _wanted(*, stdin: bool, tty: bool, is_exec: bool) -> Wanted:
    return Wanted(stdin=stdin, stdout=True, stderr=not tty, tty=tty, is_exec=is_exec)


async def _url(answer: Awaitable[str]) -> str:
    try:
        return await answer
    except RuntimeFailure as failure:
        raise InternalError(str(failure)) from failure


async def _after(first: T, inputs: Inputs) -> AsyncIterator[T]:
    """The later requests have the same shape on both sides."""
    yield first
    async for request in inputs:
        renamed = type(first)()
        renamed.MergeFromString(request.SerializeToString())
        yield renamed


async def _bytes_after(
    sandbox_id: str, port: int, inputs: AsyncIterator[bytes]
) -> AsyncIterator[streaming_pb2.SandboxPortForwardRequest]:
    start = streaming_pb2.SandboxPortForwardStart(pod_sandbox_id=sandbox_id, port=port)
    yield streaming_pb2.SandboxPortForwardRequest(start=start)
    async for data in inputs:
        yield streaming_pb2.SandboxPortForwardRequest(data=data)


def _failure(failure: grpc.aio.AioRpcError) -> ApiError:
    """What the runtime says of a stream; only when it cannot be reached is it worth another try."""
    words = failure.details() or "the runtime ended the stream"
    return ServiceUnavailable(words) if failure.code() is grpc.StatusCode.UNAVAILABLE else InternalError(words)
