"""What an upstream server said, as far as it is an answer to what it was asked. Pure.

Whoever can send packets in a server's name can guess; so a reply counts only with the id and the question of the query.
Of what it holds, only what follows from the question is taken: the aliases from the name on, the records at their end,
and for a name without them the SOA of a zone above. The rest, such as addresses of other names, is not believed.
"""

from dataclasses import dataclass

import dns.exception
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset

from navarch.services.dns.names import MalformedName, Name, from_wire, is_below, to_wire
from navarch.services.dns.records import IN, Rcode, Record
from navarch.services.dns.wire import HEADER_BYTES, QR, RD, TC, opt_record

MAX_ALIASES = 16
_RRSIG = 46
_CD = 0x10
# Absence, and aliases, are believed no longer than this; addresses for an hour, whatever the server says.
MAX_NEGATIVE_S = 300
MAX_S = 3600


class NotOurs(Exception):
    """A packet that is no reply to this query: to be ignored."""


class Unusable(Exception):
    """A reply to this query that is of no use. rcode: as the server gave it."""

    def __init__(self, rcode: int, reason: str) -> None:
        super().__init__(reason)
        self.rcode = rcode


class Truncated(Exception):
    """The reply did not fit: ask again over TCP."""


@dataclass(frozen=True, slots=True)
class Question:
    """do: with DNSSEC records. cd: unchecked ones, too."""

    name: Name
    type: int
    do: bool = False
    cd: bool = False

    def wire(self) -> bytes:
        """As in a message."""
        return to_wire(self.name) + self.type.to_bytes(2) + IN.to_bytes(2)

    def query(self, number: int, edns: bool = True) -> bytes:
        """The query with this id."""
        flags = bytes((RD, _CD if self.cd else 0))
        counts = b"\0\1\0\0\0\0" + bytes((0, edns))
        return number.to_bytes(2) + flags + counts + self.wire() + (opt_record(self.do) if edns else b"")


@dataclass(frozen=True, slots=True)
class Reply:
    """ttl_s: for how long it is good; 0: not at all. rcode: NOERROR or NXDOMAIN."""

    rcode: Rcode
    answers: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    ttl_s: int = 0


def read(data: bytes, query: bytes, question: Question) -> Reply:
    """A reply to our query. Raises NotOurs, Truncated and Unusable."""
    if len(data) < HEADER_BYTES or data[:2] != query[:2] or not data[2] & QR:
        raise NotOurs
    rcode = data[3] & 15
    if data[4:6] == b"\0\0" and rcode != 0:
        # Servers that do not understand a query need not repeat its question.
        raise Unusable(rcode, f"response code {rcode}")
    if not _repeats(data, question):
        raise NotOurs
    if data[2] & TC:
        raise Truncated
    if rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
        raise Unusable(rcode, f"response code {rcode}")
    try:
        message = dns.message.from_wire(data, ignore_trailing=True)
        return _believed(message, question)
    except (dns.exception.DNSException, MalformedName, ValueError) as failure:
        raise Unusable(Rcode.FORMERR, f"malformed: {type(failure).__name__}: {failure}") from failure


def _repeats(data: bytes, question: Question) -> bool:
    try:
        name, at = from_wire(data, HEADER_BYTES)
    except MalformedName:
        return False
    wanted = question.type.to_bytes(2) + IN.to_bytes(2)
    return name == question.name and data[at : at + 4] == wanted and data[4:6] == b"\0\1"


def _believed(message: dns.message.Message, question: Question) -> Reply:
    rcode = Rcode(int(message.rcode()))
    by_name: dict[Name, list[dns.rrset.RRset]] = {}
    for rrset in message.answer:
        by_name.setdefault(_name(rrset.name), []).append(rrset)
    answers: list[Record] = []
    name = question.name
    for _ in range(MAX_ALIASES + 1):
        here = by_name.pop(name, [])
        found = [each for each in here if each.rdtype == question.type]
        aliases = [each for each in here if each.rdtype == dns.rdatatype.CNAME]
        taken = found or aliases
        signatures = [each for each in here if each.rdtype == _RRSIG and each.covers in {one.rdtype for one in taken}]
        answers += [record for each in (*taken, *(signatures if question.do else ())) for record in _records(each)]
        if found:
            return Reply(Rcode.NOERROR, tuple(answers), (), min(MAX_S, *(each.ttl for each in answers)))
        if not aliases:
            break
        name = _name(aliases[0][0].target)
    soa = [each for each in message.authority if each.rdtype == dns.rdatatype.SOA and is_below(name, _name(each.name))]
    authority = tuple(record for each in soa[:1] for record in _records(each))
    # RFC 2308, 5: the lesser of the SOA's own time and what it says in its last field. Without SOA: not remembered.
    times = [min(each.ttl, int.from_bytes(each.rdata[-4:]), MAX_NEGATIVE_S) for each in authority]
    return Reply(rcode, tuple(answers), authority, min([*times, *(each.ttl for each in answers)]) if times else 0)


def _records(rrset: dns.rrset.RRset) -> list[Record]:
    ttl_s = min(rrset.ttl, MAX_S)
    name = _name(rrset.name)
    return [Record(name, int(rrset.rdtype), ttl_s, each.to_wire()) for each in rrset]


def _name(name: dns.name.Name) -> Name:
    return tuple(label.lower().decode("latin-1") for label in name.labels if label)
