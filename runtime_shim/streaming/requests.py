"""Streams that clients ask for, checked as CRI says, and carried to the backend."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.navarch import node_pb2, streaming_pb2
from navarch.runtime_shim import errors
from navarch.runtime_shim.backend import StreamingBackend
from navarch.services.api.errors import InternalError
from navarch.services.client.streams.serving import Inputs, Wanted

EXEC, ATTACH, PORT_FORWARD = "exec", "attach", "portforward"


class Runtime(Protocol):
    """What is asked of a backend before a URL is given out."""

    async def container_status(self, request: criv1.ContainerStatusRequest) -> criv1.ContainerStatusResponse:
        """See CRI."""
        ...

    async def pod_sandbox_status(self, request: criv1.PodSandboxStatusRequest) -> criv1.PodSandboxStatusResponse:
        """See CRI."""
        ...


@dataclass(frozen=True, slots=True)
class Command:
    """Exec, or attach where there is no command. start: the first message to the backend."""

    container_id: str
    wanted: Wanted
    command: tuple[str, ...] = ()

    def run(self, backend: StreamingBackend, inputs: Inputs) -> AsyncIterator[node_pb2.ExecResponse]:
        """The streams. Raises ApiError."""
        stdin, tty = self.wanted.stdin, self.wanted.tty
        if self.wanted.is_exec:
            start = streaming_pb2.ContainerExecStart(
                container_id=self.container_id, command=self.command, stdin=stdin, tty=tty
            )
            first = streaming_pb2.ContainerExecRequest(start=start)
            return _translated(backend.exec(_after(first, inputs, streaming_pb2.ContainerExecRequest)))
        attach = streaming_pb2.ContainerAttachStart(container_id=self.container_id, stdin=stdin, tty=tty)
        begin = streaming_pb2.ContainerAttachRequest(start=attach)
        return _translated(backend.attach(_after(begin, inputs, streaming_pb2.ContainerAttachRequest)))


@dataclass(frozen=True, slots=True)
class Ports:
    """Port-forward. ports: those that were named beforehand, which a client may not keep to."""

    sandbox_id: str
    ports: tuple[int, ...] = ()

    async def run(self, backend: StreamingBackend, port: int, inputs: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """One connection. Raises ApiError."""

        async def requests() -> AsyncIterator[streaming_pb2.SandboxPortForwardRequest]:
            start = streaming_pb2.SandboxPortForwardStart(pod_sandbox_id=self.sandbox_id, port=port)
            yield streaming_pb2.SandboxPortForwardRequest(start=start)
            async for data in inputs:
                yield streaming_pb2.SandboxPortForwardRequest(data=data)

        async with aclosing(_translated(backend.port_forward(requests()))) as answers:  # type: ignore[type-var]
            async for answer in answers:
                yield answer.data


async def exec_of(runtime: Runtime, request: criv1.ExecRequest) -> Command:
    """What an ExecRequest asks for. Raises NotFound, FailedPrecondition, InvalidArgument."""
    if not request.cmd:
        raise errors.InvalidArgument("exec: cmd names no command")
    wanted = _wanted(request, is_exec=True)
    return Command(await _running(runtime, request.container_id), wanted, tuple(request.cmd))


async def attach_of(runtime: Runtime, request: criv1.AttachRequest) -> Command:
    """What an AttachRequest asks for. Raises NotFound, FailedPrecondition, InvalidArgument."""
    wanted = _wanted(request, is_exec=False)
    return Command(await _running(runtime, request.container_id), wanted)


async def ports_of(runtime: Runtime, request: criv1.PortForwardRequest) -> Ports:
    """What a PortForwardRequest asks for. Raises NotFound, FailedPrecondition, InvalidArgument."""
    for port in request.port:
        if not 0 < port < 65536:
            raise errors.InvalidArgument(f"port-forward: {port} is no port")
    wanted = criv1.PodSandboxStatusRequest(pod_sandbox_id=request.pod_sandbox_id)
    status = (await runtime.pod_sandbox_status(wanted)).status
    if status.state != criv1.PodSandboxState.SANDBOX_READY:
        raise errors.FailedPrecondition(f"sandbox {status.id} is not ready")
    return Ports(status.id, tuple(request.port))


def _wanted(request: criv1.ExecRequest | criv1.AttachRequest, *, is_exec: bool) -> Wanted:
    if not (request.stdin or request.stdout or request.stderr):
        raise errors.InvalidArgument("one of stdin, stdout and stderr must be wanted")
    if request.tty and request.stderr:
        raise errors.InvalidArgument("a terminal has one output: tty and stderr exclude each other")
    return Wanted(request.stdin, request.stdout, request.stderr, request.tty, is_exec)


async def _running(runtime: Runtime, container_id: str) -> str:
    status = (await runtime.container_status(criv1.ContainerStatusRequest(container_id=container_id))).status
    if status.state != criv1.ContainerState.CONTAINER_RUNNING:
        raise errors.FailedPrecondition(f"container {status.id} is not running")
    return status.id


async def _after(first: Any, inputs: Inputs, kind: Callable[..., Any]) -> AsyncIterator[Any]:
    """The first message, then the client's input in the backend's messages."""
    yield first
    async for message in inputs:
        match message.WhichOneof("request"):
            case "stdin":
                yield kind(stdin=message.stdin)
            case "close_stdin":
                yield kind(close_stdin=True)
            case "resize":
                yield kind(resize=message.resize)


async def _translated(answers: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """A backend's answers; its refusals in the words that the protocols carry."""
    try:
        async with aclosing(answers):  # type: ignore[type-var]
            async for answer in answers:
                yield answer
    except (errors.ShimError, OSError) as failure:
        # A connection that the Pod breaks off, too: it must not be taken for the client's.
        raise InternalError(str(failure)) from failure
