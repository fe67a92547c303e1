"""The calling end: streams of a kubelet that is called by WebSocket."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import aiohttp
import orjson

from navarch.protos.navarch import node_pb2
from navarch.services.api.errors import ApiError, BadRequest, InternalError, NotFound, ServiceUnavailable
from navarch.services.client.streams import channels, outcomes
from navarch.services.client.streams.serving import MESSAGE_BYTES

Query = Sequence[tuple[str, str]]


@asynccontextmanager
async def _dialed(
    session: aiohttp.ClientSession, url: str, query: Query, protocols: Sequence[str]
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """An open WebSocket. Raises ApiError where the kubelet refuses or is not there."""
    try:
        socket = await session.ws_connect(url, params=query, protocols=protocols, max_msg_size=MESSAGE_BYTES)
    except aiohttp.WSServerHandshakeError as failure:
        raise _refused(failure.status, url) from failure
    except (aiohttp.ClientError, OSError, TimeoutError) as failure:
        raise ServiceUnavailable(f"error dialing backend: {failure}") from failure
    try:
        yield socket
    finally:
        await socket.close()


def _refused(code: int, url: str) -> ApiError:
    message = f"the kubelet refused to open a stream: HTTP status {code} of {url}"
    return {400: BadRequest(message), 404: NotFound("pods", "", message)}.get(code, InternalError(message))


async def run_command(
    session: aiohttp.ClientSession, url: str, query: Query, inputs: AsyncIterator[node_pb2.ExecRequest]
) -> AsyncIterator[node_pb2.ExecResponse]:
    """Exec or attach at a kubelet. The last answer is the exit code. Raises ApiError."""
    async with _dialed(session, url, query, (channels.V5.name, channels.V4.name)) as socket:
        protocol = channels.COMMANDS.get(socket.protocol or "", channels.V4)
        sending = asyncio.ensure_future(_send_inputs(socket, protocol, inputs))
        try:
            async for message in socket:
                if message.type not in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
                    break
                channel, data = protocol.decode(message.data)
                if channel == channels.STDOUT and data:
                    yield node_pb2.ExecResponse(stdout=data)
                elif channel == channels.STDERR and data:
                    yield node_pb2.ExecResponse(stderr=data)
                elif channel == channels.ERROR and data:
                    yield node_pb2.ExecResponse(exit_code=outcomes.exit_code_of(data))
                    return
        finally:
            await _ended(sending)
    raise ServiceUnavailable("the kubelet ended the stream before the command ended")


async def _send_inputs(
    socket: aiohttp.ClientWebSocketResponse,
    protocol: channels.ChannelProtocol,
    inputs: AsyncIterator[node_pb2.ExecRequest],
) -> None:
    async for request in inputs:
        match request.WhichOneof("request"):
            case "stdin":
                await socket.send_bytes(bytes((channels.STDIN,)) + request.stdin)
            case "close_stdin" if protocol.can_close:
                await socket.send_bytes(protocol.close(channels.STDIN))
            case "resize":
                size: Mapping[str, int] = {"Width": request.resize.width, "Height": request.resize.height}
                await socket.send_bytes(bytes((channels.RESIZE,)) + orjson.dumps(size))


async def forward(
    session: aiohttp.ClientSession, url: str, port: int, inputs: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """One connection to a port of a Pod, at its kubelet. Raises ApiError."""

    async def send() -> None:
        async for data in inputs:
            await socket.send_bytes(b"\0" + data)

    async with _dialed(session, url, [("port", str(port))], (channels.V4.name,)) as socket:
        sending = asyncio.ensure_future(send())
        # Each channel begins with the number of the port, two bytes that may come apart.
        numbers = {0: 2, 1: 2}
        try:
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.BINARY:
                    break
                channel, data = message.data[0], message.data[1:]
                skipped = min(numbers.get(channel, 0), len(data))
                if skipped:
                    numbers[channel] -= skipped
                    data = data[skipped:]
                if data and channel == 1:
                    raise InternalError(data.decode(errors="replace"))
                if data and channel == 0:
                    yield data
        finally:
            await _ended(sending)


async def _ended(sending: "asyncio.Future[None]") -> None:
    """End the sending; what stopped it before was told by the receiving end."""
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
