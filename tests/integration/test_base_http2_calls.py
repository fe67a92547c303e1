"""Calls of real gRPC clients served by our own HTTP/2, as far as test_base_serving does not ask for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest

from navarch.services.base.http2 import server as http2_server
from navarch.services.base.http2.frames import PREFACE, literal
from navarch.services.base.http2.server import Http2Server


@pytest.fixture
async def server() -> AsyncIterator[Http2Server]:
    server = Http2Server()
    yield server
    await server.stop(0)


@pytest.fixture
async def serve(server: Http2Server) -> AsyncIterator[Callable[..., Any]]:
    """Serves behaviors over bytes by name; returns a channel."""
    async with AsyncExitStack() as stack:

        async def serve(**behaviors: Any) -> grpc.aio.Channel:
            server.add_registered_method_handlers("test", behaviors)
            port = await server.start("127.0.0.1:0", None)
            channel: grpc.aio.Channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
            return channel

        yield serve


unary = grpc.unary_unary_rpc_method_handler


async def echo(request: bytes, context: Any) -> bytes:
    return request


async def test_metadata_goes_both_ways(serve: Any) -> None:
    async def seen(request: bytes, context: Any) -> bytes:
        await context.send_initial_metadata((("initial", "i"),))
        context.set_trailing_metadata((("trailing-bin", b"\x00\xff"), ("trailing", "t")))
        return repr(sorted(item for item in context.invocation_metadata() if item[0].startswith("x-"))).encode()

    channel = await serve(seen=unary(seen))
    call = channel.unary_unary("/test/seen")(b"", metadata=(("x-text", "a"), ("x-raw-bin", b"\x01\xfe")))
    assert await call == b"[('x-raw-bin', b'\\x01\\xfe'), ('x-text', 'a')]"
    assert ("initial", "i") in tuple(await call.initial_metadata())
    assert tuple(await call.trailing_metadata()) == (("trailing-bin", b"\x00\xff"), ("trailing", "t"))


@pytest.mark.parametrize(
    ("method", "options", "code"),
    [
        pytest.param("/test/none", {}, grpc.StatusCode.UNIMPLEMENTED, id="no such method"),
        pytest.param("/test/echo", {"compression": grpc.Compression.Gzip}, grpc.StatusCode.UNIMPLEMENTED, id="gzip"),
    ],
)
async def test_what_is_not_served(serve: Any, method: str, options: Any, code: grpc.StatusCode) -> None:
    channel = await serve(echo=unary(echo))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await channel.unary_unary(method)(bytes(10_000), **options)
    assert refused.value.code() is code
    assert await channel.unary_unary("/test/echo")(b"x") == b"x"


async def test_any_message_in_a_status_arrives_as_it_was(serve: Any) -> None:
    message = "100 % späte\n\tAntwort ~!\"#'`"

    async def refuse(request: bytes, context: Any) -> None:
        await context.abort(grpc.StatusCode.DATA_LOSS, message)

    channel = await serve(refuse=unary(refuse))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await channel.unary_unary("/test/refuse")(b"")
    assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.DATA_LOSS, message)


async def test_a_call_ends_at_its_deadline_on_both_sides(serve: Any) -> None:
    ended = asyncio.Event()

    async def hang(request: bytes, context: Any) -> None:
        assert 0 < context.time_remaining() <= 2
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    channel = await serve(hang=unary(hang))
    with pytest.raises(grpc.aio.AioRpcError) as late:
        await channel.unary_unary("/test/hang")(b"", timeout=2)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await ended.wait()


async def test_many_calls_at_once_and_large_ones(serve: Any) -> None:
    channel = await serve(echo=unary(echo))
    call = channel.unary_unary("/test/echo")
    sent = [bytes([i % 256]) * (1 << i % 21) for i in range(300)]
    assert await asyncio.gather(*map(call, sent)) == sent


async def test_streams_both_ways(serve: Any) -> None:
    async def each(requests: AsyncIterator[bytes], context: Any) -> None:
        async for request in requests:
            await context.write(request * 2)

    channel = await serve(each=grpc.stream_stream_rpc_method_handler(each))
    sent = [bytes(1 << i) for i in range(21)]
    assert [answer async for answer in channel.stream_stream("/test/each")(iter(sent))] == [one * 2 for one in sent]


async def test_a_bug_is_told_and_the_connection_goes_on(serve: Any) -> None:
    async def broken(request: bytes, context: Any) -> bytes:
        raise ValueError("oops")

    channel = await serve(broken=unary(broken), echo=unary(echo))
    with pytest.raises(grpc.aio.AioRpcError, match="oops") as failed:
        await channel.unary_unary("/test/broken")(b"")
    assert failed.value.code() is grpc.StatusCode.UNKNOWN
    assert await channel.unary_unary("/test/echo")(b"x") == b"x"


async def test_what_is_no_message_is_said_to_be_none(serve: Any) -> None:
    channel = await serve(parse=unary(echo, request_deserializer=bytes.decode))
    with pytest.raises(grpc.aio.AioRpcError, match="deserializing") as failed:
        await channel.unary_unary("/test/parse")(b"\xff")
    assert failed.value.code() is grpc.StatusCode.INTERNAL


async def test_a_stop_lets_running_calls_end_and_cancels_what_does_not(serve: Any, server: Http2Server) -> None:
    begun, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def wait(request: bytes, context: Any) -> bytes:
        begun.release()
        await (go_on if request == b"a while" else asyncio.Event()).wait()
        return b"done"

    channel = await serve(wait=unary(wait))
    call = channel.unary_unary("/test/wait")
    short, long = call(b"a while"), call(b"for ever")
    for _ in range(2):
        await begun.acquire()
    stopping = asyncio.create_task(server.stop(0.5))
    await asyncio.sleep(0)
    go_on.set()
    assert await short == b"done"
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await long
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    await stopping


def frame(kind: int, flags: int, payload: bytes) -> bytes:
    """On stream 1."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags, 0, 0, 0, 1)) + payload


async def test_a_call_that_is_given_up_at_once_leaves_nothing(serve: Any, server: Http2Server) -> None:
    channel = await serve(echo=unary(echo))
    assert server._server is not None
    _, writer = await asyncio.open_connection(*server._server.sockets[0].getsockname())
    fields = ((b":path", b"/test/echo"), (b"content-type", b"application/grpc"), (b"grpc-timeout", b"99H"))
    headers = b"".join(literal(*field) for field in fields)
    # Request and reset in one piece: the call's task is cancelled before its first step.
    writer.write(PREFACE + frame(1, 4, headers) + frame(0, 1, bytes(5)) + frame(3, 0, bytes(4)))
    await writer.drain()
    for _ in range(3):
        assert await channel.unary_unary("/test/echo")(b"x") == b"x"
    assert not server.calls
    writer.close()
    await writer.wait_closed()


async def test_a_unary_call_of_many_messages_is_refused_at_the_second(serve: Any, server: Http2Server) -> None:
    channel = await serve(echo=unary(echo))
    stream = channel.stream_unary("/test/echo")(iter([b""] * 2_000))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stream
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert await channel.unary_unary("/test/echo")(b"x") == b"x"


async def begin_large(server: Http2Server, data: bytes, method: bytes = b"/test/echo") -> asyncio.StreamWriter:
    """A connection with a call on it that has sent this much of a message of a megabyte."""
    assert server._server is not None
    reader, writer = await asyncio.open_connection(*server._server.sockets[0].getsockname())
    headers = literal(b":path", method) + literal(b"content-type", b"application/grpc")
    pieces = [data[begin : begin + 16_000] for begin in range(0, len(data), 16_000)]
    writer.write(
        PREFACE + frame(1, 4, headers) + frame(0, 0, b"\0\0\x10\0\0") + b"".join(frame(0, 0, p) for p in pieces)
    )
    await writer.drain()
    # Settings and window; what comes after them is about the call.
    await reader.readexactly(9)
    return writer


async def test_messages_that_are_never_whole_are_held_up_to_a_bound_and_let_go(
    serve: Any, server: Http2Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2_server, "MAX_HELD_BYTES", 250_000)
    channel = await serve(echo=unary(echo), each=grpc.stream_stream_rpc_method_handler(never))
    echoed = channel.unary_unary("/test/echo")
    writers = [await begin_large(server, bytes(100_000), method) for method in (b"/test/echo", b"/test/each")]
    while server.held_bytes != 200_010:
        await asyncio.sleep(0.01)
    # What comes at once is not held.
    assert await echoed(bytes(10_000)) == bytes(10_000)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await echoed(bytes(400_000))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    for writer in writers:
        writer.close()
        await writer.wait_closed()
    while server.held_bytes:
        await asyncio.sleep(0.01)
    assert await echoed(bytes(200_000)) == bytes(200_000)
    assert not server.held_bytes


async def never(requests: AsyncIterator[bytes], context: Any) -> None:
    async for _ in requests:
        pass


async def test_a_message_in_very_small_pieces(serve: Any, server: Http2Server) -> None:
    await serve(echo=unary(echo))
    assert server._server is not None
    reader, writer = await asyncio.open_connection(*server._server.sockets[0].getsockname())
    headers = literal(b":path", b"/test/echo") + literal(b"content-type", b"application/grpc")
    body = bytes(range(256)) * 600
    message = b"\0" + len(body).to_bytes(4, "big") + body
    pieces = b"".join(frame(0, 0, bytes((byte,))) for byte in message)
    # Room for the answer first: 1 MiB on the connection and on each stream.
    settings = b"\0\0\6\4\0\0\0\0\0" + b"\0\4\0\x10\0\0"
    window = b"\0\0\4\x08\0\0\0\0\0" + b"\0\x10\0\0"
    writer.write(PREFACE + settings + window + frame(1, 4, headers) + pieces + frame(0, 1, b""))
    received = b""
    while b"grpc-status" not in received:
        received += await reader.read(1 << 20)
    data = b""
    while received:
        size = int.from_bytes(received[:3], "big")
        data += received[9 : 9 + size] if received[3] == 0 else b""
        received = received[9 + size :]
    assert data == message
    writer.close()


async def test_connections_beyond_the_limit_are_closed_at_once(
    serve: Any, server: Http2Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2_server, "MAX_LINKS", 1)
    channel = await serve(echo=unary(echo))
    assert await channel.unary_unary("/test/echo")(b"x") == b"x"
    assert server._server is not None
    reader, writer = await asyncio.open_connection(*server._server.sockets[0].getsockname())
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    assert await channel.unary_unary("/test/echo")(b"x") == b"x"
    assert len(server.links) == 1
