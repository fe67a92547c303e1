"""navarch.v1.Dns: the same names over gRPC."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import grpc

from navarch.protos.navarch import dns_pb2, dns_pb2_grpc
from navarch.services.api import errors
from navarch.services.dns.listing import Change, Changes, Listing, below
from navarch.services.dns.names import MalformedName, Name, from_text, to_text
from navarch.services.dns.records import Record, rcode_name, type_name
from navarch.services.dns.responder import Responder
from navarch.services.dns.udp import Forward

# Records in one message, and changes that a slow reader may lag behind.
PAGE = 1000
MAX_LAG = 10_000

Context = grpc.aio.ServicerContext[Any, Any]


class DnsServicer(dns_pb2_grpc.DnsServicer):
    """Answers and lists."""

    def __init__(self, responder: Responder, forward: Forward, listing: Listing, changes: Changes) -> None:
        self._responder = responder
        self._forward = forward
        self._listing = listing
        self._changes = changes

    async def Query(self, request: dns_pb2.DnsQueryRequest, context: Context) -> dns_pb2.DnsQueryResponse:
        """Put a question as any client does."""
        try:
            query = dns.message.make_query(request.name, request.type or "A")
        except (dns.exception.DNSException, ValueError) as failure:
            raise errors.BadRequest(f"query {request.type or 'A'} of {request.name!r}: {failure}") from failure
        response = self._responder.respond(query.to_wire(), udp=False)
        if response is None:
            raise AssertionError("a well-formed query is answered")
        if not isinstance(response, bytes):
            answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            self._forward(response, lambda data: None if answered.done() else answered.set_result(data))
            response = await answered
        message = dns.message.from_wire(response)
        return dns_pb2.DnsQueryResponse(
            rcode=rcode_name(message.rcode()),
            authoritative=bool(message.flags & dns.flags.AA),
            answers=_of_rrsets(message.answer),
            authority=_of_rrsets(message.authority),
            additional=_of_rrsets(message.additional),
        )

    async def Records(
        self, request: dns_pb2.DnsRecordsRequest, context: Context
    ) -> AsyncIterator[dns_pb2.DnsRecordsResponse]:
        """List."""
        for page in _pages(below(self._listing.everything(), _zone(request.zone))):
            yield dns_pb2.DnsRecordsResponse(records=map(_of_record, page))

    async def Watch(
        self, request: dns_pb2.DnsWatchRequest, context: Context
    ) -> AsyncIterator[dns_pb2.DnsRecordsChange]:
        """Follow. Ends with RESOURCE_EXHAUSTED for a reader that does not keep up."""
        zone = _zone(request.zone)
        queue: asyncio.Queue[Change] = asyncio.Queue(MAX_LAG)
        lost = asyncio.Event()

        def on_change(change: Change) -> None:
            if queue.full():
                lost.set()
            else:
                queue.put_nowait(change)

        present = self._changes.subscribe(on_change)
        try:
            pages = _pages(below(present, zone)) if request.send_initial else iter(())
            yield dns_pb2.DnsRecordsChange(added=map(_of_record, next(pages, [])))
            for page in pages:
                yield dns_pb2.DnsRecordsChange(added=map(_of_record, page))
            while True:
                change = await queue.get()
                if lost.is_set():
                    raise errors.TooManyRequests(f"the watch lags more than {MAX_LAG} changes behind")
                added, removed = below(change.added, zone), below(change.removed, zone)
                if added or removed:
                    yield dns_pb2.DnsRecordsChange(added=map(_of_record, added), removed=map(_of_record, removed))
        finally:
            self._changes.unsubscribe(on_change)


def _zone(text: str) -> Name:
    try:
        return from_text(text)
    except MalformedName as failure:
        raise errors.BadRequest(f"zone: {failure}") from failure


def _pages(found: Iterable[Record]) -> Iterator[list[Record]]:
    page: list[Record] = []
    for record in found:
        page.append(record)
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page


def _of_record(record: Record) -> dns_pb2.DnsRecord:
    return dns_pb2.DnsRecord(
        name=to_text(record.name),
        type=type_name(record.type),
        ttl_seconds=record.ttl,
        text=record.text(),
        rdata=record.rdata,
    )


def _of_rrsets(section: list[dns.rrset.RRset]) -> list[dns_pb2.DnsRecord]:
    return [
        dns_pb2.DnsRecord(
            name=str(rrset.name),
            type=dns.rdatatype.to_text(rrset.rdtype),
            ttl_seconds=rrset.ttl,
            text=rdata.to_text(),
            rdata=rdata.to_wire(),
        )
        for rrset in section
        for rdata in rrset
    ]
