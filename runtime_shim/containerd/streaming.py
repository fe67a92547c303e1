"""Service navarch.v1.Streaming: exec, attach and port-forward as streams on the shim's own socket."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

from navarch.protos.navarch import node_pb2, streaming_pb2
from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd import linux
from navarch.runtime_shim.containerd.client import ContainerdClient
from navarch.runtime_shim.containerd.pipes import READ_BYTES, STDOUT, Pipes
from navarch.runtime_shim.containerd.processes import Process, Processes
from navarch.runtime_shim.containerd.sandbox_files import on_host_network
from navarch.runtime_shim.containerd.world import Sandbox, World
from navarch.runtime_shim.records import ContainerPhase

CONNECT_TIMEOUT_S = 10.0
LOOPBACKS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
# Beyond this many pieces of output that a client has not taken, the process has to wait.
QUEUED_PIECES = 64


class Streaming:
    """The streams. Each ends when the process, the client or the connection does."""

    def __init__(self, world: World, client: ContainerdClient, processes: Processes) -> None:
        self._world = world
        self._client = client
        self._processes = processes

    async def exec(
        self, requests: AsyncIterator[streaming_pb2.ContainerExecRequest]
    ) -> AsyncIterator[node_pb2.ExecResponse]:
        """The first request names container and command; the last answer is the exit code."""
        start = (await _first(requests, "start")).start
        pieces: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        # Output may come before the start has returned.
        running: Process | None = None

        def on_data(stream: str, data: bytes) -> None:
            pieces.put_nowait((stream, data))
            if running is not None and pieces.qsize() >= QUEUED_PIECES:
                running.pipes.pause()

        run = self._processes.run(start.container_id, start.command, on_data, stdin=start.stdin, tty=start.tty)
        async with run as process:
            running = process
            async with _background(_feed(requests, process, process.pipes)):
                exit_code = asyncio.ensure_future(self._finished(process, pieces))
                try:
                    while (piece := await pieces.get()) != ("", b""):
                        if piece[1]:
                            yield _response(*piece)
                        if pieces.empty():
                            process.pipes.resume()
                finally:
                    exit_code.cancel()
            yield node_pb2.ExecResponse(exit_code=exit_code.result())

    async def attach(
        self, requests: AsyncIterator[streaming_pb2.ContainerAttachRequest]
    ) -> AsyncIterator[node_pb2.ExecResponse]:
        """Output from now on; input if the container was made to take some."""
        start = (await _first(requests, "start")).start
        container = self._world.running(start.container_id)
        output = container.output
        if output is None:
            raise errors.FailedPrecondition(f"container {container.record.id} is not running")
        process = Process(self._client, container.record.id, "", output.pipes)
        once = container.record.config.stdin_once
        queue = output.attach()
        try:
            async with _background(_feed(requests, process, output.pipes, ends_input=once)):
                while (piece := await queue.get()) is not None:
                    yield _response(*piece)
            if not output.pipes.drained.is_set():
                raise errors.ResourceExhausted("the client takes the output more slowly than it comes")
        finally:
            output.detach(queue)
        await container.exited.wait()
        if container.record.phase == ContainerPhase.EXITED:
            yield node_pb2.ExecResponse(exit_code=container.record.exit_code)

    async def port_forward(
        self, requests: AsyncIterator[streaming_pb2.SandboxPortForwardRequest]
    ) -> AsyncIterator[node_pb2.PortForwardResponse]:
        """A TCP connection to the port on the loopback of the Pod's network."""
        start = (await _first(requests, "start")).start
        sandbox = self._world.sandbox(start.pod_sandbox_id)
        if not sandbox.ready:
            raise errors.FailedPrecondition(f"sandbox {sandbox.record.id} is not ready")
        reader, writer = await self._connect(sandbox, start.port)
        try:
            async with _background(_upload(requests, writer)):
                while data := await reader.read(READ_BYTES):
                    yield node_pb2.PortForwardResponse(data=data)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _finished(self, process: Process, pieces: "asyncio.Queue[tuple[str, bytes]]") -> int:
        try:
            code = await process.wait()
            await process.drained()
            return code
        finally:
            pieces.put_nowait(("", b""))

    async def _connect(self, sandbox: Sandbox, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        config = sandbox.record.config
        netns = None if on_host_network(config) else self._world.state.sandbox(sandbox.record.id) / "net"
        reason: OSError | None = None
        for family, address in LOOPBACKS:
            try:
                return await _connect_in(netns, family, address, port)
            except OSError as failure:  # TimeoutError is one.
                # What the first says is of more use: mostly nobody listens, on either.
                reason = reason or failure
        raise errors.Unavailable(f"port {port} of sandbox {sandbox.record.id}: {reason or 'timed out'}")


async def _connect_in(
    netns: Path | None, family: socket.AddressFamily, address: str, port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises OSError. A socket belongs to the namespace that it was made in; connecting may be done from anywhere."""
    handle = await linux.in_doomed_thread(lambda: linux.socket_in(netns, family))
    handle.setblocking(False)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await asyncio.get_running_loop().sock_connect(handle, (address, port))
    except BaseException:
        handle.close()
        raise
    return await asyncio.open_connection(sock=handle)


async def _first(requests: AsyncIterator[Any], field: str) -> Any:
    """The first message of a stream, which says what it is about."""
    async for request in requests:
        if request.WhichOneof("request") != field:
            break
        return request
    raise errors.InvalidArgument(f"the first message of the stream must have {field!r}")


async def _feed(requests: AsyncIterator[Any], process: Process, pipes: Pipes, *, ends_input: bool = True) -> None:
    """A client's later requests: input, its end, sizes of the terminal."""
    async for request in requests:
        match request.WhichOneof("request"):
            case "stdin":
                await pipes.write(request.stdin)
            case "close_stdin":
                break
            case "resize":
                await process.resize(request.resize.width, request.resize.height)
    if pipes.stdin and ends_input:
        await process.close_stdin()


async def _upload(requests: AsyncIterator[Any], writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        async for request in requests:
            writer.write(request.data)
            await writer.drain()
        writer.write_eof()


@contextlib.asynccontextmanager
async def _background(work: Awaitable[None]) -> AsyncIterator[None]:
    """Run `work` beside the block; the end of the block ends it."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _response(stream: str, data: bytes) -> node_pb2.ExecResponse:
    if stream == STDOUT:
        return node_pb2.ExecResponse(stdout=data)
    return node_pb2.ExecResponse(stderr=data)
