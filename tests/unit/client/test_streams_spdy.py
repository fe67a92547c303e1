"""SPDY/3.1 framing."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.services.client.streams import spdy

HEADERS = {"streamtype": "data", "port": "8080", "requestid": "0"}


def written() -> tuple[bytes, list[spdy.Event]]:
    """What a client sends, and what it means."""
    client = spdy.Connection()
    frames = [
        client.open(1, HEADERS | {"streamType": "error"}, ends=True),
        client.open(3, HEADERS),
        spdy.data(3, b"hello"),
        spdy.data(3, b"", ends=True),
        spdy.ping(1),
        spdy.reset(3, spdy.Reset.CANCEL),
        # WINDOW_UPDATE and SETTINGS mean nothing to us.
        struct.pack(">HHIII", 0x8003, 9, 8, 3, 1000),
        struct.pack(">HHIIII", 0x8003, 4, 12, 1, 7 | 1 << 24, 64000),
        client.reply(5, {"a": "b"}),
        spdy.go_away(3),
    ]
    events: list[spdy.Event] = [
        spdy.Opened(1, HEADERS | {"streamtype": "error"}, ends=True),
        spdy.Opened(3, HEADERS),
        spdy.Data(3, b"hello"),
        spdy.Data(3, b"", ends=True),
        spdy.Ping(1),
        spdy.WasReset(3, 5),
        spdy.Headers(5, {"a": "b"}),
        spdy.GoAway(3),
    ]
    return b"".join(frames), events


def test_the_dictionary_is_the_protocols() -> None:
    # As it stands in the header of every SPDY/3 stream of compressed headers.
    assert zlib.adler32(spdy.DICTIONARY) == 0xE3C6A7C2


def test_frames_in_one_piece() -> None:
    data, events = written()
    assert list(spdy.Connection().receive(data)) == events


def test_frames_byte_by_byte() -> None:
    data, events = written()
    server = spdy.Connection()
    assert [event for byte in data for event in server.receive(bytes((byte,)))] == events


@given(st.lists(st.integers(1, 60)))
def test_frames_in_pieces(sizes: list[int]) -> None:
    data, events = written()
    server, found = spdy.Connection(), []
    for size in [*sizes, len(data)]:
        found += list(server.receive(data[:size]))
        data = data[size:]
    assert found == events


@given(st.dictionaries(st.text("abcdefgh-", min_size=1), st.text().filter(lambda text: "\0" not in text)))
def test_headers_come_back(headers: dict[str, str]) -> None:
    assert spdy.read_headers(spdy.write_headers(headers)) == headers


def test_of_several_values_the_first_counts() -> None:
    assert spdy.read_headers(spdy.write_headers({"Port": "80\x0090"})) == {"port": "80"}


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">HHI", 0x8002, 1, 0),
        struct.pack(">HHI", 0x8003, 1, 4) + b"\0\0\0\1",
        struct.pack(">HHI", 0x8003, 6, 1) + b"\0",
        struct.pack(">HHI", 0x8003, 1, 14) + bytes(10) + b"junk",
        struct.pack(">II", 1, 0x200000),
    ],
    ids=["version", "short", "short ping", "headers", "too long"],
)
def test_what_is_no_spdy_is_refused(data: bytes) -> None:
    with pytest.raises(spdy.SpdyError):
        list(spdy.Connection().receive(data))


def test_headers_that_grow_without_end_are_refused() -> None:
    client = spdy.Connection()
    with pytest.raises(spdy.SpdyError, match="more than"):
        list(spdy.Connection().receive(client.open(1, {"a": "x" * 1_000_000})))


@given(st.binary())
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    try:
        list(spdy.Connection().receive(data))
    except spdy.SpdyError:
        return
