"""DNS over UDP.

The socket is read here instead of by a transport: a burst of queries is answered in one go, each without a trip through
the event loop. Where the socket is bound to no address of its own, a response leaves from the address that its query
was sent to; a Pod that asked the Service's address would not know it otherwise.
"""

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.dns.responder import Outside, Responder

# So many at a time, then others have their turn.
BURST = 64
RECEIVE_BUFFER_BYTES = 4 << 20
# No query is longer, but what is cut off must be seen to be so.
MAX_QUERY_BYTES = 4096
_ANYWHERE = frozenset({"0.0.0.0", "::"})
_PKTINFO_BYTES = 64
# Of Linux; Python's socket module has it only for IPv6.
_IP_PKTINFO = 8

Peer = tuple[Any, ...]
# Control messages that say where a response is to leave from.
Source = tuple[tuple[int, int, bytes], ...]
# Gets a question and how to send its response, which it does if it can.
Forward = Callable[[Outside, Callable[[bytes], None]], None]


class UdpServer:
    """Serves one address. Not restartable."""

    def __init__(self, responder: Responder, forward: Forward, clock: Clock) -> None:
        self._responder = responder
        self._forward = forward
        self._clock = clock
        self._log = get_logger("dns.udp")
        self._socket: socket.socket | None = None
        self.unsent = 0

    def start(self, host: str, port: int) -> int:
        """Bind and serve on the running loop. Returns the port. Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if host in _ANYWHERE:
                if family == socket.AF_INET6:
                    bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
                else:
                    bound.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            bound.bind((host, port))
        except OSError as failure:
            bound.close()
            raise OSError(failure.errno, f"cannot serve DNS on {host}:{port}/UDP: {failure.strerror}") from failure
        self._socket = bound
        reader = self._read_anywhere if host in _ANYWHERE else self._read
        asyncio.get_running_loop().add_reader(bound, reader, bound)
        return int(bound.getsockname()[1])

    def stop(self) -> None:
        """Serve no more. Idempotent."""
        bound, self._socket = self._socket, None
        if bound is not None:
            asyncio.get_running_loop().remove_reader(bound)
            bound.close()

    def _read(self, bound: socket.socket) -> None:
        """Answer what has arrived. This is the short way of nearly every query: keep it so."""
        receive, send, respond = bound.recvfrom, bound.sendto, self._responder.respond
        began = self._clock.monotonic()
        answered = 0
        try:
            for _ in range(BURST):
                data, peer = receive(MAX_QUERY_BYTES)
                answer = respond(data)
                if isinstance(answer, bytes):
                    answered += 1
                    try:
                        send(answer, peer)
                    except OSError:
                        # A full buffer or a peer that cannot be reached: as good as lost on the way.
                        self.unsent += 1
                elif answer is not None:
                    self._forward(answer, partial(self._send, peer, ()))
        except BlockingIOError:
            pass
        except OSError as failure:
            self._log.info("dns.receive_failed", error=failure)
        if answered:
            self._responder.traffic.took((self._clock.monotonic() - began) / answered, answered)

    def _read_anywhere(self, bound: socket.socket) -> None:
        """The same, with the address that each query was sent to."""
        began = self._clock.monotonic()
        answered = 0
        try:
            for _ in range(BURST):
                data, control, _, peer = bound.recvmsg(MAX_QUERY_BYTES, _PKTINFO_BYTES)
                source = tuple((level, kind, _as_source(level, info)) for level, kind, info in control)
                answer = self._responder.respond(data)
                if isinstance(answer, bytes):
                    answered += 1
                    self._send(peer, source, answer)
                elif answer is not None:
                    self._forward(answer, partial(self._send, peer, source))
        except BlockingIOError:
            pass
        except OSError as failure:
            self._log.info("dns.receive_failed", error=failure)
        if answered:
            self._responder.traffic.took((self._clock.monotonic() - began) / answered, answered)

    def _send(self, peer: Peer, source: Source, response: bytes) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendmsg([response], source, 0, peer)
        except OSError:
            self.unsent += 1


def _as_source(level: int, info: bytes) -> bytes:
    """Where a packet came to, as where another is to leave from: without the interface, which routes decide on.

    IPv4: interface, local address, destination (struct in_pktinfo); IPv6: address, interface (in6_pktinfo).
    """
    if level == socket.IPPROTO_IPV6:
        return info[:16] + bytes(4)
    return bytes(4) + info[8:12] + bytes(4)
