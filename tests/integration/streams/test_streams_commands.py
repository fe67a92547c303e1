"""exec and attach, at the REST door."""

import asyncio
import base64
import json
from typing import Any

import aiohttp
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

BINARY = ("v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io")
TEXT = ("v4.base64.channel.k8s.io", "base64.channel.k8s.io")
SPDY = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}
EXEC = "pods/web/exec?stdout=1&stderr=1"


async def channels_of(socket: aiohttp.ClientWebSocketResponse) -> dict[int, bytes]:
    """What came on each channel until the end."""
    found: dict[int, bytes] = {}
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            channel, data = int(message.data[0]), base64.b64decode(message.data[1:])
        else:
            channel, data = message.data[0], message.data[1:]
        found[channel] = found.get(channel, b"") + data
    return found


@pytest.mark.parametrize("protocol", [*BINARY, *TEXT, ""])
async def test_a_command_in_each_protocol(lab: Any, protocol: str) -> None:
    protocols = [protocol] if protocol else []
    async with lab.session.ws_connect(lab.url(f"{EXEC}&command=echo&command=hi"), protocols=protocols) as socket:
        assert (socket.protocol or "") == protocol
        found = await channels_of(socket)
        assert socket.close_code == 1000
    assert found[1] == b"echo hi\n"
    if protocol.startswith("v"):
        assert json.loads(found[3]) == {"metadata": {}, "status": "Success"}
    else:
        assert 3 not in found


@pytest.mark.parametrize("protocol", BINARY)
async def test_exit_codes(lab: Any, protocol: str) -> None:
    url = lab.url(f"{EXEC}&command=sh&command=-c&command=exit%207")
    async with lab.session.ws_connect(url, protocols=[protocol]) as socket:
        found = await channels_of(socket)
    if protocol == "channel.k8s.io":
        assert found[3] == b"command terminated with non-zero exit code: command terminated with exit code 7"
        return
    status = json.loads(found[3])
    assert (status["status"], status["reason"]) == ("Failure", "NonZeroExitCode")
    assert status["details"] == {"causes": [{"reason": "ExitCode", "message": "7"}]}


async def test_input_and_its_end(lab: Any) -> None:
    url = lab.url(f"{EXEC}&stdin=1&command=cat")
    async with lab.session.ws_connect(url, protocols=["v5.channel.k8s.io"]) as socket:
        sent = [bytes([piece % 256]) * 50_000 for piece in range(100)]
        # Nobody reads meanwhile: what is under way has a bound, and nothing is lost.
        writing = asyncio.ensure_future(write_all(socket, sent))
        found = await channels_of(socket)
        await writing
    assert found[1] == b"cat\n" + b"".join(sent)
    assert json.loads(found[3])["status"] == "Success"


async def write_all(socket: aiohttp.ClientWebSocketResponse, pieces: list[bytes]) -> None:
    for piece in pieces:
        await socket.send_bytes(b"\0" + piece)
    # Sizes and channels that are none change nothing.
    await socket.send_bytes(b'\4{"Width": 80, "Height": 24}')
    await socket.send_bytes(b"\4junk")
    await socket.send_bytes(b"\x09whatever")
    await socket.send_bytes(b"\xff\x00")


async def test_a_message_that_is_none_ends_the_stream(lab: Any) -> None:
    url = lab.url(f"{EXEC}&stdin=1&command=cat")
    async with lab.session.ws_connect(url, protocols=["v4.channel.k8s.io"]) as socket:
        await socket.send_bytes(b"")
        await channels_of(socket)
        assert socket.close_code == 1003


@pytest.mark.parametrize(
    ("path", "headers", "refusal"),
    [
        ("pods/web/exec?stdout=1&command=ls", {}, (400, "BadRequest", "Upgrade request required")),
        ("pods/web/exec?stdout=1&command=ls", SPDY, (400, "BadRequest", "over WebSocket, not over SPDY")),
        ("pods/web/exec?command=ls", {}, (400, "BadRequest", "you must specify at least 1 of stdin, stdout, stderr")),
        ("pods/web/exec?stdout=1", {}, (400, "BadRequest", 'query parameter "command" is required')),
        ("pods/web/exec?stdout=x&command=ls", {}, (400, "BadRequest", "stdout")),
        (
            "pods/web/exec?stdout=1&command=ls&container=no",
            {},
            (400, "BadRequest", "container no is not valid for pod web"),
        ),
        (
            "pods/two/exec?stdout=1&command=ls",
            {},
            (400, "BadRequest", "a container name must be specified for pod two, choose one of: [a b]"),
        ),
        ("pods/none/exec?stdout=1&command=ls", {}, (404, "NotFound", 'pods "none" not found')),
        ("pods/web/attach", {}, (400, "BadRequest", "you must specify at least 1 of stdin, stdout, stderr")),
        ("pods/web/attach?stdout=1", {}, (400, "BadRequest", "Upgrade request required")),
        ("pods/web/portforward", {}, (400, "BadRequest", "Upgrade request required")),
    ],
)  # fmt: skip
async def test_refusals(lab: Any, path: str, headers: dict[str, str], refusal: tuple[int, str, str]) -> None:
    status, reason, message = await lab.refusal(path, **headers)
    assert (status, reason) == refusal[:2]
    assert refusal[2] in message


async def test_unknown_protocols_are_refused(lab: Any) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await lab.session.ws_connect(lab.url(f"{EXEC}&command=ls"), protocols=["v9.channel.k8s.io"])
    assert refused.value.status == 400


async def test_attach_echoes_until_the_container_ends(lab: Any) -> None:
    await lab.run("once", containers=[{"name": "main", "image": "app:1", "stdin": True, "stdinOnce": True}])
    url = lab.url("pods/once/attach?stdin=1&stdout=1")
    async with lab.session.ws_connect(url, protocols=["v5.channel.k8s.io"]) as socket:
        await socket.send_bytes(b"\0hello")
        await socket.send_bytes(b"\xff\x00")
        found = await channels_of(socket)
    assert found[1] == b"hello"
    assert json.loads(found[3])["status"] == "Success"


async def test_kubectl(lab: Any) -> None:
    assert await lab.kubectl("exec", "web", "--", "echo", "hi") == (0, b"echo hi\n", b"")
    code, _, err = await lab.kubectl("exec", "web", "--", "sh", "-c", "exit 5")
    assert (code, err) == (5, b"command terminated with exit code 5\n")
    big = bytes(range(256)) * 4096
    assert await lab.kubectl("exec", "-i", "web", "--", "cat", stdin=big) == (0, b"cat\n" + big, b"")
    code, _, err = await lab.kubectl("exec", "web", "-c", "none", "--", "ls")
    assert code == 1
    assert b"container" in err


async def test_a_client_that_leaves_leaves_nothing(lab: Any) -> None:
    async def talk() -> None:
        url = lab.url(f"{EXEC}&stdin=1&command=cat")
        async with lab.session.ws_connect(url, protocols=["v5.channel.k8s.io"]) as socket:
            await socket.send_bytes(b"\0hello")
            while (await socket.receive()).data[1:] != b"hello":
                pass

    await talk()
    before = len(asyncio.all_tasks())
    await asyncio.gather(*(talk() for _ in range(10)))
    async with asyncio.timeout(60):
        while len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.01)
