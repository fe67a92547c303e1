"""Processes, terminals and ports of Pods through the kubelet, over whatever the runtime has for them."""

import asyncio
import json
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import grpc
import pytest

from navarch.protos.navarch import node_pb2
from navarch.services.base.tls_context import client_context
from navarch.testing.kubelet_lab import Lab
from navarch.testing.spdy_client import spdy_client

SERVER = "nc -ll -p 8080 -e cat"


async def exec_in(lab: Lab, pod: str, *requests: node_pb2.ExecRequest, **start: object) -> tuple[bytes, bytes, int]:
    """What a command says and how it ends. requests: what is sent after the start."""
    first = node_pb2.ExecStart(namespace=lab.namespace, pod=pod, **start)  # type: ignore[arg-type]

    async def sent() -> AsyncIterator[node_pb2.ExecRequest]:
        yield node_pb2.ExecRequest(start=first)
        for request in requests:
            yield request
        # A terminal hangs up with its last input.
        await asyncio.Event().wait()

    out, err, code = b"", b"", -1
    async with lab.kubelet() as stub:
        async for answer in stub.Exec(sent(), timeout=30):
            out, err = out + answer.stdout, err + answer.stderr
            if answer.HasField("exit_code"):
                code = answer.exit_code
    return out, err, code


async def test_exec_attach_and_port_forward(lab: Lab) -> None:
    await lab.create(
        "served",
        containers=[
            {"name": "main", "command": ["sh", "-c", f"{SERVER} & cat"], "stdin": True},
        ],
    )
    await lab.running("served")
    said = await exec_in(lab, "served", command=["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert said == (b"out\n", b"err\n", 3)

    big = b"x" * 100_000
    inputs = (node_pb2.ExecRequest(stdin=big), node_pb2.ExecRequest(close_stdin=True))
    assert await exec_in(lab, "served", *inputs, command=["wc", "-c"], stdin=True) == (b"100000\n", b"", 0)

    size = node_pb2.ExecRequest(resize=node_pb2.TerminalSize(width=77, height=33))
    line = node_pb2.ExecRequest(stdin=b"sleep 0.2; stty size; exit\n")
    out, _, code = await exec_in(lab, "served", size, line, command=["sh"], stdin=True, tty=True)
    assert b"33 77" in out
    assert code == 0

    with pytest.raises(grpc.aio.AioRpcError, match="nosuch"):
        await exec_in(lab, "served", command=["nosuch"])

    async def attached() -> AsyncIterator[node_pb2.AttachRequest]:
        yield node_pb2.AttachRequest(start=node_pb2.AttachStart(namespace=lab.namespace, pod="served", stdin=True))
        yield node_pb2.AttachRequest(stdin=b"hello\n")
        await asyncio.Event().wait()

    async with lab.kubelet() as stub:
        call = stub.Attach(attached(), timeout=30)
        async for answer in call:
            if answer.stdout == b"hello\n":
                break
        else:
            pytest.fail("nothing was said")
        call.cancel()

    async def forwarded(port: int) -> AsyncIterator[node_pb2.PortForwardRequest]:
        start = node_pb2.PortForwardStart(namespace=lab.namespace, pod="served", port=port)
        yield node_pb2.PortForwardRequest(start=start)
        yield node_pb2.PortForwardRequest(data=b"ping")
        await asyncio.Event().wait()

    async with lab.kubelet() as stub:
        passed = stub.PortForward(forwarded(8080), timeout=30)
        assert (await passed.read()).data == b"ping"
        passed.cancel()
        refused = stub.PortForward(forwarded(8081), timeout=30)
        with pytest.raises(grpc.aio.AioRpcError, match="refused|111"):
            await refused.read()


async def test_a_genuine_api_server_streams_over_spdy(lab: Lab) -> None:
    await lab.create("spoken", containers=[{"name": "main", "command": ["sh", "-c", f"{SERVER} & cat"], "stdin": True}])
    await lab.running("spoken")
    root = f"https://{await lab.kubelet_address()}"
    context = client_context(lab.credentials("kube-apiserver", "system:masters"))
    path = f"{lab.namespace}/spoken"

    command = urlencode([("command", word) for word in ("sh", "-c", "cat; echo err >&2; exit 3")])
    url = f"{root}/exec/{path}/main?{command}&input=1&output=1&error=1"
    async with spdy_client(url, ["v4.channel.k8s.io"], context) as client:
        streams = await client.streams("error", "stdin", "stdout", "stderr")
        await client.send(streams["stdin"], b"x" * 100_000, ends=True)
        assert await client.all(streams["stdout"]) == b"x" * 100_000
        assert await client.all(streams["stderr"]) == b"err\n"
        status = json.loads(await client.all(streams["error"]))
        assert (status["reason"], status["details"]["causes"][0]["message"]) == ("NonZeroExitCode", "3")

    async with spdy_client(f"{root}/attach/{path}/main?input=1&output=1", ["v4.channel.k8s.io"], context) as client:
        streams = await client.streams("error", "stdin", "stdout")
        await client.send(streams["stdin"], b"hello\n")
        assert b"hello\n" in await client.until(streams["stdout"], b"hello\n")

    async def echoes() -> bool:
        async with spdy_client(f"{root}/portForward/{path}", ["portforward.k8s.io"], context) as client:
            headers = {"port": "8080", "requestID": "0"}
            error = await client.open({**headers, "streamType": "error"})
            data = await client.open({**headers, "streamType": "data"})
            await client.send(data, b"ping")
            waits = [asyncio.ensure_future(client.until(data, b"ping")), asyncio.ensure_future(client.all(error))]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
            # That the container runs does not say that its server listens.
            return bytes(client.received[data]) == b"ping"

    await lab.eventually(echoes, "the port answers")
