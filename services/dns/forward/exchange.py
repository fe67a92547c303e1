"""One query to one upstream server, over UDP and, where the reply does not fit, over TCP.

Each query has a socket of its own, connected: so its port is one that only the kernel knew, and packets from elsewhere
do not arrive. Packets that are no reply to the query are passed over until the time is up.
"""

import asyncio
from random import Random

from navarch.services.dns.forward.reply import NotOurs, Question, Reply, Truncated, Unusable, read
from navarch.services.dns.forward.upstreams import Upstream
from navarch.services.dns.records import Rcode

_WITHOUT_EDNS = frozenset({Rcode.FORMERR, Rcode.NOTIMP})


class NoReply(Exception):
    """The server could not be reached or said nothing in time."""


async def exchange(upstream: Upstream, question: Question, timeout_s: float, rng: Random) -> Reply:
    """Ask. timeout_s: for all of it. Raises NoReply and Unusable."""
    try:
        async with asyncio.timeout(timeout_s):
            try:
                return await _ask(upstream, question, rng, edns=True)
            except Unusable as refusal:
                if refusal.rcode not in _WITHOUT_EDNS:
                    raise
                # It may be one from before 1999 (RFC 6891, 6.2.2).
                return await _ask(upstream, question, rng, edns=False)
    except TimeoutError:
        raise NoReply(f"no reply within {timeout_s:g} s") from None
    except OSError as failure:
        raise NoReply(failure.strerror or str(failure)) from failure


async def _ask(upstream: Upstream, question: Question, rng: Random, *, edns: bool) -> Reply:
    query = question.query(rng.getrandbits(16), edns)
    try:
        return await _over_udp(upstream, query, question)
    except Truncated:
        return await _over_tcp(upstream, query, question)


class _Waiting(asyncio.DatagramProtocol):
    """Waits for the one packet that counts."""

    def __init__(self, query: bytes, question: Question) -> None:
        self._query = query
        self._question = question
        self.reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if self.reply.done():
            return
        try:
            self.reply.set_result(read(data, self._query, self._question))
        except NotOurs:
            return
        except (Truncated, Unusable) as failure:
            self.reply.set_exception(failure)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there, which the kernel told us."""
        if not self.reply.done():
            self.reply.set_exception(exc)


async def _over_udp(upstream: Upstream, query: bytes, question: Question) -> Reply:
    loop = asyncio.get_running_loop()
    transport, waiting = await loop.create_datagram_endpoint(
        lambda: _Waiting(query, question), remote_addr=(upstream.host, upstream.port)
    )
    try:
        transport.sendto(query)
        return await waiting.reply
    finally:
        transport.close()
        waiting.reply.cancel()


async def _over_tcp(upstream: Upstream, query: bytes, question: Question) -> Reply:
    reader, writer = await asyncio.open_connection(upstream.host, upstream.port)
    try:
        writer.write(len(query).to_bytes(2) + query)
        size = int.from_bytes(await reader.readexactly(2))
        return read(await reader.readexactly(size), query, question)
    except asyncio.IncompleteReadError:
        raise NoReply("the connection was closed before the reply was complete") from None
    except (NotOurs, Truncated):
        raise Unusable(Rcode.FORMERR, "over TCP came no reply to the query") from None
    finally:
        writer.close()
