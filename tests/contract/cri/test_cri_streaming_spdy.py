"""Exec, attach and port-forward over SPDY/3.1, as crictl and kubelets speak it."""

import asyncio
import hashlib
import socket
import struct

import orjson
import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.services.client.streams import spdy
from navarch.testing.spdy_client import SpdyClient, SpdyRefused, spdy_client

from .conftest import Peer

V4, V3, V2, V1 = "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"
PORTS = "portforward.k8s.io"
MEGABYTES = 10
ECHO = ["nc", "-ll", "-p", "8080", "-e", "cat"]


async def exec_url(cri: Peer, container: str, *command: str, **streams: bool) -> str:
    request = criv1.ExecRequest(container_id=container, cmd=command, **(streams or {"stdout": True, "stderr": True}))
    return (await cri.runtime.Exec(request)).url


async def attach_url(cri: Peer, container: str, **streams: bool) -> str:
    return (await cri.runtime.Attach(criv1.AttachRequest(container_id=container, **streams))).url


async def forward_url(cri: Peer, sandbox: str) -> str:
    return (await cri.runtime.PortForward(criv1.PortForwardRequest(pod_sandbox_id=sandbox, port=[8080]))).url


async def test_output_and_exit_code(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    url = await exec_url(cri, container, "sh", "-c", "echo out; echo err >&2; exit 7")
    async with spdy_client(url, [V4]) as client:
        assert client.protocol == V4
        streams = await client.streams("error", "stdout", "stderr")
        assert await client.all(streams["stdout"]) == b"out\n"
        assert await client.all(streams["stderr"]) == b"err\n"
        said = orjson.loads(await client.all(streams["error"]))
    assert (said["status"], said["reason"]) == ("Failure", "NonZeroExitCode")
    assert said["details"] == {"causes": [{"reason": "ExitCode", "message": "7"}]}


async def test_success(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    async with spdy_client(await exec_url(cri, container, "true"), [V4]) as client:
        streams = await client.streams("error", "stdout", "stderr")
        assert orjson.loads(await client.all(streams["error"])) == {"metadata": {}, "status": "Success"}


@pytest.mark.parametrize("protocol", [V3, V2, V1])
async def test_older_protocols_have_text_for_errors(cri: Peer, protocol: str) -> None:
    container = await cri.container(await cri.sandbox())
    async with spdy_client(await exec_url(cri, container, "sh", "-c", "echo out; exit 7"), [protocol]) as client:
        assert client.protocol == protocol
        streams = await client.streams("error", "stdout", "stderr")
        assert await client.all(streams["stdout"]) == b"out\n"
        said = await client.all(streams["error"])
    # None: now and then it has a word.
    is_told = cri.where(shim=True, plugin=protocol != V1 or None, because="its oldest protocol has no words for errors")
    assert is_told is None or b"exit" in said


async def test_the_first_protocol_that_both_know(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    async with spdy_client(await exec_url(cri, container, "true"), ["v9.channel.k8s.io", V2, V4]) as client:
        assert client.protocol == V2


async def test_no_protocol_in_common(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    with pytest.raises(SpdyRefused) as refused:
        async with spdy_client(await exec_url(cri, container, "true"), ["v9.channel.k8s.io"]):
            pass
    assert refused.value.code == 403
    assert refused.value.headers["x-accepted-stream-protocol-versions"] == [V4, V3, V2, V1]


async def test_input_to_its_end(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    url = await exec_url(cri, container, "sh", "-c", "cat; echo done", stdin=True, stdout=True)
    async with spdy_client(url, [V4]) as client:
        streams = await client.streams("error", "stdin", "stdout")
        await client.send(streams["stdin"], b"hello\n")
        await client.until(streams["stdout"], b"hello\n")
        await client.send(streams["stdin"], b"more\n", ends=True)
        assert await client.all(streams["stdout"]) == b"hello\nmore\ndone\n"


async def test_much_both_ways(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    url = await exec_url(cri, container, "cat", stdin=True, stdout=True)
    content = bytes(range(256)) * (MEGABYTES << 12)
    async with spdy_client(url, [V4]) as client:
        streams = await client.streams("error", "stdin", "stdout")
        await client.send(streams["stdin"], content, ends=True)
        came = await client.all(streams["stdout"])
    assert hashlib.sha256(came).digest() == hashlib.sha256(content).digest()


async def test_a_terminal_and_its_size(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    url = await exec_url(cri, container, "sh", stdin=True, stdout=True, tty=True)
    async with spdy_client(url, [V4]) as client:
        streams = await client.streams("error", "stdin", "stdout", "resize")
        await client.send(streams["resize"], b'{"Width":123,"Height":45}\n')
        # The size arrives beside the input: asked until it is there.
        await client.send(streams["stdin"], b"until stty size | grep -q '45 123'; do sleep 0.1; done; echo s''ized\n")
        await client.until(streams["stdout"], b"sized")
        await client.send(streams["stdin"], b"exit 3\n")
        said = orjson.loads(await client.all(streams["error"]))
        assert said["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


async def test_attach(cri: Peer) -> None:
    config = cri.container_config("sh", "-c", "while read line; do echo got $line; done; echo end")
    config.stdin = True
    container = await cri.container(await cri.sandbox(), config)
    url = await attach_url(cri, container, stdin=True, stdout=True, stderr=True)
    async with spdy_client(url, [V4]) as client:
        streams = await client.streams("error", "stdin", "stdout", "stderr")
        await client.send(streams["stdin"], b"one\n")
        await client.until(streams["stdout"], b"got one\n")
    # The client has left; the container has not.
    assert await cri.state(container) == "RUNNING"
    async with spdy_client(await attach_url(cri, container, stdin=True, stdout=True), [V4]) as client:
        streams = await client.streams("error", "stdin", "stdout")
        await client.send(streams["stdin"], b"two\n")
        await client.until(streams["stdout"], b"got two\n")


async def test_input_once(cri: Peer) -> None:
    config = cri.container_config("sh", "-c", "cat; echo end")
    config.stdin = config.stdin_once = True
    container = await cri.container(await cri.sandbox(), config)
    async with spdy_client(await attach_url(cri, container, stdin=True, stdout=True), [V4]) as client:
        streams = await client.streams("error", "stdin", "stdout")
        await client.send(streams["stdin"], b"all\n", ends=True)
        assert await client.all(streams["stdout"]) == b"all\nend\n"
    assert (await cri.exited(container)).exit_code == 0


async def test_a_client_that_leaves_ends_its_command(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    url = await exec_url(cri, container, "sh", "-c", "echo begun; exec cat", stdin=True, stdout=True)
    async with spdy_client(url, [V4]) as client:
        streams = await client.streams("error", "stdin", "stdout")
        await client.until(streams["stdout"], b"begun")
    async with asyncio.timeout(20):
        while "cat" in await cri.shell(container, "ps -o args | grep -x cat || true"):
            pass


async def test_a_url_is_good_once(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    url = await exec_url(cri, container, "true")
    async with spdy_client(url, [V4]) as client:
        await client.streams("error", "stdout", "stderr")
    for gone in (url, url[:-4] + "none"):
        with pytest.raises(SpdyRefused) as refused:
            async with spdy_client(gone, [V4]):
                pass
        assert refused.value.code == 404


async def test_a_token_of_one_kind_is_none_of_another(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    url = (await exec_url(cri, container, "true")).replace("/exec/", "/attach/")
    codes = cri.where(shim=(404,), plugin=(404, 500), because="the plugin's handler finds a request of another type")
    with pytest.raises((SpdyRefused, asyncio.IncompleteReadError)) as refused:
        async with spdy_client(url, [V4]):
            pass
    assert not isinstance(refused.value, SpdyRefused) or refused.value.code in codes


async def test_garbage_ends_its_connection_only(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    async with spdy_client(await exec_url(cri, container, "true"), [V4]) as client:
        await client.send_raw(b"\x80\x02\x00\x01\x00\x00\x00\x00" * 4)
        await client.send_raw(b"\xff" * 4096)
        if cri.name == "shim":
            async with asyncio.timeout(20):
                await client.closed.wait()
    async with spdy_client(await exec_url(cri, container, "echo", "well"), [V4]) as client:
        streams = await client.streams("error", "stdout", "stderr")
        assert await client.all(streams["stdout"]) == b"well\n"


async def test_streams_that_are_not_wanted(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    async with spdy_client(await exec_url(cri, container, "cat", stdin=True, stdout=True), [V4]) as client:
        if cri.name == "shim":
            for kind in ("stderr", "nonsense"):
                with pytest.raises(ConnectionResetError):
                    await client.open({"streamType": kind})
        streams = await client.streams("error", "stdin", "stdout")
        await client.send(streams["stdin"], b"x", ends=True)
        assert await client.all(streams["stdout"]) == b"x"


async def test_many_at_once(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())

    async def one(number: int) -> bytes:
        async with spdy_client(await exec_url(cri, container, "echo", str(number)), [V4]) as client:
            streams = await client.streams("error", "stdout", "stderr")
            return await client.all(streams["stdout"])

    assert await asyncio.gather(*map(one, range(10))) == [b"%d\n" % number for number in range(10)]


async def forwarded(client: SpdyClient, request_id: str, port: int = 8080) -> tuple[int, int]:
    headers = {"port": str(port), "requestID": request_id}
    error = await client.open({**headers, "streamType": "error"})
    return error, await client.open({**headers, "streamType": "data"})


async def test_port_forward(cri: Peer) -> None:
    sandbox = await cri.sandbox(host_network=False)
    container = await cri.container(sandbox, cri.container_config(*ECHO))
    async with asyncio.timeout(20):
        while "8080" not in await cri.shell(container, "netstat -ltn"):
            pass
    async with spdy_client(await forward_url(cri, sandbox), [PORTS]) as client:
        assert client.protocol == PORTS
        for number in range(2):
            error, data = await forwarded(client, str(number))
            await client.send(data, b"hello")
            await client.until(data, b"hello")
            await client.send(data, b" again", ends=True)
            assert await client.all(data) == b"hello again"
            assert await client.all(error) == b""


async def test_a_port_where_nobody_listens(cri: Peer) -> None:
    sandbox = await cri.sandbox(host_network=False)
    async with spdy_client(await forward_url(cri, sandbox), [PORTS]) as client:
        error, data = await forwarded(client, "0", 8081)
        await client.send(data, b"x", ends=True)
        assert b"8081" in await client.all(error)


async def test_ping(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    url = await exec_url(cri, container, "cat", stdin=True, stdout=True)
    async with spdy_client(url, [V4]) as client:
        streams = await client.streams("error", "stdin", "stdout")
        await client.send_raw(spdy.ping(1))
        await client.send(streams["stdin"], b"x", ends=True)
        assert await client.all(streams["stdout"]) == b"x"


async def test_a_command_that_is_not_there(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    async with spdy_client(await exec_url(cri, container, "/nosuch"), [V4]) as client:
        streams = await client.streams("error", "stdout", "stderr")
        said = orjson.loads(await client.all(streams["error"]))
    assert said["status"] == "Failure"
    assert "nosuch" in said["message"]
    assert said["reason"] == "InternalError"


async def test_a_client_that_vanishes_amid_output(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    async with spdy_client(await exec_url(cri, container, "yes"), [V4]) as client:
        streams = await client.streams("error", "stdout", "stderr")
        await client.until(streams["stdout"], b"y\n")
    if not cri.where(shim=True, plugin=False, because="it leaves the process waiting for a reader of its output"):
        assert await cri.state(container) == "RUNNING"
        return
    async with asyncio.timeout(20):
        while "yes" in await cri.shell(container, "ps -o args | grep -x yes || true"):
            pass


async def test_more_input_than_is_read(cri: Peer) -> None:
    """What a command says at its end arrives, though what it was sent was not taken."""
    rest = cri.where(shim=4 << 20, plugin=0, because="input that waits may hold up the end there, or have it reset")
    container = await cri.container(await cri.sandbox())
    url = await exec_url(cri, container, "sh", "-c", "read line; echo $line; exit 3", stdin=True, stdout=True)
    async with spdy_client(url, [V4]) as client:
        streams = await client.streams("error", "stdin", "stdout")
        await client.send(streams["stdin"], b"first\n")
        sending = asyncio.ensure_future(client.send(streams["stdin"], b"x" * rest))
        try:
            came, said = [await client.all(streams[kind]) for kind in ("stdout", "error")]
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    assert came == b"first\n"
    assert orjson.loads(said)["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


async def test_a_terminal_of_a_container(cri: Peer) -> None:
    config = cri.container_config("sh")
    config.stdin = config.tty = True
    container = await cri.container(await cri.sandbox(), config)
    url = await attach_url(cri, container, stdin=True, stdout=True, tty=True)
    async with spdy_client(url, [V4]) as client:
        streams = await client.streams("error", "stdin", "stdout", "resize")
        await client.send(streams["resize"], b'{"Width":123,"Height":45}\n')
        await client.send(streams["stdin"], b"until stty size | grep -q '45 123'; do sleep 0.1; done; echo s''ized\n")
        await client.until(streams["stdout"], b"sized")
    assert await cri.state(container) == "RUNNING"


async def test_port_forward_on_the_hosts_network(cri: Peer) -> None:
    """Here the port is one of the host's own."""
    sandbox = await cri.sandbox(host_network=True)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with spdy_client(await forward_url(cri, sandbox), [PORTS]) as client:
            _, data = await forwarded(client, "0", port)
            await client.send(data, b"hello\n")
            assert await client.all(data) == b"hello\n"


async def test_much_through_a_port(cri: Peer) -> None:
    sandbox = await cri.sandbox(host_network=True)
    content = bytes(range(256)) * (MEGABYTES << 12)

    async def give(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(give, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with spdy_client(await forward_url(cri, sandbox), [PORTS]) as client:
            pairs = [await forwarded(client, str(number), port) for number in range(3)]
            for _, data in pairs:
                assert hashlib.sha256(await client.all(data)).digest() == hashlib.sha256(content).digest()


async def test_a_server_that_breaks_off(cri: Peer) -> None:
    """Its connection ends; the client's others, and the client, go on."""
    sandbox = await cri.sandbox(host_network=True)

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.write(await reader.readline())
        await writer.drain()
        writer.transport.abort()

    async with await asyncio.start_server(reset, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with spdy_client(await forward_url(cri, sandbox), [PORTS]) as client:
            for number in range(2):
                _, data = await forwarded(client, str(number), port)
                await client.send(data, b"hello\n")
                assert await client.all(data) in (b"hello\n", b""), "a reset may overtake what was sent before it"
