"""From the bytes of a query to the bytes of its response. Pure: no clock, no socket.

Most questions have been asked before. So what follows the question in a response is kept by the question's bytes (in
lower case) until a topic that it depends on is touched, and such a query costs a look into a dictionary: only its id,
flags and own spelling of the question are put in front, and the next rotation of the addresses behind.

A question that is not about the cluster comes back as `Outside`, for the forwarder.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from navarch.services.dns import records
from navarch.services.dns.answers import Answer, Resolver
from navarch.services.dns.names import MalformedName, Name
from navarch.services.dns.records import IN, Rcode, Record, Type
from navarch.services.dns.traffic import Label, Traffic
from navarch.services.dns.wire import (
    HEADER_BYTES,
    MAX_TCP_BYTES,
    MAX_UDP_BYTES,
    OPT_BYTES,
    PLAIN_UDP_BYTES,
    Body,
    MalformedQuery,
    Query,
    Unanswerable,
    flag_bytes,
    opt_record,
    parse,
    refusal,
    response,
)

# Less than 1 KiB each, so that a flood of names that are not there costs no more than 32 MiB.
MAX_REMEMBERED = 32768
_CLASS_ANY = 255
_NO_OPTIONS = bytes(6)
_OPT = opt_record(False)
_TRANSFERS = frozenset({Type.AXFR, Type.IXFR})
# Asking for "mail agents" is obsolete, and as ANY is not worth an upstream's work.
_OBSOLETE = frozenset({Type.MAILA, Type.MAILB})


def _prefixes() -> dict[bytes, tuple[int, bool]]:
    """How the queries that take the short way begin behind their id: RD or not, AD or not, with OPT or not."""
    return {
        bytes((rd, ad)) + b"\0\1\0\0\0\0" + bytes((0, opt)): (rd, bool(opt))
        for rd in (0, 1)
        for ad in (0, 0x20)
        for opt in (0, 1)
    }


_PREFIXES = _prefixes()


@dataclass(frozen=True, slots=True)
class Outside:
    """A question for the upstream servers. aliases: the cluster's own names that led there."""

    query: Query
    name: Name
    udp: bool
    aliases: tuple[Record, ...] = ()


@cache
def _heads(rcode: int, counts: bytes) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """What comes between id and question, by the client's RD: in responses without and with an OPT record."""
    flags = [flag_bytes(bool(rd), False, rcode, authoritative=True) + b"\0\1" for rd in (0, 1)]
    with_opt = counts[:4] + (int.from_bytes(counts[4:]) + 1).to_bytes(2)
    return tuple(each + counts for each in flags), tuple(each + with_opt for each in flags)


class _Remembered:
    """A response without id, flags of the client, and question. size: of the tail in bytes.

    Small ones are kept as bytes, one for each rotation of the answers. Of those that fit no datagram the parts are
    kept, to be fitted to each client.
    """

    __slots__ = ("body", "heads", "heads_opt", "label", "size", "tails", "topics", "turn", "turns")

    def __init__(self, answer: Answer, body: Body, label: Label) -> None:
        self.topics = answer.topics or ()
        self.label = label
        self.turn = 0
        self.turns = body.rotations()
        self.size = body.size
        small = self.size <= MAX_UDP_BYTES
        self.body = None if small else body
        self.tails = tuple(body.fitted(MAX_TCP_BYTES, turn)[1] for turn in range(self.turns)) if small else ()
        self.heads, self.heads_opt = _heads(answer.rcode, body.fitted(MAX_TCP_BYTES)[0])


class Responder:
    """Answers queries. traffic: what it counts in."""

    def __init__(self, resolver: Resolver, traffic: Traffic | None = None) -> None:
        self._resolver = resolver
        self.traffic = traffic or Traffic()
        self._remembered: dict[bytes, _Remembered] = {}
        self._by_topic: dict[str, set[bytes]] = {}
        # So that equal ones are one.
        self._labels: dict[Label, Label] = {}

    def __len__(self) -> int:
        """How many responses are remembered."""
        return len(self._remembered)

    def respond(self, data: bytes, udp: bool = True) -> bytes | Outside | None:
        """The response; None for what gets none. Any bytes are taken."""
        prefix = _PREFIXES.get(data[2:HEADER_BYTES])
        if prefix is not None:
            end = data.find(0, HEADER_BYTES) + 5
            # The type may look like a letter: only the name is put into lower case.
            found = self._remembered.get(data[HEADER_BYTES : end - 4].lower() + data[end - 4 : end])
            if found is not None:
                rd, opt = prefix
                room = PLAIN_UDP_BYTES
                if opt:
                    rest = data[end:]
                    if len(rest) != OPT_BYTES or rest[:3] != b"\0\0\x29" or rest[5:] != _NO_OPTIONS:
                        return self._respond(data, udp)
                    room = max(PLAIN_UDP_BYTES, min(rest[3] << 8 | rest[4], MAX_UDP_BYTES)) - OPT_BYTES
                elif len(data) != end:
                    return self._respond(data, udp)
                if end + found.size > room:
                    return self._respond(data, udp)
                self.traffic.count(udp, found.label)
                turn = found.turn
                found.turn = turn + 1 if turn + 1 < found.turns else 0
                if opt:
                    return data[:2] + found.heads_opt[rd] + data[HEADER_BYTES:end] + found.tails[turn] + _OPT
                return data[:2] + found.heads[rd] + data[HEADER_BYTES:end] + found.tails[turn]
        return self._respond(data, udp)

    def _respond(self, data: bytes, udp: bool) -> bytes | Outside | None:
        """The long way."""
        try:
            query = parse(data)
        except Unanswerable:
            self.traffic.dropped += 1
            return None
        except MalformedQuery as failure:
            self.traffic.count(udp, (0, failure.rcode))
            return refusal(data, failure.rcode)
        rcode = _refused(query)
        if rcode is not None:
            return self.refuse(query, udp, rcode)
        key = query.question[:-4].lower() + query.question[-4:]
        found = self._remembered.get(key)
        if found is not None and found.body is not None:
            return self._whole(query, udp, Rcode(found.label[1]), found.body, found)
        try:
            answer = self._resolver.resolve(query.name, query.type)
            if answer is None:
                return self._outside(query, udp, query.name, ())
            if answer.target:
                return self._outside(query, udp, answer.target, answer.answers)
            body = Body(query.name, answer.answers, answer.authority, answer.additional)
        except MalformedName:
            # The cluster has names that together are too long for DNS.
            return self.refuse(query, udp, Rcode.SERVFAIL)
        if found is None and answer.topics is not None and b"\0" not in key[:-5]:
            label = self._labels.setdefault((query.type, int(answer.rcode)), (query.type, int(answer.rcode)))
            found = _Remembered(answer, body, label)
            self._remember(key, found)
        return self._whole(query, udp, answer.rcode, body, found)

    def _outside(self, query: Query, udp: bool, name: Name, aliases: tuple[Record, ...]) -> bytes | Outside:
        """Recursion is what the client must have wished for."""
        if not query.rd:
            if aliases:
                return self.finish(Outside(query, name, udp, aliases), Rcode.NOERROR, Body(query.name, aliases))
            return self.refuse(query, udp, Rcode.REFUSED)
        if query.type == Type.ANY or query.type in _OBSOLETE:
            only = (*aliases, records.minimal_any(name, 3600))
            return self.finish(Outside(query, name, udp, aliases), Rcode.NOERROR, Body(query.name, only))
        return Outside(query, name, udp, aliases)

    def finish(self, outside: Outside, rcode: int, body: Body | None, turn: int = 0) -> bytes:
        """The response to a question that was for the upstream servers, with what they said."""
        query = outside.query
        self.traffic.count(outside.udp, (query.type, rcode))
        return response(query, rcode, body, udp=outside.udp, turn=turn)

    def refuse(self, query: Query, udp: bool, rcode: Rcode) -> bytes:
        """A response without any records."""
        self.traffic.count(udp, (query.type, rcode))
        return response(query, rcode, None, udp=udp)

    def touch(self, topics: Iterable[str]) -> None:
        """Forget what depends on topics that a change of the zone has touched."""
        for topic in topics:
            for key in self._by_topic.pop(topic, ()):
                self._forget(key)

    def _whole(self, query: Query, udp: bool, rcode: Rcode, body: Body, found: _Remembered | None) -> bytes:
        """A response from its parts."""
        self.traffic.count(udp, (query.type, rcode))
        turn = 0
        if found is not None:
            turn, found.turn = found.turn, (found.turn + 1) % found.turns
        return response(query, rcode, body, udp=udp, authoritative=True, turn=turn)

    def _remember(self, key: bytes, made: _Remembered) -> None:
        if len(self._remembered) >= MAX_REMEMBERED:
            # The oldest: a flood of names that are not there pushes itself out, too.
            self._forget(next(iter(self._remembered)))
        self._remembered[key] = made
        for topic in made.topics:
            self._by_topic.setdefault(topic, set()).add(key)

    def _forget(self, key: bytes) -> None:
        found = self._remembered.pop(key, None)
        for topic in found.topics if found is not None else ():
            keys = self._by_topic.get(topic)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._by_topic[topic]


def _refused(query: Query) -> Rcode | None:
    """The response code of questions that nobody here answers."""
    if query.edns is not None and query.edns.version != 0:
        return Rcode.BADVERS
    if query.type in _TRANSFERS or query.klass not in (IN, _CLASS_ANY):
        return Rcode.REFUSED
    if query.type == Type.OPT:
        return Rcode.FORMERR
    return Rcode.NOTIMP if query.klass == _CLASS_ANY else None
