"""containerLogs, exec, attach and portForward."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from aiohttp import web

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2
from navarch.services.api.codec.times import parse_moment
from navarch.services.api.errors import BadRequest, UnknownKind
from navarch.services.client.streams.serving import Wanted, is_websocket, serve_command, serve_ports
from navarch.services.kubelet.pod_streams import Inputs, PodStreams

NO_SPDY = "this kubelet streams over WebSocket (v5.channel.k8s.io, v4.channel.k8s.io), not over SPDY"


class StreamEndpoints:
    """Paths are of the form verb/namespace/pod[/uid]/container."""

    def __init__(self, streams: PodStreams) -> None:
        self._streams = streams

    async def logs(self, request: web.BaseRequest, words: Sequence[str]) -> web.StreamResponse:
        """The log of a container, as it grows if that is asked for."""
        if len(words) != 3:
            raise UnknownKind("404 page not found")
        namespace, pod, container = words
        lines = self._streams.logs(namespace, pod, log_options(request, container))
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
        namespace, pod, container = _of_container(words)
        wanted = _wanted(request, is_exec=True)
        command = request.query.getall("command", [])
        start = node_pb2.ExecStart(
            namespace=namespace, pod=pod, container=container, command=command, stdin=wanted.stdin, tty=wanted.tty
        )
        _require_websocket(request)

        def run(inputs: Inputs) -> AsyncIterator[node_pb2.ExecResponse]:
            return self._streams.exec(start, inputs)

        return await serve_command(request, wanted, run)

    async def attach(self, request: web.BaseRequest, words: Sequence[str]) -> web.StreamResponse:
        """The process of a container."""
        namespace, pod, container = _of_container(words)
        wanted = _wanted(request, is_exec=False)
        start = node_pb2.AttachStart(
            namespace=namespace, pod=pod, container=container, stdin=wanted.stdin, tty=wanted.tty
        )
        _require_websocket(request)

        def run(inputs: Inputs) -> AsyncIterator[node_pb2.ExecResponse]:
            return self._streams.attach(start, inputs)

        return await serve_command(request, wanted, run)

    async def port_forward(self, request: web.BaseRequest, words: Sequence[str]) -> web.StreamResponse:
        """Ports of a Pod."""
        if len(words) not in (2, 3):
            raise UnknownKind("404 page not found")
        _require_websocket(request)
        ports = [text for value in request.query.getall("port", []) for text in value.split(",")]
        if not ports:
            raise BadRequest('query parameter "port" is required')
        for text in ports:
            if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
                raise BadRequest(f'unable to parse "{text}" as a port')

        def run(port: int, inputs: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            return self._streams.forward(words[0], words[1], port, inputs)

        return await serve_ports(request, [int(text) for text in ports], run)


def _of_container(words: Sequence[str]) -> tuple[str, str, str]:
    """namespace, pod, container; the uid between them is not looked at."""
    if len(words) not in (3, 4):
        raise UnknownKind("404 page not found")
    return words[0], words[1], words[-1]


def _wanted(request: web.BaseRequest, *, is_exec: bool) -> Wanted:
    stdin, stdout, stderr, tty = (_flag(request, name) for name in ("input", "output", "error", "tty"))
    wanted = Wanted(stdin, stdout, stderr and not tty, tty, is_exec)
    if not (wanted.stdin or wanted.stdout or wanted.stderr):
        raise BadRequest("you must specify at least 1 of stdin, stdout, stderr")
    return wanted


def _flag(request: web.BaseRequest, name: str) -> bool:
    return request.query.get(name, "") in ("1", "true")


def _require_websocket(request: web.BaseRequest) -> None:
    if request.headers.get("Upgrade", "").upper().startswith("SPDY"):
        raise BadRequest(NO_SPDY)
    if not is_websocket(request):
        raise BadRequest("Upgrade request required")


def log_options(request: web.BaseRequest, container: str) -> corev1.PodLogOptions:
    """The options of a log from the query. Raises BadRequest."""
    options = corev1.PodLogOptions(
        container=container,
        follow=_flag(request, "follow"),
        previous=_flag(request, "previous"),
        timestamps=_flag(request, "timestamps"),
        stream=request.query.get("stream", ""),
    )
    try:
        for name, field in (
            ("sinceSeconds", "since_seconds"),
            ("tailLines", "tail_lines"),
            ("limitBytes", "limit_bytes"),
        ):
            if text := request.query.get(name, ""):
                setattr(options, field, int(text))
        if text := request.query.get("sinceTime", ""):
            options.since_time.seconds = parse_moment(text)[0]
    except ValueError as failure:
        raise BadRequest(f"Unable to decode the request for container logs: {failure}") from failure
    return options
