"""The serving end: a command, a log or ports of a Pod over a WebSocket that a client has opened.

Reading and writing run side by side, each at the pace of the slower end: nothing is read from the client that
nobody takes, and nothing is taken that the client does not read. When either end has left, both stop.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, TypeVar

import aiohttp
import orjson
from aiohttp import WSMsgType, web

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.navarch import node_pb2
from navarch.services.api.errors import ApiError, InternalError
from navarch.services.base.log import get_logger
from navarch.services.client.streams import channels, outcomes
from navarch.services.client.streams.channels import ChannelProtocol

LOG = get_logger("streams")
MESSAGE_BYTES = 16 << 20
# Messages of a client that wait to be taken.
WAITING = 8
NORMAL, UNSUPPORTED, FAILED = 1000, 1003, 1011

T = TypeVar("T")
Inputs = AsyncIterator[node_pb2.ExecRequest]
# Gets what the client sends after the start; gives what it is to see. Raises ApiError.
RunCommand = Callable[[Inputs], AsyncIterator[node_pb2.ExecResponse]]
# One connection to a port: bytes in, bytes out. Raises ApiError.
RunPort = Callable[[int, AsyncIterator[bytes]], AsyncIterator[bytes]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which streams of a process a client wants. is_exec: its exit code, too."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False
    is_exec: bool = True


class Feed(Generic[T]):
    """What one end has sent and the other has not taken yet: bounded, and with an end."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[T | None] = asyncio.Queue(WAITING)
        self._is_closed = False

    async def put(self, item: T | None) -> None:
        """Wait for room. None is the end."""
        if not self._is_closed:
            await self._queue.put(item)

    @property
    def is_full(self) -> bool:
        """Whether what is put has to wait. One place is kept for the end, which may come with the last piece."""
        return self._queue.qsize() >= WAITING - 1

    def close(self) -> None:
        """Nobody takes any more: what is there and what still comes is dropped."""
        self._is_closed = True
        while not self._queue.empty():
            self._queue.get_nowait()

    async def __aiter__(self) -> AsyncIterator[T]:
        while (item := await self._queue.get()) is not None:
            yield item


def is_websocket(request: web.BaseRequest) -> bool:
    """Whether the client asks for a WebSocket."""
    connection = request.headers.get("Connection", "").lower()
    return "upgrade" in connection and request.headers.get("Upgrade", "").lower() == "websocket"


async def opened(request: web.BaseRequest, protocols: Sequence[str]) -> web.WebSocketResponse:
    """The WebSocket, speaking the first protocol that the client names and we know. Raises HTTPForbidden for none."""
    offered = ",".join(request.headers.getall("Sec-WebSocket-Protocol", []))
    if protocols and offered and not {name.strip() for name in offered.split(",")} & set(protocols):
        raise web.HTTPForbidden(text=f"unable to negotiate protocol: client supports {offered}")
    socket = web.WebSocketResponse(protocols=protocols, compress=False, max_msg_size=MESSAGE_BYTES)
    await socket.prepare(request)
    return socket


Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def passed_on(request: web.BaseRequest, far: aiohttp.ClientWebSocketResponse) -> web.WebSocketResponse:
    """The WebSocket of a request, joined to another one until either ends."""
    async with far:
        near = await opened(request, [far.protocol] if far.protocol else [])
        tasks = [asyncio.ensure_future(_copy(near, far)), asyncio.ensure_future(_copy(far, near))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await far.close(code=near.close_code or 1000)
        await near.close(code=far.close_code or 1000)
        return near


async def _copy(source: Socket, sink: Socket) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await sink.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await sink.send_bytes(message.data)


async def serve_command(request: web.BaseRequest, wanted: Wanted, run: RunCommand) -> web.StreamResponse:
    """Run a command, or attach to one, over a WebSocket."""
    socket = await opened(request, list(channels.COMMANDS))
    protocol = channels.COMMANDS.get(socket.ws_protocol or "", channels.UNNAMED_COMMAND)
    feed: Feed[node_pb2.ExecRequest] = Feed()

    async def send(channel: int, data: bytes) -> None:
        await _send(socket, protocol.encode(channel, data))

    async def work() -> None:
        # Tells clients that wait for a first message that the stream stands.
        first = channels.STDOUT if wanted.stdout else channels.STDERR if wanted.stderr else channels.ERROR
        await send(first, b"")
        status = await outcome(send, wanted, run(aiter(feed)))
        if protocol.has_status:
            await send(channels.ERROR, outcomes.to_bytes(status))
        elif status.status != "Success":
            await send(channels.ERROR, status.message.encode())

    await _beside(socket, _read_commands(socket, protocol, wanted, feed), work())
    return socket


async def outcome(
    send: Callable[[int, bytes], Awaitable[None]], wanted: Wanted, answers: AsyncIterator[node_pb2.ExecResponse]
) -> metav1.Status:
    """Send the output of a process to its channels; how it ended. Raises ConnectionError where the client has left."""
    code = 0
    try:
        async with aclosing(answers):  # type: ignore[type-var]
            async for answer in answers:
                match answer.WhichOneof("response"):
                    case "stdout" if wanted.stdout:
                        await send(channels.STDOUT, answer.stdout)
                    case "stderr" if wanted.stderr:
                        await send(channels.STDERR, answer.stderr)
                    case "exit_code" if wanted.is_exec:
                        code = answer.exit_code
    except ApiError as refusal:
        return refusal.to_status()
    except ConnectionError:
        raise
    except Exception as failure:
        LOG.exception("stream.failed")
        return InternalError(str(failure)).to_status()
    return outcomes.exited(code)


async def _read_commands(
    socket: web.WebSocketResponse, protocol: ChannelProtocol, wanted: Wanted, feed: Feed[node_pb2.ExecRequest]
) -> None:
    async for message in messages(socket):
        channel, data = protocol.decode(message)
        if channel == channels.STDIN and wanted.stdin:
            if data:
                await feed.put(node_pb2.ExecRequest(stdin=data))
        elif channel == channels.RESIZE and wanted.tty:
            if (size := terminal_size(data)) is not None:
                await feed.put(node_pb2.ExecRequest(resize=size))
        elif protocol.can_close and wanted.stdin and message == protocol.close(channels.STDIN):
            await feed.put(node_pb2.ExecRequest(close_stdin=True))


def terminal_size(data: bytes) -> node_pb2.TerminalSize | None:
    """A size of a terminal; None for what is none, which changes nothing."""
    try:
        document = orjson.loads(data)
        return node_pb2.TerminalSize(width=int(document["Width"]), height=int(document["Height"]))
    except (ValueError, TypeError, KeyError):
        return None


async def serve_ports(request: web.BaseRequest, ports: Sequence[int], run: RunPort) -> web.StreamResponse:
    """Forward ports over a WebSocket: port number `i` has channel 2i for data and 2i+1 for errors."""
    socket = await opened(request, list(channels.PORTS))
    protocol = channels.PORTS.get(socket.ws_protocol or "", channels.UNNAMED_PORTS)
    feeds: list[Feed[bytes]] = [Feed() for _ in ports]

    async def forward(index: int, port: int) -> None:
        """Each channel begins with the number of its port."""
        number = port.to_bytes(2, "little")
        await _send(socket, protocol.encode(2 * index, number))
        await _send(socket, protocol.encode(2 * index + 1, number))
        try:
            async with aclosing(run(port, aiter(feeds[index]))) as answers:  # type: ignore[type-var]
                async for data in answers:
                    await _send(socket, protocol.encode(2 * index, data))
        except ApiError as refusal:
            await _send(socket, protocol.encode(2 * index + 1, refusal.message.encode()))

    async def work() -> None:
        async with asyncio.TaskGroup() as tasks:
            for index, port in enumerate(ports):
                tasks.create_task(forward(index, port), name=f"forward-{port}")

    async def read() -> None:
        async for message in messages(socket):
            channel, data = protocol.decode(message)
            if channel % 2 == 0 and channel // 2 < len(feeds) and data:
                await feeds[channel // 2].put(data)

    await _beside(socket, read(), work())
    return socket


async def serve_bytes(request: web.BaseRequest, chunks: AsyncIterator[bytes], first: bytes = b"") -> web.StreamResponse:
    """A log over a WebSocket: binary messages, or base64 where the client asks for that."""
    socket = await opened(request, ["binary.k8s.io", "base64.binary.k8s.io"])
    is_text = socket.ws_protocol == "base64.binary.k8s.io"

    async def send(chunk: bytes) -> None:
        if chunk:
            await _send(socket, base64.b64encode(chunk).decode() if is_text else chunk)

    async def work() -> None:
        await send(first)
        async for chunk in chunks:
            await send(chunk)

    async def read() -> None:
        async for _ in messages(socket):
            pass

    await _beside(socket, read(), work())
    return socket


async def messages(socket: web.WebSocketResponse) -> AsyncIterator[bytes | str]:
    """What the client sends, until it leaves."""
    async for message in socket:
        if message.type in (WSMsgType.BINARY, WSMsgType.TEXT):
            yield message.data


async def _send(socket: web.WebSocketResponse, message: bytes | str) -> None:
    if isinstance(message, str):
        await socket.send_str(message)
    else:
        await socket.send_bytes(message)


async def _beside(socket: web.WebSocketResponse, reading: Awaitable[None], working: Awaitable[None]) -> None:
    """Both until one ends: reading ends with the client, working with the stream."""
    read, work = asyncio.ensure_future(reading), asyncio.ensure_future(working)
    code = NORMAL
    try:
        await asyncio.wait((read, work), return_when=asyncio.FIRST_COMPLETED)
        if read.done() and isinstance(read.exception(), channels.ChannelError):
            code = UNSUPPORTED
    finally:
        for task in (read, work):
            task.cancel()
        ends = await asyncio.gather(read, work, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception) and not isinstance(end, ConnectionError | channels.ChannelError):
            LOG.error("stream.failed", exc_info=end)
            code = FAILED
    await socket.close(code=code)
