"""What probes and hooks ask real servers, and what they make of the answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import pytest
from aiohttp import web
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.actions import run_grpc, run_tcp
from navarch.services.kubelet.http_actions import call_http, probe_http

HOST = "127.0.0.1"
PATIENCE_S = 30.0
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def a_server(handler: Handler) -> AsyncIterator[int]:
    """A server of HTTP; its port."""
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def asked(path: str = "/", **headers: str) -> corev1.HTTPGetAction:
    given = [corev1.HTTPHeader(name=name.replace("_", "-"), value=value) for name, value in headers.items()]
    return corev1.HTTPGetAction(path=path, http_headers=given)


@pytest.mark.parametrize(
    ("status", "headers", "failure", "warnings"),
    [
        (200, {}, None, 0),
        (204, {}, None, 0),
        (400, {}, "HTTP probe failed with statuscode: 400", 0),
        (500, {}, "HTTP probe failed with statuscode: 500", 0),
        (304, {}, None, 1),
        (302, {}, None, 1),
        (302, {"Location": "http://other.invalid/"}, None, 1),
    ],
)
async def test_a_probe_judges_the_status(
    status: int, headers: dict[str, str], failure: str | None, warnings: int
) -> None:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, headers=headers)

    warned: list[str] = []
    async with a_server(answer) as port:
        assert await probe_http(asked(), HOST, port, PATIENCE_S, warned.append) == failure
    assert len(warned) == warnings
    assert all(warning.startswith("Probe terminated redirects, Response body: ") for warning in warned)


async def test_a_hook_only_wants_to_be_heard() -> None:
    heard: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        heard.append(request.headers["User-Agent"])
        return web.Response(status=500)

    async with a_server(answer) as port:
        assert await call_http(asked("/bye"), HOST, port, PATIENCE_S) is None
    assert heard == ["kube-lifecycle/1.36"]
    failure = await call_http(asked("/bye"), HOST, port, PATIENCE_S)
    assert failure is not None
    assert failure.startswith(f'Get "http://{HOST}:{port}/bye": ')


async def test_redirects_within_the_host_are_followed_ten_requests_long() -> None:
    paths: list[str] = []

    async def around(request: web.BaseRequest) -> web.Response:
        paths.append(request.path)
        return web.Response(status=302, headers={"Location": f"/{len(paths)}"})

    async with a_server(around) as port:
        failure = await probe_http(asked("/0"), HOST, port, PATIENCE_S, lambda _: None)
        assert failure == f'Get "http://{HOST}:{port}/10": stopped after 10 redirects'
    assert paths == [f"/{number}" for number in range(10)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], {"User-Agent": ["kube-probe/1.36"], "Accept": ["*/*"], "Accept-Encoding": []}),
        ([("X-Who", "a"), ("X-Who", "b")], {"X-Who": ["a", "b"]}),
        ([("User-Agent", "me")], {"User-Agent": ["me"]}),
        ([("accept", ""), ("user-agent", "")], {"Accept": [], "User-Agent": []}),
        ([("Host", "web.example")], {"Host": ["web.example"]}),
    ],
)
async def test_headers(given: list[tuple[str, str]], expected: dict[str, list[str]]) -> None:
    seen: dict[str, list[str]] = {}

    async def answer(request: web.BaseRequest) -> web.Response:
        seen.update({name: request.headers.getall(name, []) for name in expected})
        return web.Response()

    action = corev1.HTTPGetAction(path="/", http_headers=[corev1.HTTPHeader(name=n, value=v) for n, v in given])
    async with a_server(answer) as port:
        assert await probe_http(action, HOST, port, PATIENCE_S, lambda _: None) is None
    assert seen == expected


async def test_a_path_may_have_a_query() -> None:
    seen: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        seen.append(request.path_qs)
        return web.Response()

    async with a_server(answer) as port:
        for path in ("/healthz?full=1", "healthz", ""):
            assert await probe_http(asked(path), HOST, port, PATIENCE_S, lambda _: None) is None
    assert seen == ["/healthz?full=1", "/healthz", "/"]


async def test_a_server_that_stalls_fails_its_probe_in_time() -> None:
    stalled = asyncio.Event()

    async def stall(request: web.BaseRequest) -> web.Response:
        await stalled.wait()
        return web.Response()

    async with a_server(stall) as port:
        failure = await probe_http(asked(), HOST, port, 0.2, lambda _: None)
        stalled.set()
    expected = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    assert failure == f'Get "http://{HOST}:{port}/": {expected}'


@asynccontextmanager
async def a_grpc_server(*, with_health: bool = True) -> AsyncIterator[tuple[int, HealthServicer]]:
    server, health = grpc.aio.server(), HealthServicer()
    if with_health:
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    try:
        yield port, health
    finally:
        await server.stop(None)


async def test_grpc_health() -> None:
    async with a_grpc_server() as (port, health):
        assert await run_grpc(HOST, port, "", PATIENCE_S) is None
        await health.set("db", health_pb2.HealthCheckResponse.NOT_SERVING)
        failure = await run_grpc(HOST, port, "db", PATIENCE_S)
        assert failure == 'service unhealthy (responded with "NOT_SERVING")'
        failure = await run_grpc(HOST, port, "unknown", PATIENCE_S)
        assert failure is not None
        assert failure.startswith("error: health rpc probe failed")


async def test_a_grpc_server_without_health() -> None:
    async with a_grpc_server(with_health=False) as (port, _):
        failure = await run_grpc(HOST, port, "", PATIENCE_S)
    assert failure is not None
    assert failure.startswith("error: this server does not implement the grpc health protocol")


async def test_nobody_serves_grpc_or_listens_at_all() -> None:
    async with a_server(lambda _: asyncio.sleep(0, web.Response())) as port:
        pass
    failure = await run_grpc(HOST, port, "", 0.3)
    expected = f'timeout: failed to connect service "{HOST}:{port}" within 0.3s: context deadline exceeded'
    assert failure == expected
    assert await run_tcp(HOST, port, PATIENCE_S) == f"dial tcp {HOST}:{port}: connect: connection refused"
