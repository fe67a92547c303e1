"""Port-forward, in kubectl's tunnel and in the older form."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from navarch.services.client.streams import spdy
from navarch.services.client.streams.tunnel import PROTOCOL

KUBECTL = Path(sys.executable).with_name("kubectl")
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_two_ports_in_the_older_form(lab: Any) -> None:
    url = lab.url("pods/web/portforward?ports=80&ports=8443")
    async with lab.session.ws_connect(url, protocols=["v4.channel.k8s.io"]) as socket:
        begins = [(await socket.receive()).data for _ in range(4)]
        assert sorted(begins) == [b"\0\x50\0", b"\1\x50\0", b"\2\xfb\x20", b"\3\xfb\x20"]
        await socket.send_bytes(b"\0eighty")
        assert (await socket.receive()).data == b"\0eighty"
        await socket.send_bytes(b"\2tls")
        assert (await socket.receive()).data == b"\2tls"


@pytest.mark.parametrize("query", ["", "?ports=0", "?ports=x", "?ports=80,", "?ports=65536"])
async def test_ports_that_are_none(lab: Any, query: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await lab.session.ws_connect(lab.url(f"pods/web/portforward{query}"), protocols=["v4.channel.k8s.io"])
    assert refused.value.status == 400


class Tunnel:
    """A client of kubectl's tunnel."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.spdy = spdy.Connection()
        self.events: list[spdy.Event] = []

    async def open(self, stream: int, kind: str, port: int = 80, request: str = "0") -> None:
        headers = {"streamType": kind, "port": str(port), "requestID": request}
        await self.socket.send_bytes(self.spdy.open(stream, headers))

    async def next(self) -> spdy.Event:
        while not self.events:
            message = await self.socket.receive()
            assert message.type is aiohttp.WSMsgType.BINARY, message
            self.events += self.spdy.receive(message.data)
        return self.events.pop(0)


@asynccontextmanager
async def tunnel_to(lab: Any, pod: str = "web") -> AsyncIterator[Tunnel]:
    async with lab.session.ws_connect(lab.url(f"pods/{pod}/portforward"), protocols=[PROTOCOL]) as socket:
        yield Tunnel(socket)


async def test_the_tunnel(lab: Any) -> None:
    async with tunnel_to(lab) as tunnel:
        await tunnel.open(1, "error")
        assert await tunnel.next() == spdy.Headers(1, {})
        await tunnel.open(3, "data")
        assert await tunnel.next() == spdy.Headers(3, {})
        await tunnel.socket.send_bytes(spdy.ping(1))
        assert await tunnel.next() == spdy.Ping(1)
        # A frame may come in pieces.
        frame = spdy.data(3, b"hello")
        await tunnel.socket.send_bytes(frame[:5])
        await tunnel.socket.send_bytes(frame[5:])
        assert await tunnel.next() == spdy.Data(3, b"hello")
        # The same request again, a port that is none, a kind that is none: each refused by itself.
        for stream, kind, port, request in ((5, "data", 80, "0"), (7, "data", 0, "1"), (9, "other", 80, "1")):
            await tunnel.open(stream, kind, port, request)
            assert await tunnel.next() == spdy.WasReset(stream, spdy.Reset.REFUSED_STREAM)
        await tunnel.open(11, "data", 81, "2")
        assert await tunnel.next() == spdy.Headers(11, {})
        await tunnel.open(13, "error", 81, "2")
        assert await tunnel.next() == spdy.Headers(13, {})
        await tunnel.socket.send_bytes(spdy.data(11, b"other"))
        assert await tunnel.next() == spdy.Data(11, b"other")


async def test_half_a_connection_holds_nobody_up(lab: Any) -> None:
    async with tunnel_to(lab) as tunnel:
        await tunnel.open(1, "data")
        assert await tunnel.next() == spdy.Headers(1, {})
        for _ in range(64):
            await tunnel.socket.send_bytes(spdy.data(1, b"more than there is room for"))
        assert await tunnel.next() == spdy.WasReset(1, spdy.Reset.FLOW_CONTROL_ERROR)
        # Its request can be made again, and one whose half the client has given up, too.
        await tunnel.open(3, "data")
        assert await tunnel.next() == spdy.Headers(3, {})
        await tunnel.socket.send_bytes(spdy.reset(3, spdy.Reset.CANCEL))
        for stream, kind in ((5, "error"), (7, "data")):
            await tunnel.open(stream, kind)
            assert await tunnel.next() == spdy.Headers(stream, {})
        await tunnel.socket.send_bytes(spdy.data(7, b"hello"))
        assert await tunnel.next() == spdy.Data(7, b"hello")


async def test_what_is_no_spdy_ends_the_tunnel(lab: Any) -> None:
    async with tunnel_to(lab) as tunnel:
        await tunnel.socket.send_bytes(b"\x80\x02\x00\x01\x00\x00\x00\x00")
        message = await tunnel.socket.receive()
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        assert tunnel.socket.close_code == 1011


async def test_kubectl(lab: Any) -> None:
    process = await asyncio.create_subprocess_exec(
        str(KUBECTL),
        f"--kubeconfig={lab.kubeconfig}",
        "port-forward",
        "--address=127.0.0.1",
        "pod/web",
        ":80",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            line = (await process.stdout.readline()).decode()
        port = int(line.split("127.0.0.1:")[1].split()[0])
        await asyncio.gather(*(echo(port, bytes([number]) * 300_000) for number in range(5)))
    finally:
        process.terminate()
        await process.wait()


async def echo(port: int, data: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    async with asyncio.timeout(60):
        assert await reader.readexactly(len(data)) == data
    writer.close()
    await writer.wait_closed()
