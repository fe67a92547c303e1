import struct
from collections.abc import Iterator

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.services.base.http2 import connection
from navarch.services.base.http2 import server_connection as http2
from navarch.services.base.http2.connection import Headers, Stream
from navarch.services.base.http2.frames import PREFACE, Code, ProtocolError, literal
from navarch.services.base.http2.server_connection import ServerConnection

DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, PADDED = 1, 4, 8
Frame = tuple[int, int, int, bytes]


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream_id) + payload


def frames(data: bytes) -> Iterator[Frame]:
    while data:
        size = int.from_bytes(data[:3], "big")
        kind, flags, stream_id = struct.unpack(">BBI", data[3:9])
        yield kind, flags, stream_id, data[9 : 9 + size]
        data = data[9 + size :]


class Owner:
    """Notes what happens to a stream."""

    def __init__(self, stream: Stream, headers: Headers) -> None:
        self.stream = stream
        self.headers = headers
        self.data = b""
        self.events: list[str] = []

    def received(self, data: bytes, ended: bool) -> None:
        self.data += data
        if ended:
            self.events.append("ended")

    def drained(self) -> None:
        self.events.append("drained")

    def was_reset(self) -> None:
        self.events.append("reset")


class Peer:
    """A client that speaks frame by frame, and what the server made of it."""

    def __init__(self) -> None:
        self.owners: list[Owner] = []
        self.connection = ServerConnection(self.open)
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.connection.take()
        self.connection.receive(PREFACE)

    def open(self, stream: Stream, headers: Headers) -> Owner:
        self.owners.append(Owner(stream, headers))
        return self.owners[-1]

    def says(self, *said: bytes) -> list[Frame]:
        for one in said:
            self.connection.receive(one)
        return self.hears()

    def hears(self) -> list[Frame]:
        return list(frames(self.connection.take()))

    def block(self, **fields: str) -> bytes:
        return self.encoder.encode([(f":{name}", value) for name, value in fields.items()])

    def begins(self, stream_id: int = 1, flags: int = 0) -> Owner:
        assert not self.says(frame(HEADERS, flags | END_HEADERS, stream_id, self.block(path="/a")))
        return self.owners[-1]


@pytest.fixture
def peer() -> Peer:
    return Peer()


def test_a_request_in_single_bytes(peer: Peer) -> None:
    said = frame(HEADERS, END_HEADERS, 1, peer.block(method="POST", path="/a")) + frame(DATA, END_STREAM, 1, b"xyz")
    for i in range(len(said)):
        peer.connection.receive(said[i : i + 1])
    (owner,) = peer.owners
    assert (owner.headers, owner.data, owner.events) == ([(b":method", b"POST"), (b":path", b"/a")], b"xyz", ["ended"])


def test_an_answer_is_headers_data_and_trailers(peer: Peer) -> None:
    owner = peer.begins(flags=END_STREAM)
    peer.connection.answer(owner.stream, b"\x88", b"data", literal(b"grpc-status", b"0"))
    heard = peer.hears()
    assert [one[:3] for one in heard] == [(HEADERS, 4, 1), (DATA, 0, 1), (HEADERS, 5, 1)]
    assert [one[3] for one in heard[:2]] == [b"\x88", b"data"]
    assert list(peer.decoder.decode(heard[2][3])) == [("grpc-status", "0")]
    assert not peer.connection.streams


def test_an_answer_before_the_end_of_the_request_ends_both(peer: Peer) -> None:
    owner = peer.begins()
    peer.connection.answer(owner.stream, b"\x88", b"data", b"\x88")
    assert [one[:2] for one in peer.hears()] == [(HEADERS, 4), (DATA, 0), (HEADERS, 5), (RESET, 0)]
    assert not peer.says(frame(DATA, END_STREAM, 1, b"late"))


def test_data_waits_for_the_peers_window_and_trailers_wait_for_data(peer: Peer) -> None:
    peer.says(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 10)))
    owner = peer.begins(flags=END_STREAM)
    peer.connection.send_headers(owner.stream, b"\x88")
    assert not peer.connection.send(owner.stream, b"0123456789abcdef")
    peer.connection.finish(owner.stream, b"\x88")
    assert [one[3] for one in peer.hears()] == [b"\x88", b"0123456789"]
    assert peer.says(frame(WINDOW, 0, 1, struct.pack(">I", 2))) == [(DATA, 0, 1, b"ab")]
    # A larger initial window is one for streams that exist, too.
    heard = peer.says(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 14)))
    assert [one[:2] for one in heard] == [(SETTINGS, 1), (DATA, 0), (HEADERS, 5)]
    assert owner.events == ["ended", "drained"]


def test_large_data_is_cut_into_frames_and_held_by_the_connections_window(peer: Peer) -> None:
    peer.says(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 20)))
    owner = peer.begins(flags=END_STREAM)
    assert not peer.connection.send(owner.stream, bytes(70_000))
    assert [len(one[3]) for one in peer.hears()] == [16384, 16384, 16384, 16383]
    assert [len(one[3]) for one in peer.says(frame(WINDOW, 0, 0, struct.pack(">I", 1 << 20)))] == [70_000 - 65_535]


def test_headers_may_come_in_pieces_padded_and_with_priority(peer: Peer) -> None:
    block = peer.block(path="/" + "a" * 100)
    first = b"\x03" + bytes(5) + block[:7] + bytes(3)
    peer.says(frame(HEADERS, PADDED | 0x20 | END_STREAM, 1, first), frame(CONTINUATION, 0, 1, block[7:20]))
    assert not peer.owners
    peer.says(frame(CONTINUATION, END_HEADERS, 1, block[20:]))
    assert peer.owners[0].headers == [(b":path", b"/" + b"a" * 100)]
    assert peer.owners[0].events == ["ended"]


def test_the_same_bytes_mean_other_headers_once_the_table_has_changed(peer: Peer) -> None:
    newest = b"\xbe"
    for i, value in enumerate((b"one", b"one", b"two", b"two")):
        block = b"\x40\x01x" + bytes((len(value),)) + value if i % 2 == 0 else newest
        peer.says(frame(HEADERS, END_HEADERS, 2 * i + 1, block))
    assert [owner.headers for owner in peer.owners] == [[(b"x", b"one")]] * 2 + [[(b"x", b"two")]] * 2


def test_what_is_large_is_credited_as_it_is_consumed(peer: Peer) -> None:
    owner = peer.begins()
    chunk = frame(DATA, 0, 1, bytes(16384))
    heard = peer.says(*[chunk] * 64)
    assert heard == [(WINDOW, 0, 0, struct.pack(">I", 1 << 20))]
    peer.says(*[chunk] * 64)
    peer.connection.credit(owner.stream)
    assert peer.hears() == [(WINDOW, 0, 1, struct.pack(">I", 2 << 20))]
    heard = peer.says(*[chunk] * 257)
    assert (RESET, 0, 1, struct.pack(">I", Code.FLOW_CONTROL_ERROR)) in heard
    assert owner.events == ["reset"]


def test_a_reset_ends_a_stream_and_nothing_else(peer: Peer) -> None:
    owner, other = peer.begins(1), peer.begins(3)
    assert not peer.says(frame(RESET, 0, 1, bytes(4)))
    assert (owner.events, other.events) == (["reset"], [])
    assert list(peer.connection.streams) == [3]


def test_streams_beyond_the_limit_are_refused(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "MAX_STREAMS", 2)
    peer.begins(1), peer.begins(3)
    refused = (RESET, 0, 5, struct.pack(">I", Code.REFUSED_STREAM))
    assert peer.says(frame(HEADERS, END_HEADERS, 5, peer.block(path="/a"))) == [refused]


def test_after_going_away_no_stream_is_begun_and_those_there_go_on(peer: Peer) -> None:
    owner = peer.begins(1)
    peer.connection.go_away()
    assert [one[0] for one in peer.hears()] == [GOAWAY]
    assert [one[0] for one in peer.says(frame(HEADERS, END_HEADERS, 3, peer.block(path="/a")))] == [RESET]
    peer.says(frame(DATA, END_STREAM, 1, b"x"))
    assert owner.data == b"x"


def test_pings_are_answered_and_what_is_unknown_is_ignored(peer: Peer) -> None:
    assert peer.says(frame(PING, 0, 0, b"12345678")) == [(PING, 1, 0, b"12345678")]
    assert not peer.says(frame(PING, 1, 0, b"12345678"), frame(0x42, 0, 0, b"?"), frame(2, 0, 1, bytes(5)))


@pytest.mark.parametrize(
    ("said", "code"),
    [
        pytest.param([frame(DATA, 0, 0, bytes(16385))], Code.FRAME_SIZE_ERROR, id="large frame"),
        pytest.param([frame(DATA, 0, 9, b"x")], Code.PROTOCOL_ERROR, id="data on an idle stream"),
        pytest.param([frame(HEADERS, 4, 2, b"\x82")], Code.PROTOCOL_ERROR, id="even stream"),
        pytest.param([frame(HEADERS, 4, 1, b"\xff\xff\xff")], Code.COMPRESSION_ERROR, id="bad header block"),
        pytest.param([frame(HEADERS, 4, 1, b"\x82")] * 2, Code.PROTOCOL_ERROR, id="headers twice"),
        pytest.param([frame(HEADERS, 12, 1, b"\x09\x82")], Code.PROTOCOL_ERROR, id="padding too long"),
        pytest.param([frame(CONTINUATION, 4, 1, b"\x82")], Code.PROTOCOL_ERROR, id="continues nothing"),
        pytest.param([frame(HEADERS, 0, 1, b"\x82"), frame(PING, 0, 0, bytes(8))], Code.PROTOCOL_ERROR, id="torn"),
        pytest.param(
            [frame(HEADERS, 0, 1, b"\x82"), *[frame(CONTINUATION, 0, 1)] * 2], Code.ENHANCE_YOUR_CALM, id="empty pieces"
        ),
        pytest.param(
            [frame(HEADERS, 0, 1, b"\x82"), *[frame(CONTINUATION, 0, 1, bytes(16384))] * 33],
            Code.ENHANCE_YOUR_CALM,
            id="endless headers",
        ),
        pytest.param(
            [frame(HEADERS, 0, 1, b"\x82"), *[frame(CONTINUATION, 0, 1, b"\x82")] * 64],
            Code.ENHANCE_YOUR_CALM,
            id="endless small pieces",
        ),
        pytest.param([frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff")], Code.FLOW_CONTROL_ERROR, id="window overflow"),
        pytest.param([frame(WINDOW, 0, 0, b"x")], Code.FRAME_SIZE_ERROR, id="short window update"),
        pytest.param([frame(SETTINGS, 0, 0, b"x")], Code.FRAME_SIZE_ERROR, id="short settings"),
        pytest.param([frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 1))], Code.PROTOCOL_ERROR, id="tiny frames"),
        pytest.param(
            [frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31))], Code.FLOW_CONTROL_ERROR, id="vast window"
        ),
        pytest.param([frame(PING, 0, 0, b"x")], Code.FRAME_SIZE_ERROR, id="short ping"),
        pytest.param([frame(5, 0, 1, b"")], Code.PROTOCOL_ERROR, id="push"),
    ],
)
def test_who_breaks_the_protocol_is_told_how(peer: Peer, said: list[bytes], code: Code) -> None:
    with pytest.raises(ProtocolError):
        peer.says(*said)
    kind, _, _, payload = peer.hears()[-1]
    assert (kind, int.from_bytes(payload[4:8], "big")) == (GOAWAY, code)


def u32(value: int) -> bytes:
    return struct.pack(">I", value)


def setting(number: int, value: int) -> bytes:
    return struct.pack(">HI", number, value)


def test_calls_begun_and_taken_back_without_end_end_the_connection(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "MAX_STRAIN", 10)
    for number in range(1, 20, 2):
        peer.begins(number)
        peer.says(frame(RESET, 0, number, bytes(4)))
    assert [owner.events for owner in peer.owners] == [["reset"]] * 10
    peer.begins(21)
    with pytest.raises(ProtocolError) as refused:
        peer.says(frame(RESET, 0, 21, bytes(4)))
    assert refused.value.code == Code.ENHANCE_YOUR_CALM


def test_streams_that_the_server_is_made_to_reset_count_too(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "MAX_STRAIN", 3)
    for number in (1, 3, 5):
        peer.begins(number)
        assert [one[0] for one in peer.says(frame(WINDOW, 0, number, u32((1 << 31) - 1)))] == [RESET]
    peer.begins(7)
    with pytest.raises(ProtocolError):
        peer.says(frame(WINDOW, 0, 7, u32((1 << 31) - 1)))


def test_time_forgives(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "MAX_STRAIN", 2)
    for number in range(1, 40, 2):
        peer.begins(number)
        peer.says(frame(RESET, 0, number, bytes(4)))
        peer.connection.forgive()


def test_a_flood_of_settings_ends_the_connection(peer: Peer) -> None:
    with pytest.raises(ProtocolError) as refused:
        peer.says(*[frame(SETTINGS, 0, 0, setting(4, 10))] * 2000)
    assert refused.value.code == Code.ENHANCE_YOUR_CALM


def test_of_many_settings_in_a_frame_the_last_counts(peer: Peer) -> None:
    owner = peer.begins(flags=END_STREAM)
    peer.says(frame(SETTINGS, 0, 0, setting(4, 1 << 20) * 2000 + setting(4, 3)))
    peer.connection.send(owner.stream, b"abcdef")
    assert [one[3] for one in peer.hears()] == [b"abc"]
    with pytest.raises(ProtocolError):
        peer.says(frame(SETTINGS, 0, 0, setting(4, 1 << 31) + setting(4, 3)))


def test_streams_that_wait_for_the_connection_are_served_in_turn(peer: Peer) -> None:
    peer.says(frame(SETTINGS, 0, 0, setting(4, 1 << 20)))
    owners = [peer.begins(number, END_STREAM) for number in (1, 3, 5)]
    peer.connection.send(owners[0].stream, bytes(65_535))
    for owner in owners:
        peer.connection.send(owner.stream, b"abc")
    peer.hears()
    said = [peer.says(frame(WINDOW, 0, 0, u32(2))) for _ in range(5)]
    assert [[(one[2], one[3]) for one in heard] for heard in said] == [
        [(1, b"ab")],
        [(3, b"ab")],
        [(5, b"ab")],
        [(1, b"c"), (3, b"c")],
        [(5, b"c")],
    ]
    assert [owner.events for owner in owners] == [["ended", "drained"]] * 3


def test_a_stream_that_waits_for_its_own_window_is_none_that_waits_for_the_connections(peer: Peer) -> None:
    peer.says(frame(SETTINGS, 0, 0, setting(4, 0)))
    owner = peer.begins(flags=END_STREAM)
    peer.connection.send(owner.stream, b"abc")
    assert not peer.connection._blocked
    assert not peer.says(frame(WINDOW, 0, 0, u32(9)))
    assert peer.says(frame(WINDOW, 0, 1, u32(9))) == [(DATA, 0, 1, b"abc")]
    assert owner.events == ["ended", "drained"]


def test_what_a_peer_does_not_take_is_bounded(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_QUEUED_BYTES", 100)
    peer.says(frame(SETTINGS, 0, 0, setting(4, 0)))
    first, second = peer.begins(1, END_STREAM), peer.begins(3, END_STREAM)
    assert not peer.connection.send(first.stream, bytes(60))
    peer.connection.send(second.stream, bytes(60))
    assert peer.hears() == [(RESET, 0, 3, u32(Code.ENHANCE_YOUR_CALM))]
    assert (first.events, second.events) == (["ended"], ["ended", "reset"])
    # What is over is not counted any more.
    peer.says(frame(RESET, 0, 1, bytes(4)))
    third = peer.begins(5, END_STREAM)
    assert not peer.connection.send(third.stream, bytes(90))
    assert not peer.hears()


def test_a_peer_without_a_header_table_is_told_that_we_use_none(peer: Peer) -> None:
    peer.decoder.max_allowed_table_size = 0
    assert [one[:2] for one in peer.says(frame(SETTINGS, 0, 0, setting(1, 0)))] == [(SETTINGS, 1)]
    for number, prefix in ((1, b"\x20"), (3, b"")):
        owner = peer.begins(number, END_STREAM)
        peer.connection.answer(owner.stream, b"\x88", b"data", literal(b"grpc-status", b"0"))
        headers, data, trailers = peer.hears()
        assert (headers[3], data[3]) == (prefix + b"\x88", b"data")
        assert list(peer.decoder.decode(headers[3])) == [(":status", "200")]
        assert list(peer.decoder.decode(trailers[3])) == [("grpc-status", "0")]


def test_large_header_blocks_are_not_kept(peer: Peer) -> None:
    for number in range(1, 40, 2):
        peer.says(frame(HEADERS, END_HEADERS, number, literal(b"x", b"%d" % number + bytes(5000))))
    assert not peer.connection._blocks


def test_another_protocol_is_refused_at_its_first_bytes() -> None:
    connection = ServerConnection(Owner)
    with pytest.raises(ProtocolError):
        connection.receive(b"GET / HTTP/1.1\r\n")


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 255), st.integers(0, 9), st.binary(max_size=40))))
def test_whatever_comes_is_understood_or_refused(said: list[Frame]) -> None:
    peer = Peer()
    try:
        for kind, flags, stream_id, payload in said:
            peer.says(frame(kind, flags, stream_id, payload))
            for stream in list(peer.connection.streams.values()):
                peer.connection.send(stream, b"data")
    except ProtocolError:
        assert peer.hears()[-1][0] == GOAWAY
