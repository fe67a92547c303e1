"""The proxy part of Pods, Services and Nodes."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from navarch.services.api import codec
from navarch.services.apiserver.doors.rest.streams import backends

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def backend_of_tests(request: web.BaseRequest) -> web.StreamResponse:
    """Tells what came; some paths do as they are called."""
    match request.path:
        case "/page":
            return web.Response(text='<a href="/next">x</a>', content_type="text/html")
        case "/away":
            return web.Response(status=302, headers={"Location": "/login?a=b"})
        case "/socket":
            socket = web.WebSocketResponse(protocols=["echo"])
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(f"{socket.ws_protocol}: {message.data}")
            return socket
        case "/broken":
            response = web.StreamResponse(headers={"Content-Length": "100"})
            await response.prepare(request)
            await response.write(b"half")
            assert request.transport is not None
            request.transport.close()
            return response
    seen = {
        "method": request.method,
        "path": request.raw_path,
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "body": (await request.read()).decode(),
    }
    return web.json_response(seen, headers={"Access-Control-Allow-Origin": "*", "X-Own": "1", "Keep-Alive": "9"})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def port(lab: Any) -> AsyncIterator[int]:
    """Of a server on loopback, which stands for what Pod `web` and Service `web` serve."""
    runner = web.ServerRunner(web.Server(backend_of_tests))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port: int = runner.addresses[0][1]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": port}]},
    }
    endpoints = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "web", "namespace": "default"},
        "subsets": [{"addresses": [{"ip": "10.9.8.7"}], "ports": [{"name": "http", "port": port}]}],
    }
    for document in (service, endpoints):
        await lab.cluster.client.create(codec.from_json(document))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends, "joined", lambda host, number: f"127.0.0.1:{port}")
        yield port
    await runner.cleanup()


@pytest.mark.parametrize("what", ["pods/web", "services/web:80", "services/web:http", "services/web"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_requests_go_through(lab: Any, port: int, what: str, method: str) -> None:
    headers = {
        "Authorization": "Bearer secret",
        "X-Mine": "yes",
        "Connection": "X-Hop",
        "X-Hop": "1",
        "TE": "trailers",
    }
    url = lab.url(f"{what}/proxy/a%2Fb//c?q=1&q=%20")
    data = b"body" if method in ("POST", "PUT", "PATCH") else None
    async with lab.session.request(method, url, headers=headers, data=data) as answer:
        assert answer.status == 200
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.headers["X-Own"] == "1"
        seen = json.loads(await answer.text())
    assert seen["method"] == method
    assert seen["path"].startswith("/a%2Fb//c?q=1&q=")
    assert seen["body"] == (data or b"").decode()
    assert seen["headers"]["x-mine"] == "yes"
    assert seen["headers"]["x-forwarded-proto"] == "https"
    assert seen["headers"]["x-forwarded-uri"].startswith("/api/v1/namespaces/default/")
    assert not {"authorization", "te", "x-hop"} & set(seen["headers"])


async def test_without_a_path_there_is_a_slash_to_come(lab: Any, port: int) -> None:
    async with lab.session.get(lab.url("pods/web/proxy?a=b"), allow_redirects=False) as answer:
        assert answer.status == 301
        assert answer.headers["Location"] == "/api/v1/namespaces/default/pods/web/proxy/?a=b"


async def test_links_lead_through_the_proxy(lab: Any, port: int) -> None:
    prefix = "/api/v1/namespaces/default/pods/web/proxy"
    assert await lab.get("pods/web/proxy/page") == (200, f'<a href="{prefix}/next">x</a>')
    async with lab.session.get(lab.url("pods/web/proxy/away"), allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, f"{prefix}/login?a=b")


async def test_websockets_go_through(lab: Any, port: int) -> None:
    async with lab.session.ws_connect(lab.url("services/web:http/proxy/socket"), protocols=["echo"]) as socket:
        await socket.send_str("hi")
        assert (await socket.receive()).data == "echo: hi"


async def test_an_answer_that_breaks_off_does_not_look_whole(lab: Any, port: int) -> None:
    with pytest.raises(aiohttp.ClientError):
        await lab.get("pods/web/proxy/broken")


@pytest.mark.parametrize(
    ("path", "refusal"),
    [
        ("pods/none/proxy/", (404, "NotFound", 'pods "none" not found')),
        ("pods/ftp:web:1/proxy/", (400, "BadRequest", "invalid pod request")),
        ("services/web:81/proxy/", (503, "ServiceUnavailable", 'no service port 81 found for service "web"')),
        ("services/kubernetes:none/proxy/", (503, "ServiceUnavailable", "no endpoints available")),
    ],
)
async def test_refusals(lab: Any, port: int, path: str, refusal: tuple[int, str, str]) -> None:
    status, reason, message = await lab.refusal(path)
    assert (status, reason) == refusal[:2]
    assert refusal[2] in message


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("healthz", "ok"),
        ("pods", '"kind":"PodList"'),
        ("runningpods/", '"name":"web"'),
        ("stats/summary", '"podRef":{"name":"web","namespace":"default"'),
        ("metrics", "grpc_server_started_total"),
        ("metrics/resource", 'container_cpu_usage_seconds_total{container="main",namespace="default",pod="web"}'),
        ("metrics/cadvisor", "machine_memory_bytes"),
        ("configz", '"kubeletconfig":{"kind":"KubeletConfiguration"'),
        ("containerLogs/default/web/main?tailLines=1", "three"),
    ],
)
async def test_the_kubelets_endpoints(lab: Any, path: str, part: str) -> None:
    async with lab.session.get(f"{lab.cluster.rest_url}/api/v1/nodes/node-1/proxy/{path}") as answer:
        assert (answer.status, part in await answer.text()) == (200, True)


@pytest.mark.parametrize(
    ("path", "status"), [("none", 404), ("containerLogs/default/none/main", 404), ("exec/default/web/main", 400)]
)
async def test_what_a_kubelet_refuses(lab: Any, path: str, status: int) -> None:
    async with lab.session.get(f"{lab.cluster.rest_url}/api/v1/nodes/node-1/proxy/{path}") as answer:
        assert answer.status == status
