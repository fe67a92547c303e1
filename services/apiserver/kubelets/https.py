"""A kubelet at its HTTPS endpoints, as Kubernetes has them."""

import ssl
from collections.abc import AsyncIterator
from urllib.parse import quote

import aiohttp
import yarl
from google.protobuf.message import Message

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2
from navarch.services.api.codec.times import format_seconds
from navarch.services.api.errors import ApiError, BadRequest, InternalError, NotFound, ServiceUnavailable
from navarch.services.apiserver.kubelets.kubelet import Command, Inputs
from navarch.services.client.streams import dialing

# Of what a kubelet says about a refusal.
REFUSAL_BYTES = 2048
READ_BYTES = 64 * 1024


class HttpsKubelet:
    """By requests of a session that somebody else owns. address: "host:port". untrusting: see `Kubelet.logs`."""

    def __init__(self, session: aiohttp.ClientSession, address: str, untrusting: ssl.SSLContext | None) -> None:
        self._session = session
        self._base = f"{'http' if untrusting is None else 'https'}://{address}"
        self._untrusting = untrusting

    async def logs(
        self, namespace: str, pod: str, options: corev1.PodLogOptions, *, insecure: bool = False
    ) -> AsyncIterator[bytes]:
        """The log of a container."""
        url = self._url("containerLogs", namespace, pod, options.container).with_query(log_query(options))
        trust = self._untrusting if insecure and self._untrusting is not None else True
        try:
            async with self._session.get(url, ssl=trust) as response:
                if not 200 <= response.status <= 206:
                    raise refusal_of(response.status, await response.content.read(REFUSAL_BYTES), pod)
                yield b""
                async for chunk in response.content.iter_any():
                    yield chunk
        except (aiohttp.ClientError, OSError) as failure:
            raise ServiceUnavailable(f"error dialing backend: {failure}") from failure

    def run(self, command: Command, inputs: Inputs) -> AsyncIterator[node_pb2.ExecResponse]:
        """Run a command, or attach."""
        verb = "exec" if command.command else "attach"
        url = self._url(verb, command.namespace, command.pod, command.container)
        wanted = {
            "input": command.stdin,
            "output": command.stdout,
            "error": command.stderr and not command.tty,
            "tty": command.tty,
        }
        query = [(name, "1") for name, is_wanted in wanted.items() if is_wanted]
        query += [("command", word) for word in command.command]
        return dialing.run_command(self._session, str(url), query, inputs)

    def forward(self, namespace: str, pod: str, port: int, inputs: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """One connection to a port of a Pod."""
        url = self._url("portForward", namespace, pod)
        return dialing.forward(self._session, str(url), port, inputs)

    async def ask(self, rpc: str, request: Message) -> Message:
        """Not to be had this way."""
        raise ServiceUnavailable(f"the kubelet of this node has no gRPC endpoint to ask for {rpc}")

    def _url(self, *segments: str) -> yarl.URL:
        path = "/".join(quote(segment, safe="") for segment in segments)
        return yarl.URL(f"{self._base}/{path}", encoded=True)


def log_query(options: corev1.PodLogOptions) -> dict[str, str]:
    """The options of a log as query parameters."""
    query = {name: "true" for name in ("follow", "previous", "timestamps") if getattr(options, name)}
    numbers = {"since_seconds": "sinceSeconds", "tail_lines": "tailLines", "limit_bytes": "limitBytes"}
    query |= {name: str(getattr(options, field)) for field, name in numbers.items() if options.HasField(field)}
    if options.HasField("since_time"):
        query["sinceTime"] = format_seconds(options.since_time.seconds)
    if options.stream:
        query["stream"] = options.stream
    return query


def refusal_of(code: int, body: bytes, pod: str) -> ApiError:
    """What a kubelet's refusal means to the client."""
    text = body.decode(errors="replace").strip()
    match code:
        case 400:
            return BadRequest(text)
        case 404:
            return NotFound("pods", pod, f"the server could not find the requested resource ( pods/log {pod}): {text}")
        case 500:
            return InternalError(text)
    return ServiceUnavailable(f"the kubelet answered {code}: {text}")
