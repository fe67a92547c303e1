"""Questions to the kernel's nf_tables that cost next to nothing, however large the table is.

Each transaction, whoever runs it, counts the kernel's generation up by one: as long as it stands where our last one
left it, nobody has changed anything. If not, the table's rules and elements are counted, without decoding them.
nft itself would load all of them to answer.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

# linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h
_NETLINK_NETFILTER = 12
_SUBSYSTEM = 10 << 8
_NEWRULE, _GETRULE = _SUBSYSTEM | 6, _SUBSYSTEM | 7
_NEWSETELEM, _GETSETELEM = _SUBSYSTEM | 12, _SUBSYSTEM | 13
_NEWGEN, _GETGEN = _SUBSYSTEM | 15, _SUBSYSTEM | 16
_ERROR, _DONE = 2, 3
_REQUEST, _DUMP = 0x1, 0x300
_FAMILY_INET = 1
_TABLE_NAME, _SET_NAME, _SET_ELEMENTS, _GENERATION_ID = 1, 2, 3, 1
_TYPE_MASK = 0x3FFF
_HEADER = struct.Struct("=IHHII")
_GENERIC = struct.Struct(">BBH")
_ATTRIBUTE = struct.Struct("=HH")
_BUFFER_BYTES = 1 << 18
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Counts:
    """How much a table holds. elements: by set."""

    rules: int
    elements: dict[str, int]


class Nftables:
    """A socket to the kernel, of the network namespace of the thread that makes it. Raises OSError."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        self._socket.settimeout(_TIMEOUT_S)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    def generation(self) -> int:
        """The number of the ruleset's present state. Raises OSError."""
        for kind, payload in self._ask(_GETGEN, 0, b""):
            if kind == _NEWGEN:
                for attribute, value in _attributes(payload):
                    if attribute == _GENERATION_ID:
                        return int.from_bytes(value, "big")
        raise OSError(errno.EPROTO, "the kernel did not tell its generation")

    def counts(self, table: str, sets: Iterable[str]) -> Counts | None:
        """How much a table of family inet holds in these sets; None if it, or one of them, is not there."""
        name = _attribute(_TABLE_NAME, table.encode() + b"\0")
        try:
            rules = sum(
                1
                for kind, payload in self._ask(_GETRULE, _FAMILY_INET, name, dump=True)
                if kind == _NEWRULE and (_TABLE_NAME, table.encode() + b"\0") in _attributes(payload)
            )
            elements = {set: self._elements(name, set) for set in sets}
        except FileNotFoundError:
            return None
        return Counts(rules, elements)

    def _elements(self, table: bytes, set: str) -> int:
        question = table + _attribute(_SET_NAME, set.encode() + b"\0")
        count = 0
        for kind, payload in self._ask(_GETSETELEM, _FAMILY_INET, question, dump=True):
            if kind == _NEWSETELEM:
                for attribute, value in _attributes(payload):
                    if attribute == _SET_ELEMENTS:
                        count += sum(1 for _ in _walk(value, 0))
        return count

    def _ask(self, kind: int, family: int, body: bytes, *, dump: bool = False) -> Iterator[tuple[int, bytes]]:
        """The answers: type and payload of each message. Raises OSError with what the kernel refused with."""
        self._sequence += 1
        size = _HEADER.size + _GENERIC.size + len(body)
        header = _HEADER.pack(size, kind, _REQUEST | (_DUMP if dump else 0), self._sequence, 0)
        self._socket.send(header + _GENERIC.pack(family, 0, 0) + body)
        while True:
            data = self._socket.recv(_BUFFER_BYTES)
            place = 0
            while place + _HEADER.size <= len(data):
                size, answer, _, sequence, _ = _HEADER.unpack_from(data, place)
                payload = data[place + _HEADER.size : place + size]
                place += (size + 3) & ~3
                # What an earlier question that was given up still gets.
                if sequence != self._sequence:
                    continue
                if answer in (_ERROR, _DONE):
                    code = -struct.unpack_from("=i", payload)[0] if len(payload) >= 4 else 0
                    if code > 0:
                        raise OSError(code, os.strerror(code))
                    return
                yield answer, payload[_GENERIC.size :]
                if not dump:
                    return


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def _attributes(payload: bytes) -> Iterator[tuple[int, bytes]]:
    for kind, start, end in _walk(payload, 0):
        yield kind, payload[start:end]


def _walk(data: bytes, place: int) -> Iterator[tuple[int, int, int]]:
    """The type, start and end of each attribute's value."""
    while place + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, place)
        if size < _ATTRIBUTE.size:
            return
        yield kind & _TYPE_MASK, place + _ATTRIBUTE.size, place + size
        place += (size + 3) & ~3
