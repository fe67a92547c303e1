"""The RPCs Exec, Attach and PortForward, and the server that their URLs are of.

A URL is good for one use, within a minute; whoever has it may use it, so tokens cannot be guessed, and the server
listens on loopback unless it is told otherwise: a kubelet passes streams on.
"""

from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

from aiohttp import web

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.navarch import node_pb2
from navarch.runtime_shim.backend import StreamingBackend
from navarch.runtime_shim.streaming.requests import (
    ATTACH,
    EXEC,
    PORT_FORWARD,
    Command,
    Ports,
    Runtime,
    attach_of,
    exec_of,
    ports_of,
)
from navarch.runtime_shim.streaming.tokens import Tokens
from navarch.services.client.streams import spdy_commands, tunnel
from navarch.services.client.streams.front import FrontServer, Upgrade
from navarch.services.client.streams.serving import Inputs, is_websocket, serve_command, serve_ports
from navarch.services.client.streams.spdy_commands import Form, SpdyCommand
from navarch.services.client.streams.tunnel import Tunnel, serve_tunnel

# What the other end is called in errors of a port-forward.
POD = "sandbox"
NO_STREAM = "404: no stream was asked for by this name, or it has been used"


class StreamServer:
    """Gives URLs out, and serves them."""

    def __init__(
        self,
        runtime: Runtime,
        backend: StreamingBackend,
        monotonic: Callable[[], float],
        make_token: Callable[[], str],
    ) -> None:
        self._runtime = runtime
        self._backend = backend
        self._tokens: Tokens[Command | Ports] = Tokens(monotonic, make_token)
        self._server = FrontServer(self._http, self._upgraded)
        self._root = ""

    async def start(self, host: str, port: int) -> None:
        """Listen (port 0: any). Raises OSError."""
        bound = await self._server.start(host, port)
        self._root = f"http://{f'[{host}]' if ':' in host else host}:{bound}"

    async def stop(self) -> None:
        """End all streams. Idempotent."""
        await self._server.stop()

    # The RPCs.

    async def exec(self, request: criv1.ExecRequest) -> criv1.ExecResponse:
        """Where to run a command."""
        return criv1.ExecResponse(url=self._url(EXEC, await exec_of(self._runtime, request)))

    async def attach(self, request: criv1.AttachRequest) -> criv1.AttachResponse:
        """Where to attach."""
        return criv1.AttachResponse(url=self._url(ATTACH, await attach_of(self._runtime, request)))

    async def port_forward(self, request: criv1.PortForwardRequest) -> criv1.PortForwardResponse:
        """Where to forward ports."""
        return criv1.PortForwardResponse(url=self._url(PORT_FORWARD, await ports_of(self._runtime, request)))

    def _url(self, kind: str, request: Command | Ports) -> str:
        return f"{self._root}/{kind}/{self._tokens.put(request)}"

    # The streams.

    def _taken(self, target: str) -> Command | Ports | None:
        kind, _, token = urlsplit(target).path.removeprefix("/").partition("/")
        request = self._tokens.take(token)
        expected = PORT_FORWARD if isinstance(request, Ports) else EXEC if request and request.command else ATTACH
        return request if kind == expected else None

    async def _http(self, request: web.BaseRequest) -> web.StreamResponse:
        if not is_websocket(request):
            return web.Response(status=400, text="an upgrade to SPDY/3.1 or to WebSocket is needed")
        match self._taken(request.path):
            case Command() as command:
                return await serve_command(request, command.wanted, self._runner(command))
            case Ports() as ports if tunnel.PROTOCOL in request.headers.get("Sec-WebSocket-Protocol", ""):
                return await serve_tunnel(request, POD, self._forwarder(ports))
            case Ports() as ports:
                return await serve_ports(request, ports.ports, self._forwarder(ports))
        return web.Response(status=404, text=NO_STREAM)

    async def _upgraded(self, upgrade: Upgrade) -> None:
        request = self._taken(upgrade.target)
        if request is None:
            await upgrade.refuse(404, NO_STREAM)
            return
        protocols = (tunnel.PORT_FORWARD,) if isinstance(request, Ports) else spdy_commands.PROTOCOLS
        accepted = await upgrade.accept(protocols)
        if accepted is None:
            return
        protocol, wire = accepted
        if isinstance(request, Ports):
            await Tunnel(wire, POD, self._forwarder(request)).serve()
        else:
            await SpdyCommand(wire, Form(protocol), request.wanted, self._runner(request)).serve()

    def _runner(self, command: Command) -> Callable[[Inputs], AsyncIterator[node_pb2.ExecResponse]]:
        return lambda inputs: command.run(self._backend, inputs)

    def _forwarder(self, ports: Ports) -> Callable[[int, AsyncIterator[bytes]], AsyncIterator[bytes]]:
        return lambda port, inputs: ports.run(self._backend, port, inputs)
