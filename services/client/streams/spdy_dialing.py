"""The calling end over SPDY/3.1: commands and ports at the URL that a container runtime gives out for them.

Unlike WebSocket's v4 channels, which are all that older runtimes know beside it, SPDY ends streams one by one: a
process can be told that its input is over.
"""

import asyncio
import itertools
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from navarch.protos.navarch import node_pb2
from navarch.services.api.errors import InternalError, ServiceUnavailable
from navarch.services.client.streams import outcomes, spdy, spdy_commands, tunnel
from navarch.services.client.streams.serving import Wanted
from navarch.services.client.streams.wires import SocketWire

DIAL_S = 30.0
# What a client sends before the server has answered the upgrade.
HEAD = "POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
PIECE_BYTES = 32 << 10
ERROR, STDIN, STDOUT, STDERR, RESIZE = "error", "stdin", "stdout", "stderr", "resize"


class _Streams:
    """The streams of one upgraded connection. They are opened by us, and known by a name."""

    def __init__(self, wire: SocketWire) -> None:
        self._wire = wire
        self._spdy = spdy.Connection()
        self._numbers = itertools.count(1, 2)
        self._sending = asyncio.Lock()
        self._by_name: dict[str, int] = {}
        self._names: dict[int, str] = {}

    async def open(self, name: str, **headers: str) -> None:
        """Open a stream."""
        stream = self._by_name[name] = next(self._numbers)
        self._names[stream] = name
        await self._send(self._spdy.open(stream, {"streamType": name, **headers}))

    async def write(self, name: str, content: bytes) -> None:
        """Send bytes on a stream."""
        for begin in range(0, len(content), PIECE_BYTES):
            await self._send(spdy.data(self._by_name[name], content[begin : begin + PIECE_BYTES]))

    async def end(self, name: str) -> None:
        """Send nothing more on a stream."""
        await self._send(spdy.data(self._by_name[name], b"", ends=True))

    async def __aiter__(self) -> AsyncIterator[tuple[str, bytes, bool]]:
        """Name, bytes, and whether they are the last: what comes, until the peer leaves. Raises InternalError."""
        try:
            async for piece in self._wire:
                for event in self._spdy.receive(piece):
                    match event:
                        case spdy.Data(stream, content, ends) if stream in self._names:
                            yield self._names[stream], content, ends
                        case spdy.WasReset(stream) if stream in self._names:
                            # So ends what Go's server closes.
                            yield self._names[stream], b"", True
                        case spdy.Ping(number) if not event.is_of_client:
                            await self._send(spdy.ping(number))
        except spdy.SpdyError as failure:
            raise InternalError(f"the runtime breaks the protocol of streams: {failure}") from failure

    async def _send(self, frame: bytes) -> None:
        # Headers are compressed in the order of their making, so that frames have to leave in it, too.
        async with self._sending:
            await self._wire.send(frame)


@asynccontextmanager
async def _dialed(url: str, protocol: str) -> AsyncIterator[_Streams]:
    """An upgraded connection. Raises ServiceUnavailable where nobody is there, InternalError for a refusal."""
    parts = urlsplit(url)
    context = ssl.create_default_context() if parts.scheme == "https" else None
    try:
        async with asyncio.timeout(DIAL_S):
            port = parts.port or (443 if context else 80)
            reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
    except (OSError, TimeoutError) as failure:
        raise ServiceUnavailable(f"error dialing the runtime's streams: {failure}") from failure
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        head = HEAD.format(target=target, host=parts.netloc) + f"X-Stream-Protocol-Version: {protocol}\r\n\r\n"
        writer.write(head.encode())
        try:
            async with asyncio.timeout(DIAL_S):
                answer = (await reader.readuntil(b"\r\n\r\n")).decode(errors="replace")
        except (OSError, EOFError, asyncio.LimitOverrunError, TimeoutError) as failure:
            raise ServiceUnavailable(f"the runtime does not answer for a stream: {failure}") from failure
        if answer.split(" ", 2)[1:2] != ["101"]:
            raise InternalError(f"the runtime refused to open a stream: {answer.splitlines()[0]}")
        yield _Streams(SocketWire(reader, writer))
    finally:
        writer.close()


async def run_command(
    url: str, wanted: Wanted, inputs: AsyncIterator[node_pb2.ExecRequest]
) -> AsyncIterator[node_pb2.ExecResponse]:
    """Exec or attach. The last answer is the exit code. Raises ApiError."""
    async with _dialed(url, spdy_commands.PROTOCOLS[0]) as streams:
        chosen = {STDIN: wanted.stdin, STDOUT: wanted.stdout, STDERR: wanted.stderr, RESIZE: wanted.tty}
        names = [ERROR, *(name for name, is_wanted in chosen.items() if is_wanted)]
        for name in names:
            await streams.open(name)
        # What the process says has to be told before how it ended, whichever of them comes first.
        open_, verdict = {ERROR, STDOUT, STDERR} & set(names), b""
        sending = asyncio.ensure_future(_send_inputs(streams, wanted, inputs))
        try:
            async for name, content, ends in streams:
                if name == ERROR:
                    verdict += content
                elif content:
                    yield (
                        node_pb2.ExecResponse(stdout=content)
                        if name == STDOUT
                        else node_pb2.ExecResponse(stderr=content)
                    )
                open_ -= {name} if ends else set()
                if not open_:
                    break
        finally:
            await _ended(sending)
    if not verdict:
        raise ServiceUnavailable("the runtime ended the stream before the command ended")
    yield node_pb2.ExecResponse(exit_code=outcomes.exit_code_of(verdict))


async def _send_inputs(streams: _Streams, wanted: Wanted, inputs: AsyncIterator[node_pb2.ExecRequest]) -> None:
    async for request in inputs:
        match request.WhichOneof("request"):
            case "stdin" if wanted.stdin:
                await streams.write(STDIN, request.stdin)
            case "close_stdin" if wanted.stdin:
                await streams.end(STDIN)
            case "resize" if wanted.tty:
                size = {"Width": request.resize.width, "Height": request.resize.height}
                await streams.write(RESIZE, json.dumps(size).encode() + b"\n")


async def forward(url: str, port: int, inputs: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """One connection to a port of a Pod. Raises ApiError."""

    async def send() -> None:
        async for content in inputs:
            await streams.write("data", content)
        await streams.end("data")

    async with _dialed(url, tunnel.PORT_FORWARD) as streams:
        await streams.open(ERROR, port=str(port), requestID="0")
        await streams.end(ERROR)
        await streams.open("data", port=str(port), requestID="0")
        # What went wrong may be told after the end of the data.
        open_ = {ERROR, "data"}
        sending = asyncio.ensure_future(send())
        try:
            async for name, content, ends in streams:
                if name == ERROR and content:
                    raise InternalError(content.decode(errors="replace"))
                if content:
                    yield content
                open_ -= {name} if ends else set()
                if not open_:
                    return
        finally:
            await _ended(sending)


async def _ended(sending: "asyncio.Future[None]") -> None:
    """End the sending; what stopped it before was told by the receiving end."""
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
