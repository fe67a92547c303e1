"""The bound on connections: what is above it, and what gives a place back."""

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from navarch.services.apiserver.doors.rest import acceptor
from navarch.services.apiserver.doors.rest.server import RestServer
from navarch.services.base.tls import CertificateAuthority
from navarch.services.base.tls_context import client_context

Serve = Callable[[int], Awaitable[int]]
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]
PLACE_S = 20
CLOSED = (ConnectionError, ssl.SSLError)


async def answer(_: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="here")


@pytest.fixture
async def serve(authority: CertificateAuthority) -> AsyncIterator[Serve]:
    """Starts a server that takes so many connections; its port."""
    own = authority.issue("server", [], ["localhost"], ["127.0.0.1"], now=time.time(), server=True)
    servers = []

    async def serve(limit: int) -> int:
        server = RestServer(answer, own, connections=limit)
        servers.append(server)
        return await server.start("127.0.0.1:0")

    yield serve
    for server in servers:
        await server.stop()
        await server.stop()


@pytest.fixture
def context(authority: CertificateAuthority) -> ssl.SSLContext:
    return client_context(authority.issue("client", [], now=time.time()))


async def ask(port: int, context: ssl.SSLContext) -> Pair:
    """A connection that is answered and stays open. Raises one of CLOSED where it is not let in."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    try:
        assert (await reader.readuntil(b"here")).startswith(b"HTTP/1.1 200")
    except asyncio.IncompleteReadError as failure:
        writer.close()
        raise ConnectionResetError from failure
    return reader, writer


async def ask_until_let_in(port: int, context: ssl.SSLContext) -> Pair:
    async with asyncio.timeout(PLACE_S):
        while True:
            try:
                return await ask(port, context)
            except CLOSED:
                await asyncio.sleep(0.02)


async def test_above_the_bound_connections_are_closed_and_places_come_back(
    serve: Serve, context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    port = await serve(2)
    first, second = await ask(port, context), await ask(port, context)
    for _ in range(3):
        with pytest.raises(CLOSED):
            await ask(port, context)
    assert [record.getMessage() for record in caplog.records].count("connections.full") == 1
    first[1].close()
    third = await ask_until_let_in(port, context)
    for _, writer in (second, third):
        writer.close()


async def test_a_handshake_holds_a_place_for_a_bounded_time(
    serve: Serve, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "HANDSHAKE_S", 0.5)
    port = await serve(1)
    reader, silent = await asyncio.open_connection("127.0.0.1", port)
    with pytest.raises(CLOSED):
        await ask(port, context)
    async with asyncio.timeout(PLACE_S):
        assert await reader.read() == b""
    silent.close()
    _, writer = await ask_until_let_in(port, context)
    writer.close()


async def test_what_is_no_handshake_gives_its_place_back(serve: Serve, context: ssl.SSLContext) -> None:
    port = await serve(1)
    for said in (b"GET / HTTP/1.1\r\n\r\n", b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        writer.write_eof()
        async with asyncio.timeout(PLACE_S):
            await reader.read()
        writer.close()
        _, let_in = await ask_until_let_in(port, context)
        let_in.close()
        await let_in.wait_closed()


async def test_without_descriptors_it_tries_again(
    serve: Serve, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "RETRY_S", 0.05)
    accept, failures = socket.socket.accept, [OSError(errno.EMFILE, "too many open files")]

    def sometimes(self: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            raise failures.pop()
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", sometimes)
    _, writer = await ask(await serve(1), context)
    assert not failures
    writer.close()


async def test_stopping_does_not_wait_for_handshakes(authority: CertificateAuthority) -> None:
    own = authority.issue("server", [], ["localhost"], now=time.time(), server=True)
    server = RestServer(answer, own)
    port = await server.start("localhost:0")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await server.stop()
    async with asyncio.timeout(PLACE_S):
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            # Closed before it was taken out of the queue.
            pass
    writer.close()
