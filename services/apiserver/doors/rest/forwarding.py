"""What of a request goes on to another server, and what of its answer comes back.

What belongs to one connection stays there, and what says who makes the request is this server's to say.
"""

from collections.abc import Iterable
from typing import Any

import aiohttp
import yarl
from aiohttp import web
from multidict import CIMultiDict

from navarch.services.api.errors import ServiceUnavailable
from navarch.services.apiserver.auth.authentication import WEBSOCKET_PREFIX
from navarch.services.client.streams.serving import MESSAGE_BYTES, passed_on

_OF_ONE_CONNECTION = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
_OURS = frozenset({"authorization", "host", "content-length", "sec-websocket-protocol"})
_PREFIXES_OURS = ("x-remote-", "impersonate-")
GONE = (aiohttp.ClientError, OSError)


def request_headers(request: web.BaseRequest) -> CIMultiDict[str]:
    """The client's headers, without those that are no business of another server."""
    headers = _end_to_end(request.headers, _OURS)
    for name in [name for name in headers if name.lower().startswith(_PREFIXES_OURS)]:
        headers.popall(name, None)
    if request.content_length is not None and request.can_read_body:
        headers["Content-Length"] = str(request.content_length)
    if request.remote:
        headers["X-Forwarded-For"] = ", ".join(filter(None, (headers.get("X-Forwarded-For"), request.remote)))
    return headers


def response_headers(answer: aiohttp.ClientResponse, dropped: Iterable[str] = ()) -> CIMultiDict[str]:
    """The headers of an answer, but those of its connection and its server."""
    return _end_to_end(answer.headers, {"date", "server", *dropped})


def _end_to_end(headers: Any, dropped: Iterable[str]) -> CIMultiDict[str]:
    named = (name.strip().lower() for value in headers.getall("Connection", []) for name in value.split(","))
    without = _OF_ONE_CONNECTION | {*named, *dropped}
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in without)


async def stream_back(request: web.BaseRequest, answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
    """The body of an answer, as it comes."""
    await response.prepare(request)
    try:
        async for piece in answer.content.iter_any():
            await response.write(piece)
    except GONE:
        # The client must not take what came until now for all.
        if request.transport is not None:
            request.transport.close()
        return
    await response.write_eof()


async def join(
    request: web.BaseRequest, session: aiohttp.ClientSession, url: yarl.URL, headers: CIMultiDict[str], **tls: Any
) -> web.StreamResponse:
    """A WebSocket through this server. tls: as `session.ws_connect` takes it. Raises ServiceUnavailable."""
    offered = (name.strip() for name in ",".join(request.headers.getall("Sec-WebSocket-Protocol", [])).split(","))
    # A token among them is meant for this server.
    protocols = [name for name in offered if name and not name.startswith(WEBSOCKET_PREFIX)]
    for name in [name for name in headers if name.lower().startswith("sec-websocket")]:
        headers.popall(name, None)
    try:
        far = await session.ws_connect(url, protocols=protocols, headers=headers, max_msg_size=MESSAGE_BYTES, **tls)
    except GONE as failure:
        raise unreachable(failure) from failure
    return await passed_on(request, far)


def unreachable(failure: Exception) -> ServiceUnavailable:
    """What the client is told of a server that does not answer."""
    return ServiceUnavailable(f"error trying to reach service: {failure}")
