"""Our own gRPC client against grpc.aio's server and against our own; etcd's (Go) is asked all day by the API server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from navarch.services.base.http2.client import Http2Channel
from navarch.services.base.http2.server import Http2Server

unary = grpc.unary_unary_rpc_method_handler
answers = grpc.unary_stream_rpc_method_handler
both = grpc.stream_stream_rpc_method_handler


async def echo(request: bytes, context: Any) -> bytes:
    return request


async def refuse(request: bytes, context: Any) -> bytes:
    context.set_trailing_metadata((("why-bin", b"\x00\xff"),))
    await context.abort(grpc.StatusCode.DATA_LOSS, "100 % späte\n\tAntwort", (("why-bin", b"\x00\xff"),))
    return b""


async def hang(request: bytes, context: Any) -> bytes:
    await asyncio.Event().wait()
    return b""


async def count(request: bytes, context: Any) -> None:
    for number in range(int(request)):
        await context.write(b"%d" % number)


async def big(request: bytes, context: Any) -> None:
    for _ in range(5):
        await context.write(bytes(3_000_000))


async def shout(requests: AsyncIterator[bytes], context: Any) -> None:
    async for request in requests:
        await context.write(request.upper())


HANDLERS = {
    "echo": unary(echo),
    "refuse": unary(refuse),
    "hang": unary(hang),
    "count": answers(count),
    "big": answers(big),
    "shout": both(shout),
}


async def start(kind: str, address: str = "127.0.0.1:0") -> tuple[Any, int]:
    if kind == "own":
        own = Http2Server()
        own.add_registered_method_handlers("test", HANDLERS)
        return own, await own.start(address, None)
    server = grpc.aio.server(
        options=[("grpc.max_receive_message_length", 1 << 26), ("grpc.max_concurrent_streams", 100)]
    )
    server.add_registered_method_handlers("test", HANDLERS)
    port = server.add_insecure_port(address)
    await server.start()
    return server, port


@pytest.fixture(params=["own", "grpcio"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Any, int]]:
    server, port = await start(request.param)
    yield server, port
    await server.stop(0)


@pytest.fixture
async def channel(server: tuple[Any, int]) -> AsyncIterator[Http2Channel]:
    channel = Http2Channel(f"127.0.0.1:{server[1]}", None)
    yield channel
    await channel.close()


def ask(channel: Http2Channel, method: str) -> Callable[..., Any]:
    return channel.unary_unary(f"/test/{method}")


@pytest.mark.parametrize("size", [0, 1, 16_383, 16_384, 70_000, 9_000_000])
async def test_answers_of_any_size(channel: Http2Channel, size: int) -> None:
    message = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert await ask(channel, "echo")(message) == message


async def test_many_calls_at_once_share_a_connection_with_a_limit_of_streams(channel: Http2Channel) -> None:
    messages = [b"%d" % number for number in range(500)]
    assert await asyncio.gather(*(ask(channel, "echo")(message) for message in messages)) == messages


async def test_a_status_arrives_as_it_was(channel: Http2Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(channel, "refuse")(b"")
    assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.DATA_LOSS, "100 % späte\n\tAntwort")
    assert ("why-bin", b"\x00\xff") in tuple(refused.value.trailing_metadata())


async def test_no_such_method(channel: Http2Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(channel, "nothing")(b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_deadline_ends_a_call(channel: Http2Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as late:
        await ask(channel, "hang")(b"", timeout=0.1)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert await ask(channel, "echo")(b"x", timeout=30) == b"x"


async def test_a_cancelled_call_frees_its_stream(channel: Http2Channel) -> None:
    calls = [asyncio.ensure_future(ask(channel, "hang")(b"")) for _ in range(90)]
    await ask(channel, "echo")(b"")
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert channel._link is not None
    assert not channel._link.connection.streams
    assert await ask(channel, "echo")(b"x") == b"x"


async def test_a_stream_of_answers(channel: Http2Channel) -> None:
    call = channel.unary_stream("/test/count")(b"300")
    assert [int(answer) async for answer in call] == list(range(300))
    assert [len(answer) async for answer in channel.unary_stream("/test/big")(b"")] == [3_000_000] * 5


async def test_a_slow_reader_holds_its_own_stream_back_and_no_other(channel: Http2Channel) -> None:
    slow = channel.unary_stream("/test/big")(b"")
    assert len(await slow.read()) == 3_000_000
    assert await ask(channel, "echo")(b"x", timeout=30) == b"x"
    assert len([answer async for answer in slow]) == 4


async def test_both_sides_stream(channel: Http2Channel) -> None:
    call = channel.stream_stream("/test/shout")()
    for word in (b"a", b"b" * 200_000):
        await call.write(word)
        assert await call.read() == word.upper()
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF

    async def words() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    assert [answer async for answer in channel.stream_stream("/test/shout")(words())] == [b"ONE", b"TWO"]


async def test_a_stream_that_is_given_up(channel: Http2Channel) -> None:
    call = channel.stream_stream("/test/shout")()
    await call.write(b"a")
    assert await call.read() == b"A"
    call.cancel()
    with pytest.raises(grpc.aio.AioRpcError) as over:
        await call.write(b"b")
    assert over.value.code() is grpc.StatusCode.CANCELLED


@pytest.mark.parametrize("kind", ["own", "grpcio"])
async def test_what_is_under_way_fails_when_the_server_ends_and_the_next_call_finds_its_successor(kind: str) -> None:
    first, port = await start(kind)
    channel = Http2Channel(f"127.0.0.1:{port}", None)
    assert await ask(channel, "echo")(b"x") == b"x"
    hanging = asyncio.ensure_future(ask(channel, "hang")(b""))
    following = channel.unary_stream("/test/count")(b"1")
    assert await following.read() == b"0"
    await first.stop(0)
    with pytest.raises(grpc.aio.AioRpcError) as broken:
        await hanging
    assert broken.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    with pytest.raises(grpc.aio.AioRpcError, match="failed to connect"):
        await ask(channel, "echo")(b"x")
    waiting = asyncio.ensure_future(ask(channel, "echo")(b"y", wait_for_ready=True, timeout=20))
    second, _ = await start(kind, f"127.0.0.1:{port}")
    assert await waiting == b"y"
    await channel.close()
    await second.stop(0)


async def test_nobody_there_within_the_deadline() -> None:
    channel = Http2Channel("127.0.0.1:1", None)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(channel, "echo")(b"", wait_for_ready=True, timeout=0.2)
    assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await channel.close()


@pytest.mark.parametrize(
    "garbage",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + b"\xff" * 64, b"\x00" * 4096],
)
async def test_a_server_that_speaks_nonsense(garbage: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(garbage)
        await reader.read(1000)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        channel = Http2Channel(f"127.0.0.1:{listening.sockets[0].getsockname()[1]}", None)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask(channel, "echo")(b"", timeout=30)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        await channel.close()
