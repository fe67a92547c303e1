"""Streams of processes that are not there: what is sent comes back."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from navarch.protos.navarch import node_pb2, streaming_pb2
from navarch.runtime_shim.errors import InvalidArgument
from navarch.runtime_shim.simulated.containers import Containers, executed

# Pieces of output that nobody has read.
ECHOES = 64


class SimulatedStreaming:
    """The streams of one host's containers."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers

    async def exec(
        self, requests: AsyncIterator[streaming_pb2.ContainerExecRequest]
    ) -> AsyncIterator[node_pb2.ExecResponse]:
        """Echoes the command, as ExecSync does, then its input."""
        code = 0
        async for request in requests:
            if request.HasField("start"):
                behavior = self._containers.running(request.start.container_id).behavior
                output, code = executed(behavior, request.start.command)
                yield node_pb2.ExecResponse(stdout=output)
                if not request.start.stdin:
                    break
            elif request.stdin:
                yield node_pb2.ExecResponse(stdout=request.stdin)
            elif request.close_stdin:
                break
        yield node_pb2.ExecResponse(exit_code=code)

    async def attach(
        self, requests: AsyncIterator[streaming_pb2.ContainerAttachRequest]
    ) -> AsyncIterator[node_pb2.ExecResponse]:
        """Echoes input until the container ends; the end of input ends one that takes it once."""
        start = (await _first(requests)).start
        container = self._containers.running(start.container_id)
        answers: asyncio.Queue[node_pb2.ExecResponse | None] = asyncio.Queue(ECHOES)

        async def echo() -> None:
            async for request in requests:
                if request.close_stdin:
                    break
                if request.stdin:
                    await answers.put(node_pb2.ExecResponse(stdout=request.stdin))
            if start.stdin and container.record.config.stdin_once:
                self._containers.end(container)

        async def end() -> None:
            await self._containers.exited(container)
            await answers.put(None)

        tasks = [asyncio.ensure_future(echo()), asyncio.ensure_future(end())]
        try:
            while (answer := await answers.get()) is not None:
                yield answer
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        yield node_pb2.ExecResponse(exit_code=container.record.exit_code)

    async def port_forward(
        self, requests: AsyncIterator[streaming_pb2.SandboxPortForwardRequest]
    ) -> AsyncIterator[node_pb2.PortForwardResponse]:
        """Every port echoes."""
        await _first(requests)
        async for request in requests:
            yield node_pb2.PortForwardResponse(data=request.data)


async def _first(requests: AsyncIterator[Any]) -> Any:
    async for request in requests:
        if request.HasField("start"):
            return request
        break
    raise InvalidArgument("the first message of the stream must have 'start'")
