"""HTTP/2 frames as no library sends them, at the native door."""

import asyncio
import random
import struct
from collections.abc import Callable, Iterator

import hpack

from navarch.services.base.http2.frames import PREFACE
from navarch.testing.door_fuzz import mutation
from navarch.testing.door_fuzz.subject import Subject
from navarch.testing.door_fuzz.tally import Turn

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
_READ_S = 0.15


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """A frame; its length is as said."""
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream_id) + payload


def _block(path: str = "/navarch.v1.Objects/List", *more: tuple[str, str]) -> bytes:
    fields = [(":method", "POST"), (":scheme", "https"), (":path", path), (":authority", "localhost")]
    return bytes(hpack.Encoder().encode([*fields, ("content-type", "application/grpc"), *more], huffman=False))


def _request(
    number: int, path: str = "/navarch.v1.Objects/List", body: bytes = b"\0\0\0\0\0", ended: bool = True
) -> bytes:
    return frame(HEADERS, 4, number, _block(path)) + frame(DATA, int(ended), number, body)


def rapid_reset(rng: random.Random) -> Iterator[bytes]:
    """Calls begun and taken back."""
    for batch in range(40):
        yield b"".join(
            _request(number) + frame(RESET, 0, number, struct.pack(">I", 8))
            for number in range(1 + batch * 500, 1 + (batch + 1) * 500, 2)
        )


def own_resets(rng: random.Random) -> Iterator[bytes]:
    """Streams that the server has to reset, by faults of ours."""
    for batch in range(40):
        yield b"".join(
            frame(HEADERS, 4, number, _block()) + frame(WINDOW, 0, number, struct.pack(">I", 2**31 - 1))
            for number in range(1 + batch * 500, 1 + (batch + 1) * 500, 2)
        )


def settings_flood(rng: random.Random) -> Iterator[bytes]:
    """Settings that change every window there is, again and again."""
    yield b"".join(frame(HEADERS, 4, number, _block("/navarch.v1.Objects/Watch")) for number in range(1, 2_001, 2))
    for _ in range(40):
        yield b"".join(
            frame(SETTINGS, 0, 0, struct.pack(">HI", 4, rng.randrange(2**31)) * rng.choice((1, 2_000)))
            for _ in range(25)
        )


def ping_flood(rng: random.Random) -> Iterator[bytes]:
    """Pings whose answers are not read."""
    for _ in range(60):
        yield frame(PING, 0, 0, rng.randbytes(8)) * 3_000


def windows(rng: random.Random) -> Iterator[bytes]:
    """Answers drawn out a byte at a time, or not at all."""
    yield frame(SETTINGS, 0, 0, struct.pack(">HI", 4, rng.choice((0, 1))))
    body = b"\0" + len(_LIST).to_bytes(4, "big") + _LIST
    yield b"".join(_request(number, body=body) for number in range(1, 401, 2))
    for _ in range(60):
        yield frame(WINDOW, 0, rng.randrange(1, 401, 2), struct.pack(">I", 1)) * 40
    yield frame(WINDOW, 0, 0, struct.pack(">I", rng.choice((0, 1, 2**31 - 1)))) * 5


# What lists the kinds' largest: `resource {version: "v1" resource: "namespaces"}`.
_LIST = b"\x0a\x10\x12\x02v1\x1a\x0anamespaces"


def half_messages(rng: random.Random) -> Iterator[bytes]:
    """Many calls whose large messages never end."""
    for number in range(1, 201, 2):
        yield frame(HEADERS, 4, number, _block("/navarch.v1.Objects/Create"))
        yield (frame(DATA, 0, number, b"\0\3\0\0\0" + bytes(16_000)) + frame(DATA, 0, number, bytes(16_000)) * 30)


def headers_unending(rng: random.Random) -> Iterator[bytes]:
    """A header block that goes on."""
    yield frame(HEADERS, 0, 1, _block())
    for _ in range(100):
        yield frame(CONTINUATION, 0, 1, rng.choice((b"", b"\x00\x01a\x01b" * rng.choice((1, 3_000)))))


def header_bomb(rng: random.Random) -> Iterator[bytes]:
    """A few bytes that name large fields of the table again and again."""
    large = b"\x40\x01a" + b"\x7f\x81\x1f" + b"x" * 4_096
    yield frame(HEADERS, 4, 1, _block() + large[:4_000] + b"x" * 200)
    for number in range(3, 99, 2):
        yield frame(HEADERS, 4, number, _block() + b"\xbe" * 12_000)


def table_sizes(rng: random.Random) -> Iterator[bytes]:
    """Updates of the header table's size, allowed and not."""
    for number in range(1, 60, 2):
        size = rng.choice((b"\x20", b"\x3f\xe1\x1f", b"\x3f\xff\xff\xff\xff\x0f", b"\x20" * 50))
        yield frame(HEADERS, 5, number, size + _block())


def idle_streams(rng: random.Random) -> Iterator[bytes]:
    """As many calls as there may be, and more, none of which says anything."""
    for batch in range(20):
        yield b"".join(
            frame(HEADERS, 4, number, _block("/navarch.v1.Objects/Watch"))
            for number in range(1 + batch * 600, 1 + (batch + 1) * 600, 2)
        )


def anything(rng: random.Random) -> Iterator[bytes]:
    """Frames at random, some of them right."""
    number = 1
    for _ in range(rng.choice((3, 30, 200))):
        match rng.randrange(5):
            case 0:
                number += 2
                yield _request(
                    number, rng.choice(("/navarch.v1.Objects/List", "/", "/x")), rng.randbytes(rng.randrange(40))
                )
            case 1:
                yield frame(
                    rng.randrange(12),
                    rng.randrange(256),
                    rng.choice((0, 1, 2, number, 2**31 - 1, 2**32 - 1)),
                    rng.randbytes(rng.choice((0, 4, 5, 8, 16, 16_384))),
                )
            case 2:
                yield mutation.raw(rng, _request(number + 2))
            case 3:
                fields = (
                    (
                        rng.choice(("grpc-timeout", "te", ":path", "x-bin", "A")),
                        rng.choice(("1", "99999999H", "0n", "é", "", "-1S")),
                    ),
                )
                number += 2
                yield frame(HEADERS, 5, number, _block("/navarch.v1.Objects/Get", *fields))
            case 4:
                yield frame(SETTINGS, rng.randrange(2), 0, struct.pack(">HI", rng.randrange(9), rng.randrange(2**32)))


ATTACKS: tuple[Callable[[random.Random], Iterator[bytes]], ...] = (
    rapid_reset, own_resets, settings_flood, ping_flood, windows, half_messages, headers_unending, header_bomb,
    table_sizes,
    idle_streams, anything, anything, anything, anything,
)  # fmt: skip


async def frames(subject: Subject, turn: Turn) -> None:
    """Go on until the end of the turn, each attack on a connection of its own."""
    order = list(ATTACKS)
    turn.rng.shuffle(order)
    while turn.goes_on():
        attack = order.pop() if order else turn.rng.choice(ATTACKS)
        reader, writer = await asyncio.open_connection("127.0.0.1", subject.grpc_port, ssl=subject.h2_tls())
        reads = turn.rng.random() < 0.7
        reading = asyncio.create_task(_drain(reader)) if reads else None
        ended = "took it all"
        try:
            writer.write(PREFACE if turn.rng.random() < 0.98 else mutation.raw(turn.rng, PREFACE))
            writer.write(frame(SETTINGS, 0, 0))
            for piece in attack(turn.rng):
                writer.write(piece)
                async with asyncio.timeout(2.0):
                    await writer.drain()
                if writer.is_closing() or (reading is not None and reading.done()):
                    ended = "closed"
                    break
            await asyncio.sleep(_READ_S)
        except (ConnectionError, OSError) as failure:
            # A server that takes nothing more while nothing is read from it does right.
            ended = "stopped" if isinstance(failure, TimeoutError) else "closed"
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.wait([reading])
            writer.transport.abort()
        turn.tally.count(f"{attack.__name__} {ended}")


async def _drain(reader: asyncio.StreamReader) -> None:
    while await reader.read(1 << 20):
        pass
