"""The kubelet's HTTPS endpoints called directly, and kubelets that go away in the middle of a stream."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.tls_context import client_context
from navarch.testing.spdy_client import SpdyRefused, spdy_client


async def kubelet_url(lab: Any, path: str) -> str:
    node = await lab.cluster.client.get(corev1.Node, "node-1")
    return f"https://127.0.0.1:{node.status.daemon_endpoints.kubelet_endpoint.port}/{path}"


def session_of(lab: Any, user: str, *groups: str) -> aiohttp.ClientSession:
    context = client_context(lab.cluster.credentials(user, *groups))
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))


async def token_of(lab: Any, account: str) -> str:
    """A token of a new service account."""
    made = corev1.ServiceAccount()
    made.metadata.name, made.metadata.namespace = account, "default"
    await lab.cluster.client.create(made)
    url = lab.url(f"serviceaccounts/{account}/token")
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    async with lab.session.post(url, json=request) as answer:
        return str((await answer.json())["status"]["token"])


async def test_who_may_call(own_lab: Any) -> None:
    url = await kubelet_url(own_lab, "pods")
    for user, groups, status in (
        ("admin", ("system:masters",), 200),
        ("jane", ("system:authenticated",), 403),
        ("system:node:node-1", ("system:nodes",), 403),
    ):
        async with session_of(own_lab, user, *groups) as session, session.get(url) as answer:
            assert (user, answer.status) == (user, status)
    context = client_context(own_lab.cluster.credentials("x"))
    nameless = type(context)(context.protocol)
    nameless.load_verify_locations(cadata=own_lab.cluster.credentials("x").ca.decode())
    nameless.check_hostname = True
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=nameless)) as session:
        for token, status in (("", 401), ("nonsense", 401), (await token_of(own_lab, "robot"), 403)):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            async with session.get(url, headers=headers) as answer:
                assert answer.status == status
        async with session.get(await kubelet_url(own_lab, "healthz")) as answer:
            assert (answer.status, await answer.text()) == (200, "ok")


async def test_streams_in_kubernetes_own_words(own_lab: Any) -> None:
    await own_lab.run("web", log="one\ntwo")
    async with session_of(own_lab, "admin", "system:masters") as session:
        url = await kubelet_url(own_lab, "exec/default/web/some-uid/main?command=echo&command=hi&output=1&error=1")
        async with session.ws_connect(url, protocols=["v4.channel.k8s.io"]) as socket:
            messages = [message.data async for message in socket]
        assert messages[:2] == [b"\1", b"\1echo hi\n"]
        assert json.loads(messages[2][1:])["status"] == "Success"
        url = await kubelet_url(own_lab, "portForward/default/web?port=80")
        async with session.ws_connect(url, protocols=["v4.channel.k8s.io"]) as socket:
            assert [(await socket.receive()).data for _ in range(2)] == [b"\0\x50\0", b"\1\x50\0"]
            await socket.send_bytes(b"\0hi")
            assert (await socket.receive()).data == b"\0hi"
        async with session.get(await kubelet_url(own_lab, "containerLogs/default/web/main?tailLines=1")) as answer:
            assert await answer.text() == "two\n"


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("exec/default/web/main?output=1&command=ls", 400, "Upgrade request required"),
        ("exec/default/web/main?command=ls", 400, "you must specify at least 1 of stdin, stdout, stderr"),
        ("containerLogs/default/web/none", 404, 'container "none" not found in pod "web"'),
        ("containerLogs/default/none/main", 404, 'pod "none" does not exist'),
        ("containerLogs/default/web/main?tailLines=x", 422, "Unable to decode query."),
        ("containerLogs/default/web/main?limitBytes=-1", 422, "Invalid request."),
        ("containerLogs/default", 404, "404 page not found"),
        ("secrets", 404, "404 page not found"),
    ],
)
async def test_refusals(own_lab: Any, path: str, status: int, text: str) -> None:
    await own_lab.run("web")
    url = await kubelet_url(own_lab, path)
    async with session_of(own_lab, "admin", "system:masters") as session, session.get(url) as answer:
        assert answer.status == status
        assert text in await answer.text()


async def test_streams_over_spdy_as_a_genuine_api_server_has_them(own_lab: Any) -> None:
    await own_lab.run("web")
    context = client_context(own_lab.cluster.credentials("admin", "system:masters"))
    url = await kubelet_url(own_lab, "exec/default/web/main?command=cat&input=1&output=1")
    async with spdy_client(url, ["v4.channel.k8s.io", "v3.channel.k8s.io"], context) as client:
        assert client.protocol == "v4.channel.k8s.io"
        streams = await client.streams("error", "stdin", "stdout")
        await client.send(streams["stdin"], b"hello\n", ends=True)
        assert b"hello\n" in await client.all(streams["stdout"])
        assert json.loads(await client.all(streams["error"]))["status"] == "Success"
    url = await kubelet_url(own_lab, "portForward/default/web")
    async with spdy_client(url, ["portforward.k8s.io"], context) as client:
        headers = {"port": "80", "requestID": "0"}
        await client.open({**headers, "streamType": "error"})
        data = await client.open({**headers, "streamType": "data"})
        await client.send(data, b"ping")
        assert await client.until(data, b"ping") == b"ping"


@pytest.mark.parametrize(
    ("user", "path", "status", "text"),
    [
        ("admin", "exec/default/none/main?output=1&command=ls", 404, 'pods "none" not found'),
        ("admin", "exec/default/web/main?command=ls", 400, "you must specify at least 1 of stdin, stdout, stderr"),
        ("admin", "pods", 404, "404 page not found"),
        ("jane", "exec/default/web/main?output=1&command=ls", 403, "user=jane, verb=create"),
    ],
)
async def test_spdy_is_refused_in_plain_words(own_lab: Any, user: str, path: str, status: int, text: str) -> None:
    await own_lab.run("web")
    groups = ("system:masters",) if user == "admin" else ()
    context = client_context(own_lab.cluster.credentials(user, *groups))
    with pytest.raises(SpdyRefused, match=text) as refused:
        async with spdy_client(await kubelet_url(own_lab, path), ["v4.channel.k8s.io"], context):
            pass
    assert refused.value.code == status


async def test_a_command_that_nobody_talks_to(own_lab: Any) -> None:
    await own_lab.run("web")
    url = await kubelet_url(own_lab, "run/default/web/main?cmd=echo%20hi")
    async with session_of(own_lab, "admin", "system:masters") as session:
        async with session.post(url) as answer:
            assert (answer.status, await answer.text()) == (200, "echo hi\n")
        async with session.get(url) as answer:
            assert answer.status == 405


async def test_a_kubelet_that_goes_away_ends_its_streams(own_lab: Any) -> None:
    await own_lab.run("web")
    url = own_lab.url("pods/web/exec?stdin=1&stdout=1&command=cat")
    async with own_lab.session.ws_connect(url, protocols=["v5.channel.k8s.io"]) as socket:
        assert (await socket.receive()).data == b"\1"
        assert (await socket.receive()).data == b"\1cat\n"
        await own_lab.cluster.stop_node("node-1")
        async with asyncio.timeout(60):
            messages = [message.data async for message in socket]
    status = json.loads(messages[-1][1:])
    assert (messages[-1][0], status["status"]) == (3, "Failure")
    async with asyncio.timeout(60):
        refused, reason, _ = await own_lab.refusal("pods/web/log")
    assert (refused, reason) == (503, "ServiceUnavailable")


async def test_a_stranger_may_not(own_lab: Any) -> None:
    await own_lab.run("web")
    async with session_of(own_lab, "jane") as session:
        for part in ("exec?stdout=1&command=ls", "log", "portforward", "proxy/", "attach?stdout=1"):
            async with session.get(own_lab.url(f"pods/web/{part}")) as answer:
                assert (part, answer.status) == (part, 403)
