"""Exec, attach and port-forward over WebSocket."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import orjson
import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.services.client.streams import channels, spdy, tunnel

from .conftest import Peer

V5, V4, V1 = "v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"
V4_TEXT, V1_TEXT = "v4.base64.channel.k8s.io", "base64.channel.k8s.io"
ECHO = ["nc", "-ll", "-p", "8080", "-e", "cat"]


async def exec_url(cri: Peer, container: str, *command: str, **streams: bool) -> str:
    request = criv1.ExecRequest(container_id=container, cmd=command, **(streams or {"stdout": True, "stderr": True}))
    return (await cri.runtime.Exec(request)).url


@asynccontextmanager
async def websocket(url: str, protocol: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with aiohttp.ClientSession() as session, session.ws_connect(url, protocols=[protocol]) as socket:
        assert socket.protocol == protocol
        yield socket


async def everything(socket: aiohttp.ClientWebSocketResponse, protocol: str) -> dict[int, bytes]:
    """What comes on each channel until the end."""
    found: dict[int, bytes] = {}
    async with asyncio.timeout(60):
        async for message in socket:
            channel, data = channels.COMMANDS[protocol].decode(message.data)
            found[channel] = found.get(channel, b"") + data
    return found


@pytest.mark.parametrize("protocol", [V4, V4_TEXT, V1, V1_TEXT])
async def test_output_and_exit_code(cri: Peer, protocol: str) -> None:
    container = await cri.container(await cri.sandbox())
    url = await exec_url(cri, container, "sh", "-c", "echo out; echo err >&2; exit 7")
    async with websocket(url, protocol) as socket:
        found = await everything(socket, protocol)
    assert found[channels.STDOUT] == b"out\n"
    assert found[channels.STDERR] == b"err\n"
    if protocol in (V4, V4_TEXT):
        assert orjson.loads(found[channels.ERROR])["details"] == {"causes": [{"reason": "ExitCode", "message": "7"}]}
    else:
        assert b"exit" in found[channels.ERROR]


@pytest.mark.parametrize("protocol", [V4, V4_TEXT])
async def test_input(cri: Peer, protocol: str) -> None:
    container = await cri.container(await cri.sandbox())
    url = await exec_url(cri, container, "head", "-n", "2", stdin=True, stdout=True)
    coding = channels.COMMANDS[protocol]
    async with websocket(url, protocol) as socket:
        for line in (b"one\n", b"two\n"):
            message = coding.encode(channels.STDIN, line)
            await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))
        found = await everything(socket, protocol)
    assert found[channels.STDOUT] == b"one\ntwo\n"


async def test_the_end_of_input_alone(cri: Peer) -> None:
    """The newest protocol, which this containerd has not."""
    container = await cri.container(await cri.sandbox())
    url = await exec_url(cri, container, "cat", stdin=True, stdout=True)
    async with aiohttp.ClientSession() as session:
        if cri.where(shim=False, plugin=True, because="containerd 1.6 is older than v5.channel.k8s.io"):
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await session.ws_connect(url, protocols=[V5])
            return
        async with session.ws_connect(url, protocols=[V5]) as socket:
            await socket.send_bytes(b"\0hello")
            await socket.send_bytes(channels.V5.close(channels.STDIN))
            found = await everything(socket, V5)
    assert found[channels.STDOUT] == b"hello"
    assert orjson.loads(found[channels.ERROR])["status"] == "Success"


async def test_attach(cri: Peer) -> None:
    config = cri.container_config("sh", "-c", "while read line; do echo got $line; done")
    config.stdin = True
    container = await cri.container(await cri.sandbox(), config)
    request = criv1.AttachRequest(container_id=container, stdin=True, stdout=True)
    async with websocket((await cri.runtime.Attach(request)).url, V4) as socket:
        await socket.send_bytes(b"\0one\n")
        received = b""
        while b"got one\n" not in received:
            channel, data = channels.V4.decode((await socket.receive(timeout=20)).data)
            received += data if channel == channels.STDOUT else b""
    assert await cri.state(container) == "RUNNING"


async def serving(cri: Peer) -> str:
    """A sandbox in which something listens."""
    sandbox = await cri.sandbox(host_network=False)
    container = await cri.container(sandbox, cri.container_config(*ECHO))
    while "8080" not in await cri.shell(container, "netstat -ltn"):
        pass
    return sandbox


async def test_ports_by_channel(cri: Peer) -> None:
    request = criv1.PortForwardRequest(pod_sandbox_id=await serving(cri), port=[8080])
    async with websocket((await cri.runtime.PortForward(request)).url, V4) as socket:
        number = (8080).to_bytes(2, "little")
        assert [(await socket.receive(timeout=20)).data for _ in range(2)] == [b"\0" + number, b"\1" + number]
        await socket.send_bytes(b"\0hello")
        assert (await socket.receive(timeout=20)).data == b"\0hello"


async def test_ports_by_channel_as_text(cri: Peer) -> None:
    request = criv1.PortForwardRequest(pod_sandbox_id=await serving(cri), port=[8080])
    async with websocket((await cri.runtime.PortForward(request)).url, V4_TEXT) as socket:
        for _ in range(2):
            await socket.receive(timeout=20)
        await socket.send_str("0" + base64.b64encode(b"hello").decode())
        assert (await socket.receive(timeout=20)).data == "0" + base64.b64encode(b"hello").decode()


async def test_ports_by_tunnel(cri: Peer) -> None:
    """As kubectl forwards ports since 1.31; containerd 1.6 is older."""
    request = criv1.PortForwardRequest(pod_sandbox_id=await serving(cri))
    url = (await cri.runtime.PortForward(request)).url
    async with aiohttp.ClientSession() as session:
        if cri.where(shim=False, plugin=True, because="containerd 1.6 knows no tunnel"):
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await session.ws_connect(url, protocols=[tunnel.PROTOCOL])
            return
        async with session.ws_connect(url, protocols=[tunnel.PROTOCOL]) as socket:
            client = spdy.Connection()
            for stream, kind in ((1, "error"), (3, "data")):
                headers = {"streamType": kind, "port": "8080", "requestID": "0"}
                await socket.send_bytes(client.open(stream, headers))
                await socket.receive(timeout=20)
            await socket.send_bytes(spdy.data(3, b"hello"))
            assert list(client.receive((await socket.receive(timeout=20)).data)) == [spdy.Data(3, b"hello")]


async def test_no_upgrade_at_all(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    async with aiohttp.ClientSession() as session:
        async with session.get(await exec_url(cri, container, "true")) as response:
            assert response.status == 400
        async with session.get((await exec_url(cri, container, "true")) + "x") as response:
            assert response.status in cri.where(shim=(400,), plugin=(404,), because="the shim looks at the form first")


async def test_no_protocol_in_common(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(await exec_url(cri, container, "true"), protocols=["v9.channel.k8s.io"])
    assert refused.value.status == 403


async def test_much_output(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    url = await exec_url(cri, container, "sh", "-c", "yes 0123456789abcde | head -c 10485760", stdout=True)
    async with websocket(url, V4) as socket:
        found = await everything(socket, V4)
    assert found[channels.STDOUT] == b"0123456789abcde\n" * 655360


async def test_what_is_no_message_ends_its_stream_only(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    url = await exec_url(cri, container, "cat", stdin=True, stdout=True)
    async with websocket(url, V4_TEXT) as socket:
        await socket.send_str("0 is no base64")
        if cri.where(shim=True, plugin=False, because="it drops the message and goes on waiting"):
            await everything(socket, V4_TEXT)
    async with websocket(await exec_url(cri, container, "echo", "well", stdout=True), V4) as socket:
        assert (await everything(socket, V4))[channels.STDOUT] == b"well\n"
