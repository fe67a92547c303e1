"""SPDY/3.1 framing for the side that streams are opened to, without I/O: bytes in, events out, frames out.

Source: the SPDY protocol, drafts 3 and 3.1. kubectl carries these frames in the messages of a WebSocket to forward
ports. Flow control is not kept: the clients that there are never send a WINDOW_UPDATE, and what is underneath
slows a sender down already. Frames of unknown types are skipped, as the protocol has it.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

VERSION: Final = 3
FIN: Final = 0x01
# Frames of more are refused; the clients write at most 32 KiB at a time.
FRAME_BYTES: Final = 1 << 20
HEADERS_BYTES: Final = 64 << 10

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
)
_NAMES = (*_WORDS.split(), "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
# What both sides' compressors know from the start; the protocol gives it byte for byte.
DICTIONARY: Final = b"".join(len(name).to_bytes(4, "big") + name.encode() for name in _NAMES) + _TEXT.encode()


class FrameType(IntEnum):
    """Control frames."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class Reset(IntEnum):
    """Why a stream is reset."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    CANCEL = 5
    INTERNAL_ERROR = 6
    FLOW_CONTROL_ERROR = 7


class SpdyError(ValueError):
    """The peer breaks the protocol: the connection is of no further use."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream that the peer opens. ends: it will send nothing on it."""

    stream: int
    headers: Mapping[str, str]
    ends: bool = False


@dataclass(frozen=True, slots=True)
class Headers:
    """More headers of a stream."""

    stream: int
    headers: Mapping[str, str]
    ends: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a stream; with `ends` the last ones."""

    stream: int
    data: bytes
    ends: bool = False


@dataclass(frozen=True, slots=True)
class WasReset:
    """The peer has given a stream up."""

    stream: int
    status: int


@dataclass(frozen=True, slots=True)
class Ping:
    """To be answered by the same number, if the peer began it."""

    number: int

    @property
    def is_of_client(self) -> bool:
        """Whether a client began it."""
        return self.number % 2 == 1


@dataclass(frozen=True, slots=True)
class GoAway:
    """The peer opens no more streams."""

    last_stream: int


Event = Opened | Headers | Data | WasReset | Ping | GoAway


class Connection:
    """One connection. Frames that it makes have to be sent in the order in which they were made."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def receive(self, data: bytes) -> Iterator[Event]:
        """What the next bytes of the peer mean; to be iterated to the end. Raises SpdyError."""
        self._buffer += data
        while len(self._buffer) >= 8:
            word, length = struct.unpack_from(">II", self._buffer)
            flags, length = length >> 24, length & 0xFFFFFF
            if length > FRAME_BYTES:
                raise SpdyError(f"a frame of {length} bytes")
            if len(self._buffer) < 8 + length:
                return
            payload = bytes(self._buffer[8 : 8 + length])
            del self._buffer[: 8 + length]
            if not word >> 31:
                yield Data(word, payload, bool(flags & FIN))
            elif (event := self._control(word, bool(flags & FIN), payload)) is not None:
                yield event

    def _control(self, word: int, ends: bool, payload: bytes) -> Event | None:
        if word >> 16 & 0x7FFF != VERSION:
            raise SpdyError(f"version {word >> 16 & 0x7FFF} of SPDY")
        try:
            match word & 0xFFFF:
                case FrameType.SYN_STREAM:
                    (stream,) = struct.unpack_from(">I4x2x", payload)
                    return Opened(stream & 0x7FFFFFFF, self._headers(payload[10:]), ends)
                case FrameType.HEADERS | FrameType.SYN_REPLY:
                    (stream,) = struct.unpack_from(">I", payload)
                    return Headers(stream & 0x7FFFFFFF, self._headers(payload[4:]), ends)
                case FrameType.RST_STREAM:
                    stream, status = struct.unpack(">II", payload)
                    return WasReset(stream & 0x7FFFFFFF, status)
                case FrameType.PING:
                    return Ping(*struct.unpack(">I", payload))
                case FrameType.GOAWAY:
                    last, _ = struct.unpack(">II", payload)
                    return GoAway(last & 0x7FFFFFFF)
        except struct.error as failure:
            raise SpdyError(f"a frame of type {word & 0xFFFF} is cut short") from failure
        return None

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block, HEADERS_BYTES)
        except zlib.error as failure:
            raise SpdyError(f"headers cannot be read: {failure}") from failure
        if self._inflate.unconsumed_tail:
            raise SpdyError(f"headers of more than {HEADERS_BYTES} bytes")
        return read_headers(plain)

    def open(self, stream: int, headers: Mapping[str, str], *, ends: bool = False) -> bytes:
        """The frame that opens a stream."""
        return self._with_headers(FrameType.SYN_STREAM, struct.pack(">II2x", stream, 0), headers, ends)

    def reply(self, stream: int, headers: Mapping[str, str] | None = None) -> bytes:
        """The frame that accepts a stream."""
        return self._with_headers(FrameType.SYN_REPLY, struct.pack(">I", stream), headers or {}, False)

    def _with_headers(self, type_: FrameType, prefix: bytes, headers: Mapping[str, str], ends: bool) -> bytes:
        block = self._deflate.compress(write_headers(headers)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return _control(type_, prefix + block, FIN if ends else 0)


def data(stream: int, content: bytes, *, ends: bool = False) -> bytes:
    """A frame of bytes of a stream."""
    return struct.pack(">II", stream, (FIN if ends else 0) << 24 | len(content)) + content


def reset(stream: int, status: Reset) -> bytes:
    """The frame that gives a stream up."""
    return _control(FrameType.RST_STREAM, struct.pack(">II", stream, status))


def ping(number: int) -> bytes:
    """A ping, or the answer to one."""
    return _control(FrameType.PING, struct.pack(">I", number))


def go_away(last_stream: int) -> bytes:
    """The frame that says that no more streams are taken."""
    return _control(FrameType.GOAWAY, struct.pack(">II", last_stream, 0))


def _control(type_: FrameType, payload: bytes, flags: int = 0) -> bytes:
    return struct.pack(">HHI", 0x8000 | VERSION, type_, flags << 24 | len(payload)) + payload


def write_headers(headers: Mapping[str, str]) -> bytes:
    """The block of headers, not yet compressed. Names are lower-case on the wire."""
    parts = [struct.pack(">I", len(headers))]
    for pair in headers.items():
        for text in (pair[0].lower(), pair[1]):
            encoded = text.encode()
            parts += [struct.pack(">I", len(encoded)), encoded]
    return b"".join(parts)


def read_headers(block: bytes) -> dict[str, str]:
    """The headers of a block; of several values of a name the first. Raises SpdyError."""
    offset = 4

    def text() -> str:
        nonlocal offset
        (length,) = struct.unpack_from(">I", block, offset)
        begin, offset = offset + 4, offset + 4 + length
        if offset > len(block):
            raise SpdyError("headers are cut short")
        return block[begin:offset].decode("utf-8", "replace")

    try:
        (count,) = struct.unpack_from(">I", block)
        found = {}
        for _ in range(count):
            name = text()
            found[name.lower()] = text().split("\0")[0]
    except struct.error as failure:
        raise SpdyError("headers are cut short") from failure
    return found
