"""CRI's log format, fed whole and byte by byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.runtime_shim.containerd.logformat import LINE_BYTES, LineFormatter, timestamp

NOW = 1_700_000_000_123_456_789
X = b"x" * LINE_BYTES
TIME = b"2023-11-14T22:13:20.123456789Z"


def parse(log: bytes) -> list[tuple[bytes, bytes]]:
    records = [line.split(b" ", 3) for line in log.split(b"\n")[:-1]]
    assert all(time == TIME and stream == b"stdout" for time, stream, _, _ in records)
    return [(tag, text) for _, _, tag, text in records]


def test_timestamp_keeps_all_digits() -> None:
    assert timestamp(NOW) == TIME
    assert timestamp(NOW // 10**9 * 10**9 + 7).endswith(b".000000007Z")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"one\n", [(b"F", b"one")]),
        (b"one\n\ntwo\n", [(b"F", b"one"), (b"F", b""), (b"F", b"two")]),
        (b"carriage\r\n", [(b"F", b"carriage\r")]),
        (b"x" * LINE_BYTES + b"\n", [(b"F", b"x" * LINE_BYTES)]),
        (b"x" * (LINE_BYTES + 1) + b"\n", [(b"P", b"x" * LINE_BYTES), (b"F", b"x")]),
        (
            b"a\n" + b"x" * (2 * LINE_BYTES + 5) + b"\nb\n",
            [(b"F", b"a"), (b"P", X), (b"P", X), (b"F", b"xxxxx"), (b"F", b"b")],
        ),
    ],
)
def test_whole_lines(data: bytes, expected: list[tuple[bytes, bytes]]) -> None:
    assert parse(LineFormatter("stdout").feed(data, NOW)) == expected


def test_a_line_comes_in_pieces() -> None:
    formatter = LineFormatter("stdout")
    assert formatter.feed(b"begin, ", NOW) == b""
    assert parse(formatter.feed(b"end\nnext", NOW)) == [(b"F", b"begin, end")]
    assert parse(formatter.flush(NOW)) == [(b"P", b"next")]
    assert formatter.flush(NOW) == b""


def test_what_was_flushed_half_way_goes_on() -> None:
    formatter = LineFormatter("stdout")
    formatter.feed(b"begin, ", NOW)
    assert parse(formatter.flush(NOW)) == [(b"P", b"begin, ")]
    assert parse(LineFormatter("stdout").feed(b"end\n", NOW)) == [(b"F", b"end")]


@given(st.lists(st.binary(max_size=3 * LINE_BYTES), max_size=6))
def test_no_byte_is_lost_however_it_is_cut(pieces: list[bytes]) -> None:
    formatter = LineFormatter("stdout")
    log = b"".join(formatter.feed(piece, NOW) for piece in pieces) + formatter.flush(NOW)
    records = parse(log)
    assert b"".join(text + (b"\n" if tag == b"F" else b"") for tag, text in records) == b"".join(pieces)
    assert all(len(text) <= LINE_BYTES for _, text in records)
