"""containerLogs, exec, attach, portForward and run, over WebSocket and over SPDY/3.1."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing

from aiohttp import web
from multidict import MultiMapping

from navarch.protos.navarch import node_pb2
from navarch.services.api.errors import BadRequest, InternalError, NotFound, UnknownKind
from navarch.services.client.streams import spdy_commands, tunnel
from navarch.services.client.streams.front import Upgrade
from navarch.services.client.streams.serving import (
    RunCommand,
    RunPort,
    Wanted,
    is_websocket,
    serve_command,
    serve_ports,
)
from navarch.services.client.streams.spdy_commands import Form, SpdyCommand
from navarch.services.client.streams.tunnel import Tunnel, serve_tunnel
from navarch.services.kubelet.https.log_query import log_options
from navarch.services.kubelet.pod_streams import Inputs, PodStreams

NO_UPGRADE = "Upgrade request required"
# A command that nobody talks to says no more than this.
OUTPUT_BYTES = 16 << 20


class StreamEndpoints:
    """Paths are of the form verb/namespace/pod[/uid]/container."""

    def __init__(self, streams: PodStreams) -> None:
        self._streams = streams

    async def logs(self, request: web.BaseRequest, words: Sequence[str]) -> web.StreamResponse:
        """The log of a container, as it grows if that is asked for."""
        if len(words) != 3:
            raise UnknownKind("404 page not found")
        namespace, pod, container = words
        options = log_options(request.query, container)
        worker = self._streams.pods.find(namespace, pod)
        if worker is None:
            raise NotFound("pods", pod, f'pod "{pod}" does not exist')
        if worker.view.container(container) is None:
            raise NotFound("containers", container, f'container "{container}" not found in pod "{pod}"')
        lines = self._streams.logs(namespace, pod, options)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        async with aclosing(lines):  # type: ignore[type-var]
            async for data in lines:
                await response.write(data)
        await response.write_eof()
        return response

    async def exec(self, request: web.BaseRequest, words: Sequence[str]) -> web.StreamResponse:
        """A process in a container."""
        wanted, run = self._exec(words, request.query)
        return await serve_command(_websocket(request), wanted, run)

    async def attach(self, request: web.BaseRequest, words: Sequence[str]) -> web.StreamResponse:
        """The process of a container."""
        wanted, run = self._attach(words, request.query)
        return await serve_command(_websocket(request), wanted, run)

    async def port_forward(self, request: web.BaseRequest, words: Sequence[str]) -> web.StreamResponse:
        """Ports of a Pod."""
        pod, run = self._forward(words)
        if tunnel.PROTOCOL in _websocket(request).headers.get("Sec-WebSocket-Protocol", ""):
            return await serve_tunnel(request, pod, run)
        ports = [text for value in request.query.getall("port", []) for text in value.split(",")]
        if not ports:
            raise BadRequest('query parameter "port" is required')
        for text in ports:
            if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
                raise BadRequest(f'unable to parse "{text}" as a port')
        return await serve_ports(request, [int(text) for text in ports], run)

    async def run(self, request: web.BaseRequest, words: Sequence[str]) -> web.StreamResponse:
        """What a command says that nobody talks to; it is cut into words at blanks."""
        namespace, pod, container = _of_container(words)
        command = request.query.get("cmd", "").split(" ")
        start = node_pb2.ExecStart(namespace=namespace, pod=pod, container=container, command=command)
        said, code = bytearray(), 0
        async with aclosing(self._streams.exec(start, _nothing())) as answers:  # type: ignore[type-var]
            async for answer in answers:
                said += (answer.stdout + answer.stderr)[: OUTPUT_BYTES - len(said)]
                code = answer.exit_code or code
        if code:
            text = said.decode(errors="replace")
            raise InternalError(f"command '{' '.join(command)}' exited with {code}: {text}")
        # As the genuine kubelet calls it, whatever it is.
        return web.Response(body=bytes(said), content_type="application/json")

    async def upgraded(self, upgrade: Upgrade, verb: str, words: Sequence[str], query: MultiMapping[str]) -> None:
        """Serve a connection that was upgraded to SPDY. Raises ApiError before, SpdyError, ConnectionError."""
        if verb == "portForward":
            pod, run_port = self._forward(words)
            if (accepted := await upgrade.accept((tunnel.PORT_FORWARD,))) is not None:
                await Tunnel(accepted[1], pod, run_port).serve()
            return
        wanted, run = self._exec(words, query) if verb == "exec" else self._attach(words, query)
        if (accepted := await upgrade.accept(spdy_commands.PROTOCOLS)) is not None:
            protocol, wire = accepted
            await SpdyCommand(wire, Form(protocol), wanted, run).serve()

    def _exec(self, words: Sequence[str], query: MultiMapping[str]) -> tuple[Wanted, RunCommand]:
        namespace, pod, container = _of_container(words)
        wanted = _wanted(query, is_exec=True)
        self._streams.pod(namespace, pod)
        start = node_pb2.ExecStart(
            namespace=namespace,
            pod=pod,
            container=container,
            command=query.getall("command", []),
            stdin=wanted.stdin,
            tty=wanted.tty,
        )
        return wanted, lambda inputs: self._streams.exec(start, inputs)

    def _attach(self, words: Sequence[str], query: MultiMapping[str]) -> tuple[Wanted, RunCommand]:
        namespace, pod, container = _of_container(words)
        wanted = _wanted(query, is_exec=False)
        self._streams.pod(namespace, pod)
        start = node_pb2.AttachStart(
            namespace=namespace, pod=pod, container=container, stdin=wanted.stdin, tty=wanted.tty
        )
        return wanted, lambda inputs: self._streams.attach(start, inputs)

    def _forward(self, words: Sequence[str]) -> tuple[str, RunPort]:
        if len(words) not in (2, 3):
            raise UnknownKind("404 page not found")
        namespace, pod = words[:2]
        self._streams.pod(namespace, pod)
        return pod, lambda port, inputs: self._streams.forward(namespace, pod, port, inputs)


async def _nothing() -> Inputs:
    return
    yield


def _of_container(words: Sequence[str]) -> tuple[str, str, str]:
    """namespace, pod, container; the uid between them is not looked at."""
    if len(words) not in (3, 4):
        raise UnknownKind("404 page not found")
    return words[0], words[1], words[-1]


def _wanted(query: MultiMapping[str], *, is_exec: bool) -> Wanted:
    stdin, stdout, stderr, tty = (_flag(query, name) for name in ("input", "output", "error", "tty"))
    wanted = Wanted(stdin, stdout, stderr and not tty, tty, is_exec)
    if not (wanted.stdin or wanted.stdout or wanted.stderr):
        raise BadRequest("you must specify at least 1 of stdin, stdout, stderr")
    return wanted


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "") in ("1", "true")


def _websocket(request: web.BaseRequest) -> web.BaseRequest:
    if not is_websocket(request):
        raise BadRequest(NO_UPGRADE)
    return request
