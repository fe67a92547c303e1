"""Queries and responses as bytes (RFC 1035, 4; EDNS: RFC 6891). Pure.

A query is parsed strictly: whatever is not exactly a header, one question and additional records is malformed. The
parts of a response behind the question are encoded once (`Body`) and fitted to each client's size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from navarch.services.dns.names import MalformedName, Name, from_wire, to_wire
from navarch.services.dns.records import Rcode, Record, Type

HEADER_BYTES = 12
# What a client without EDNS takes, and what we send at most: less than any path to a Pod carries unfragmented.
PLAIN_UDP_BYTES = 512
MAX_UDP_BYTES = 1232
MAX_TCP_BYTES = 65535
OPT_BYTES = 11
# More would be of no use, and a bounded number of rotations is as fair.
MAX_ROTATIONS = 16

QR, AA, TC, RD = 0x80, 0x04, 0x02, 0x01
RA, CD = 0x80, 0x10
DO = 0x8000


class Unanswerable(Exception):
    """Bytes that get no answer at all: too short for a header, or a response themselves."""


class MalformedQuery(Exception):
    """A query that gets only a header with this response code."""

    def __init__(self, rcode: Rcode, reason: str) -> None:
        super().__init__(reason)
        self.rcode = rcode


@dataclass(frozen=True, slots=True)
class Edns:
    """What a client's OPT record says. size: of UDP responses, in bytes. do: it wants DNSSEC records."""

    size: int
    version: int
    do: bool


@dataclass(frozen=True, slots=True)
class Query:
    """One question. question: its bytes, in the client's spelling. name: in lower case."""

    id: bytes
    rd: bool
    cd: bool
    question: bytes
    name: Name
    type: int
    klass: int
    edns: Edns | None

    def limit(self, udp: bool) -> int:
        """The most bytes that a response may have."""
        if not udp:
            return MAX_TCP_BYTES
        return PLAIN_UDP_BYTES if self.edns is None else max(PLAIN_UDP_BYTES, min(self.edns.size, MAX_UDP_BYTES))


def parse(data: bytes) -> Query:
    """Read a query. Raises Unanswerable and MalformedQuery."""
    if len(data) < HEADER_BYTES:
        raise Unanswerable(f"{len(data)} bytes are no message")
    if data[2] & QR:
        raise Unanswerable("a response, not a query")
    if data[2] & 0x78:
        raise MalformedQuery(Rcode.NOTIMP, f"opcode {data[2] >> 3 & 15}; only 0, a query, is served")
    questions, answers, authorities, additionals = (int.from_bytes(data[at : at + 2]) for at in (4, 6, 8, 10))
    if questions != 1 or answers or authorities:
        counts = f"{questions} questions, {answers} answers and {authorities} authorities"
        raise MalformedQuery(Rcode.FORMERR, f"{counts}; a query has one question")
    try:
        name, at = from_wire(data, HEADER_BYTES)
        if at + 4 > len(data):
            raise MalformedName("the message ends within its question")
        edns = _edns(data, at + 4, additionals)
    except MalformedName as failure:
        raise MalformedQuery(Rcode.FORMERR, str(failure)) from None
    number, klass = int.from_bytes(data[at : at + 2]), int.from_bytes(data[at + 2 : at + 4])
    rd, cd = bool(data[2] & RD), bool(data[3] & CD)
    return Query(data[:2], rd, cd, data[HEADER_BYTES : at + 4], name, number, klass, edns)


def _edns(data: bytes, at: int, count: int) -> Edns | None:
    """The OPT record among the additional ones, the others of which are only stepped over."""
    found = None
    for _ in range(count):
        root = data[at : at + 1] == b"\0"
        at = _behind_name(data, at)
        fields = data[at : at + 10]
        begin = at + 10
        at = begin + int.from_bytes(fields[8:10])
        if len(fields) < 10 or at > len(data):
            raise MalformedName("the message ends within an additional record")
        if int.from_bytes(fields[:2]) != Type.OPT:
            continue
        if found is not None or not root:
            raise MalformedName("an OPT record of which there may be one, at the root")
        _check_options(data, begin, at)
        found = Edns(int.from_bytes(fields[2:4]), fields[5], bool(fields[6] & 0x80))
    if at != len(data):
        raise MalformedName(f"{len(data) - at} bytes behind the end of the message")
    return found


def _behind_name(data: bytes, at: int) -> int:
    """Step over a name, which may end in a pointer that nobody follows."""
    while at < len(data):
        length = data[at]
        if length >= 0xC0:
            return at + 2
        if length > 63:
            break
        at += 1 + length
        if length == 0:
            return at
    raise MalformedName("an additional record without a proper name")


def _check_options(data: bytes, at: int, end: int) -> None:
    while at < end:
        if at + 4 > end:
            raise MalformedName("an EDNS option that is cut off")
        at += 4 + int.from_bytes(data[at + 2 : at + 4])
    if at != end:
        raise MalformedName("an EDNS option that is longer than its record")


class Body:
    """All of a response behind its question, in parts that are put together for each client.

    question: in whose name's suffixes owners are compressed, which also gives them the client's spelling.
    """

    __slots__ = ("additional", "answers", "authority", "rotates", "size")

    def __init__(
        self,
        question: Name,
        answers: Sequence[Record],
        authority: Sequence[Record] = (),
        additional: Sequence[Record] = (),
    ) -> None:
        offsets = _suffixes(question)
        at = HEADER_BYTES + len(to_wire(question)) + 4
        sections = []
        for section in (answers, authority, additional):
            encoded = []
            for record in section:
                encoded.append(_encode(record, offsets, at))
                at += len(encoded[-1])
            sections.append(encoded)
        self.answers, self.authority, self.additional = sections
        self.size = sum(len(part) for section in sections for part in section)
        # Where each answer stands for itself, none refers to another's place.
        self.rotates = len(answers) > 1 and all(
            record.name == question and record.type == answers[0].type for record in answers
        )

    def rotations(self) -> int:
        """In how many orders the answers may be given."""
        return min(len(self.answers), MAX_ROTATIONS) if self.rotates else 1

    def fitted(self, room: int, turn: int = 0) -> tuple[bytes, bytes, bool]:
        """The counts of the three sections, their bytes, and whether answers are missing (TC).

        room: in bytes, behind the question. turn: which rotation. Additional records go first, being of convenience
        only; then authority; then the answers that do not fit.
        """
        answers, authority, additional = self.answers, self.authority, self.additional
        if turn and self.rotates:
            turn %= len(answers)
            answers = answers[turn:] + answers[:turn]
        if self.size <= room:
            parts = (*answers, *authority, *additional)
            return _counts(len(answers), len(authority), len(additional)), b"".join(parts), False
        shown = b"".join((*answers, *authority))
        if len(shown) <= room:
            return _counts(len(answers), len(authority), 0), shown, False
        kept, size = 0, 0
        for part in answers:
            if size + len(part) > room:
                break
            kept, size = kept + 1, size + len(part)
        return _counts(kept, 0, 0), b"".join(answers[:kept]), kept < len(answers) or not answers


def _counts(answers: int, authority: int, additional: int) -> bytes:
    return answers.to_bytes(2) + authority.to_bytes(2) + additional.to_bytes(2)


def _suffixes(question: Name) -> dict[Name, int]:
    """Where in the message each suffix of the question's name stands."""
    offsets, at = {}, HEADER_BYTES
    for index, label in enumerate(question):
        offsets[question[index:]] = at
        at += 1 + len(label)
    return offsets


def _encode(record: Record, offsets: dict[Name, int], at: int) -> bytes:
    """A record at this place of the message; its owner is noted for those behind it."""
    name = record.name
    labels: list[bytes] = []
    for index, label in enumerate(name):
        known = offsets.get(name[index:])
        if known is not None:
            owner = b"".join(labels) + (0xC000 | known).to_bytes(2)
            break
        if at < 0x4000:
            offsets[name[index:]] = at
        labels.append(bytes((len(label),)) + label.encode("latin-1"))
        at += 1 + len(label)
    else:
        owner = b"".join(labels) + b"\0"
    head = record.type.to_bytes(2) + b"\0\1" + record.ttl.to_bytes(4) + len(record.rdata).to_bytes(2)
    return owner + head + record.rdata


def response(
    query: Query, rcode: Rcode | int, body: Body | None, *, udp: bool, authoritative: bool = False, turn: int = 0
) -> bytes:
    """The response to a query, no larger than its client takes."""
    opt = b"" if query.edns is None else opt_record(query.edns.do, rcode >> 4)
    room = query.limit(udp) - HEADER_BYTES - len(query.question) - len(opt)
    counts, tail, truncated = body.fitted(room, turn) if body is not None else (bytes(6), b"", False)
    if opt:
        counts = counts[:4] + (int.from_bytes(counts[4:]) + 1).to_bytes(2)
    flags = flag_bytes(query.rd, query.cd, rcode, authoritative=authoritative, truncated=truncated)
    return b"".join((query.id, flags, b"\0\1", counts, query.question, tail, opt))


def flag_bytes(rd: bool, cd: bool, rcode: int, *, authoritative: bool, truncated: bool = False) -> bytes:
    """The second pair of bytes of a response."""
    return bytes((QR | AA * authoritative | TC * truncated | RD * rd, RA | CD * cd | rcode & 15))


def opt_record(do: bool, extended_rcode: int = 0) -> bytes:
    """Our own OPT record: the size that we take, version 0, and the client's DO (RFC 3225)."""
    flags = (DO if do else 0).to_bytes(2)
    return b"\0\0\x29" + MAX_UDP_BYTES.to_bytes(2) + bytes((extended_rcode, 0)) + flags + b"\0\0"


def refusal(data: bytes, rcode: Rcode) -> bytes:
    """A response of only a header, to a query of which no more was understood. data: at least its header."""
    opcode = data[2] & 0x78
    return data[:2] + bytes((QR | opcode | data[2] & RD, RA | rcode)) + bytes(8)
