"""The port that HTTP and SPDY share, and a command over SPDY, between plain sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web

from navarch.protos.navarch import node_pb2
from navarch.services.client.streams import spdy, spdy_commands
from navarch.services.client.streams.front import HEAD_BYTES, FrontServer, Upgrade
from navarch.services.client.streams.serving import WAITING, Inputs, RunCommand, Wanted
from navarch.services.client.streams.spdy_commands import Form, SpdyCommand
from navarch.testing.spdy_client import SpdyRefused, spdy_client

V4 = "v4.channel.k8s.io"
PIECE = b"x" * (64 << 10)


async def hello(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text=f"{request.path} {len(await request.read())}")


@asynccontextmanager
async def fronted(upgraded: Callable[[Upgrade], Awaitable[None]]) -> AsyncIterator[str]:
    server = FrontServer(hello, upgraded)
    try:
        yield f"http://127.0.0.1:{await server.start('127.0.0.1', 0)}/path"
    finally:
        await server.stop()


@asynccontextmanager
async def commanded(run: RunCommand, wanted: Wanted) -> AsyncIterator[str]:
    async def serve(upgrade: Upgrade) -> None:
        accepted = await upgrade.accept(spdy_commands.PROTOCOLS)
        assert accepted is not None
        await SpdyCommand(accepted[1], Form(accepted[0]), wanted, run).serve()

    async with fronted(serve) as url:
        yield url


async def connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    return await asyncio.open_connection(parts.hostname, parts.port)


async def refuse(upgrade: Upgrade) -> None:
    await upgrade.refuse(404, "nothing here")


async def test_http_goes_on_as_if_nobody_had_looked() -> None:
    async with fronted(refuse) as url, aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.post(url, data=PIECE) as response:
                assert await response.text() == f"/path {len(PIECE)}"
    with pytest.raises(ConnectionRefusedError):
        await connected(url)


@pytest.mark.parametrize("step", [1, 7, 1000])
async def test_a_head_in_pieces(step: int) -> None:
    async with fronted(refuse) as url:
        reader, writer = await connected(url)
        head = b"POST /path HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: spdy/3.1\r\n\r\n"
        for begin in range(0, len(head), step):
            writer.write(head[begin : begin + step])
            await writer.drain()
            await asyncio.sleep(0)
        assert (await reader.readline()) == b"HTTP/1.1 404 Not Found\r\n"
        writer.close()


@pytest.mark.parametrize("head", [b"\0" * (HEAD_BYTES + 1), b"no request at all\r\n\r\n"])
async def test_what_is_no_request(head: bytes) -> None:
    async with fronted(refuse) as url:
        reader, writer = await connected(url)
        writer.write(head)
        assert (await reader.readline()).startswith(b"HTTP/1.0 400 ")
        writer.close()
        with pytest.raises(SpdyRefused, match="404: nothing here"):
            async with spdy_client(url, [V4]):
                pass


class StuckWire:
    """A peer that sends without end, once it has opened its streams, and reads as much as it is let."""

    def __init__(self, *kinds: str) -> None:
        client = spdy.Connection()
        self._openings = [client.open(2 * i + 1, {"streamType": kind}) for i, kind in enumerate(kinds)]
        self._stdin = 2 * kinds.index("stdin") + 1
        self.may_send = len(kinds)
        self.taken = 0

    async def send(self, frame: bytes) -> None:
        if self.may_send == 0:
            await asyncio.get_running_loop().create_future()
        self.may_send -= 1

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for opening in self._openings:
            yield opening
        while True:
            self.taken += 1
            yield spdy.data(self._stdin, PIECE)


async def test_a_slow_end_holds_the_other_up() -> None:
    """Neither is output made that nobody reads, nor input read that nobody takes."""
    made = 0

    async def run(inputs: Inputs) -> AsyncIterator[node_pb2.ExecResponse]:
        nonlocal made
        while True:
            made += 1
            yield node_pb2.ExecResponse(stdout=b"x")

    wire = StuckWire("error", "stdin", "stdout")
    wire.may_send += 3
    serving = asyncio.ensure_future(SpdyCommand(wire, Form(V4), Wanted(stdin=True, stdout=True), run).serve())
    for _ in range(1000):
        await asyncio.sleep(0)
    assert made == 4
    assert wire.taken == WAITING + 1
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_the_end_arrives_though_input_waits() -> None:
    async def run(inputs: Inputs) -> AsyncIterator[node_pb2.ExecResponse]:
        await anext(inputs)
        yield node_pb2.ExecResponse(stdout=PIECE)
        yield node_pb2.ExecResponse(exit_code=3)

    async with commanded(run, Wanted(stdin=True, stdout=True)) as url, spdy_client(url, [V4]) as client:
        streams = await client.streams("error", "stdin", "stdout")
        sending = asyncio.ensure_future(client.send(streams["stdin"], PIECE * 64))
        assert await client.all(streams["stdout"]) == PIECE
        assert b'"message":"3"' in await client.all(streams["error"])
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_a_stop_ends_all_streams() -> None:
    async def run(inputs: Inputs) -> AsyncIterator[node_pb2.ExecResponse]:
        async for _ in inputs:
            yield node_pb2.ExecResponse(stdout=b"x")

    async with AsyncExitStack() as clients:
        async with commanded(run, Wanted(stdin=True, stdout=True)) as url:
            client = await clients.enter_async_context(spdy_client(url, [V4]))
            await client.streams("error", "stdin", "stdout")
        async with asyncio.timeout(60):
            await client.closed.wait()
