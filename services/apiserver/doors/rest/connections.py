"""Connections that are bounded in time, and quiet about what clients do wrong.

aiohttp waits for the head of a request as long as a connection may rest. A client that sends heads a byte at a time
would hold a connection, and what belongs to it, for minutes; here the head of a request has to be there within
`HEAD_S`, as in Kubernetes. Bytes that are no HTTP are answered by aiohttp with 400 and no concern of our log.
"""

import asyncio
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import PayloadAccessError, RequestPayloadError

from navarch.services.base.log import get_logger

LOG = get_logger("apiserver.rest")
# Kubernetes' ReadHeaderTimeout.
HEAD_S = 32.0
_CLIENTS_FAULTS = (HttpProcessingError, RequestPayloadError, PayloadAccessError)


class Connection(web.RequestHandler):
    """A connection whose requests come within a bounded time."""

    __slots__ = ("_body", "_head_timer")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Of the latest request.
        self._body: StreamReader = EMPTY_PAYLOAD
        # Runs while a head is awaited.
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol: the first head is awaited."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol: what belongs to no body and is no whole head is the beginning of one."""
        heads, is_between = self._request_count, self._body.is_eof()
        super().data_received(data)
        if self._request_count != heads:
            self._body = self._messages[-1][1]
            self._stop_timer()
        elif is_between and self._head_timer is None and not self._upgraded:
            self._await_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol."""
        super().connection_lost(exc)
        self._stop_timer()

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Errors are those of this server."""
        failure = kw.get("exc_info")
        if isinstance(failure, _CLIENTS_FAULTS):
            LOG.debug("request.unreadable", peer=self.peername, error=type(failure).__name__)
        else:
            super().log_exception(*args, **kw)

    def _await_head(self) -> None:
        self._head_timer = self._loop.call_later(HEAD_S, self._too_late)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_late(self) -> None:
        LOG.debug("connection.too_slow", peer=self.peername)
        self.force_close()


class Connections(web.Server):
    """Makes them. held: those that count, from being accepted to their end; filled by who accepts."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.held: set[web.RequestHandler] = set()

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """See aiohttp: the end of one."""
        super().connection_lost(handler, exc)
        self.held.discard(handler)

    def __call__(self) -> Connection:
        """For a new transport."""
        return Connection(self, loop=self._loop, **self._kwargs)
