"""A request to another server's group goes on to that server, with who makes it; the answer comes back as it is."""

from collections.abc import Iterable
from urllib.parse import quote

import aiohttp
import yarl
from aiohttp import web
from multidict import CIMultiDict

from navarch.services.api.errors import BadRequest, ServiceUnavailable
from navarch.services.apiserver.aggregation.remotes import Remote
from navarch.services.apiserver.auth.authorizer import Attributes, authorize
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.custom.addresses import ServiceAddresses
from navarch.services.apiserver.doors.rest.call import Call
from navarch.services.client.streams.serving import MESSAGE_BYTES, is_websocket, passed_on

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
_OURS = frozenset({"authorization", "host", "content-length"})
_PREFIXES = ("x-remote-", "impersonate-")
_HEADER_SAFE = "!#$&'*+-.^_`|~"
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_GONE = (aiohttp.ClientError, OSError)


async def pass_on(
    call: Call, remote: Remote, addresses: ServiceAddresses, session: aiohttp.ClientSession
) -> web.StreamResponse:
    """Answer a call. Raises Forbidden, ServiceUnavailable."""
    if call.path is not None:
        authorize(call.core.authorizer, call.user, attributes(call))
    if not remote.is_available:
        raise ServiceUnavailable("service unavailable")
    reference = remote.spec.service
    host, port = await addresses.resolve(reference.namespace, reference.name, remote.port)
    scheme = "http" if remote.tls is None else "https"
    try:
        url = yarl.URL(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{call.request.raw_path}", encoded=True)
    except ValueError as failure:
        raise BadRequest(str(failure)) from failure
    headers = _forwarded(call)
    headers["Host"] = remote.host
    if is_websocket(call.request):
        return await _join(call.request, remote, url, headers, session)
    request = call.request
    try:
        answer = await session.request(
            request.method,
            url,
            headers=headers,
            data=request.content.iter_any() if request.can_read_body else None,
            ssl=remote.tls or True,
            server_hostname=remote.host if remote.tls else None,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
    except _GONE as failure:
        raise ServiceUnavailable(f"error trying to reach service: {failure}") from failure
    async with answer:
        return await _back(request, answer)


def attributes(call: Call) -> Attributes:
    """What a call on a resource wants to do, told by its URL alone."""
    path = call.path
    assert path is not None
    match call.request.method:
        case "GET" | "HEAD" | "OPTIONS":
            is_watch = path.is_watch or (not path.subresource and call.flag("watch"))
            verb = "watch" if is_watch else "get" if path.name else "list"
        case "DELETE":
            verb = "delete" if path.name else "deletecollection"
        case method:
            verb = _VERBS.get(method, method.lower())
    return Attributes(verb, path.group, path.resource, path.subresource, path.namespace, path.name)


def identity_headers(user: User) -> CIMultiDict[str]:
    """Who makes the request, for a server that trusts this one as its front proxy."""
    headers = CIMultiDict([("X-Remote-User", user.name)])
    if user.uid:
        headers.add("X-Remote-Uid", user.uid)
    for group in sorted(user.groups):
        headers.add("X-Remote-Group", group)
    for key, values in user.extra:
        for value in values:
            headers.add(f"X-Remote-Extra-{quote(key, safe=_HEADER_SAFE)}", value)
    return headers


def _forwarded(call: Call) -> CIMultiDict[str]:
    request = call.request
    headers = _without(request.headers.items(), _named(request.headers.getall("Connection", [])) | _OURS)
    for name in [name for name in headers if name.lower().startswith(_PREFIXES)]:
        headers.popall(name, None)
    headers.extend(identity_headers(call.user))
    if request.content_length is not None and request.can_read_body:
        headers["Content-Length"] = str(request.content_length)
    if request.remote:
        headers["X-Forwarded-For"] = ", ".join(filter(None, (headers.get("X-Forwarded-For"), request.remote)))
    return headers


def _named(values: Iterable[str]) -> frozenset[str]:
    return frozenset(name.strip().lower() for value in values for name in value.split(","))


def _without(headers: Iterable[tuple[str, str]], names: frozenset[str]) -> CIMultiDict[str]:
    dropped = names | _OF_ONE_CONNECTION
    return CIMultiDict((name, value) for name, value in headers if name.lower() not in dropped)


async def _back(request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    headers = _without(answer.headers.items(), _named(answer.headers.getall("Connection", [])) | {"date", "server"})
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    await response.prepare(request)
    if request.method == "HEAD" or answer.status in (204, 304):
        return response
    try:
        async for piece in answer.content.iter_any():
            await response.write(piece)
    except _GONE:
        # The client must not take what came until now for all.
        if request.transport is not None:
            request.transport.close()
        return response
    await response.write_eof()
    return response


async def _join(
    request: web.BaseRequest,
    remote: Remote,
    url: yarl.URL,
    headers: CIMultiDict[str],
    session: aiohttp.ClientSession,
) -> web.StreamResponse:
    names = ",".join(headers.getall("Sec-WebSocket-Protocol", []))
    protocols = [name.strip() for name in names.split(",") if name.strip()]
    for name in [name for name in headers if name.lower().startswith("sec-websocket")]:
        headers.popall(name, None)
    try:
        far = await session.ws_connect(
            url,
            protocols=protocols,
            headers=headers,
            ssl=remote.tls or True,
            server_hostname=remote.host if remote.tls else None,
            max_msg_size=MESSAGE_BYTES,
        )
    except _GONE as failure:
        raise ServiceUnavailable(f"error trying to reach service: {failure}") from failure
    return await passed_on(request, far)
