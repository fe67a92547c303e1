"""The proxy part of Pods, Services and Nodes: a request goes on to what they serve, the answer comes back.

Bodies are streamed both ways. What belongs to one connection, or to the API server alone (credentials), is taken
out of the headers. WebSockets are joined message by message.
"""

import ssl

import aiohttp
import yarl
from aiohttp import web
from multidict import CIMultiDict

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import BadRequest, MethodNotSupported
from navarch.services.apiserver import outbound
from navarch.services.apiserver.doors.rest import forwarding
from navarch.services.apiserver.doors.rest.call import Call
from navarch.services.apiserver.doors.rest.streams import backends, rewriting
from navarch.services.apiserver.doors.rest.streams.backends import Backend
from navarch.services.apiserver.kubelets.directory import Kubelets
from navarch.services.apiserver.registry.core import Target
from navarch.services.client.streams.serving import is_websocket

VERBS = {
    "GET": "get",
    "HEAD": "get",
    "OPTIONS": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
# Pages of more are passed on with their links as they are.
PAGE_BYTES = 4 << 20


class Proxy:
    """The handlers, and the connections to what they proxy."""

    def __init__(self, kubelets: Kubelets) -> None:
        self._kubelets = kubelets
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def pod(self, call: Call) -> web.StreamResponse:
        """To a Pod."""
        asked = _asked(call, "pod")
        pod = await _object(call, "pods", asked.name)
        assert isinstance(pod, corev1.Pod)
        return await self._pass_on(call, backends.of_pod(pod, asked))

    async def service(self, call: Call) -> web.StreamResponse:
        """To an endpoint of a Service."""
        asked = _asked(call, "service")
        service = await _object(call, "services", asked.name)
        assert isinstance(service, corev1.Service)
        kind = call.core.kinds.of(corev1.Endpoints)
        stored = await call.core.storage.get(kind, service.metadata.namespace, asked.name)
        endpoints = stored.decode() if stored is not None else None
        assert endpoints is None or isinstance(endpoints, corev1.Endpoints)
        return await self._pass_on(call, backends.of_service(service, endpoints, asked, call.core.rng))

    async def node(self, call: Call) -> web.StreamResponse:
        """To a Node."""
        asked = _asked(call, "node")
        node = await _object(call, "nodes", asked.name)
        assert isinstance(node, corev1.Node)
        return await self._pass_on(call, backends.of_node(node, asked))

    async def _pass_on(self, call: Call, backend: Backend) -> web.StreamResponse:
        request, path = call.request, call.path
        assert path is not None
        raw_path, _, query = request.raw_path.partition("?")
        if is_websocket(request):
            headers = _headers(request, "", "")
            return await forwarding.join(request, self._to(backend), _url(backend, path.tail, query), headers)
        if not path.tail and request.method in ("GET", "HEAD"):
            return web.Response(status=301, headers={"Location": f"{raw_path}/{'?' if query else ''}{query}"})
        prefix = raw_path[: len(raw_path) - len(path.tail)] if path.tail else raw_path
        # To a backend, and to its links, the client is at the proxy.
        headers = _headers(request, prefix, path.tail)
        body = request.content.iter_any() if request.can_read_body else None
        try:
            answer = await self._to(backend).request(
                request.method,
                _url(backend, path.tail, query),
                headers=headers,
                data=body,
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
            )
        except forwarding.GONE as failure:
            raise forwarding.unreachable(failure) from failure
        async with answer:
            return await _back(request, answer, prefix, frozenset({backend.address, request.host}))

    def _to(self, backend: Backend) -> aiohttp.ClientSession:
        if backend.to_kubelet:
            return self._kubelets.session()
        if self._session is None:
            # What Pods serve is signed by whomever they please.
            untrusting = ssl.create_default_context()
            untrusting.check_hostname = False
            untrusting.verify_mode = ssl.CERT_NONE
            self._session = outbound.session(untrusting)
        return self._session


def _asked(call: Call, what: str) -> backends.Name:
    """What is proxied to, if the caller may. The rights are those to the object, whatever the port."""
    path = call.path
    assert path is not None
    asked = backends.parse_name(path.name, what)
    target = Target.at(call.core.kinds, "", path.version, path.resource, path.namespace, asked.name, "proxy").named()
    verb = VERBS.get(call.request.method)
    if verb is None:
        raise MethodNotSupported(target.kind, call.request.method.lower())
    call.core.admit_user(call.user, verb, target)
    return asked


async def _object(call: Call, resource: str, name: str) -> object:
    path = call.path
    assert path is not None
    target = Target.at(call.core.kinds, "", path.version, resource, path.namespace, name)
    return (await call.core.newest(target)).decode()


def _url(backend: Backend, tail: str, query: str) -> yarl.URL:
    """The URL at the backend; what the client has encoded stays as it is."""
    try:
        return yarl.URL(f"{backend.scheme}://{backend.address}{tail or '/'}{'?' if query else ''}{query}", encoded=True)
    except ValueError as failure:
        raise BadRequest(str(failure)) from failure


def _headers(request: web.BaseRequest, prefix: str, tail: str) -> CIMultiDict[str]:
    """The client's, and where it is: to a backend the client is at the proxy."""
    headers = forwarding.request_headers(request)
    # Links in pages can only be rewritten when they are plain.
    if "Accept-Encoding" not in headers or "text/html" in request.headers.get("Accept", ""):
        headers["Accept-Encoding"] = "identity"
    headers["X-Forwarded-Uri"] = prefix + tail
    headers["X-Forwarded-Host"] = request.host
    headers["X-Forwarded-Proto"] = request.scheme
    return headers


async def _back(
    request: web.BaseRequest, answer: aiohttp.ClientResponse, prefix: str, hosts: frozenset[str]
) -> web.StreamResponse:
    """The backend's answer to the client."""
    headers = forwarding.response_headers(answer, ["content-length"])
    for name in [name for name in headers if name.lower().startswith("access-control-")]:
        headers.popall(name, None)
    if "Location" in headers:
        headers["Location"] = rewriting.link(headers["Location"], prefix, hosts)
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    length = answer.headers.get("Content-Length")
    if request.method == "HEAD" or answer.status in (204, 304):
        if length is not None:
            response.headers["Content-Length"] = length
        await response.prepare(request)
        return response
    if _is_page(answer):
        page = await answer.read()
        return web.Response(
            status=answer.status, reason=answer.reason, headers=headers, body=rewriting.html(page, prefix, hosts)
        )
    if length is not None:
        response.content_length = int(length)
    await forwarding.stream_back(request, answer, response)
    return response


def _is_page(answer: aiohttp.ClientResponse) -> bool:
    size = answer.content_length
    encoding = answer.headers.get("Content-Encoding", "identity")
    return answer.content_type == "text/html" and encoding == "identity" and size is not None and size <= PAGE_BYTES
