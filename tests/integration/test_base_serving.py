import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from navarch.protos.navarch import objects_pb2, objects_pb2_grpc
from navarch.services.base.serving import GrpcServer, RpcStatus, channel
from navarch.services.base.tls import CertificateAuthority, Credentials, identity

NOW = time.time()


class Refused(Exception):
    """An error of this test's domain."""


def translate(failure: Exception) -> RpcStatus | None:
    if isinstance(failure, Refused):
        return grpc.StatusCode.FAILED_PRECONDITION, str(failure), (("detail-bin", b"\x00\xff"),)
    return None


class Servicer(objects_pb2_grpc.ObjectsServicer):
    """Does what the name in the request asks for."""

    def __init__(self) -> None:
        self.callers: list[Any] = []
        self.cancelled = asyncio.Event()

    async def Get(self, request: objects_pb2.GetRequest, context: Any) -> objects_pb2.ObjectResponse:
        self.callers.append(context.auth_context().get("x509_pem_cert"))
        match request.name:
            case "refused":
                raise Refused("not now")
            case "bug":
                raise ValueError("oops")
            case "abort":
                await context.abort(grpc.StatusCode.NOT_FOUND, "gone")
            case "hang":
                try:
                    await asyncio.Event().wait()
                finally:
                    self.cancelled.set()
        return objects_pb2.ObjectResponse(warnings=[request.name])

    async def Watch(self, request: objects_pb2.WatchRequest, context: Any) -> AsyncIterator[objects_pb2.WatchResponse]:
        try:
            for _ in range(3):
                yield objects_pb2.WatchResponse()
            if request.resource_version == "refused":
                raise Refused("mid-stream")
            while request.resource_version == "pour":
                # More than the connection takes in at once: the peer leaves in the middle of a message.
                yield objects_pb2.WatchResponse(events=[{"object": {"value": bytes(1 << 20)}}])
            if request.resource_version == "hang":
                await asyncio.Event().wait()
        finally:
            self.cancelled.set()


@pytest.fixture(scope="module")
def ca() -> CertificateAuthority:
    return CertificateAuthority.create("navarch", NOW)


@pytest.fixture(scope="module")
def user(ca: CertificateAuthority) -> Credentials:
    return ca.issue("kubernetes-admin", ["system:masters"], now=NOW)


@pytest.fixture
async def servicer() -> Servicer:
    return Servicer()  # type: ignore[abstract]  # the generated class answers the rest with UNIMPLEMENTED


@pytest.fixture(params=[False, True], ids=["grpc.aio", "http2"])
def light(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
async def server(ca: CertificateAuthority, servicer: Servicer, light: bool) -> AsyncIterator[GrpcServer]:
    credentials = ca.issue("kube-apiserver", ips=["127.0.0.1"], now=NOW, server=True)
    server = GrpcServer(credentials, translate=translate, light=light)
    server.add(objects_pb2_grpc.add_ObjectsServicer_to_server, servicer)
    await server.start("127.0.0.1:0")
    yield server
    await server.stop(0)


@pytest.fixture
async def connection(server: GrpcServer, user: Credentials) -> AsyncIterator[grpc.aio.Channel]:
    async with channel(server.address, user) as connection:
        yield connection


@pytest.fixture
async def stub(connection: grpc.aio.Channel) -> Any:
    return objects_pb2_grpc.ObjectsStub(connection)


def named(name: str) -> objects_pb2.GetRequest:
    return objects_pb2.GetRequest(name=name)


async def test_a_caller_is_known_by_its_certificate(stub: Any, servicer: Servicer) -> None:
    assert (await stub.Get(named("x"))).warnings == ["x"]
    assert identity(servicer.callers[0][0]) == ("kubernetes-admin", ("system:masters",))


async def test_strangers_are_not_served(server: GrpcServer, ca: CertificateAuthority) -> None:
    other = CertificateAuthority.create("navarch", NOW)
    forged = other.issue("kubernetes-admin", ["system:masters"], now=NOW)
    strangers = {
        "no TLS": grpc.aio.insecure_channel(server.address),
        "no certificate": grpc.aio.secure_channel(server.address, grpc.ssl_channel_credentials(ca.cert_pem)),
        "another authority": channel(server.address, Credentials(ca.cert_pem, forged.cert, forged.key)),
    }
    for who, connection in strangers.items():
        async with connection:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await objects_pb2_grpc.ObjectsStub(connection).Get(named("x"), timeout=20)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE, who


async def test_a_client_refuses_a_server_of_another_authority(server: GrpcServer, user: Credentials) -> None:
    other = CertificateAuthority.create("navarch", NOW)
    async with channel(server.address, Credentials(other.cert_pem, user.cert, user.key)) as connection:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await objects_pb2_grpc.ObjectsStub(connection).Get(named("x"), timeout=20)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("name", "code", "details"),
    [
        ("refused", grpc.StatusCode.FAILED_PRECONDITION, "not now"),
        ("bug", grpc.StatusCode.INTERNAL, "internal error: ValueError: oops"),
        ("abort", grpc.StatusCode.NOT_FOUND, "gone"),
    ],
)
async def test_failures_become_statuses(stub: Any, name: str, code: grpc.StatusCode, details: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Get(named(name))
    assert (caught.value.code(), caught.value.details()) == (code, details)
    if name == "refused":
        assert ("detail-bin", b"\x00\xff") in tuple(caught.value.trailing_metadata())


async def test_a_stream_that_is_refused_midway_keeps_what_it_sent(stub: Any) -> None:
    call = stub.Watch(objects_pb2.WatchRequest(resource_version="refused"))
    for _ in range(3):
        assert await call.read() == objects_pb2.WatchResponse()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_caller_that_goes_away_ends_its_stream(stub: Any, servicer: Servicer) -> None:
    call = stub.Watch(objects_pb2.WatchRequest(resource_version="hang"))
    await call.read()
    assert not servicer.cancelled.is_set()
    call.cancel()
    await asyncio.wait_for(servicer.cancelled.wait(), 20)


async def test_a_deadline_ends_the_work_on_the_server(stub: Any, servicer: Servicer) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.Get(named("hang"), timeout=0.05)
    await asyncio.wait_for(servicer.cancelled.wait(), 20)


async def test_a_peer_that_leaves_in_the_middle_of_a_message_is_no_bug(
    stub: Any, servicer: Servicer, server: GrpcServer, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(10):
        servicer.cancelled.clear()
        call = stub.Watch(objects_pb2.WatchRequest(resource_version="pour"))
        for _ in range(5):
            await call.read()
        call.cancel()
        await asyncio.wait_for(servicer.cancelled.wait(), 20)
    assert "rpc.bug" not in caplog.text


async def test_metrics_count_by_method_and_code(stub: Any, server: GrpcServer) -> None:
    for name in ("x", "y", "refused", "abort"):
        try:
            await stub.Get(named(name))
        except grpc.aio.AioRpcError:
            assert name in ("refused", "abort")
    labels = 'grpc_method="Get",grpc_service="navarch.v1.Objects",grpc_type="unary"'
    wanted = {
        f'grpc_server_handled_total{{grpc_code="OK",{labels}}} 2.0',
        f'grpc_server_handled_total{{grpc_code="FailedPrecondition",{labels}}} 1.0',
        f'grpc_server_handled_total{{grpc_code="NotFound",{labels}}} 1.0',
        f"grpc_server_handling_seconds_count{{{labels}}} 4.0",
        f"grpc_server_started_total{{{labels}}} 4.0",
    }
    # A call is counted when it has ended, which is after its caller has been answered.
    async with asyncio.timeout(20):
        while not wanted <= set(server.metrics.render().decode().splitlines()):
            await asyncio.sleep(0.01)


async def test_health_and_reflection(connection: grpc.aio.Channel) -> None:
    health: Any = health_pb2_grpc.HealthStub(connection)
    for service in ("", "navarch.v1.Objects"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(connection)
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    call = reflection.ServerReflectionInfo(iter([question]))
    answer = await call.read()
    names = {service.name for service in answer.list_services_response.service}
    assert {"navarch.v1.Objects", "grpc.health.v1.Health"} <= names
    call.cancel()


async def test_large_messages_and_large_details_pass(stub: Any) -> None:
    answer = await stub.Get(named("x" * (17 << 20)))
    assert len(answer.warnings[0]) == 17 << 20


async def test_a_taken_port_is_an_error(server: GrpcServer, servicer: Servicer, light: bool) -> None:
    second = GrpcServer(None, light=light)
    second.add(objects_pb2_grpc.add_ObjectsServicer_to_server, servicer)
    with pytest.raises(OSError, match=server.address):
        await second.start(server.address)
    await second.stop(0)


async def test_a_unix_socket_that_a_killed_server_left_is_taken_over(
    tmp_path: Path, servicer: Servicer, light: bool
) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    server = GrpcServer(None, light=light)
    server.add(objects_pb2_grpc.add_ObjectsServicer_to_server, servicer)
    await server.start(f"unix:{path}")
    async with channel(f"unix:{path}", None) as connection:
        await objects_pb2_grpc.ObjectsStub(connection).Get(named("x"), timeout=20)
    await server.stop(0)


async def test_stop_reports_unhealthy_and_is_idempotent(server: GrpcServer, connection: grpc.aio.Channel) -> None:
    health: Any = health_pb2_grpc.HealthStub(connection)
    watch = health.Watch(health_pb2.HealthCheckRequest(service="navarch.v1.Objects"))
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    stopping = asyncio.create_task(server.stop(10))
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watch.cancel()
    await stopping
    await server.stop(0)
