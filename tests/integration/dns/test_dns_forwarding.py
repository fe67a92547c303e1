"""Outside names over real sockets, with upstream servers that lie, stall, cut off or refuse; and floods."""

import asyncio
import socket
from random import Random

import dns.message
import dns.rcode
import dns.rrset
import pytest

from navarch.services.base.clock import SystemClock
from navarch.services.dns.answers import Resolver, Settings
from navarch.services.dns.forward.forwarder import Forwarder
from navarch.services.dns.responder import Responder
from navarch.services.dns.tcp import TcpServer
from navarch.services.dns.udp import UdpServer
from navarch.services.dns.zone import Zone

HOST = "127.0.0.1"
WWW = "www.example.com."
ANSWER = f"{WWW} 60 IN A 192.0.2.1"


class Server:
    """The DNS server without a cluster."""

    def __init__(self, *upstreams, **options) -> None:
        resolver = Resolver(Zone(), Settings.of("cluster.local", ["10.96.0.10"]))
        resolver.ready = True
        clock = SystemClock()
        self.responder = Responder(resolver)
        self.forwarder = Forwarder(upstreams, self.responder, clock, Random(1), policy="sequential", **options)
        self.udp = UdpServer(self.responder, self.forwarder.forward, clock)
        self.tcp = TcpServer(self.responder, self.forwarder.forward, clock, max_connections=4)
        self.port = 0

    async def start(self) -> None:
        self.port = await self.tcp.start(HOST, 0)
        self.udp.start(HOST, self.port)
        self.forwarder.start(lambda upstream: (upstream.host, upstream.port) == (HOST, self.port))


@pytest.fixture
async def serve():
    servers = []

    async def start(*upstreams, **options) -> Server:
        server = Server(*upstreams, **options)
        await server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.udp.stop()
        await server.tcp.stop()
        await server.forwarder.stop()


async def test_a_reply_is_remembered(serve, upstream, records, ask) -> None:
    fake = await upstream(records(ANSWER))
    server = await serve(fake.address)
    assert await ask(server, WWW) == ("NOERROR", [ANSWER])
    assert (await ask(server, WWW.upper()))[0] == "NOERROR"
    assert (await ask(server, WWW, tcp=True))[0] == "NOERROR"
    assert len(fake.queries) == 1


async def test_many_who_ask_at_once_are_one_query(serve, upstream, records, ask) -> None:
    fake = await upstream(records(ANSWER))
    server = await serve(fake.address)
    answers = await asyncio.gather(*(ask(server, WWW) for _ in range(20)))
    assert {rcode for rcode, _ in answers} == {"NOERROR"}
    assert len(fake.queries) == 1


async def test_absence_is_remembered_as_long_as_its_soa_says(serve, upstream, ask) -> None:
    def absent(query: dns.message.Message) -> list[bytes]:
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.NXDOMAIN)
        soa = "ns.example.com. root.example.com. 1 2 3 4 60"
        response.authority = [dns.rrset.from_text("example.com.", 300, "IN", "SOA", soa)]
        return [response.to_wire()]

    fake = await upstream(absent)
    server = await serve(fake.address)
    for _ in range(2):
        assert await ask(server, WWW) == ("NXDOMAIN", [])
    assert len(fake.queries) == 1


async def test_lies_are_not_believed(serve, upstream, records, ask) -> None:
    def lie(query: dns.message.Message) -> list[bytes]:
        truth = records(ANSWER)(query)[0]
        other = dns.message.make_query("www.bank.example.", "A", id=query.id)
        forged = records("www.bank.example. 60 IN A 192.0.2.66")(other)[0]
        wrong_id = bytes((truth[0] ^ 1,)) + truth[1:-1] + b"\x42"
        beside = records(ANSWER, "www.bank.example. 60 IN A 192.0.2.66")(query)[0]
        return [b"", b"nonsense", query.to_wire(), wrong_id, forged, beside]

    fake = await upstream(lie)
    server = await serve(fake.address)
    assert await ask(server, WWW) == ("NOERROR", [ANSWER])
    assert len(server.forwarder.cache) == 1


async def test_a_reply_that_was_cut_off_is_asked_for_over_tcp(serve, upstream, records, ask) -> None:
    def cut(query: dns.message.Message) -> list[bytes]:
        response = dns.message.make_response(query)
        response.flags |= 0x0200
        return [response.to_wire()]

    fake = await upstream(cut, records(ANSWER))
    server = await serve(fake.address)
    assert await ask(server, WWW) == ("NOERROR", [ANSWER])
    assert len(fake.queries) == 2


def silence(query: dns.message.Message) -> list[bytes]:
    return []


def refuse(query: dns.message.Message) -> list[bytes]:
    response = dns.message.make_response(query)
    response.set_rcode(dns.rcode.REFUSED)
    return [response.to_wire()]


@pytest.mark.parametrize("bad", [silence, refuse, lambda query: [query.to_wire()[:2] + b"\x81\x82" + bytes(8)]])
async def test_the_next_server_is_asked(serve, upstream, records, ask, bad) -> None:
    first, second = await upstream(bad), await upstream(records(ANSWER))
    server = await serve(first.address, second.address, attempt_s=0.3)
    assert await ask(server, WWW) == ("NOERROR", [ANSWER])
    assert server.forwarder.counts.failures


async def test_when_nobody_answers_that_is_said_in_time(serve, upstream, ask) -> None:
    fake = await upstream(silence)
    server = await serve(fake.address, attempt_s=0.2)
    assert await ask(server, WWW) == ("SERVFAIL", [])
    # And for a while not asked again.
    asked = len(fake.queries)
    assert await ask(server, WWW) == ("SERVFAIL", [])
    assert len(fake.queries) == asked


async def test_too_many_are_told_so_at_once(serve, upstream, ask) -> None:
    fake = await upstream(silence)
    server = await serve(fake.address, attempt_s=0.5, max_under_way=2)
    waiting = [asyncio.ensure_future(ask(server, f"{number}.example.com.")) for number in range(5)]
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert {each.result()[0] for each in done} == {"SERVFAIL"}
    assert server.forwarder.counts.overflows >= 1
    await asyncio.gather(*waiting)
    assert server.forwarder.counts.overflows == 3


async def test_an_upstream_that_leads_back_here_is_not_asked(serve, upstream, ask) -> None:
    def pass_back(query: dns.message.Message) -> list[bytes]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
            back.sendto(query.to_wire(), (HOST, server.port))
        return []

    fake = await upstream(pass_back)
    fake.passes_probes = True
    server = await serve(fake.address, attempt_s=0.2)
    async with asyncio.timeout(60):
        while await ask(server, WWW) != ("REFUSED", []):
            await asyncio.sleep(0.05)


async def test_a_flood_of_nonsense_leaves_it_answering(serve, upstream, records, ask) -> None:
    fake = await upstream(records(ANSWER))
    server = await serve(fake.address)
    noise = Random(7)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
        for _ in range(50):
            for _ in range(100):
                flood.sendto(noise.randbytes(noise.randrange(80)), (HOST, server.port))
            await asyncio.sleep(0)
    assert await ask(server, WWW) == ("NOERROR", [ANSWER])


async def test_messages_over_tcp_come_in_pieces_and_in_heaps(serve, upstream, records) -> None:
    fake = await upstream(records(ANSWER))
    server = await serve(fake.address)
    reader, writer = await asyncio.open_connection(HOST, server.port)
    queries = [dns.message.make_query(name, "A") for name in (WWW, "dns-version.cluster.local.", "x.cluster.local.")]
    stream = b"".join(len(wire).to_bytes(2) + wire for wire in (each.to_wire() for each in queries))
    for at in range(40):
        writer.write(stream[at : at + 1])
        await writer.drain()
    writer.write(stream[40:])
    answered = {}
    async with asyncio.timeout(60):
        for _ in queries:
            size = int.from_bytes(await reader.readexactly(2))
            message = dns.message.from_wire(await reader.readexactly(size))
            answered[message.id] = message.rcode()
    assert [answered[each.id] for each in queries] == [dns.rcode.NOERROR, dns.rcode.NOERROR, dns.rcode.NXDOMAIN]
    writer.close()


async def test_connections_are_bounded_and_may_not_be_idle(serve) -> None:
    server = await serve()
    server.tcp.idle_s = 0.5
    open_ones = [await asyncio.open_connection(HOST, server.port) for _ in range(5)]
    async with asyncio.timeout(60):
        for reader, _ in open_ones:
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
    assert server.tcp.refused == 1
    assert not server.tcp.connections
    for _, writer in open_ones:
        writer.close()
