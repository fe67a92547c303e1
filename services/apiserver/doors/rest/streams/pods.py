"""exec, attach, portforward and log of Pods."""

from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing

from aiohttp import web

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2
from navarch.services.api.errors import ApiError, BadRequest, MethodNotSupported
from navarch.services.apiserver.doors.rest.call import Call
from navarch.services.apiserver.doors.rest.streams import options
from navarch.services.apiserver.kubelets.directory import Kubelets
from navarch.services.apiserver.kubelets.kubelet import Command, Inputs
from navarch.services.apiserver.registry.core import Target
from navarch.services.base.log import get_logger
from navarch.services.client.streams import channels
from navarch.services.client.streams.serving import is_websocket, serve_bytes, serve_command, serve_ports
from navarch.services.client.streams.tunnel import PROTOCOL as TUNNEL
from navarch.services.client.streams.tunnel import serve_tunnel

LOG = get_logger("apiserver.streams")
NO_SPDY = (
    "this server streams over WebSocket, not over SPDY: use kubectl 1.31 or newer (and leave "
    "KUBECTL_REMOTE_COMMAND_WEBSOCKETS and KUBECTL_PORT_FORWARD_WEBSOCKETS on), or a WebSocket client"
)


class PodStreams:
    """The handlers. They find out all that can be refused before they switch protocols."""

    def __init__(self, kubelets: Kubelets) -> None:
        self._kubelets = kubelets

    async def exec(self, call: Call) -> web.StreamResponse:
        """Run a command in a container."""
        command = tuple(call.request.query.getall("command", []))
        return await self._process(call, "exec", command)

    async def attach(self, call: Call) -> web.StreamResponse:
        """Talk to the process of a container."""
        return await self._process(call, "attach", ())

    async def _process(self, call: Call, subresource: str, words: tuple[str, ...]) -> web.StreamResponse:
        pod = await _pod_of(call, subresource, "create")
        container = options.container_of(pod, call.text("container"))
        wanted = options.wanted_streams(call, is_exec=subresource == "exec")
        if wanted.is_exec and not words:
            raise BadRequest('query parameter "command" is required')
        kubelet = await self._kubelets.of_pod(pod)
        _require_websocket(call, channels.COMMANDS)
        command = Command(
            pod.metadata.namespace,
            pod.metadata.name,
            container,
            words,
            stdin=wanted.stdin,
            stdout=wanted.stdout,
            stderr=wanted.stderr,
            tty=wanted.tty,
        )

        def run(inputs: Inputs) -> AsyncIterator[node_pb2.ExecResponse]:
            return kubelet.run(command, inputs)

        return await serve_command(call.request, wanted, run)

    async def portforward(self, call: Call) -> web.StreamResponse:
        """Connect to ports of a Pod."""
        pod = await _pod_of(call, "portforward", "create")
        kubelet = await self._kubelets.of_pod(pod)
        _require_websocket(call, [TUNNEL, *channels.PORTS])
        namespace, name = pod.metadata.namespace, pod.metadata.name

        def run(port: int, inputs: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            return kubelet.forward(namespace, name, port, inputs)

        if TUNNEL in _subprotocols(call):
            return await serve_tunnel(call.request, name, run)
        return await serve_ports(call.request, options.ports_of(call), run)

    async def log(self, call: Call) -> web.StreamResponse:
        """The log of a container."""
        pod = await _pod_of(call, "log", "get")
        wanted = options.log_options(call)
        wanted.container = options.container_of(pod, wanted.container)
        if not pod.spec.node_name:
            return web.Response(status=204)
        insecure, wanted.insecure_skip_tls_verify_backend = wanted.insecure_skip_tls_verify_backend, False
        kubelet = await self._kubelets.of_pod(pod)
        lines = kubelet.logs(pod.metadata.namespace, pod.metadata.name, wanted, insecure=insecure)
        async with aclosing(lines):  # type: ignore[type-var]
            first = await anext(lines, b"")
            if is_websocket(call.request):
                return await serve_bytes(call.request, lines, first)
            return await _stream(call, first, lines)


async def _stream(call: Call, first: bytes, lines: AsyncIterator[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/plain", "Cache-Control": "no-cache, private"})
    response.enable_chunked_encoding()
    await response.prepare(call.request)
    try:
        if first:
            await response.write(first)
        async for chunk in lines:
            if chunk:
                await response.write(chunk)
    except ApiError as refusal:
        LOG.warning("log.cut_short", path=call.request.path, error=refusal.message)
        # Too late for a status: a body without its end tells the client that something is missing.
        if call.request.transport is not None:
            call.request.transport.close()
        return response
    await response.write_eof()
    return response


async def _pod_of(call: Call, subresource: str, verb: str) -> corev1.Pod:
    """The Pod that a call is about, if the caller may do this to it."""
    path = call.path
    assert path is not None
    target = Target.at(call.core.kinds, "", path.version, "pods", path.namespace, path.name, subresource).named()
    if call.request.method not in ("GET", "POST") or (verb == "get" and call.request.method != "GET") or path.tail:
        raise MethodNotSupported(target.kind, call.request.method.lower())
    call.core.admit_user(call.user, verb, target)
    pod = (await call.core.newest(Target(target.kind, path.namespace, path.name))).decode()
    assert isinstance(pod, corev1.Pod)
    return pod


def _subprotocols(call: Call) -> list[str]:
    offered = ",".join(call.request.headers.getall("Sec-WebSocket-Protocol", []))
    return [name.strip() for name in offered.split(",") if name.strip()]


def _require_websocket(call: Call, protocols: Iterable[str]) -> None:
    """Raise BadRequest unless the client asks for a WebSocket in a language that we know."""
    if call.request.headers.get("Upgrade", "").upper().startswith("SPDY"):
        raise BadRequest(NO_SPDY)
    if not is_websocket(call.request):
        raise BadRequest("Upgrade request required")
    offered = _subprotocols(call)
    if offered and not set(offered) & set(protocols):
        raise BadRequest(f"unknown subprotocols [{' '.join(offered)}], accepted are [{' '.join(protocols)}]")
