"""Resource records (RFC 1035, 3.2) as kept here: owner, type, seconds to live, and data as on the wire."""

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import ip_address

import dns.rdata
import dns.rdataclass
import dns.rdatatype

from navarch.services.dns.names import Name, to_text, to_wire

IN = 1


class Type(IntEnum):
    """Types that this server knows by name; others pass through as numbers."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    HINFO = 13
    TXT = 16
    AAAA = 28
    SRV = 33
    OPT = 41
    IXFR = 251
    AXFR = 252
    MAILB = 253
    MAILA = 254
    ANY = 255


class Rcode(IntEnum):
    """Response codes (RFC 1035, 4.1.1; RFC 6891, 9)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


_TYPES = {int(each): each.name for each in Type}
_RCODES = {int(each): each.name for each in Rcode}


@dataclass(frozen=True, slots=True)
class Record:
    """One record of class IN. rdata: uncompressed."""

    name: Name
    type: int
    ttl: int
    rdata: bytes

    def text(self) -> str:
        """The data as in a zone file."""
        return rdata_text(self.type, self.rdata)


def type_name(number: int) -> str:
    """The mnemonic of a type, or TYPEn (RFC 3597)."""
    return _TYPES.get(number) or f"TYPE{number}"


def rcode_name(number: int) -> str:
    """The mnemonic of a response code, or RCODEn."""
    return _RCODES.get(number) or f"RCODE{number}"


def rdata_text(number: int, rdata: bytes) -> str:
    """Data of a type as in a zone file."""
    return dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.RdataType.make(number), rdata, 0, len(rdata)).to_text()


def address(name: Name, text: str, ttl: int) -> Record:
    """A for an IPv4 address, AAAA for an IPv6 address (RFC 3596)."""
    packed = ip_address(text).packed
    return Record(name, Type.A if len(packed) == 4 else Type.AAAA, ttl, packed)


def pointing(name: Name, number: Type, target: Name, ttl: int) -> Record:
    """A record whose data is a name: CNAME, NS or PTR."""
    return Record(name, number, ttl, to_wire(target))


def srv(name: Name, port: int, target: Name, ttl: int, *, weight: int) -> Record:
    """Where a service is (RFC 2782). All have the same priority; the target must not be compressed."""
    return Record(name, Type.SRV, ttl, b"\0\0" + weight.to_bytes(2) + port.to_bytes(2) + to_wire(target))


def txt(name: Name, text: str, ttl: int) -> Record:
    """One character-string of at most 255 bytes."""
    data = text.encode()
    return Record(name, Type.TXT, ttl, bytes((len(data),)) + data)


def soa(zone: Name, primary: Name, mailbox: Name, serial: int, ttl: int) -> Record:
    """Start of authority; absence is remembered for `ttl` (RFC 2308, 5)."""
    times = b"".join(each.to_bytes(4) for each in (serial % 2**32, 7200, 1800, 86400, ttl))
    return Record(zone, Type.SOA, ttl, to_wire(primary) + to_wire(mailbox) + times)


def minimal_any(name: Name, ttl: int) -> Record:
    """What ANY gets instead of everything (RFC 8482, 4.2)."""
    return Record(name, Type.HINFO, ttl, b"\x07RFC8482\0")


def show(record: Record) -> str:
    """One line of a zone file."""
    return f"{to_text(record.name)} {record.ttl} IN {type_name(record.type)} {record.text()}"
