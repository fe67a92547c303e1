"""A request to another server's group goes on to that server, with who makes it; the answer comes back as it is."""

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
from navarch.services.apiserver.doors.rest import forwarding
from navarch.services.apiserver.doors.rest.call import Call
from navarch.services.client.streams.serving import is_websocket

_HEADER_SAFE = "!#$&'*+-.^_`|~"
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}


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
    request = call.request
    headers = forwarding.request_headers(request)
    headers.extend(identity_headers(call.user))
    headers["Host"] = remote.host
    name = remote.host if remote.tls else None
    if is_websocket(request):
        return await forwarding.join(request, session, url, headers, ssl=remote.tls or True, server_hostname=name)
    try:
        answer = await session.request(
            request.method,
            url,
            headers=headers,
            data=request.content.iter_any() if request.can_read_body else None,
            ssl=remote.tls or True,
            server_hostname=name,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
    except forwarding.GONE as failure:
        raise forwarding.unreachable(failure) from failure
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


async def _back(request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    headers = forwarding.response_headers(answer)
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    if request.method == "HEAD" or answer.status in (204, 304):
        await response.prepare(request)
    else:
        await forwarding.stream_back(request, answer, response)
    return response
