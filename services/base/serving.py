"""gRPC serving, the same for every process.

A `GrpcServer` collects servicers, wraps each method once (metrics, translation of errors, logging of
failures), and on start binds, registers health and reflection, and serves. Wrapping at registration instead
of through gRPC's interceptors costs nothing per call beyond the work itself.

Translation: a servicer raises its domain's exceptions; `translate` turns them into a status. This package
knows no domain, so the service hands the translator in. What it does not know is a bug: logged with its
traceback and answered with INTERNAL.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from grpc_reflection.v1alpha._async import ReflectionServicer

from navarch.services.base.credentials import Credentials
from navarch.services.base.dialing import COMMON_OPTIONS
from navarch.services.base.dialing import channel as channel
from navarch.services.base.http2.server import Http2Server
from navarch.services.base.log import Logger, get_logger
from navarch.services.base.metrics import Metrics

Metadata = Sequence[tuple[str, str | bytes]]
RpcStatus = tuple[grpc.StatusCode, str, Metadata]
# Returns None for exceptions it does not know.
Translate = Callable[[Exception], RpcStatus | None]
Behavior = Callable[[Any, Any], Any]

_SERVER_OPTIONS = [
    *COMMON_OPTIONS,
    # Without this a second server on the same port would silently share it.
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
]


_TYPES = {
    (False, False): "unary",
    (True, False): "client_stream",
    (False, True): "server_stream",
    (True, True): "bidi_stream",
}


class GrpcServer:
    """One gRPC server: services are added, then it starts, then it stops. Not restartable.

    options: of gRPC, beside or instead of those that all servers have. light: serve by `http2` instead of grpc.aio,
    at a fraction of the cost of each call. need_certificate: refuse clients without one; False only with `light`.
    reuse_port: let other processes listen there, too; only with `light`. metrics: to count in, shared with others.
    renewable: `renew` may be called; not with `light`.
    """

    def __init__(
        self,
        credentials: Credentials | None,
        *,
        translate: Translate | None = None,
        component: str = "grpc",
        options: Sequence[tuple[str, int]] = (),
        light: bool = False,
        need_certificate: bool = True,
        reuse_port: bool = False,
        renewable: bool = False,
        metrics: Metrics | None = None,
    ) -> None:
        self.metrics = metrics or Metrics()
        self._credentials = credentials
        self._translate = translate
        self._options = {**dict(_SERVER_OPTIONS), **dict(options)}
        self._log = get_logger(component)
        self._services: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {}
        self._health: HealthServicer | None = None
        self._light = light
        self._need_certificate = need_certificate
        self._reuse_port = reuse_port
        self._renewable = renewable
        self._server: grpc.aio.Server | Http2Server | None = None
        self._shown: grpc.ServerCertificateConfiguration
        self.address = ""

    def add(self, add_servicer: Callable[[Any, Any], None], servicer: object) -> None:
        """Register a servicer with its generated `add_XServicer_to_server`. Before start only."""
        add_servicer(servicer, _Registrar(self._register))

    def _register(self, service: str, handlers: dict[str, grpc.RpcMethodHandler[Any, Any]]) -> None:
        self._services[service] = {
            name: _instrument(handler, _Method(service, name, handler, self.metrics, self._translate, self._log))
            for name, handler in handlers.items()
        }

    async def start(self, address: str) -> int:
        """Bind "host:port" (port 0: any) or "unix:/path", serve, and report healthy.

        Returns the bound port. Raises OSError when the address cannot be had.
        """
        health = HealthServicer()
        self.add(health_pb2_grpc.add_HealthServicer_to_server, health)
        names = (*self._services, reflection.SERVICE_NAME)
        self.add(reflection_pb2_grpc.add_ServerReflectionServicer_to_server, ReflectionServicer(names))
        server, port = await (self._start_light(address) if self._light else self._start_aio(address))
        for service in self._services:
            await health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self._server, self._health = server, health
        self.address = address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
        return port

    async def _start_light(self, address: str) -> tuple[Http2Server, int]:
        server = Http2Server()
        for service, handlers in self._services.items():
            server.add_registered_method_handlers(service, handlers)
        try:
            port = await server.start(
                address, self._credentials, need_certificate=self._need_certificate, reuse_port=self._reuse_port
            )
            return server, port
        except OSError as failure:
            raise _not_bound(address) from failure

    async def _start_aio(self, address: str) -> tuple[grpc.aio.Server, int]:
        server = grpc.aio.server(options=list(self._options.items()))
        for service, handlers in self._services.items():
            server.add_registered_method_handlers(service, handlers)
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        try:
            if self._credentials is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, self._server_credentials(self._credentials))
        except RuntimeError as failure:
            raise _not_bound(address) from failure
        await server.start()
        return server, port

    def _server_credentials(self, credentials: Credentials) -> grpc.ServerCredentials:
        if not self._renewable:
            return credentials.server()

        self._shown = credentials.configuration()
        # Asked for each handshake, on a thread of gRPC's.
        return grpc.dynamic_ssl_server_credentials(self._shown, lambda: self._shown, True)

    def renew(self, credentials: Credentials) -> None:
        """Show another certificate to those who connect from now on."""
        self._shown = credentials.configuration()

    async def stop(self, grace_s: float = 1.0) -> None:
        """Report unhealthy, refuse new calls, give running ones this long, then end them. Idempotent."""
        server, self._server = self._server, None
        if server is None or self._health is None:
            return
        await self._health.enter_graceful_shutdown()
        await server.stop(grace_s)


def _not_bound(address: str) -> OSError:
    return OSError(f"cannot listen on {address}: is another server running there?")


class _Registrar:
    """Stands in for a server in the generated registration functions, to see each method's handler."""

    def __init__(self, register: Callable[[str, dict[str, grpc.RpcMethodHandler[Any, Any]]], None]) -> None:
        self._register = register

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """The generated code registers everything twice; the other way is enough."""

    def add_registered_method_handlers(
        self, service: str, handlers: dict[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        """Pass the handlers of a service on."""
        self._register(service, handlers)


class _Method:
    """What calls of one method have in common: its series, its errors, its log."""

    def __init__(
        self,
        service: str,
        name: str,
        handler: grpc.RpcMethodHandler[Any, Any],
        metrics: Metrics,
        translate: Translate | None,
        log: Logger,
    ) -> None:
        self.name = f"/{service}/{name}"
        self._labels = (_TYPES[bool(handler.request_streaming), bool(handler.response_streaming)], service, name)
        self._handled = metrics.handled
        self._by_code: dict[grpc.StatusCode, Any] = {}
        self.handling = metrics.handling.labels(*self._labels)
        self._started = metrics.started.labels(*self._labels)
        self._translate = translate
        self._log = log

    def count(self, code: grpc.StatusCode) -> None:
        """One more call ended with this code."""
        counter = self._by_code.get(code)
        if counter is None:
            # As Go writes them: NotFound, and OK.
            name = "OK" if code is grpc.StatusCode.OK else code.name.title().replace("_", "")
            counter = self._by_code[code] = self._handled.labels(*self._labels, name)
        counter.inc()

    async def guard(self, call: Callable[[], Awaitable[Any]], context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        """Run a call; turn what it raises into a status of the RPC."""
        self._started.inc()
        code = grpc.StatusCode.OK
        try:
            answer = await call()
            code = _code_of(context) or code
            return answer
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        except (grpc.aio.AbortError, grpc.aio.UsageError):
            code = _code_of(context) or grpc.StatusCode.UNKNOWN
            raise
        except Exception as failure:
            code, message, metadata = self._status_of(failure)
            await context.abort(code, message, tuple(metadata))
        finally:
            self.count(code)

    def _status_of(self, failure: Exception) -> RpcStatus:
        status = self._translate(failure) if self._translate else None
        if status is None:
            self._log.exception("rpc.bug", method=self.name)
            return grpc.StatusCode.INTERNAL, f"internal error: {type(failure).__name__}: {failure}", ()
        if self._log.is_debug():
            self._log.debug("rpc.refused", method=self.name, code=status[0].name, message=status[1])
        return status


def _code_of(context: grpc.aio.ServicerContext[Any, Any]) -> grpc.StatusCode | None:
    """The code that a servicer set or aborted with, or None. gRPC holds it as a number or as the enum."""
    code: Any = context.code()
    if not code:
        return None
    if isinstance(code, grpc.StatusCode):
        return code
    return next((known for known in grpc.StatusCode if known.value[0] == code), grpc.StatusCode.UNKNOWN)


def _instrument(handler: grpc.RpcMethodHandler[Any, Any], method: _Method) -> grpc.RpcMethodHandler[Any, Any]:
    serializers = (handler.request_deserializer, handler.response_serializer)
    if handler.response_streaming:
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(_streaming(handler.stream_stream, method), *serializers)
        return grpc.unary_stream_rpc_method_handler(_streaming(handler.unary_stream, method), *serializers)
    if handler.request_streaming:
        return grpc.stream_unary_rpc_method_handler(_unary(handler.stream_unary, method), *serializers)
    return grpc.unary_unary_rpc_method_handler(_unary(handler.unary_unary, method), *serializers)


def _unary(behavior: Behavior | None, method: _Method) -> Behavior:
    assert behavior is not None

    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        begin = time.perf_counter()
        try:
            return await method.guard(lambda: behavior(request, context), context)
        finally:
            method.handling.observe(time.perf_counter() - begin)

    return call


def _streaming(behavior: Behavior | None, method: _Method) -> Behavior:
    assert behavior is not None

    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        async def pump() -> None:
            answers = behavior(request, context)
            if not hasattr(answers, "__aiter__"):
                await answers
                return
            try:
                async for answer in answers:
                    await _write(context, answer)
            finally:
                if hasattr(answers, "aclose"):
                    await answers.aclose()

        await method.guard(pump, context)

    return call


async def _write(context: grpc.aio.ServicerContext[Any, Any], answer: Any) -> None:
    try:
        await context.write(answer)
    except grpc.aio.InternalError:
        # The peer left while we wrote, which is a cancelled call like any other.
        raise asyncio.CancelledError from None
