"""Port-forward over SPDY: a connection of its own, or, as kubectl has it, frames in the messages of a WebSocket.

For each connection the client opens two streams with the same request id: one for errors, which it half-closes at
once, and one for data. Both know the port. When both are there, a connection to that port is made at the node.
"""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field

from aiohttp import web

from navarch.services.api.errors import ApiError
from navarch.services.base.log import get_logger
from navarch.services.client.streams import spdy
from navarch.services.client.streams.serving import FAILED, NORMAL, Feed, RunPort, opened
from navarch.services.client.streams.wires import WebSocketWire, Wire

LOG = get_logger("portforward")
# On a connection of its own.
PORT_FORWARD = "portforward.k8s.io"
PROTOCOL = "SPDY/3.1+portforward.k8s.io"
# At once in one tunnel; half of them wait for their other half.
STREAMS = 2000
# No frame of ours is larger, so that connections take turns.
PIECE_BYTES = 32 * 1024


@dataclass(slots=True)
class _Pair:
    """The two streams of one connection, 0 until they are opened."""

    request_id: str
    port: int
    data: int = 0
    error: int = 0
    feed: Feed[bytes] = field(default_factory=Feed)
    forwarding: "asyncio.Task[None] | None" = None


class Tunnel:
    """The streams of one client."""

    def __init__(self, wire: Wire, pod: str, run: RunPort) -> None:
        """pod: what errors call it."""
        self._wire = wire
        self._pod = pod
        self._run = run
        self._spdy = spdy.Connection()
        self._sending = asyncio.Lock()
        self._pairs: dict[str, _Pair] = {}
        # By stream; the error stream has a pair, too.
        self._by_stream: dict[int, _Pair] = {}

    async def serve(self) -> None:
        """Until the client leaves. Raises SpdyError, ConnectionError."""
        end: Exception | None = None
        async with asyncio.TaskGroup() as tasks:
            try:
                async for data in self._wire:
                    for event in self._spdy.receive(data):
                        await self._handle(event, tasks)
            except (spdy.SpdyError, ConnectionError) as failure:
                # Not for the group, which would wrap it.
                end = failure
            for pair in self._pairs.values():
                if pair.forwarding is not None:
                    pair.forwarding.cancel()
        if end is not None:
            raise end

    async def _handle(self, event: spdy.Event, tasks: asyncio.TaskGroup) -> None:
        match event:
            case spdy.Opened():
                await self._open(event, tasks)
            case spdy.Data(stream, content, ends):
                pair = self._by_stream.get(stream)
                if pair is None or stream != pair.data:
                    return
                if pair.forwarding is None and pair.feed.is_full:
                    # Nobody takes it, so to wait for room would hold up all others, the other half included.
                    await self._send(spdy.reset(stream, spdy.Reset.FLOW_CONTROL_ERROR))
                    self._drop(pair)
                    return
                if content:
                    await pair.feed.put(content)
                if ends:
                    await pair.feed.put(None)
            case spdy.WasReset(stream):
                pair = self._by_stream.get(stream)
                if pair is not None and pair.forwarding is not None:
                    pair.forwarding.cancel()
                elif pair is not None:
                    self._drop(pair)
            case spdy.Ping(number) if event.is_of_client:
                await self._send(spdy.ping(number))

    async def _open(self, event: spdy.Opened, tasks: asyncio.TaskGroup) -> None:
        stream, headers = event.stream, event.headers
        kind, request_id = headers.get("streamtype", ""), headers.get("requestid", "")
        port = _port(headers.get("port", ""))
        pair = self._pairs.get(request_id) or _Pair(request_id, port)
        taken = {"data": pair.data, "error": pair.error}.get(kind, stream)
        if port == 0 or port != pair.port or taken or not request_id or len(self._by_stream) >= STREAMS:
            await self._send(spdy.reset(stream, spdy.Reset.REFUSED_STREAM))
            return
        if kind == "data":
            pair.data = stream
        else:
            pair.error = stream
        self._pairs[request_id] = pair
        self._by_stream[stream] = pair
        await self._send(self._spdy.reply(stream))
        if pair.data and pair.error:
            pair.forwarding = tasks.create_task(self._forward(pair), name=f"forward-{port}")

    async def _forward(self, pair: _Pair) -> None:
        """One connection, from both streams' being there to the end of both."""
        try:
            try:
                async with aclosing(self._run(pair.port, aiter(pair.feed))) as answers:  # type: ignore[type-var]
                    async for content in answers:
                        for begin in range(0, len(content), PIECE_BYTES):
                            await self._send(spdy.data(pair.data, content[begin : begin + PIECE_BYTES]))
            except ApiError as refusal:
                message = f"error forwarding port {pair.port} to pod {self._pod}: {refusal.message}"
                await self._send(spdy.data(pair.error, message.encode()))
            await self._send(spdy.data(pair.error, b"", ends=True))
            await self._send(spdy.data(pair.data, b"", ends=True))
        except ConnectionError:
            LOG.debug("portforward.client_gone", pod=self._pod)
        except Exception:
            LOG.exception("portforward.failed", pod=self._pod, port=pair.port)
            await self._send(spdy.reset(pair.data, spdy.Reset.INTERNAL_ERROR))
        finally:
            self._drop(pair)

    def _drop(self, pair: _Pair) -> None:
        self._pairs.pop(pair.request_id, None)
        for stream in (pair.data, pair.error):
            self._by_stream.pop(stream, None)
        pair.feed.close()

    async def _send(self, frame: bytes) -> None:
        # Headers are compressed in the order of their making, so that frames have to leave in it, too.
        async with self._sending:
            await self._wire.send(frame)


def _port(text: str) -> int:
    """A port number; 0 for what is none."""
    return int(text) if text.isascii() and text.isdecimal() and 0 < int(text) < 65536 else 0


async def serve_tunnel(request: web.BaseRequest, pod: str, run: RunPort) -> web.StreamResponse:
    """Forward whatever ports the client asks for, until it leaves."""
    socket = await opened(request, (PROTOCOL,))
    code = NORMAL
    try:
        await Tunnel(WebSocketWire(socket), pod, run).serve()
    except ConnectionError:
        LOG.debug("portforward.client_gone", pod=pod)
    except spdy.SpdyError as failure:
        LOG.info("portforward.protocol_error", pod=pod, error=str(failure))
        code = FAILED
    await socket.close(code=code)
    return socket
